//! The schemas of Gateway API, as published (experimental channel: a superset of the standard one), in `crds/`.
//! One file per kind: version → schema, or the name of the version that says the same. What v1.6, which people have installed, calls
//! otherwise is let into the newer schema under both names (`crds/older`).

use serde_json::{Value, json};
use windrose_vocab::Kind;

/// The API group of these kinds.
pub(crate) const GROUP: &str = "gateway.networking.k8s.io";

/// Versions that users have, the one to write first.
const VERSIONS: [&str; 4] = ["v1", "v1beta1", "v1alpha3", "v1alpha2"];

/// Each served version of `kind` with its schema. Empty for kinds of other groups.
pub(crate) fn versions(kind: Kind) -> Vec<(&'static str, Value)> {
    let published: Value = serde_json::from_str(text(kind)).unwrap_or_default();
    let with_both = |schema: Value| if matches!(kind, Kind::HTTPRoute | Kind::GRPCRoute) { with_older_sessions(schema) } else { schema };
    VERSIONS.into_iter().filter_map(|name| Some((name, with_both(resolve(&published, name)?)))).collect()
}

const SESSIONS: &str = "/properties/spec/properties/rules/items/properties/sessionPersistence";

/// Rules of v1.7 that refuse what v1.6 says: it knew neither word, and made up a name itself.
const NEWER_ONLY: [&str; 2] = ["self.type != 'Cookie' || has(self.cookie)", "self.type != 'Header' || has(self.header)"];

/// `sessionName` and `cookieConfig` of v1.6 beside `cookie` and `header` of v1.7.
fn with_older_sessions(mut schema: Value) -> Value {
    let older: Value = serde_json::from_str(include_str!("../../crds/older/sessionPersistence.json")).unwrap_or_default();
    let Some(session) = schema.pointer_mut(SESSIONS) else { return schema };
    if let (Some(properties), Some(more)) =
        (session.pointer_mut("/properties").and_then(Value::as_object_mut), older["properties"].as_object())
    {
        properties.extend(more.clone());
    }
    let of = |schema: &Value| schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
    let both = json!({
        "message": "sessionName and cookieConfig are the words of Gateway API v1.6 for what cookie and header say: use either",
        "rule": "!(has(self.cookie) || has(self.header)) || !(has(self.sessionName) || has(self.cookieConfig))"
    });
    let newer = of(session).into_iter().filter(|rule| !NEWER_ONLY.iter().any(|only| rule["rule"] == *only));
    let rules: Vec<Value> = newer.chain(of(&older)).chain([both]).collect();
    session["x-kubernetes-validations"] = rules.into();
    schema
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
