//! The xDS server on the wire: TLS, HTTP/2, gRPC framing, and who the stream is. It moves requests into a session and
//! shared bytes out of it; what to send, in which order and when again is the session's.

mod ads;
pub mod bind;
mod body;
mod connection;
pub mod counters;
pub mod csds;
mod cut;
mod frame;
pub mod identity;
pub mod limits;
mod message;
mod node;
mod request;
mod router;
pub mod server;
pub mod service;
mod shares;
mod status;
mod telling;
pub mod tls;
mod together;
mod visitors;
mod wire;

pub use bind::{BindError, bind};
pub use counters::{Count, Counters};
pub use identity::{Identify, Peer, Refusal};
pub use server::{serve, serve_status};
pub use service::{Clock, Settings, Status, Xds};
pub use tls::{Tls, TlsError};
