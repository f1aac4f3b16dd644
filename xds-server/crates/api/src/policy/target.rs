//! What a policy attaches to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windrose_vocab::Kind;

/// An object of the policy's own namespace, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// API group: `gateway.networking.k8s.io`, `windrose.dev`, or empty for a Service.
    #[serde(default)]
    pub group: String,
    /// Kind: one of [`target_kinds`].
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One part of it, by its name: see [`target_part`]. All of it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// The kinds that a policy of this kind attaches to; none for what is no policy.
#[must_use]
pub fn target_kinds(policy: Kind) -> &'static [Kind] {
    match policy {
        Kind::BackendTLSPolicy => &[Kind::Service, Kind::Backend],
        Kind::AuthPolicy | Kind::RateLimitPolicy => &[Kind::Gateway, Kind::ListenerSet, Kind::HTTPRoute, Kind::GRPCRoute],
        Kind::TranscodingPolicy => &[Kind::HTTPRoute, Kind::Service],
        Kind::TrafficPolicy => &[Kind::Service, Kind::Backend, Kind::HTTPRoute, Kind::GRPCRoute, Kind::UDPRoute],
        Kind::EdgePolicy => &[Kind::Gateway, Kind::ListenerSet],
        Kind::MeshPolicy => &[Kind::Workload],
        Kind::AuthorizationPolicy => &[Kind::Workload, Kind::Service, Kind::Gateway, Kind::ListenerSet],
        Kind::TelemetryPolicy => &[Kind::Gateway, Kind::Workload],
        _ => &[],
    }
}

/// What one part of such a target is called, where a policy of this kind can hold for that alone.
#[must_use]
pub fn target_part(policy: Kind, target: Kind) -> Option<&'static str> {
    match (policy, target) {
        // What a proxy tells, it tells of all its listeners; where datagrams go, one rule decides.
        (Kind::TelemetryPolicy, _) | (_, Kind::UDPRoute) => None,
        (_, Kind::Gateway | Kind::ListenerSet) => Some("listener"),
        (_, Kind::HTTPRoute | Kind::GRPCRoute) => Some("rule"),
        (_, Kind::Service) => Some("port"),
        _ => None,
    }
}
