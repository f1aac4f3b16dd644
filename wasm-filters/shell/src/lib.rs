//! Runs one filter of the kit inside Envoy: proxy-wasm ABI 0.2.1 on one side, the traits of `windrose-filter-kit` on the
//! other, and no opinion on any policy. On any target but wasm32 this crate is empty.
//!
//! The ABI is written out here instead of taken from an SDK: an SDK exports every callback, and Envoy pays for each one
//! that exists; its header getters panic on bytes that are not UTF-8.
#![warn(clippy::indexing_slicing)]

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
mod envoy;
#[cfg(target_arch = "wasm32")]
mod export;
#[cfg(target_arch = "wasm32")]
mod run;

#[cfg(target_arch = "wasm32")]
pub use abi::{allocate, construct};
#[cfg(target_arch = "wasm32")]
pub use run::Shell;
