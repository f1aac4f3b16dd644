//! What the stock Envoy makes of the protocol as the server speaks it, with resources made by hand, so that also what no
//! planner would render can be told: each module is one story of a stream.
//! The rules of the session itself are tested in its own room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "protocol/log.rs"]
mod log;
#[path = "protocol/parts.rs"]
mod parts;
#[path = "protocol/refusals.rs"]
mod refusals;
#[path = "protocol/rotation.rs"]
mod rotation;
#[path = "protocol/silence.rs"]
mod silence;
#[path = "protocol/stage.rs"]
mod stage;
#[path = "protocol/unit.rs"]
mod unit;
#[path = "protocol/updates.rs"]
mod updates;
