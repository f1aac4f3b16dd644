//! Windrose in a Kubernetes cluster: what is declared there is watched, Gateways become Deployments and Services, what
//! runs is written into the status, and proxies prove who they are by their service account's token.
//! It decides nothing about traffic: that is `plan`'s, the same for files and for a cluster.

pub mod admission;
pub mod client;
pub mod deploy;
pub mod events;
#[cfg(test)]
mod fake;
pub mod gate;
pub mod inspect;
pub mod install;
pub mod keys;
mod lasting;
pub mod lease;
pub mod limits;
pub mod names;
pub mod refused;
pub mod selector;
pub mod source;
pub mod status;
pub mod surroundings;
pub mod tokens;
pub mod webhook;
pub mod zones;

pub use client::{Cluster, connect};
pub use kube::Client;
