//! `ir::Cluster` → an Envoy cluster.

use std::collections::{BTreeSet, HashMap};

use windrose_ir::Discovery;
use windrose_ir::cluster::{Cluster, LoadBalancing, Pool, RetryBudget, UpstreamProtocol, UpstreamTls};
use windrose_ir::secret::{MESH_TRUST, WORKLOAD_SVID};
use windrose_vocab::{Duration, ResourceId, ResourceKind, Text};

use crate::endpoints::{Addresses, assignment};
use crate::health;
use crate::limits::{KEEPALIVE_PROBES, PANIC_PERCENT, RING_MAX};
use crate::pb;
use crate::tls;
use pb::cluster::cluster::{ClusterDiscoveryType, CommonLbConfig, CustomClusterType, DiscoveryType, EdsClusterConfig, LbConfig, LbPolicy};
use pb::cluster::{CircuitBreakers, UpstreamConnectionOptions, circuit_breakers};
use pb::dns_family::DnsLookupFamily;
use pb::upstream_http::HttpProtocolOptions;
use pb::upstream_http::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
};

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(crate) fn message(name: &str, cluster: &Cluster) -> pb::cluster::Cluster {
    let (policy, lb_config) = load_balancing(&cluster.load_balancing);
    let mut message = pb::cluster::Cluster {
        name: name.to_owned(),
        alt_stat_name: cluster.stat_name.to_string(),
        connect_timeout: pb::positive(cluster.connect_timeout),
        lb_policy: policy as i32,
        lb_config,
        common_lb_config: Some(CommonLbConfig { healthy_panic_threshold: pb::percent(PANIC_PERCENT), ..Default::default() }),
        circuit_breakers: Some(circuit_breakers(cluster)),
        outlier_detection: cluster.outliers.as_ref().map(health::outlier_detection),
        health_checks: cluster.health_check.iter().map(|check| health::health_check(check, cluster)).collect(),
        typed_extension_protocol_options: protocol_options(cluster.protocol, &cluster.pool),
        transport_socket: cluster.tls.as_ref().map(tls::client),
        transport_socket_matches: cluster.tls.iter().filter_map(tls::outside).collect(),
        upstream_connection_options: cluster.pool.tcp_keepalive.map(keepalive),
        // An endpoint that left discovery is gone, whatever its health checks say.
        ignore_health_on_host_removal: true,
        ..Default::default()
    };
    discover(&mut message, &cluster.discovery);
    message
}

/// What the cluster needs: its assignment by EDS, its secrets by SDS.
pub(crate) fn refs(name: &str, cluster: &Cluster) -> BTreeSet<ResourceId> {
    let endpoints = matches!(cluster.discovery, Discovery::Eds).then(|| ResourceId::new(ResourceKind::Endpoints, name));
    let secrets = cluster.tls.as_ref().map(secrets).unwrap_or_default();
    endpoints.into_iter().chain(secrets.into_iter().map(|name| ResourceId::new(ResourceKind::Secret, name))).collect()
}

fn secrets(tls: &UpstreamTls) -> Vec<Text> {
    let own = || [WORKLOAD_SVID, MESH_TRUST].map(Text::from);
    match tls {
        UpstreamTls::Mesh { .. } => own().into(),
        UpstreamTls::Mixed { outside, .. } => own().into_iter().chain(outside.iter().flat_map(|tls| secrets(tls))).collect(),
        UpstreamTls::Origin { trust, client_certificate, .. } => trust.iter().chain(client_certificate).cloned().collect(),
    }
}

fn discover(message: &mut pb::cluster::Cluster, discovery: &Discovery) {
    let kind = match discovery {
        Discovery::Eds => {
            message.eds_cluster_config = Some(EdsClusterConfig { eds_config: pb::ads(), service_name: String::new() });
            DiscoveryType::Eds
        }
        Discovery::Static(set) => {
            message.load_assignment = Some(assignment(&message.name, set, Addresses::Literal));
            DiscoveryType::Static
        }
        Discovery::Dns { endpoints, refresh } => {
            message.load_assignment = Some(assignment(&message.name, endpoints, Addresses::Names));
            message.cluster_discovery_type = Some(ClusterDiscoveryType::ClusterType(dns(*refresh)));
            return;
        }
    };
    message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind as i32));
}

