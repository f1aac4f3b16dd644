//! Where the instances of a cluster are.

use std::net::SocketAddr;

use windrose_vocab::{Text, canonical};

/// The endpoints of one cluster, sorted and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointSet {
    /// Endpoints by locality; the empty zone where none is known.
    pub localities: Vec<Locality>,
}

/// The endpoints of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// The zone; empty where none is known.
    pub zone: Text,
    /// 0 is preferred.
    pub priority: u32,
    /// Its endpoints, sorted by address.
    pub endpoints: Vec<Endpoint>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share among its neighbours.
    pub weight: u32,
    /// Whether it takes new requests.
    pub health: Health,
    /// Whether it has no sidecar though others of its cluster have one; see [`crate::cluster::UpstreamTls::Mixed`].
    pub outside: bool,
}

/// What an instance said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// Ready, or nothing is known.
    Ready,
    /// Serving and terminating: no new requests, running ones finish.
    Draining,
}

/// A transport address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP and port.
    Socket(SocketAddr),
    /// A name to look up, and a port.
    Dns(Text, u16),
    /// A Unix socket's path.
    Unix(Text),
}

canonical!(struct EndpointSet { localities });
canonical!(struct Locality { zone, priority, endpoints });
canonical!(struct Endpoint { address, weight, health, outside });
canonical!(
    enum Health {
        Ready,
        Draining,
    }
);
canonical!(
    enum Address {
        Socket(a),
        Dns(name, port),
        Unix(path),
    }
);
