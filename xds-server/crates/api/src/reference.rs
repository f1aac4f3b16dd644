//! The reference pages of our kinds, generated from the doc comments by way of the schema.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use windrose_vocab::Kind;

use crate::schema::schema;

/// Every page by its file name, `docs/reference/` in the repository.
#[must_use]
pub fn pages() -> BTreeMap<String, String> {
    let ours: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.group() == "windrose.dev").collect();
    let mut pages: BTreeMap<String, String> = ours.iter().map(|kind| (file(*kind), page(*kind))).collect();
    pages.insert("README.md".to_owned(), index(&ours));
    pages
}

const GENERATED: &str = "<!-- Generated from the doc comments in xds-server/crates/api. -->\n\n";

fn file(kind: Kind) -> String {
    format!("{}.md", kind.as_str().to_lowercase())
}

fn index(kinds: &[Kind]) -> String {
    let mut text = format!(
        "{GENERATED}# Reference\n\nThe kinds of `windrose.dev/v1alpha1`. Those of Gateway API are described at <https://gateway-api.sigs.k8s.io>.\n\n| kind | |\n|---|---|\n"
    );
    for kind in kinds {
        let json = schema(*kind).json();
        let line = description(&json).lines().next().unwrap_or_default();
        let _ = writeln!(text, "| [{kind}]({}) | {line} |", file(*kind));
    }
    text
}

fn page(kind: Kind) -> String {
    let schema = schema(kind);
    let json = schema.json();
    let mut text = format!("{GENERATED}# {kind}\n\n{}\n\n", description(&json));
    if let Some(example) = example(kind) {
        let _ = write!(text, "```yaml\n{example}```\n\n");
    }
    let spec = json.pointer("/properties/spec").unwrap_or(&Value::Null);
    table(&mut text, "spec", spec);
    text
}

/// An object of that kind as somebody would write it; none for the kinds of others.
#[must_use]
pub fn example(kind: Kind) -> Option<&'static str> {
    macro_rules! written {
        ($($kind:ident),*) => {
            match kind {
                $(Kind::$kind => Some(include_str!(concat!("../examples/", stringify!($kind), ".yaml"))),)*
                Kind::GatewayClass | Kind::Gateway | Kind::ListenerSet | Kind::ReferenceGrant | Kind::BackendTLSPolicy => None,
                Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => None,
                Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::ClusterTrustBundle => None,
            }
        };
    }
    written!(
        Backend,
        Workload,
        AuthPolicy,
        RateLimitPolicy,
        TranscodingPolicy,
        TrafficPolicy,
        EdgePolicy,
        MeshPolicy,
        AuthorizationPolicy,
        TelemetryPolicy,
        GatewayParameters
    )
}

/// One table for a mapping, then one for each mapping below it, in the order of the fields.
fn table(text: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let _ = write!(text, "## {path}\n\n");
    if path != "spec" {
        let _ = write!(text, "{}\n\n", description(schema));
    }
    text.push_str("| field | type | |\n|---|---|---|\n");
    let required = required(schema);
    for (name, inner) in properties {
        let must = if required.contains(&name.as_str()) { "**Required.** " } else { "" };
        let _ = writeln!(text, "| `{name}` | {} | {must}{} |", type_of(inner), cell(inner));
    }
    text.push('\n');
    for (name, inner) in properties {
        let (inner, suffix) = inner.get("items").map_or((inner, ""), |items| (items, "[]"));
        table(text, &format!("{path}.{name}{suffix}"), inner);
    }
}

fn type_of(schema: &Value) -> String {
    match (schema.get("type").and_then(Value::as_str), schema.get("items")) {
        (Some("array"), Some(items)) => format!("list of {}", type_of(items)),
        (Some("object"), _) => "mapping".to_owned(),
        (Some("string"), _) if is_duration(schema) => "duration".to_owned(),
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

fn is_duration(schema: &Value) -> bool {
    schema.get("pattern").and_then(Value::as_str).is_some_and(|pattern| pattern.contains("(h|m|s|ms)"))
}

/// Description and bounds in one line of a table.
fn cell(schema: &Value) -> String {
    let text = description(schema).replace("\n\n- ", " ").replace("\n- ", "; ").replace(":\n", ": ").replace('\n', " ").replace('|', "\\|");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match bounds(schema) {
        Some(bounds) => format!("{text} ({bounds})"),
        None => text,
    }
}

fn bounds(schema: &Value) -> Option<String> {
    let pair = |least: &str, most: &str, what: &str| {
        let bound = |name: &str| schema.get(name).filter(|value| value.as_f64() != Some(0.0)).map(ToString::to_string);
        match (bound(least), bound(most)) {
            (Some(least), Some(most)) => Some(format!("{least} to {most}{what}")),
            (Some(least), None) => Some(format!("at least {least}{what}")),
            (None, Some(most)) => Some(format!("at most {most}{what}")),
            (None, None) => None,
        }
    };
    pair("minimum", "maximum", "")
        .or_else(|| pair("minLength", "maxLength", " characters"))
        .or_else(|| pair("minItems", "maxItems", " items"))
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn required(schema: &Value) -> Vec<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}
