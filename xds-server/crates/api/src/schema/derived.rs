//! The schemas that come out of Rust types: our kinds from their doc comments, Kubernetes' own from `k8s-openapi`.

use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use windrose_vocab::Kind;

use crate::{policy, wire};

/// The one version of our kinds.
const OURS: &str = "v1alpha1";

/// The version of `kind` with its schema. Empty for kinds of Gateway API.
pub(crate) fn versions(kind: Kind) -> Vec<(&'static str, Value)> {
    match kind {
        Kind::Namespace => kubernetes::<Namespace>(),
        Kind::Service => kubernetes::<Service>(),
        Kind::EndpointSlice => kubernetes::<EndpointSlice>(),
        Kind::Secret => with_files(kubernetes::<Secret>()),
        Kind::ConfigMap => with_files(kubernetes::<ConfigMap>()),
        Kind::ClusterTrustBundle => vec![("v1beta1", structural::<ClusterTrustBundle>()), ("v1alpha1", structural::<ClusterTrustBundle>())],
        Kind::Backend => ours::<wire::Backend>(kind),
        Kind::Workload => ours::<wire::Workload>(kind),
        Kind::AuthPolicy => ours::<policy::AuthPolicy>(kind),
        Kind::RateLimitPolicy => ours::<policy::RateLimitPolicy>(kind),
        Kind::TranscodingPolicy => ours::<policy::TranscodingPolicy>(kind),
        Kind::TrafficPolicy => ours::<policy::TrafficPolicy>(kind),
        Kind::EdgePolicy => ours::<policy::EdgePolicy>(kind),
        Kind::MeshPolicy => ours::<policy::MeshPolicy>(kind),
        Kind::AuthorizationPolicy => ours::<policy::AuthorizationPolicy>(kind),
        Kind::TelemetryPolicy => ours::<policy::TelemetryPolicy>(kind),
        Kind::GatewayParameters => ours::<policy::GatewayParameters>(kind),
        Kind::GatewayClass
        | Kind::Gateway
        | Kind::ListenerSet
        | Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::TLSRoute
        | Kind::TCPRoute
        | Kind::UDPRoute
        | Kind::ReferenceGrant
        | Kind::BackendTLSPolicy => Vec::new(),
    }
}

/// The schema of every kind's `metadata`.
pub(crate) fn metadata() -> Value {
    structural::<ObjectMeta>()
}

fn kubernetes<T: JsonSchema>() -> Vec<(&'static str, Value)> {
    vec![("v1", structural::<T>())]
}

/// In files, a Secret or ConfigMap may take values from files beside the one that declares it.
fn with_files(mut versions: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    let files = json!({
        "type": "object",
        "description": "Values from files: key to path, relative to the file that declares the object; followed when they change. Files mode only.",
        "additionalProperties": { "type": "string", "minLength": 1 },
    });
    for (_, schema) in &mut versions {
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("files".to_owned(), files.clone());
        }
    }
    versions
}

fn ours<T: JsonSchema>(kind: Kind) -> Vec<(&'static str, Value)> {
    let mut spec = structural::<T>();
    describe_targets(kind, &mut spec);
    let schema = json!({
        "type": "object",
        "description": spec.get("description"),
        "properties": {
            "apiVersion": { "type": "string", "enum": [format!("{}/{OURS}", kind.group())] },
            "kind": { "type": "string", "enum": [kind.as_str()] },
            "metadata": { "type": "object" },
            "spec": spec,
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        },
        "required": ["spec"],
    });
    vec![(OURS, schema)]
}

/// Says of the targets of a policy which kinds it takes, and of which it takes a part.
fn describe_targets(policy: Kind, spec: &mut Value) {
    let Some(Value::Object(fields)) = spec.pointer_mut("/properties/targetRefs/items/properties") else { return };
    let kinds = policy::target_kinds(policy);
    let named: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let part = |part: &str| {
        let of: Vec<&str> =
            kinds.iter().filter(|kind| policy::target_part(policy, **kind) == Some(part)).map(|kind| kind.as_str()).collect();
        (!of.is_empty()).then(|| format!("a {part} ({})", of.join(", ")))
    };
    let parts: Vec<String> = ["listener", "rule", "port"].into_iter().filter_map(part).collect();
    let part = match parts.is_empty() {
        true => "Stays absent: such a policy holds for the whole target.".to_owned(),
        false => format!("One part of it, by its name: {}. All of it where absent.", parts.join(", ")),
    };
    for (field, text) in [("kind", format!("Kind: {}.", named.join(", "))), ("sectionName", part)] {
        if let Some(Value::Object(schema)) = fields.get_mut(field) {
            schema.insert("description".to_owned(), text.into());
        }
    }
}

/// The schema of `T` in the structural form of Kubernetes: no references, `nullable` instead of a null type, one enum per choice.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    schema
}

/// `oneOf` single choices with a description each → one `enum`; formats that JSON Schema does not know → bounds; titles off.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(simplify);
            if is_schema(members) {
                members.remove("title");
                unsigned_to_bounds(members);
                choices_to_enum(members);
                nullable_any_of(members);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A mapping of properties may have one named `title`, whose value is a schema; a schema's own title is a text.
fn is_schema(members: &Map<String, Value>) -> bool {
    members.get("type").is_some_and(Value::is_string) || members.contains_key("oneOf") || members.contains_key("anyOf")
}

fn unsigned_to_bounds(members: &mut Map<String, Value>) {
    let maximum: Option<u64> = match members.get("format").and_then(Value::as_str) {
        Some("uint8") => Some(u64::from(u8::MAX)),
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint64" | "uint") => None,
        _ => return,
    };
    members.remove("format");
    if let Some(maximum) = maximum {
        members.entry("maximum").or_insert_with(|| maximum.into());
    }
}

fn choices_to_enum(members: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = members.get("oneOf") else { return };
    let single = |option: &Value| match option.get("enum")?.as_array()?.as_slice() {
        [choice @ Value::String(_)] => Some(choice.clone()),
        _ => None,
    };
    let Some(choices) = options.iter().map(single).collect::<Option<Vec<_>>>() else { return };
    let described = |option: &Value| {
        let name = option.pointer("/enum/0")?.as_str()?;
        Some(format!("- `{name}`: {}", option.get("description")?.as_str()?))
    };
    let lines: Vec<String> = options.iter().filter_map(described).collect();
    let description = members.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = if lines.is_empty() { description.to_owned() } else { format!("{description}\n\n{}", lines.join("\n")) };
    members.remove("oneOf");
    members.insert("type".into(), "string".into());
    members.insert("enum".into(), Value::Array(choices));
    members.insert("description".into(), description.trim().into());
}

/// `anyOf: [T, null]` → `T` that may be null.
fn nullable_any_of(members: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = members.get("anyOf") else { return };
    let is_null =
        |option: &Value| option.get("enum").is_some_and(|choices| *choices == json!([null])) || option.get("type") == Some(&"null".into());
    let [inner, null] = options.as_slice() else { return };
    if !is_null(null) {
        return;
    }
    let Value::Object(inner) = inner.clone() else { return };
    members.remove("anyOf");
    inner.into_iter().for_each(|(name, value)| {
        members.entry(name).or_insert(value);
    });
    members.insert("nullable".into(), true.into());
}
