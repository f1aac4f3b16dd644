//! Declared → Plan: attach, resolve, merge, order. Total: whatever is declared, there is a plan and a list of diagnostics.
//! Pure: no clock, no randomness, no I/O; equal in, equal out, on every machine.

mod assemble;
mod backend;
mod gateway;
mod limits;
mod mesh;
mod plan;
mod planner;
mod policy;
mod print;
mod proxy;
mod reference;
mod route;
mod settings;
#[cfg(test)]
mod tests;
mod world;

use windrose_api::Declared;

pub use gateway::{FLEET_ANNOTATION, GATEWAY_ANNOTATION, READY_LISTENER};
pub use limits::READY_PORT;
pub use plan::{Condition, ConditionType, Conditions, Coverage, Covered, Edge, OpenPort, Plan, Sources, Subject, Verdict};
pub use planner::Planner;
pub use policy::held::held;
pub use policy::set_aside::{Stead, protects, stead};
pub use print::print;
pub use settings::{Addresses, CertificateCheck, FilterCheck, Refusal, Refused, RefusedBy, Settings};

/// Plans the whole world from scratch.
#[must_use]
pub fn plan(declared: &Declared, refused: &Refused, settings: &Settings) -> Plan {
    Planner::from_nothing(settings.clone(), declared, refused).plan().clone()
}
