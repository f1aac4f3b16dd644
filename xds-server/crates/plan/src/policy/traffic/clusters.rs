//! What TrafficPolicies say that only a cluster can do.

use std::time::Duration;

use windrose_api::policy::{CircuitBreaker, HealthCheck, LoadBalancing, LoadBalancingKind, OutlierDetection, Probe, TrafficPolicy};
use windrose_ir::cluster as ir;

use super::around;
use crate::backend::{BackendId, ClusterKey, Flavor};
use crate::limits;
use crate::world::View;

/// The parts of a cluster that policies decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterTraffic {
    pub(crate) connect_timeout: Duration,
    pub(crate) load_balancing: ir::LoadBalancing,
    pub(crate) limits: ir::Limits,
    pub(crate) retry_budget: ir::RetryBudget,
    pub(crate) outliers: Option<ir::OutlierDetection>,
    pub(crate) health_check: Option<ir::HealthCheck>,
}

/// What holds for a cluster.
pub(crate) fn of_cluster(view: &View<'_>, key: &ClusterKey) -> ClusterTraffic {
    let policies = around(view, key);
    let find = |of: fn(&TrafficPolicy) -> Option<Duration>| policies.iter().find_map(|policy| of(policy));
    let connect = find(|policy| policy.timeouts.as_ref()?.connect.map(|time| time.0)).filter(|time| !time.is_zero());
    let budget = policies.iter().find_map(|policy| policy.retries.as_ref()?.budget.as_ref());
    let breakers: Vec<&CircuitBreaker> = policies.iter().filter_map(|policy| policy.circuit_breaker.as_ref()).collect();
    let outliers: Vec<&OutlierDetection> = policies.iter().filter_map(|policy| policy.outlier_detection.as_ref()).collect();
    let sticky = key.owner.as_ref().is_some_and(|owner| owner.sticky);
    let balancing = policies.iter().find_map(|policy| policy.load_balancing.as_ref());
    let datagrams = key.flavor == Flavor::Udp;
    ClusterTraffic {
        connect_timeout: connect.unwrap_or(limits::CONNECT_TIMEOUT),
        load_balancing: match load_balancing(balancing) {
            // The others do not, or not quite, follow the weights of endpoints.
            ir::LoadBalancing::LeastRequest | ir::LoadBalancing::Random if matches!(key.backend, BackendId::Split(_)) => {
                ir::LoadBalancing::RoundRobin
            }
            found if sticky => sessions(found),
            found => found,
        },
        // A session of datagrams counts as a connection until it has been idle for long enough.
        limits: circuit(&breakers, if datagrams { limits::CONNECTIONS } else { limits::CIRCUIT }),
        retry_budget: ir::RetryBudget {
            percent: budget.map_or(limits::RETRY_BUDGET_PERCENT, |budget| budget.percent),
            minimum_concurrency: budget.map_or(limits::RETRY_BUDGET_MINIMUM, |budget| budget.minimum),
        },
        outliers: outlier_detection(&outliers).filter(|_| !datagrams),
        // No probe is made of datagrams.
        health_check: policies.iter().find_map(|policy| policy.health_check.as_ref()).and_then(health_check).filter(|_| !datagrams),
    }
}

fn load_balancing(declared: Option<&LoadBalancing>) -> ir::LoadBalancing {
    match declared.map(|declared| (declared.kind, &declared.consistent_hash)) {
        Some((LoadBalancingKind::RoundRobin, _)) => ir::LoadBalancing::RoundRobin,
        Some((LoadBalancingKind::Random, _)) => ir::LoadBalancing::Random,
        Some((LoadBalancingKind::ConsistentHash, Some(hash))) => ir::LoadBalancing::ConsistentHash {
            maglev: hash.maglev,
            minimum_ring_size: hash.minimum_ring_size.unwrap_or(limits::RING_SIZE_MIN),
        },
        Some((LoadBalancingKind::LeastRequest | LoadBalancingKind::ConsistentHash, _)) | None => ir::LoadBalancing::LeastRequest,
    }
}

