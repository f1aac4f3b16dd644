//! What a server promises on the wire and only a whole server can keep: each module is one story of a stream.
//! The rules of the session itself are tested in its own room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]
