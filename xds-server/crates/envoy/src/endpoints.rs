//! `ir::EndpointSet` → a cluster load assignment, for EDS and for clusters that carry their endpoints themselves.

use std::collections::{BTreeSet, HashMap};

use windrose_ir::endpoint::{Address, Endpoint, EndpointSet, Health, Locality};

use crate::pb;
use crate::tls;
use pb::core::{SocketAddress, address, socket_address};
use pb::endpoint::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint};

/// What a cluster can take: Envoy refuses the whole assignment for one address of another sort.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// IP addresses and Unix sockets: EDS and static clusters.
    Literal,
    /// IP addresses and names: DNS clusters.
    Names,
}

/// The assignment of that cluster. Priorities are numbered without gaps, as Envoy wants them; endpoints of weight 0 and
/// addresses that the cluster cannot take are left out.
pub(crate) fn assignment(cluster: &str, set: &EndpointSet, addresses: Addresses) -> ClusterLoadAssignment {
    let priorities: BTreeSet<u32> = set.localities.iter().map(|one| one.priority).collect();
    let rank = |priority: u32| u32::try_from(priorities.range(..priority).count()).unwrap_or(u32::MAX);
    let locality = |one: &Locality| LocalityLbEndpoints {
        locality: (!one.zone.is_empty()).then(|| pb::zone(&one.zone)),
        lb_endpoints: one.endpoints.iter().filter_map(|endpoint| lb_endpoint(endpoint, addresses)).collect(),
        priority: rank(one.priority),
        ..Default::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: set.localities.iter().map(locality).collect(),
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint, addresses: Addresses) -> Option<LbEndpoint> {
    let host = pb::endpoint::Endpoint { address: Some(address(&endpoint.address, addresses)?), ..Default::default() };
    let health = match endpoint.health {
        Health::Ready => pb::core::HealthStatus::Unknown,
        Health::Draining => pb::core::HealthStatus::Draining,
    };
    (endpoint.weight > 0).then(|| LbEndpoint {
        health_status: health as i32,
        metadata: endpoint.outside.then(outside),
        load_balancing_weight: (endpoint.weight != 1).then_some(pb::google::UInt32Value { value: endpoint.weight }),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(host)),
    })
}

/// Under this key a cluster looks for what tells its transport sockets apart.
fn outside() -> pb::core::Metadata {
    let mark = pb::string_struct([tls::OUTSIDE]);
    pb::core::Metadata { filter_metadata: HashMap::from([("envoy.transport_socket_match".to_owned(), mark)]), ..Default::default() }
}

fn address(address: &Address, addresses: Addresses) -> Option<pb::core::Address> {
    match (address, addresses) {
        (Address::Socket(socket), _) => Some(self::socket(&socket.ip().to_string(), socket.port())),
        (Address::Dns(name, port), Addresses::Names) => Some(self::socket(name, *port)),
        (Address::Unix(path), Addresses::Literal) => Some(pipe(path, 0)),
        (Address::Dns(..), Addresses::Literal) | (Address::Unix(_), Addresses::Names) => None,
    }
}

/// A TCP address of IP or name, and port.
pub(crate) fn socket(host: &str, port: u16) -> pb::core::Address {
    pb::core::Address { address: Some(address::Address::SocketAddress(socket_address(host, port))) }
}

/// The same, for whoever has more to say of it.
pub(crate) fn socket_address(host: &str, port: u16) -> SocketAddress {
    SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
        ..Default::default()
    }
}

/// A Unix socket; `mode` 0 leaves the permissions to the process' mask.
pub(crate) fn pipe(path: &str, mode: u32) -> pb::core::Address {
    pb::core::Address { address: Some(address::Address::Pipe(pb::core::Pipe { path: path.to_owned(), mode })) }
}
