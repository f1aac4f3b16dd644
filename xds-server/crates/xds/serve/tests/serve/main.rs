//! The server as its clients see it: real gRPC over real TLS, with certificates of a real authority.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its stage fails")]
#![expect(clippy::print_stderr, reason = "a skipped test says so, and a failed one shows what Envoy wrote")]

mod client;
mod envoy;
mod hostile;
mod identity;
mod lifetime;
mod stage;
mod status;
mod streams;
