//! What only the real, stock Envoy can answer: each module is one story told to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "envoy/first_route.rs"]
mod first_route;
#[path = "envoy/samples.rs"]
mod samples;
#[path = "envoy/stock.rs"]
mod stock;
