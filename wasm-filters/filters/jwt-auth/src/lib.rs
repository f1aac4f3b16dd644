//! `jwt-auth`: verifies JSON Web Tokens (RFC 7519, RFC 8725) inside Envoy, by the policy that the route names, and hands
//! verified claims to the upstream (headers) and to later filters (properties). It makes no calls and holds no state but
//! a cache of verified tokens.
//!
//! The configuration types are public because the control plane writes the configuration with them and runs
//! [`Config::compile`] natively.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod cache;
mod claims;
mod config;
mod der;
mod json;
mod keys;
mod limits;
mod logic;
mod place;
mod refusal;
mod signature;
mod table;
#[cfg(test)]
mod tests;
mod verify;

pub use config::{Algorithm, ClaimPath, ClaimRule, ClaimToHeader, Config, JwtPolicy, Location, Policy, Provider, Requirement};
pub use logic::{JwtAuth, JwtRequest, NAME};
pub use table::{Table, can_carry_a_claim};

#[cfg(target_arch = "wasm32")]
windrose_filter_shell::export!(JwtAuth: request_headers);
