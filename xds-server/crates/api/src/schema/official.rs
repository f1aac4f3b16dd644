//! The schemas of Gateway API, as published (experimental channel: a superset of the standard one), in `crds/`.
//! One file per kind: version → schema, or the name of the version that says the same.

use serde_json::Value;
use windrose_vocab::Kind;

/// The API group of these kinds.
pub(crate) const GROUP: &str = "gateway.networking.k8s.io";

/// Versions that users have, the one to write first.
const VERSIONS: [&str; 4] = ["v1", "v1beta1", "v1alpha3", "v1alpha2"];

/// Each served version of `kind` with its schema. Empty for kinds of other groups.
pub(crate) fn versions(kind: Kind) -> Vec<(&'static str, Value)> {
    let published: Value = serde_json::from_str(text(kind)).unwrap_or_default();
    VERSIONS.into_iter().filter_map(|name| Some((name, resolve(&published, name)?))).collect()
}

fn resolve(published: &Value, name: &str) -> Option<Value> {
    match published.get(name)? {
        Value::String(same) => published.get(same).cloned(),
        schema => Some(schema.clone()),
    }
}

fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::GatewayClass => include_str!("../../crds/GatewayClass.json"),
        Kind::Gateway => include_str!("../../crds/Gateway.json"),
        Kind::ListenerSet => include_str!("../../crds/ListenerSet.json"),
        Kind::HTTPRoute => include_str!("../../crds/HTTPRoute.json"),
        Kind::GRPCRoute => include_str!("../../crds/GRPCRoute.json"),
        Kind::TLSRoute => include_str!("../../crds/TLSRoute.json"),
        Kind::TCPRoute => include_str!("../../crds/TCPRoute.json"),
        Kind::UDPRoute => include_str!("../../crds/UDPRoute.json"),
        Kind::ReferenceGrant => include_str!("../../crds/ReferenceGrant.json"),
        Kind::BackendTLSPolicy => include_str!("../../crds/BackendTLSPolicy.json"),
        Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::ClusterTrustBundle => "{}",
        Kind::Backend
        | Kind::Workload
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::TranscodingPolicy
        | Kind::TrafficPolicy
        | Kind::EdgePolicy
        | Kind::MeshPolicy
        | Kind::AuthorizationPolicy
        | Kind::TelemetryPolicy
        | Kind::GatewayParameters => "{}",
    }
}
