//! The promises of the tree itself: who may see whom, what no file may say, whose code stands under it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "tidy/documented.rs"]
mod documented;
#[path = "tidy/foundations.rs"]
mod foundations;
#[path = "tidy/generated.rs"]
mod generated;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/stems.rs"]
mod stems;
#[path = "tidy/words.rs"]
mod words;
