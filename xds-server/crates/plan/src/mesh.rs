//! Workloads: the sidecar's listeners inwards and outwards.

mod inbound;
mod outbound;
mod sidecar;

pub(crate) use sidecar::sidecar;
