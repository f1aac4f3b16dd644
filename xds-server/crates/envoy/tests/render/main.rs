//! The renderer against the real Envoy, against itself, and against what it rendered before. One binary: each that links
//! Envoy's types is large. Tests in modules named `envoy_*` want `ENVOY`, the path of an Envoy 1.40 binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod descriptors;
mod envoy_serves;
mod envoy_validate;
mod fixture;
mod incremental;
mod printed;
