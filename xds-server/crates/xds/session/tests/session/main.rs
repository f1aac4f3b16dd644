//! The rules of the protocol, each as a test that names it, and a model client under random circumstances.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

mod convergence;
mod order;
mod policies;
mod repair;
mod responses;
mod sharing;
mod silence;
mod stream;
mod subscriptions;
mod world;
