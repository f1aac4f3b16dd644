//! What a filter is written against, without knowing Wasm: the [`Host`] port to Envoy, the [`Verdict`] of each
//! callback, the [`Filter`] and [`FilterContext`] traits, header views, and [`fake::FakeHost`] for tests.
//!
//! # How a filter plugs in
//!
//! ```text
//!   Envoy ──ABI──► shell (wasm32 only) ──traits of this crate──► one filter's logic
//!                        ▲                                            │
//!                        └──────────── Verdict, Host calls ◄──────────┘
//! ```
//!
//! A filter crate is `crate-type = ["cdylib", "rlib"]` and has three files: `config.rs` (serde types which the
//! control plane writes and compiles too), `logic.rs` (this crate's traits), and `lib.rs` with one export line:
//!
//! ```ignore
//! #[cfg(target_arch = "wasm32")]
//! windrose_filter_shell::export!(logic::JwtAuth: request_headers);
//! ```
//!
//! The names after the colon are the callbacks which the filter implements; a callback that is not named is not
//! exported, and Envoy then never pays for calling it. Names: `request_headers`, `request_body`, `request_trailers`,
//! `response_headers`, `response_body`, `response_trailers`.
//!
//! 1. [`Filter::configure`] runs once per plugin configuration, worker and VM. An error rejects the configuration;
//!    the filter that served before goes on.
//! 2. [`Filter::context`] makes one [`FilterContext`] per request. It holds an `Rc` of its filter, so that a request
//!    ends under the configuration it began with. What requests share (caches, buckets) lies in the filter, in cells:
//!    a VM has one thread.
//! 3. The callbacks of the context return a [`Verdict`]. After [`Verdict::Reply`] the context is dropped before the
//!    reply passes the filter's own response callbacks, so a filter never sees its own reply.
//!
//! # The three filters of a chain
//!
//! `jwt-auth`, then `rate-limit`, then `grpc-transcoder`. Each holds a table from policy id to rules and asks
//! [`policy::policy_of_route`] which entry applies; an id that is unknown or absent denies the request.
//! `jwt-auth` hands verified claims on as properties ([`policy::claim_property`]), never as something a client could send.
//! What a filter changes of the request's headers it says as [`RequestEdits`]: a Wasm filter that changes them itself moves the route.
//! Every refusal is a [`Denial`]: JSON for REST callers, a gRPC status for gRPC callers.
//!
//! A filter must not panic and must not loop without a bound: both are a denial of service for the worker.
#![warn(clippy::indexing_slicing)]

mod edits;
pub mod fake;
mod filter;
mod headers;
mod host;
mod limits;
pub mod policies;
pub mod policy;
mod verdict;

pub use edits::{RequestEdits, script as edits_script};
pub use filter::{ConfigError, Filter, FilterContext};
pub use headers::{Headers, HeadersBuilder};
pub use host::{Body, CAS_ABSENT, HeaderMap, Host, HostError, LogLevel, MetricId, SharedValue};
pub use verdict::{Caller, Denial, LocalReply, Verdict};
