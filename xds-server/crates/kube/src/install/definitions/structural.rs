//! A schema as the API server takes it: structural, with no word that it does not know.

use serde_json::{Map, Value, json};

/// Words of a schema that the API server knows and we use; others are left out, and a test lists those.
const KNOWN: [&str; 25] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "description",
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
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
];

/// The same, spelled with a prefix that is Kubernetes' own.
const OWN_PREFIX: &str = "x-kubernetes-";

/// Formats that the API server checks; it says a warning about others.
const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "uuid"];

/// Words that may not stand where a value is only judged.
const NOT_IN_JUDGEMENTS: [&str; 5] = ["type", "description", "default", "additionalProperties", "nullable"];

/// The structural form of `declared`.
pub(super) fn schema(declared: &Value) -> Value {
    match declared {
        Value::Object(members) if !members.is_empty() => Value::Object(place(members)),
        // Anything goes.
        _ => json!({"x-kubernetes-preserve-unknown-fields": true}),
    }
}

fn place(declared: &Map<String, Value>) -> Map<String, Value> {
    let mut place = Map::new();
    for (word, value) in declared {
        match (word.as_str(), value) {
            ("properties", Value::Object(all)) => {
                let all: Map<String, Value> = all.iter().map(|(name, inner)| (name.clone(), schema(inner))).collect();
                place.insert(word.clone(), all.into());
            }
            ("items" | "additionalProperties", Value::Object(_)) => drop(place.insert(word.clone(), schema(value))),
            // Unknown members are refused all the same: by pruning, and by field validation of whoever sends them.
            ("additionalProperties", Value::Bool(false)) => {}
            ("additionalProperties", _) => drop(place.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into())),
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => {
                let all: Vec<Value> =
                    all.iter().map(judgement).filter(|inner| inner.as_object().is_some_and(|inner| !inner.is_empty())).collect();
                if !all.is_empty() {
                    place.insert(word.clone(), all.into());
                }
            }
            ("not", inner) => drop(place.insert(word.clone(), judgement(inner))),
            ("format", Value::String(format)) => place.extend(of_format(format)),
            ("uniqueItems", Value::Bool(true)) => drop(place.insert("x-kubernetes-list-type".to_owned(), "set".into())),
            // A `null` that may be left out is taken out by the API server, so that rules see members that say something.
            ("nullable", _) => {}
            (known, _) if KNOWN.contains(&known) || known.starts_with(OWN_PREFIX) => drop(place.insert(word.clone(), value.clone())),
            _ => {}
        }
    }
    if place.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        place.remove("type");
    }
    place
}

/// A schema within `anyOf` and its like, which judges values and declares nothing.
fn judgement(declared: &Value) -> Value {
    let Value::Object(members) = schema(declared) else { return json!({}) };
    let kept = members.into_iter().filter(|(word, _)| !NOT_IN_JUDGEMENTS.contains(&word.as_str()) && !word.starts_with(OWN_PREFIX));
    let inner = |(word, value): (String, Value)| match (word.as_str(), &value) {
        ("properties", Value::Object(all)) => {
            let all: Map<String, Value> = all.iter().map(|(name, inner)| (name.clone(), judgement(inner))).collect();
            (word, all.into())
        }
        ("items", _) => (word, judgement(&value)),
        _ => (word, value),
    };
    Value::Object(kept.map(inner).collect())
}

/// A format, in words that the API server knows.
fn of_format(format: &str) -> Map<String, Value> {
    let said = match format {
        "ip" => json!({"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}),
        "socket-address" => json!({"pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"}),
        "ipv4" | "ipv6" => json!({"format": format}),
        known if FORMATS.contains(&known) => json!({"format": known}),
        _ => json!({}),
    };
    said.as_object().cloned().unwrap_or_default()
}

/// The place that `path` leads to: `spec.jwt[].jwks`, with `[]` for the items of a list.
pub(super) fn place_at<'a>(root: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').try_fold(root, |place, step| {
        let (name, items) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let member = place.get_mut("properties")?.get_mut(name)?;
        if items { member.get_mut("items") } else { Some(member) }
    })
}
