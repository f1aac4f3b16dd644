//! The filter as a library: against prost-reflect as an oracle, against arbitrary bytes, and whole streams against a fake host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a step of a test that fails ends the test"
)]

#[path = "filter/envoy.rs"]
mod envoy;
#[path = "filter/kitchen.rs"]
mod kitchen;

#[path = "filter/arbitrary.rs"]
mod arbitrary;
#[path = "filter/descriptors.rs"]
mod descriptors;
#[path = "filter/json.rs"]
mod json;
#[path = "filter/requests.rs"]
mod requests;
#[path = "filter/responses.rs"]
mod responses;
