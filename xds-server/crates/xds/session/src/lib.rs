//! The xDS protocol as a state machine: requests, views and the time go in, responses and news come out.
//! It knows subscriptions, nonces, order and repair; it does no I/O, reads no clock and sees no protobuf.
//!
//! The owner of a stream calls [`Session::on_sotw`] or [`Session::on_delta`] for each request,
//! [`Session::on_view`] when the desired state changed and [`Session::on_tick`] when [`Session::next_deadline`] has
//! passed; after each of them it sends what [`Session::poll`] returns until that is nothing, and passes
//! [`Session::effects`] on. It polls only while the last response was taken by the transport, so a slow reader
//! coalesces to the newest state.

pub mod effect;
mod interest;
pub mod limits;
pub mod message;
mod nack;
mod rejected;
pub mod resources;
mod retry;
mod session;
mod track;
mod wants;

pub use effect::{Diagnosis, Effect};
pub use message::{DeltaRequest, Failure, Moment, NodeClaim, Response, SotwRequest, StreamError};
pub use resources::Resources;
pub use session::{Params, Session};
