//! What one kind of proxy must do, fully decided: references resolved, precedence applied, defaults filled, order fixed.
//! Plain data without a word of Kubernetes or of Envoy; whoever renders it has no choice left to make.

pub mod cluster;
pub mod datagram;
pub mod endpoint;
pub mod extension;
pub mod http;
pub mod listener;
pub mod program;
pub mod route;
pub mod secret;
pub mod telemetry;

pub use cluster::{Cluster, Discovery};
pub use datagram::DatagramListener;
pub use endpoint::{Endpoint, EndpointSet};
pub use extension::Extension;
pub use listener::{Chain, Handler, Listener};
pub use program::Program;
pub use route::{Route, RouteTable, VirtualHost};
pub use secret::Secret;

/// What came to a type after versions were sent out is written only where it is there, under a tag that nothing has which may stand in
/// its place, be it an option, a flag or the name of a variant: the versions of what is without it stay.
const LATER: u8 = 2;
