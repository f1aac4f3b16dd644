//! `ir::Listener` → an Envoy listener.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use windrose_ir::listener::{Chain, ConnectionLimits, Direction, Handler, Listener, TcpHandler, Transport};
use windrose_vocab::{Hostname, ResourceId, ResourceKind};

use crate::endpoints::socket_address;
use crate::filters::rbac;
use crate::pb;
use crate::{http, telemetry, tls};
use pb::core::socket_address::Protocol;
use pb::listener::{AdditionalAddress, FilterChain, FilterChainMatch, filter, listener_filter};
use pb::tcp_proxy::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};

pub(crate) fn message(name: &str, listener: &Listener) -> pb::listener::Listener {
    let limits = &listener.limits;
    let (address, additional_addresses) = bound(&listener.addresses, Protocol::Tcp);
    pb::listener::Listener {
        name: name.to_owned(),
        address,
        additional_addresses,
        filter_chains: listener.chains.iter().map(|chain| filter_chain(chain, listener)).collect(),
        // Envoy refuses a listener without a chain.
        default_filter_chain: listener.chains.is_empty().then(closed),
        per_connection_buffer_limit_bytes: pb::number(limits.buffer_bytes),
        listener_filters: if listener.inspect_tls { vec![tls_inspector()] } else { vec![] },
        listener_filters_timeout: pb::positive(limits.handshake_timeout),
        traffic_direction: match listener.direction {
            Direction::Inbound => pb::core::TrafficDirection::Inbound,
            Direction::Outbound => pb::core::TrafficDirection::Outbound,
        } as i32,
        enable_reuse_port: pb::boolean(true),
        access_log: listener.access_log.iter().map(|log| telemetry::unmatched_log(log, listener.direction)).collect(),
        tcp_backlog_size: pb::number(limits.backlog),
        ..Default::default()
    }
}

/// The first address, and the others. `[::]` takes IPv4 too, and Envoy has to be told, unless there is an IPv4 address besides.
pub(crate) fn bound(addresses: &[SocketAddr], protocol: Protocol) -> (Option<pb::core::Address>, Vec<AdditionalAddress>) {
    let v4 = addresses.iter().any(SocketAddr::is_ipv4);
    let mut all = addresses.iter().map(|address| {
        let mut socket = socket_address(&address.ip().to_string(), address.port());
        socket.ipv4_compat = address.is_ipv6() && address.ip().is_unspecified() && !v4;
        socket.protocol = protocol as i32;
        pb::core::Address { address: Some(pb::core::address::Address::SocketAddress(socket)) }
    });
    let first = all.next();
    (first, all.map(|address| AdditionalAddress { address: Some(address), ..Default::default() }).collect())
}

/// What the listener's chains need.
pub(crate) fn refs(listener: &Listener) -> BTreeSet<ResourceId> {
    let secrets = listener.chains.iter().flat_map(secrets).map(|name| ResourceId::new(ResourceKind::Secret, name));
    let handled = listener.chains.iter().flat_map(|chain| match &chain.handler {
        Handler::Http(handler) => http::refs(handler),
        Handler::Tcp(tcp) => {
            let used = tcp.clusters.iter().filter(|(_, weight)| *weight > 0);
            used.map(|(name, _)| ResourceId::new(ResourceKind::Cluster, name.clone())).collect()
        }
        Handler::Close => BTreeSet::new(),
    });
    secrets.chain(handled).collect()
}

fn secrets(chain: &Chain) -> Vec<windrose_vocab::Text> {
    match &chain.transport {
        Transport::Tls(tls) => tls.certificates.iter().chain(tls.client.iter().map(|client| &client.trust)).cloned().collect(),
        Transport::Plain | Transport::Passthrough => vec![],
    }
}

