//! IR → Envoy's protobuf: the only room that speaks Envoy's configuration types. Pure and total: equal programs give
//! equal versions, every program gives resources, and an edit costs what it touched.

pub mod bootstrap;
mod cluster;
mod datagram;
mod endpoints;
mod filters;
mod health;
mod http;
pub mod inline;
mod limits;
mod listener;
mod metrics;
mod modules;
mod near;
mod pack;
mod pb;
pub mod print;
mod render;
mod route;
mod secret;
mod telemetry;
mod tls;

pub use filters::wasm::{discovered, module_name, refused_policies};
pub use modules::Modules;
pub use near::Near;
pub use pack::{RENDER_EPOCH, VersionKey};
pub use render::{KindMap, Rendered, Renderer};
pub use secret::{render_svid, render_trust};
