//! When an endpoint is given up on: by its answers (outlier detection), and by probes (active health checks).

use windrose_ir::cluster::{Cluster, HealthCheck, OutlierDetection, Probe, UpstreamProtocol};

use crate::pb;
use pb::core::health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};

/// Envoy turns the detectors for 5xx, success rate and local failures on by itself: what is absent is enforced at 0 %.
pub(crate) fn outlier_detection(outliers: &OutlierDetection) -> pb::cluster::OutlierDetection {
    let enforce = |detector: Option<u32>| pb::number(if detector.is_some() { 100 } else { 0 });
    let wrap = |value: u32| pb::google::UInt32Value { value };
    let local = outliers.consecutive_local_failures;
    pb::cluster::OutlierDetection {
        consecutive_5xx: outliers.consecutive_5xx.map(wrap),
        enforcing_consecutive_5xx: enforce(outliers.consecutive_5xx),
        consecutive_gateway_failure: outliers.consecutive_gateway_errors.map(wrap),
        enforcing_consecutive_gateway_failure: enforce(outliers.consecutive_gateway_errors),
        split_external_local_origin_errors: local.is_some(),
        consecutive_local_origin_failure: local.map(wrap),
        enforcing_consecutive_local_origin_failure: enforce(local),
        enforcing_local_origin_success_rate: pb::number(0),
        success_rate_stdev_factor: outliers.success_rate_deviation_permille.map(wrap),
        enforcing_success_rate: enforce(outliers.success_rate_deviation_permille),
        failure_percentage_threshold: outliers.failure_percentage.map(|percent| wrap(percent.min(100))),
        enforcing_failure_percentage: enforce(outliers.failure_percentage),
        enforcing_failure_percentage_local_origin: pb::number(0),
        interval: pb::positive(outliers.interval),
        base_ejection_time: pb::positive(outliers.base_ejection),
        max_ejection_time: pb::positive(outliers.max_ejection.max(outliers.base_ejection)),
        max_ejection_percent: pb::number(outliers.max_ejection_percent.min(100)),
        ..Default::default()
    }
}

pub(crate) fn health_check(check: &HealthCheck, cluster: &Cluster) -> pb::core::HealthCheck {
    pb::core::HealthCheck {
        timeout: pb::positive(check.timeout),
        interval: pb::positive(check.interval),
        // Envoy's own 60 s for clusters without traffic would make the first failure invisible for a minute.
        no_traffic_interval: pb::positive(check.interval),
        healthy_threshold: pb::number(check.healthy_threshold),
        unhealthy_threshold: pb::number(check.unhealthy_threshold),
        health_checker: Some(checker(&check.probe, cluster)),
        ..Default::default()
    }
}

fn checker(probe: &Probe, cluster: &Cluster) -> HealthChecker {
    match (probe, cluster.protocol) {
        (Probe::Http { host, path }, protocol) => HealthChecker::HttpHealthCheck(http(host.as_deref(), path, protocol, &cluster.stat_name)),
        (Probe::Grpc { service }, UpstreamProtocol::Http2 | UpstreamProtocol::SameAsDownstream) => {
            HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
                service_name: service.to_string(),
                authority: authority(&cluster.stat_name),
                ..Default::default()
            })
        }
        // Envoy refuses a gRPC probe of a cluster that does not speak HTTP/2: that it takes connections is what can be asked.
        (Probe::Grpc { .. }, UpstreamProtocol::Http1 | UpstreamProtocol::Tcp | UpstreamProtocol::Udp) | (Probe::Tcp, _) => {
            HealthChecker::TcpHealthCheck(TcpHealthCheck::default())
        }
    }
}

fn http(host: Option<&str>, path: &str, protocol: UpstreamProtocol, stat_name: &str) -> HttpHealthCheck {
    let codec = match protocol {
        UpstreamProtocol::Http2 => pb::types::CodecClientType::Http2,
        UpstreamProtocol::Http1 | UpstreamProtocol::SameAsDownstream | UpstreamProtocol::Tcp | UpstreamProtocol::Udp => {
            pb::types::CodecClientType::Http1
        }
    };
    HttpHealthCheck {
        host: host.map_or_else(|| authority(stat_name), ToOwned::to_owned),
        path: path.to_owned(),
        expected_statuses: vec![pb::types::Int64Range { start: 200, end: 300 }],
        codec_client_type: codec as i32,
        ..Default::default()
    }
}

/// A Host header from a name for statistics: Envoy would send the cluster's name, and servers refuse one with slashes.
pub(crate) fn authority(stat_name: &str) -> String {
    stat_name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}
