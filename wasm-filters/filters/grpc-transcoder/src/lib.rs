//! REST to gRPC inside Envoy: a JSON request becomes a gRPC request, the gRPC response becomes JSON, in one pass each way,
//! driven by the service's descriptors and their `google.api.http` annotations.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing, reason = "a test that indexes wrongly fails, as it should"))]

pub mod binding;
mod canonical;
pub mod config;
pub mod descriptor;
pub mod frame;
pub mod json;
pub mod json_to_proto;
pub mod limits;
pub mod logic;
mod order;
pub mod path;
pub mod proto_to_json;
pub mod refusal;
pub mod request;
pub mod response;
pub mod scalar;
pub mod schema;
mod seen;
pub mod status;
pub mod template;
pub mod well_known;
pub mod wire;

pub use config::{Compiled, Config, Policy};
pub use logic::{GIVE_BODY_LUA, GrpcTranscoder, METADATA_TRANSCODE, NAME};

#[cfg(target_arch = "wasm32")]
windrose_filter_shell::export!(
    GrpcTranscoder: request_headers, request_body, request_trailers, response_headers, response_body, response_trailers
);
