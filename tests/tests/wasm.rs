//! The filters as the modules they are shipped as, in the real Envoy: each module is one filter's story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "wasm/jwt.rs"]
mod jwt;
#[path = "wasm/module.rs"]
mod module;
#[path = "wasm/rate_limit.rs"]
mod rate_limit;
#[path = "wasm/tokens.rs"]
mod tokens;
#[path = "wasm/transcoder.rs"]
mod transcoder;
