//! JSON Schema, as CRDs spell it, into a tree that can be walked. Words it does not know are dropped: a test lists those in use.

use serde_json::Value;

use super::{Additional, Limits, List, Pattern, Rule, Schema, Type};

/// The schema that `json` spells.
pub(crate) fn schema(json: &Value) -> Schema {
    parse(json, true)
}

/// Inside `anyOf`, `not` and their like only values are judged: what members a mapping has was decided outside.
fn parse(json: &Value, structural: bool) -> Schema {
    let child = |name: &str| json.get(name).map(|inner| parse(inner, structural));
    Schema {
        types: types(json),
        nullable: flag(json, "nullable"),
        properties: members(json, "properties").map(|(name, inner)| (name.as_str().into(), parse(inner, structural))).collect(),
        additional: additional(json, structural),
        required: texts(json, "required"),
        items: child("items").map(Box::new),
        default: json.get("default").cloned(),
        limits: limits(json),
        list: list(json),
        any_of: alternatives(json, "anyOf"),
        one_of: alternatives(json, "oneOf"),
        all_of: alternatives(json, "allOf"),
        not: json.get("not").map(|inner| Box::new(parse(inner, false))),
        rules: rules(json),
    }
}

fn types(json: &Value) -> Option<Type> {
    if flag(json, "x-kubernetes-int-or-string") {
        return Some(Type::IntOrString);
    }
    match json.get("type")?.as_str()? {
        "object" => Some(Type::Object),
        "array" => Some(Type::Array),
        "string" => Some(Type::String),
        "integer" => Some(Type::Integer),
        "number" => Some(Type::Number),
        "boolean" => Some(Type::Boolean),
        _ => None,
    }
}

fn additional(json: &Value, structural: bool) -> Additional {
    match json.get("additionalProperties") {
        _ if flag(json, "x-kubernetes-preserve-unknown-fields") => Additional::Any,
        Some(Value::Bool(true)) => Additional::Any,
        Some(Value::Bool(false)) => Additional::Refused,
        Some(inner) => Additional::Each(Box::new(parse(inner, structural))),
        None if structural && json.get("type").is_some() => Additional::Refused,
        None => Additional::Any,
    }
}

fn list(json: &Value) -> List {
    match json.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => List::Set,
        Some("map") => List::Map(texts(json, "x-kubernetes-list-map-keys")),
        _ => List::Atomic,
    }
}

fn limits(json: &Value) -> Limits {
    let number = |name: &str| json.get(name).and_then(Value::as_f64);
    let count = |name: &str| json.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let format = json.get("format").and_then(Value::as_str);
    let (least, most) = bounds(format);
    Limits {
        choices: json.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        minimum: number("minimum").or(least),
        maximum: number("maximum").or(most),
        length_min: count("minLength"),
        length_max: count("maxLength"),
        items_min: count("minItems"),
        items_max: count("maxItems"),
        members_min: count("minProperties"),
        members_max: count("maxProperties"),
        pattern: json.get("pattern").and_then(Value::as_str).map(Pattern::new),
        format: format.map(Into::into),
    }
}

fn bounds(format: Option<&str>) -> (Option<f64>, Option<f64>) {
    match format {
        Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
        _ => (None, None),
    }
}

fn rules(json: &Value) -> Vec<Rule> {
    let listed = json.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|rule| Some(Rule::new(rule.get("rule")?.as_str()?, rule.get("message").and_then(Value::as_str)))).collect()
}

fn alternatives(json: &Value, name: &str) -> Vec<Schema> {
    json.get(name).and_then(Value::as_array).into_iter().flatten().map(|inner| parse(inner, false)).collect()
}

fn members<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    json.get(name).and_then(Value::as_object).into_iter().flatten()
}

fn texts(json: &Value, name: &str) -> Vec<Box<str>> {
    json.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

fn flag(json: &Value, name: &str) -> bool {
    json.get(name).and_then(Value::as_bool).unwrap_or_default()
}