fn sessions(declared: ir::LoadBalancing) -> ir::LoadBalancing {
    match declared {
        hashing @ ir::LoadBalancing::ConsistentHash { .. } => hashing,
        ir::LoadBalancing::RoundRobin | ir::LoadBalancing::LeastRequest | ir::LoadBalancing::Random => {
            ir::LoadBalancing::ConsistentHash { maglev: true, minimum_ring_size: limits::RING_SIZE_MIN }
        }
    }
}

fn circuit(declared: &[&CircuitBreaker], default: u32) -> ir::Limits {
    let find = |of: fn(&CircuitBreaker) -> Option<u32>| declared.iter().find_map(|breaker| of(breaker)).unwrap_or(default);
    ir::Limits {
        connections: find(|breaker| breaker.max_connections),
        pending_requests: find(|breaker| breaker.max_pending_requests),
        requests: find(|breaker| breaker.max_requests),
        retries: limits::RETRY_BUDGET_MINIMUM,
    }
}

fn outlier_detection(declared: &[&OutlierDetection]) -> Option<ir::OutlierDetection> {
    if declared.is_empty() {
        return None;
    }
    let number = |of: fn(&OutlierDetection) -> Option<u32>| declared.iter().find_map(|one| of(one));
    let time = |of: fn(&OutlierDetection) -> Option<windrose_api::scalar::Duration>, default: Duration| {
        declared.iter().find_map(|one| of(one)).map(|time| time.0).filter(|time| !time.is_zero()).unwrap_or(default)
    };
    let base_ejection = time(|one| one.base_ejection, limits::OUTLIER_EJECTION);
    let mut found = ir::OutlierDetection {
        consecutive_5xx: number(|one| one.consecutive_5xx),
        consecutive_gateway_errors: number(|one| one.consecutive_gateway_errors),
        consecutive_local_failures: number(|one| one.consecutive_local_failures),
        success_rate_deviation_permille: number(|one| one.success_rate_deviation_permille),
        failure_percentage: number(|one| one.failure_percentage),
        interval: time(|one| one.interval, limits::OUTLIER_INTERVAL),
        base_ejection,
        max_ejection: time(|one| one.max_ejection, limits::OUTLIER_EJECTION_MAX).max(base_ejection),
        max_ejection_percent: number(|one| one.max_ejection_percent).unwrap_or(limits::OUTLIER_PERCENT_MAX),
    };
    let detectors = [
        found.consecutive_5xx,
        found.consecutive_gateway_errors,
        found.consecutive_local_failures,
        found.success_rate_deviation_permille,
        found.failure_percentage,
    ];
    if detectors.iter().all(Option::is_none) {
        found.consecutive_5xx = Some(limits::OUTLIER_5XX);
    }
    Some(found)
}

fn health_check(declared: &HealthCheck) -> Option<ir::HealthCheck> {
    let time = |declared: Option<windrose_api::scalar::Duration>, default: Duration| {
        declared.map(|time| time.0).filter(|time| !time.is_zero()).unwrap_or(default)
    };
    Some(ir::HealthCheck {
        probe: probe(&declared.probe)?,
        interval: time(declared.interval, limits::HEALTH_INTERVAL),
        timeout: time(declared.timeout, limits::HEALTH_TIMEOUT),
        healthy_threshold: declared.healthy_threshold.unwrap_or(1),
        unhealthy_threshold: declared.unhealthy_threshold.unwrap_or(limits::HEALTH_BAD),
    })
}

pub(super) fn probe(declared: &Probe) -> Option<ir::Probe> {
    match (&declared.http_path, &declared.grpc_service, declared.tcp) {
        (Some(path), None, None) => Some(ir::Probe::Http { host: None, path: path.as_str().into() }),
        (None, Some(service), None) => Some(ir::Probe::Grpc { service: service.as_str().into() }),
        (None, None, Some(true)) => Some(ir::Probe::Tcp),
        _ => None,
    }
}
