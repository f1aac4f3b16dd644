//! The rate limit filter: token buckets (GCRA) in the data that all workers share, exact under contention and bounded in memory.
#![warn(clippy::indexing_slicing)]

pub mod config;
mod gcra;
mod key;
mod limits;
mod logic;
mod secret;
mod table;

pub use config::Config;
pub use logic::{METADATA_KEY, RateLimit};

#[cfg(target_arch = "wasm32")]
windrose_filter_shell::export!(logic::RateLimit: request_headers, response_headers);
