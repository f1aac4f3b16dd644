use std::collections::BTreeSet;

use super::*;

/// Visits every place of a structural schema, with its path.
fn visit(place: &Value, path: &str, see: &mut dyn FnMut(&str, &Value)) {
    see(path, place);
    for (name, inner) in place["properties"].as_object().into_iter().flatten() {
        visit(inner, &format!("{path}.{name}"), see);
    }
    for (word, sign) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = place.get(word).filter(|inner| inner.is_object()) {
            visit(inner, &format!("{path}{sign}"), see);
        }
    }
}

fn schemas() -> Vec<(String, Value)> {
    let schema = |definition: Value| {
        (
            definition["spec"]["names"]["kind"].as_str().unwrap().to_owned(),
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone(),
        )
    };
    definitions().into_iter().map(schema).collect()
}

#[test]
fn every_kind_of_ours_has_a_definition_with_a_short_name_of_its_own() {
    let mut short = BTreeSet::new();
    assert!(definitions().len() >= 10);
    for definition in definitions() {
        let names = &definition["spec"]["names"];
        let kind = names["kind"].as_str().unwrap();
        assert_eq!(definition["metadata"]["name"], format!("{}.windrose.dev", names["plural"].as_str().unwrap()));
        assert!(short.insert(names["shortNames"][0].as_str().unwrap_or_else(|| panic!("{kind} has no short name")).to_owned()), "{kind}");
        assert!(names["categories"].as_array().unwrap().contains(&"windrose".into()));
        assert_eq!(definition["spec"]["versions"][0]["subresources"], json!({"status": {}}));
    }
}

/// The rules of structural schemas, as `apiextensions.k8s.io/v1` has them.
#[test]
fn every_schema_is_structural() {
    for (kind, schema) in schemas() {
        visit(&schema, "", &mut |path, place| {
            let at = format!("{kind}{path}");
            let members = place.as_object().unwrap_or_else(|| panic!("{at} is no schema"));
            let flag = |word: &str| members.get(&format!("x-kubernetes-{word}")) == Some(&true.into());
            assert!(members.contains_key("type") != flag("int-or-string") || flag("preserve-unknown-fields"), "{at} has no type");
            for word in ["$ref", "definitions", "uniqueItems", "nullable", "title", "examples", "const", "patternProperties"] {
                assert!(!members.contains_key(word), "{at}: {word}");
            }
            assert!(!(members.contains_key("properties") && members.contains_key("additionalProperties")), "{at}: both");
            assert!(!members.get("additionalProperties").is_some_and(Value::is_boolean), "{at}: additionalProperties is a schema");
            let required = members.get("required").and_then(Value::as_array).into_iter().flatten();
            required.for_each(|name| {
                assert!(members["properties"].get(name.as_str().unwrap()).is_some(), "{at}: {name} is required and unknown")
            });
            if members.get("type") == Some(&"array".into()) {
                assert!(members.contains_key("items"), "{at}: a list of what?");
            }
            for word in ["allOf", "anyOf", "oneOf"] {
                for inner in members.get(word).and_then(Value::as_array).into_iter().flatten() {
                    let wrong = inner
                        .as_object()
                        .unwrap()
                        .keys()
                        .find(|word| ["type", "description", "default", "additionalProperties"].contains(&word.as_str()));
                    assert_eq!(wrong, None, "{at}: within {word}");
                }
            }
        });
    }
}

#[test]
fn every_field_has_a_description() {
    for (kind, schema) in schemas() {
        for (name, field) in schema["properties"]["spec"]["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "{kind}.spec.{name}");
        }
    }
}

/// Nothing that a schema says is lost on the way but what is listed here, with the reason.
#[test]
fn no_word_of_a_schema_is_lost() {
    let replaced = BTreeSet::from(["nullable", "format", "additionalProperties"]);
    for kind in kinds() {
        let declared = schema(kind).json();
        let structural = structural::schema(&declared);
        visit(&declared, "", &mut |path, before| {
            let place = path.strip_prefix('.').map_or(Some(&structural), |path| at(&structural, path));
            let after = place.unwrap_or_else(|| panic!("{kind}{path} is gone"));
            for word in before.as_object().into_iter().flatten().map(|(word, _)| word.as_str()) {
                assert!(after.get(word).is_some() || replaced.contains(word), "{kind}{path}: {word} is lost");
            }
        });
    }
}

fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut pointer = String::new();
    for step in path.split('.') {
        match step.strip_suffix("[]") {
            _ if step == "*" => pointer.push_str("/additionalProperties"),
            Some(name) => pointer.push_str(&format!("/properties/{name}/items")),
            None => pointer.push_str(&format!("/properties/{step}")),
        }
    }
    root.pointer(&pointer)
}

#[test]
fn every_rule_stands_where_its_fields_are() {
    for kind in kinds() {
        let root = structural::schema(&schema(kind).json());
        for (path, rule, message) in rules::of(kind) {
            let place = at(&root, path).unwrap_or_else(|| panic!("{kind}: no {path}"));
            for field in rule.split("has(self.").skip(1).map(|rest| rest.split(')').next().unwrap()) {
                assert!(place["properties"].get(field).is_some(), "{kind} {path}: no {field}: {message}");
            }
        }
    }
}

#[test]
fn a_format_that_the_api_server_does_not_know_is_said_in_its_words() {
    let given = json!({"type": "string", "format": "ip"});
    assert_eq!(structural::schema(&given), json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}));
    assert_eq!(structural::schema(&json!({"type": "string", "format": "hostname"})), json!({"type": "string"}));
}

#[test]
fn what_may_be_anything_stays_so() {
    let free = json!({"x-kubernetes-preserve-unknown-fields": true});
    assert_eq!(structural::schema(&Value::Bool(true)), free);
    assert_eq!(structural::schema(&json!({})), free);
    let scalar = json!({"x-kubernetes-int-or-string": true, "type": "string", "anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(structural::schema(&scalar), json!({"x-kubernetes-int-or-string": true}));
}
