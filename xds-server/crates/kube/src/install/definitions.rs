//! The definitions of our kinds (CustomResourceDefinition), from the very schemas that the decoder checks with.

mod rules;
mod status;
mod structural;

use serde_json::{Value, json};
use windrose_api::schema::schema;
use windrose_vocab::{Fingerprint, Kind};

use super::{VERSION, objects};
use crate::names;

/// The group of our kinds.
pub(crate) const GROUP: &str = "windrose.dev";

/// The annotation that tells whether a definition in a cluster is the one of this version.
pub const FINGERPRINT: &str = "windrose.dev/definition";

/// What people type, for kinds that have a short name.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("AuthPolicy", "wauth"),
    ("AuthorizationPolicy", "wauthz"),
    ("Backend", "wbe"),
    ("EdgePolicy", "wedge"),
    ("GatewayParameters", "wgp"),
    ("MeshPolicy", "wmesh"),
    ("RateLimitPolicy", "wrl"),
    ("TelemetryPolicy", "wtel"),
    ("TrafficPolicy", "wtraffic"),
    ("TranscodingPolicy", "wtc"),
    ("Workload", "wwl"),
];

/// The definition of each kind of ours, by the order of kinds.
#[must_use]
pub fn definitions() -> Vec<Value> {
    kinds().map(definition).collect()
}

/// The kinds that are ours.
fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.group() == GROUP)
}

fn definition(kind: Kind) -> Value {
    let plural = names::plural(kind);
    let mut names = json!({
        "kind": kind.as_str(),
        "listKind": format!("{kind}List"),
        "plural": plural,
        "singular": kind.as_str().to_ascii_lowercase(),
        "categories": ["windrose", "gateway-api"],
    });
    if let Some((_, short)) = SHORT_NAMES.iter().find(|(name, _)| *name == kind.as_str()) {
        names["shortNames"] = json!([short]);
    }
    let spec = json!({
        "group": GROUP,
        "names": names,
        "scope": if kind.is_cluster_scoped() { "Cluster" } else { "Namespaced" },
        "versions": [version(kind)],
    });
    let annotations = json!({FINGERPRINT: Fingerprint::of("definition", &spec.to_string()).to_string()});
    let mut labels = objects::labels();
    if status::is_policy(kind) {
        // GEP-713: tools find policies by it. Ours apply to what is below their target too.
        labels.insert("gateway.networking.k8s.io/policy".to_owned(), "Inherited".into());
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}"), "labels": labels, "annotations": annotations},
        "spec": spec,
    })
}

/// Our kinds have one version.
fn version(kind: Kind) -> Value {
    let declared = schema(kind);
    json!({
        "name": declared.versions().next().unwrap_or(VERSION),
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "additionalPrinterColumns": status::columns(kind),
        "schema": {"openAPIV3Schema": openapi(kind, &declared.json())},
    })
}

fn openapi(kind: Kind, declared: &Value) -> Value {
    let mut root = structural::schema(declared);
    for (path, rule, message) in rules::of(kind) {
        if let Some(place) = structural::place_at(&mut root, path).and_then(Value::as_object_mut) {
            let rules = place.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            if let Some(rules) = rules.as_array_mut() {
                rules.push(json!({"rule": rule, "message": message}));
            }
        }
    }
    // What the API server itself says of every object.
    root["properties"]["apiVersion"] = json!({"type": "string"});
    root["properties"]["kind"] = json!({"type": "string"});
    root["properties"]["metadata"] = json!({"type": "object"});
    root["properties"]["status"] = status::schema(kind);
    root
}

#[cfg(test)]
mod tests;
