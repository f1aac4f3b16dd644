//! The real `windrose` in the hands of a person who makes mistakes, on a machine that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "cli/asked.rs"]
mod asked;
#[path = "cli/offline.rs"]
mod offline;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/restart.rs"]
mod restart;
#[path = "cli/watch.rs"]
mod watch;
#[path = "cli/wrong_input.rs"]
mod wrong_input;
