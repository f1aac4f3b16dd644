//! The schemas themselves: complete, readable by us to the last word, and in step with the types.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;
use windrose_api::schema::{self, KindSchema};
use windrose_vocab::Kind;

fn all() -> impl Iterator<Item = &'static KindSchema> {
    Kind::ALL.into_iter().map(schema::schema)
}

/// Visits every schema within a schema; not its lists of names, defaults and examples.
fn visit(schema: &Value, see: &mut dyn FnMut(&serde_json::Map<String, Value>)) {
    let Some(members) = schema.as_object() else { return };
    see(members);
    for name in ["items", "additionalProperties", "not"] {
        members.get(name).into_iter().for_each(|inner| visit(inner, see));
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        members.get(name).and_then(Value::as_array).into_iter().flatten().for_each(|inner| visit(inner, see));
    }
    members.get("properties").and_then(Value::as_object).into_iter().flatten().for_each(|(_, inner)| visit(inner, see));
}

#[test]
fn every_kind_has_a_schema_that_says_apiversion_kind_and_metadata() {
    for kind in all() {
        let json = kind.json();
        let properties = json.get("properties").unwrap_or_else(|| panic!("{}", kind.kind));
        for name in ["apiVersion", "kind", "metadata"] {
            assert!(properties.get(name).is_some(), "{}: {name}", kind.kind);
        }
        assert!(kind.json().get("description").is_some_and(Value::is_string), "{}", kind.kind);
    }
}

#[test]
fn versions_are_those_that_users_have() {
    let versions = |kind| schema::schema(kind).versions().collect::<Vec<_>>();
    assert_eq!(versions(Kind::HTTPRoute), ["v1", "v1beta1"]);
    assert_eq!(versions(Kind::TLSRoute), ["v1", "v1alpha3", "v1alpha2"]);
    assert_eq!(versions(Kind::TCPRoute), ["v1", "v1alpha2"]);
    assert_eq!(versions(Kind::AuthPolicy), ["v1alpha1"]);
    assert_eq!(schema::schema(Kind::Service).api_version(), "v1");
    assert_eq!(schema::schema(Kind::EndpointSlice).api_version(), "discovery.k8s.io/v1");
}

#[test]
fn no_word_of_a_schema_is_passed_over() {
    let understood = BTreeSet::from([
        "additionalProperties",
        "allOf",
        "anyOf",
        "default",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "not",
        "nullable",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ]);
    // Atomic mappings matter to server-side apply only.
    let of_no_concern = BTreeSet::from(["description", "x-kubernetes-map-type"]);
    let mut others = BTreeSet::new();
    let mut formats = BTreeSet::new();
    for kind in all() {
        visit(&kind.json(), &mut |members| {
            others.extend(
                members.keys().filter(|name| !understood.contains(name.as_str()) && !of_no_concern.contains(name.as_str())).cloned(),
            );
            formats.extend(members.get("format").and_then(Value::as_str).map(str::to_owned));
        });
    }
    assert!(others.is_empty(), "{others:?}");
    let formats: Vec<_> = formats.iter().map(String::as_str).collect();
    assert_eq!(formats, ["byte", "date-time", "int32", "int64", "ip", "ipv4", "ipv6", "socket-address"]);
}

#[test]
fn every_pattern_compiles() {
    for kind in all() {
        visit(&kind.json(), &mut |members| {
            if let Some(pattern) = members.get("pattern").and_then(Value::as_str) {
                assert!(Regex::new(pattern).is_ok(), "{}: {pattern}", kind.kind);
            }
        });
    }
}

#[test]
fn every_rule_can_be_run_but_those_that_need_the_earlier_object() {
    let mut rules = 0;
    let mut need_earlier = BTreeSet::new();
    for kind in all() {
        for version in kind.versions() {
            let root = kind.version(version).unwrap();
            assert_eq!(schema::unrunnable(root), Default::default(), "{} {version}", kind.kind);
            root.for_each_rule("", &mut |path, rule| {
                rules += 1;
                if rule.expression.contains("oldSelf") {
                    need_earlier.insert(format!("{}{path}: {}", kind.kind, rule.expression));
                }
            });
        }
    }
    assert!(rules > 300, "{rules} rules");
    assert_eq!(need_earlier.into_iter().collect::<Vec<_>>(), ["GatewayClass.spec.controllerName: self == oldSelf"]);
}

#[test]
fn the_reference_pages_are_current() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reference");
    for (name, text) in windrose_api::reference::pages() {
        let path = folder.join(&name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name} is not current: run this test with BLESS=1");
    }
}