/// Every address of the name is an endpoint; IPv6 only where the name has no IPv4.
fn dns(refresh: Duration) -> CustomClusterType {
    let config = pb::dns_cluster::DnsCluster {
        dns_refresh_rate: pb::positive(refresh),
        respect_dns_ttl: true,
        dns_lookup_family: DnsLookupFamily::V4Preferred as i32,
        ..Default::default()
    };
    CustomClusterType { name: "envoy.cluster.dns".to_owned(), typed_config: Some(pb::any(&config)) }
}

fn load_balancing(choice: &LoadBalancing) -> (LbPolicy, Option<LbConfig>) {
    match choice {
        LoadBalancing::RoundRobin => (LbPolicy::RoundRobin, None),
        LoadBalancing::LeastRequest => (LbPolicy::LeastRequest, None),
        LoadBalancing::Random => (LbPolicy::Random, None),
        LoadBalancing::ConsistentHash { maglev: true, .. } => (LbPolicy::Maglev, None),
        LoadBalancing::ConsistentHash { maglev: false, minimum_ring_size } => {
            let ring = pb::cluster::cluster::RingHashLbConfig {
                minimum_ring_size: pb::number64((*minimum_ring_size).min(RING_MAX)),
                ..Default::default()
            };
            (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(ring)))
        }
    }
}

fn circuit_breakers(cluster: &Cluster) -> CircuitBreakers {
    let limits = cluster.limits;
    let threshold = circuit_breakers::Thresholds {
        max_connections: pb::number(limits.connections),
        max_pending_requests: pb::number(limits.pending_requests),
        max_requests: pb::number(limits.requests),
        max_retries: pb::number(limits.retries),
        retry_budget: cluster.retry_budget.map(retry_budget),
        ..Default::default()
    };
    CircuitBreakers { thresholds: vec![threshold], ..Default::default() }
}

fn retry_budget(budget: RetryBudget) -> circuit_breakers::thresholds::RetryBudget {
    circuit_breakers::thresholds::RetryBudget {
        budget_percent: pb::percent(budget.percent),
        min_retry_concurrency: pb::number(budget.minimum_concurrency),
        ..Default::default()
    }
}

fn protocol_options(protocol: UpstreamProtocol, pool: &Pool) -> HashMap<String, pb::google::Any> {
    let explicit = |config| UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) });
    let options = match protocol {
        UpstreamProtocol::Tcp | UpstreamProtocol::Udp => return HashMap::new(),
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(Default::default())),
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(Default::default())),
        UpstreamProtocol::SameAsDownstream => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(Default::default()),
            http2_protocol_options: Some(Default::default()),
            http3_protocol_options: None,
        }),
    };
    let common = pb::core::HttpProtocolOptions {
        idle_timeout: pb::duration(pool.idle_timeout),
        max_requests_per_connection: (pool.max_requests_per_connection > 0)
            .then_some(pb::google::UInt32Value { value: pool.max_requests_per_connection }),
        ..Default::default()
    };
    let options =
        HttpProtocolOptions { common_http_protocol_options: Some(common), upstream_protocol_options: Some(options), ..Default::default() };
    HashMap::from([(HTTP_OPTIONS.to_owned(), pb::any(&options))])
}

fn keepalive(interval: Duration) -> UpstreamConnectionOptions {
    let seconds = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX).max(1);
    let keepalive = pb::core::TcpKeepalive {
        keepalive_time: pb::number(seconds),
        keepalive_interval: pb::number(seconds),
        keepalive_probes: pb::number(KEEPALIVE_PROBES),
    };
    UpstreamConnectionOptions { tcp_keepalive: Some(keepalive), ..Default::default() }
}
