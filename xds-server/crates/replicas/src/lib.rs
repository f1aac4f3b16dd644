//! What the replicas of one control plane tell each other: all of them serve, and one leads. A follower tells the leader what its
//! streams said, so that somebody sees every proxy; the leader tells what it refuses, so that all serve the same.
//!
//! One connection from each follower to the leader, TLS with both ends proven; messages are protobuf, each behind its length.

mod follower;
mod leader;
pub mod limits;
mod link;
mod message;
mod tls;

#[cfg(test)]
mod tests;

pub use follower::Teller;
pub use leader::{Known, Mirror, Nonsense};
pub use link::{Ended, Verdicts, follow, lead};
pub use message::Said;
pub use tls::{TlsError, acceptor, connector};
