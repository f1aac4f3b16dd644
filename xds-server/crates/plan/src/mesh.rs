//! Workloads: the sidecar's listeners inwards and outwards.

mod beside;
mod inbound;
mod outbound;
mod sidecar;

pub(crate) use beside::beside;
pub(crate) use sidecar::sidecar;
