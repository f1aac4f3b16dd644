//! A listener of datagrams (UDP): where it binds, who may send, and where the datagrams of a session go.

use std::net::SocketAddr;

use windrose_vocab::{Duration, Text, canonical};

use crate::http::Authorization;
use crate::telemetry::AccessLog;

/// One listener of datagrams. What comes from one address and port is one session, and stays with one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatagramListener {
    /// Where it binds; the first is the main address. `[::]` takes IPv4 too where no IPv4 address is listed.
    pub addresses: Vec<SocketAddr>,
    /// Name for statistics.
    pub stat_name: Text,
    /// The cluster that sessions go to; where absent, datagrams are dropped.
    pub cluster: Option<Text>,
    /// Who may send; everybody where absent. Datagrams are dropped otherwise. Nobody has an identity here, and audited rules say nothing.
    pub authorization: Option<Authorization>,
    /// A session without datagrams in either direction ends after this.
    pub idle_timeout: Duration,
    /// Whether the client's address is what a consistent hash is made of.
    pub hash_source: bool,
    /// Log of sessions.
    pub access_log: Option<AccessLog>,
}

canonical!(struct DatagramListener { addresses, stat_name, cluster, authorization, idle_timeout, hash_source, access_log });
