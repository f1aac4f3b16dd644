//! TrafficPolicy.

use windrose_vocab::Code;

use super::{Check, exactly_one, header_name, only_true, positive, target};
use crate::decode::{Path, Report, nearest};
use crate::policy::{ConsistentHash, HealthCheck, LoadBalancing, LoadBalancingKind, OutlierDetection, Retries, TrafficPolicy};

/// Statuses that Envoy can retry on (`retry-on` for gRPC).
const GRPC_STATUSES: [&str; 5] = ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

impl Check for TrafficPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        if let Some(times) = &self.timeouts {
            positive(times.connect, "connect", &at.field("timeouts"), report);
        }
        if let Some(entry) = &self.retries {
            retries(entry, &at.field("retries"), report);
        }
        if let Some(entry) = &self.outlier_detection {
            outlier_detection(entry, &at.field("outlierDetection"), report);
        }
        if let Some(entry) = &self.health_check {
            health_check(entry, &at.field("healthCheck"), report);
        }
        if let Some(entry) = &self.load_balancing {
            load_balancing(entry, &at.field("loadBalancing"), report);
        }
    }
}

fn retries(retries: &Retries, at: &Path<'_>, report: &mut Report) {
    positive(retries.per_try_timeout, "perTryTimeout", at, report);
    positive(retries.backoff, "backoff", at, report);
    let at = at.field("grpcStatuses");
    for (index, status) in retries.grpc_statuses.iter().enumerate().filter(|(_, status)| !GRPC_STATUSES.contains(&status.as_str())) {
        let hint = match nearest(status, GRPC_STATUSES) {
            Some(best) => format!("did you mean `{best}`?"),
            None => format!("known here: {}", GRPC_STATUSES.join(", ")),
        };
        let message = format!("`{}` cannot be tried again", status.escape_debug());
        report.error_with_hint(&at.index(index), Code::OutOfRange, message, hint);
    }
}

fn outlier_detection(entry: &OutlierDetection, at: &Path<'_>, report: &mut Report) {
    positive(entry.interval, "interval", at, report);
    positive(entry.base_ejection, "baseEjection", at, report);
    positive(entry.max_ejection, "maxEjection", at, report);
    if let (Some(base), Some(most)) = (entry.base_ejection, entry.max_ejection)
        && base > most
    {
        report.error(&at.field("maxEjection"), Code::Invalid, format!("`{most}` is less than `baseEjection`, `{base}`"));
    }
}

fn health_check(entry: &HealthCheck, at: &Path<'_>, report: &mut Report) {
    positive(entry.interval, "interval", at, report);
    positive(entry.timeout, "timeout", at, report);
    let probe = &entry.probe;
    let at = at.field("probe");
    let fields = [("httpPath", probe.http_path.is_some()), ("grpcService", probe.grpc_service.is_some()), ("tcp", probe.tcp.is_some())];
    exactly_one(&fields, &at, report);
    only_true(probe.tcp, "tcp", &at, report);
    if probe.http_path.as_deref().is_some_and(|path| !path.starts_with('/')) {
        report.error(&at.field("httpPath"), Code::OutOfRange, "does not begin with `/`");
    }
}

fn load_balancing(entry: &LoadBalancing, at: &Path<'_>, report: &mut Report) {
    let hashes = entry.kind == LoadBalancingKind::ConsistentHash;
    let at = at.field("consistentHash");
    match &entry.consistent_hash {
        None if hashes => report.error(&at, Code::MissingField, "required field `consistentHash` is missing: `type` is `ConsistentHash`"),
        Some(_) if !hashes => report.error(&at, Code::Invalid, "belongs to `type: ConsistentHash`"),
        Some(hash) => consistent_hash(hash, &at, report),
        None => {}
    }
}

fn consistent_hash(hash: &ConsistentHash, at: &Path<'_>, report: &mut Report) {
    let at = at.field("sources");
    for (index, source) in hash.sources.iter().enumerate() {
        let at = at.index(index);
        let fields =
            [("header", source.header.is_some()), ("cookie", source.cookie.is_some()), ("sourceAddress", source.source_address.is_some())];
        exactly_one(&fields, &at, report);
        only_true(source.source_address, "sourceAddress", &at, report);
        if let Some(header) = &source.header {
            header_name(header, &at.field("header"), report);
        }
    }
}
