//! TelemetryPolicy: traces, access logs and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;

/// Where traces and access logs go, and whether requests are counted by who called whom.
///
/// Attaches to Gateways or Workloads of its namespace; to all of the namespace where `targetRefs` is empty;
/// in the namespace `windrose-system`, to everything. Field by field the more specific one wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TelemetryPolicy {
    /// What it concerns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Traces. Off where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Access log. Where absent, of a Gateway that of its GatewayParameters, else off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Golden metrics among the proxy's own, for Prometheus at its `/stats/prometheus`: `envoy_windrose_requests` counts
    /// requests, `envoy_windrose_request_milliseconds` has their times. Labels: `reporter` (edge, client or server), `source`
    /// and `destination` (identities), `cluster`, `status`, `grpc_status`. Off where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<bool>,
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// What the collector speaks.
    pub provider: Provider,
    /// The collector: a Service or Backend of the policy's namespace.
    pub backend: String,
    /// Its port; needed for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Requests of 10,000 that start a trace; a trace that came in is always joined. 100 (1 %) where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000))]
    pub sampling_per_ten_thousand: Option<u32>,
}

/// What a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Provider {
    /// Zipkin v2 JSON, with B3 headers.
    Zipkin,
    /// OTLP over gRPC, with W3C trace context.
    OpenTelemetry,
}

/// Access log, one JSON object a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessLog {
    /// A file; standard output where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Only answers with this status or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub minimum_status: Option<u32>,
    /// Fields besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub fields: Vec<LogField>,
}

/// One field of a log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogField {
    /// Name.
    pub name: String,
    /// A request header.
    pub request_header: String,
}