fn filter_chain(chain: &Chain, listener: &Listener) -> FilterChain {
    let limits = &listener.limits;
    let socket = match &chain.transport {
        Transport::Tls(tls) => Some(tls::server(tls)),
        Transport::Plain | Transport::Passthrough => None,
    };
    FilterChain {
        name: chain.name.to_string(),
        filter_chain_match: chain_match(chain, listener.inspect_tls),
        transport_socket_connect_timeout: socket.as_ref().and_then(|_| pb::positive(limits.handshake_timeout)),
        transport_socket: socket,
        filters: connection_limit(chain, limits).into_iter().chain(handler(&chain.handler, listener.direction)).collect(),
        ..Default::default()
    }
}

/// Without the inspector nothing is known of a connection but its addresses: its one chain takes all.
fn chain_match(chain: &Chain, inspect_tls: bool) -> Option<FilterChainMatch> {
    let transport = match &chain.transport {
        Transport::Plain => "raw_buffer",
        Transport::Tls(_) | Transport::Passthrough => "tls",
    };
    let any = chain.server_names.iter().any(Hostname::is_any);
    let names = chain.server_names.iter().filter(|_| !any).map(ToString::to_string);
    inspect_tls.then(|| FilterChainMatch { server_names: names.collect(), transport_protocol: transport.to_owned(), ..Default::default() })
}

fn handler(handler: &Handler, direction: Direction) -> Vec<pb::listener::Filter> {
    match handler {
        Handler::Http(handler) => {
            vec![network_filter("envoy.filters.network.http_connection_manager", &http::manager(handler, direction))]
        }
        Handler::Tcp(tcp) => {
            let authorization = tcp.authorization.as_ref().map_or_else(Vec::new, rbac::network_filters);
            authorization.into_iter().chain([tcp_proxy(tcp, direction)]).collect()
        }
        Handler::Close => vec![close()],
    }
}

fn tcp_proxy(tcp: &TcpHandler, direction: Direction) -> pb::listener::Filter {
    let mut shares: Vec<_> = tcp.clusters.iter().filter(|(_, weight)| *weight > 0).map(|(name, weight)| share(name, *weight)).collect();
    let specifier = match shares.len() {
        0 => return close(),
        1 => ClusterSpecifier::Cluster(shares.remove(0).name),
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: shares }),
    };
    let config = pb::tcp_proxy::TcpProxy {
        stat_prefix: tcp.stat_name.to_string(),
        idle_timeout: pb::duration(tcp.idle_timeout),
        access_log: tcp.access_log.iter().map(|log| telemetry::connection_log(log, direction)).collect(),
        cluster_specifier: Some(specifier),
        ..Default::default()
    };
    network_filter("envoy.filters.network.tcp_proxy", &config)
}

fn share(name: &str, weight: u32) -> ClusterWeight {
    ClusterWeight { name: name.to_owned(), weight, metadata_match: None }
}

/// Envoy counts connections per chain, not per listener: each chain may have that many.
fn connection_limit(chain: &Chain, limits: &ConnectionLimits) -> Option<pb::listener::Filter> {
    let config = pb::connection_limit::ConnectionLimit {
        stat_prefix: chain.name.to_string(),
        max_connections: pb::number64(u64::from(limits.max_connections?).max(1)),
        ..Default::default()
    };
    Some(network_filter("envoy.filters.network.connection_limit", &config))
}

fn closed() -> FilterChain {
    FilterChain { name: "closed".to_owned(), filters: vec![close()], ..Default::default() }
}

/// Answers nothing and closes.
fn close() -> pb::listener::Filter {
    network_filter("envoy.filters.network.direct_response", &pb::direct_response::Config { response: None })
}

fn tls_inspector() -> pb::listener::ListenerFilter {
    let config = pb::any(&pb::tls_inspector::TlsInspector::default());
    pb::listener::ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

pub(crate) fn network_filter<M: prost::Message + prost::Name>(name: &str, config: &M) -> pb::listener::Filter {
    pb::listener::Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(pb::any(config))) }
}
