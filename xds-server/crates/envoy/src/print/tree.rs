//! An encoded message as a tree of names and values, by the descriptors beside it: protobuf's JSON mapping, but with the
//! field names of the `.proto` files, in the order of their numbers.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use serde_json::Value as Scalar;

/// A value as YAML knows it.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Scalar(Scalar),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// Cut out of what `envoy-types` ships; a test keeps it current.
static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(&include_bytes!("../descriptors.bin")[..]).unwrap_or_default());

/// The message of that type URL. What is not known, or is no such message, is shown as its bytes.
pub(super) fn of(type_url: &str, bytes: &[u8]) -> Tree {
    decode(type_url, bytes).map_or_else(|| base64(bytes), |message| tree(&message))
}

fn decode(type_url: &str, bytes: &[u8]) -> Option<DynamicMessage> {
    let name = type_url.rsplit('/').next().unwrap_or(type_url);
    DynamicMessage::decode(DESCRIPTORS.get_message_by_name(name)?, bytes).ok()
}

fn tree(message: &DynamicMessage) -> Tree {
    well_known(message).unwrap_or_else(|| {
        let field = |(field, value): (prost_reflect::FieldDescriptor, &Value)| (field.name().to_owned(), value_tree(&field.kind(), value));
        Tree::Map(message.fields().map(field).collect())
    })
}

fn value_tree(kind: &Kind, value: &Value) -> Tree {
    match value {
        Value::Bool(value) => Tree::Scalar((*value).into()),
        Value::I32(value) => Tree::Scalar((*value).into()),
        Value::I64(value) => Tree::Scalar((*value).into()),
        Value::U32(value) => Tree::Scalar((*value).into()),
        Value::U64(value) => Tree::Scalar((*value).into()),
        Value::F32(value) => number(f64::from(*value)),
        Value::F64(value) => number(*value),
        Value::String(value) => Tree::Scalar(value.as_str().into()),
        Value::Bytes(value) => base64(value),
        Value::EnumNumber(number) => enumeration(kind, *number),
        Value::Message(message) => tree(message),
        Value::List(items) => Tree::List(items.iter().map(|item| value_tree(kind, item)).collect()),
        Value::Map(entries) => {
            let value_kind = kind.as_message().map(MessageDescriptor::map_entry_value_field);
            let kind = value_kind.map_or_else(|| kind.clone(), |field| field.kind());
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value_tree(&kind, value))).collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Tree::Map(entries)
        }
    }
}

/// Whole numbers without `.0`.
fn number(value: f64) -> Tree {
    let text = value.to_string();
    let whole = text.parse::<i64>().ok().map(Scalar::from);
    Tree::Scalar(whole.unwrap_or_else(|| serde_json::Number::from_f64(value).map_or(Scalar::Null, Scalar::Number)))
}

fn enumeration(kind: &Kind, number: i32) -> Tree {
    let name = kind.as_enum().and_then(|descriptor| descriptor.get_value(number)).map(|value| Scalar::from(value.name()));
    Tree::Scalar(name.unwrap_or_else(|| number.into()))
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn base64(bytes: &[u8]) -> Tree {
    Tree::Scalar(STANDARD.encode(bytes).into())
}

/// The types that the JSON mapping writes otherwise than by their fields.
fn well_known(message: &DynamicMessage) -> Option<Tree> {
    let get = |name: &str| message.get_field_by_name(name);
    match message.descriptor().full_name() {
        "google.protobuf.Any" => Some(any(get("type_url")?.as_str()?, get("value")?.as_bytes()?)),
        "google.protobuf.Duration" => {
            let (seconds, nanos) = (get("seconds")?.as_i64()?, get("nanos")?.as_i32()?);
            let fraction = format!("{seconds}.{nanos:09}");
            let text = fraction.trim_end_matches('0').trim_end_matches('.');
            Some(Tree::Scalar(format!("{text}s").into()))
        }
        "google.protobuf.Struct" => Some(value_tree(&message.descriptor().get_field_by_name("fields")?.kind(), get("fields")?.as_ref())),
        "google.protobuf.ListValue" => Some(value_tree(&message.descriptor().get_field_by_name("values")?.kind(), get("values")?.as_ref())),
        "google.protobuf.Value" => {
            let (field, value) = message.fields().next()?;
            let null = field.name() == "null_value";
            Some(if null { Tree::Scalar(Scalar::Null) } else { value_tree(&field.kind(), value) })
        }
        name if is_wrapper(name) => Some(value_tree(&message.descriptor().get_field_by_name("value")?.kind(), get("value")?.as_ref())),
        _ => None,
    }
}

fn is_wrapper(name: &str) -> bool {
    name.strip_prefix("google.protobuf.")
        .and_then(|name| name.strip_suffix("Value"))
        .is_some_and(|scalar| matches!(scalar, "Bool" | "Int32" | "Int64" | "UInt32" | "UInt64" | "Float" | "Double" | "String" | "Bytes"))
}

fn any(type_url: &str, bytes: &[u8]) -> Tree {
    let mut members = vec![("@type".to_owned(), Tree::Scalar(type_url.into()))];
    match of(type_url, bytes) {
        Tree::Map(fields) => members.extend(fields),
        value @ (Tree::Scalar(_) | Tree::List(_)) => members.push(("value".to_owned(), value)),
    }
    Tree::Map(members)
}
