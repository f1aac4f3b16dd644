//! The program of one kind of proxy: named values in persistent maps, so that an edit shares all it did not touch.

use std::sync::Arc;

use imbl::OrdMap;
use windrose_vocab::Text;

use crate::{Cluster, DatagramListener, EndpointSet, Extension, Listener, RouteTable, Secret};

/// All that one proxy runs. Each value renders to one resource of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Upstream clusters.
    pub clusters: OrdMap<Text, Arc<Cluster>>,
    /// Endpoints of the clusters that have [`crate::Discovery::Eds`], by cluster name.
    pub endpoints: OrdMap<Text, Arc<EndpointSet>>,
    /// Certificates, keys and trust that were declared; a workload's own SVID is not among them.
    pub secrets: OrdMap<Text, Arc<Secret>>,
    /// Filter configurations that change apart from their listener.
    pub extensions: OrdMap<Text, Arc<Extension>>,
    /// Listeners.
    pub listeners: OrdMap<Text, Arc<Listener>>,
    /// Listeners of datagrams; no name is that of one of the others.
    pub datagram_listeners: OrdMap<Text, Arc<DatagramListener>>,
    /// Route tables that the listeners name.
    pub routes: OrdMap<Text, Arc<RouteTable>>,
}
