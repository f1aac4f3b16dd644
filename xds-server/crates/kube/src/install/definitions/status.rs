//! The status of our kinds, and what `kubectl get` shows of it.

use serde_json::{Value, json};
use windrose_vocab::Kind;

/// Whether the kind is a policy (GEP-713): its status speaks of each object it takes effect on.
pub(super) fn is_policy(kind: Kind) -> bool {
    kind.as_str().ends_with("Policy")
}

/// What is written under `status`.
pub(super) fn schema(kind: Kind) -> Value {
    if !is_policy(kind) {
        return json!({
            "type": "object",
            "description": "What became of it.",
            "properties": {"conditions": conditions()},
        });
    }
    let text = |most: u32| json!({"type": "string", "minLength": 1, "maxLength": most});
    let reference = json!({
        "type": "object",
        "description": "The object, as the policy or the Gateway names it.",
        "properties": {
            "group": {"type": "string", "maxLength": 253},
            "kind": text(63),
            "namespace": text(63),
            "name": text(253),
            "sectionName": text(253),
            "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        },
        "required": ["name"],
    });
    let ancestor = json!({
        "type": "object",
        "description": "What became of it towards one object.",
        "properties": {"ancestorRef": reference, "controllerName": text(253), "conditions": conditions()},
        "required": ["ancestorRef", "controllerName"],
    });
    json!({
        "type": "object",
        "description": "What became of it.",
        "properties": {"ancestors": {
            "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
            "description": "The objects that it takes effect on, and how (GEP-713).",
            "items": ancestor,
        }},
    })
}

/// As in `k8s.io/apimachinery`, so that every tool that waits for conditions understands ours.
fn conditions() -> Value {
    let condition = json!({
        "type": "object",
        "description": "One thing that holds or does not.",
        "properties": {
            "type": {"type": "string", "maxLength": 316, "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
            "message": {"type": "string", "maxLength": 32768},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
    });
    json!({
        "type": "array", "maxItems": 16,
        "description": "What holds of it.",
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": condition,
    })
}

/// Columns of `kubectl get`. Of a policy with many ancestors, the first one speaks.
pub(super) fn columns(kind: Kind) -> Value {
    let root = if is_policy(kind) { ".status.ancestors[*]" } else { ".status" };
    let accepted = |field: &str| format!(r#"{root}.conditions[?(@.type=="Accepted")].{field}"#);
    let column = |name: &str, kind: &str, path: String| json!({"name": name, "type": kind, "jsonPath": path});
    let mut columns = vec![column("Accepted", "string", accepted("status"))];
    let mut reason = column("Reason", "string", accepted("reason"));
    reason["priority"] = 1.into();
    columns.push(reason);
    columns.push(column("Age", "date", ".metadata.creationTimestamp".to_owned()));
    columns.into()
}
