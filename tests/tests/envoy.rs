//! What only the real, stock Envoy can answer: each module is one story told to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "envoy/authorization.rs"]
mod authorization;
#[path = "envoy/by_host.rs"]
mod by_host;
#[path = "envoy/certificates.rs"]
mod certificates;
#[path = "envoy/clients.rs"]
mod clients;
#[path = "envoy/connections.rs"]
mod connections;
#[path = "envoy/csds.rs"]
mod csds;
#[path = "envoy/datagrams.rs"]
mod datagrams;
#[path = "envoy/demo.rs"]
mod demo;
#[path = "envoy/example.rs"]
mod example;
#[path = "envoy/external_auth.rs"]
mod external_auth;
#[path = "envoy/first_route.rs"]
mod first_route;
#[path = "envoy/guards.rs"]
mod guards;
#[path = "envoy/hot_change.rs"]
mod hot_change;
#[path = "envoy/identities.rs"]
mod identities;
#[path = "envoy/limits.rs"]
mod limits;
#[path = "envoy/local_fleet.rs"]
mod local_fleet;
#[path = "envoy/mesh.rs"]
mod mesh;
#[path = "envoy/metrics.rs"]
mod metrics;
#[path = "envoy/outside.rs"]
mod outside;
#[path = "envoy/refused.rs"]
mod refused;
#[path = "envoy/refused_restart.rs"]
mod refused_restart;
#[path = "envoy/route_rules.rs"]
mod route_rules;
#[path = "envoy/samples.rs"]
mod samples;
#[path = "envoy/sessions.rs"]
mod sessions;
#[path = "envoy/shared_port.rs"]
mod shared_port;
#[path = "envoy/stage.rs"]
mod stage;
#[path = "envoy/status.rs"]
mod status;
#[path = "envoy/stock.rs"]
mod stock;
#[path = "envoy/traces.rs"]
mod traces;
#[path = "envoy/traffic.rs"]
mod traffic;
#[path = "envoy/ways_in.rs"]
mod ways_in;
#[path = "envoy/zones.rs"]
mod zones;
