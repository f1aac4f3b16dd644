//! The room as a whole: small worlds in, plans out.

mod auth;
mod authorization;
mod by_host;
mod closed;
mod fleets;
mod gateways;
mod incremental;
mod meshes;
mod policies;
mod routes;
mod sections;
mod tls;
mod world;
