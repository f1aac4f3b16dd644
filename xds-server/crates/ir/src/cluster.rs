//! An upstream cluster: how its instances are found, spoken to, chosen, and given up on.

use windrose_vocab::{Duration, SpiffeId, Text, canonical};

use crate::endpoint::EndpointSet;

/// One upstream cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The name for statistics: short, without addresses.
    pub stat_name: Text,
    /// How its endpoints are found.
    pub discovery: Discovery,
    /// What is spoken to it.
    pub protocol: UpstreamProtocol,
    /// TLS to it; plain where absent.
    pub tls: Option<UpstreamTls>,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen.
    pub load_balancing: LoadBalancing,
    /// Limits that fail fast (circuit breaker).
    pub limits: Limits,
    /// Share of concurrent requests that may be retries; a fixed number where absent (`limits.retries`).
    pub retry_budget: Option<RetryBudget>,
    /// When an endpoint is ejected for its answers.
    pub outliers: Option<OutlierDetection>,
    /// Active health check.
    pub health_check: Option<HealthCheck>,
    /// Connection pool.
    pub pool: Pool,
}

/// How endpoints are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// Pushed under the cluster's own name; see [`crate::Program::endpoints`].
    Eds,
    /// Fixed in the cluster: only for addresses that cannot change without the object changing.
    Static(EndpointSet),
    /// Looked up by name, all addresses used.
    Dns {
        /// What to look up, with ports.
        endpoints: EndpointSet,
        /// Time between look-ups where the answer names none.
        refresh: Duration,
    },
}

/// What is spoken upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (h2, or h2c without TLS): gRPC too.
    Http2,
    /// What the downstream spoke.
    SameAsDownstream,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

/// TLS to the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamTls {
    /// Mesh mTLS: our SVID, their SVID checked against the mesh bundle and these identities (never empty).
    Mesh {
        /// Who the peer may be, sorted.
        peers: Vec<SpiffeId>,
    },
    /// Mesh mTLS, but not to endpoints that are marked as outside of the mesh.
    Mixed {
        /// Who the peers with a sidecar may be, sorted; never empty.
        peers: Vec<SpiffeId>,
        /// TLS to those outside, never the mesh's; plain where absent.
        outside: Option<Box<UpstreamTls>>,
    },
    /// TLS as a BackendTLSPolicy or a Backend says.
    Origin {
        /// Server name to send, and to check when `subject_names` is empty.
        sni: Text,
        /// Secret with the CA certificates; the system's where absent.
        trust: Option<Text>,
        /// Names of which the certificate must carry one (DNS names or URIs).
        subject_names: Vec<SubjectName>,
        /// Secret with our client certificate, if any.
        client_certificate: Option<Text>,
    },
}

/// One name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectName {
    /// DNS SAN.
    Dns(Text),
    /// URI SAN.
    Uri(Text),
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LoadBalancing {
    /// In turn.
    RoundRobin,
    /// The one with fewer requests of two drawn.
    LeastRequest,
    /// At random.
    Random,
    /// Ring hash or Maglev on what the route hashes.
    ConsistentHash {
        /// Maglev instead of a ring.
        maglev: bool,
        /// Smallest ring; only for the ring.
        minimum_ring_size: u64,
    },
}

/// Circuit breaker thresholds; reached ones fail fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Connections.
    pub connections: u32,
    /// Requests waiting for a connection.
    pub pending_requests: u32,
    /// Requests under way.
    pub requests: u32,
    /// Retries under way, where no budget is given.
    pub retries: u32,
}

/// Retries as a share of requests under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryBudget {
    /// Percent, 0 to 100.
    pub percent: u32,
    /// Retries that are always allowed.
    pub minimum_concurrency: u32,
}

/// When an endpoint is ejected. Detectors that are absent are off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutlierDetection {
    /// 5xx answers in a row.
    pub consecutive_5xx: Option<u32>,
    /// 502, 503, 504 or a reset in a row.
    pub consecutive_gateway_errors: Option<u32>,
    /// Failures to connect or time-outs in a row.
    pub consecutive_local_failures: Option<u32>,
    /// Ejects by success rate: standard deviations × 1000 below the mean.
    pub success_rate_deviation_permille: Option<u32>,
    /// Ejects above this percentage of failures.
    pub failure_percentage: Option<u32>,
    /// Time between sweeps.
    pub interval: Duration,
    /// First ejection; grows with each.
    pub base_ejection: Duration,
    /// Longest ejection.
    pub max_ejection: Duration,
    /// Percent of endpoints that may be out at once.
    pub max_ejection_percent: u32,
}

/// Active health check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between probes.
    pub interval: Duration,
    /// Time for an answer.
    pub timeout: Duration,
    /// Answers in a row that make it healthy.
    pub healthy_threshold: u32,
    /// Failures in a row that make it unhealthy.
    pub unhealthy_threshold: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// An HTTP GET that must answer 2xx.
    Http {
        /// Host header; the cluster's name where absent.
        host: Option<Text>,
        /// Path.
        path: Text,
    },
    /// `grpc.health.v1.Health/Check` of that service (empty for all).
    Grpc {
        /// Service name.
        service: Text,
    },
    /// A connection.
    Tcp,
}

/// The connection pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Requests after which a connection is closed; 0 for never.
    pub max_requests_per_connection: u32,
    /// A connection without requests is closed after this.
    pub idle_timeout: Duration,
    /// TCP keepalive, if on.
    pub tcp_keepalive: Option<Duration>,
}

canonical!(struct Cluster { stat_name, discovery, protocol, tls, connect_timeout, load_balancing, limits, retry_budget, outliers, health_check, pool });
canonical!(enum Discovery { Eds, Static(set), Dns { endpoints, refresh } });
canonical!(
    enum UpstreamProtocol {
        Http1,
        Http2,
        SameAsDownstream,
        Tcp,
        Udp,
    }
);
canonical!(enum UpstreamTls { Mesh { peers }, Mixed { peers, outside }, Origin { sni, trust, subject_names, client_certificate } });
canonical!(
    enum SubjectName {
        Dns(name),
        Uri(name),
    }
);
canonical!(enum LoadBalancing { RoundRobin, LeastRequest, Random, ConsistentHash { maglev, minimum_ring_size } });
canonical!(struct Limits { connections, pending_requests, requests, retries });
canonical!(struct RetryBudget { percent, minimum_concurrency });
canonical!(struct OutlierDetection { consecutive_5xx, consecutive_gateway_errors, consecutive_local_failures, success_rate_deviation_permille, failure_percentage, interval, base_ejection, max_ejection, max_ejection_percent });
canonical!(struct HealthCheck { probe, interval, timeout, healthy_threshold, unhealthy_threshold });
canonical!(enum Probe { Http { host, path }, Grpc { service }, Tcp });
canonical!(struct Pool { max_requests_per_connection, idle_timeout, tcp_keepalive });
