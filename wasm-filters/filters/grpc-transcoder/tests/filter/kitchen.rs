//! The descriptor set of `kitchen.proto`, as bytes, as a schema of ours, and as prost-reflect reads it.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use windrose_grpc_transcoder::descriptor;
use windrose_grpc_transcoder::json::Json;
use windrose_grpc_transcoder::json_to_proto::Encoder;
use windrose_grpc_transcoder::proto_to_json::{Printing, Unprintable, print_message};
use windrose_grpc_transcoder::schema::{MessageId, Schema};

pub(crate) const SERVICE: &str = "kitchen.v1.Kitchen";

pub(crate) static SET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/proto");
    let mut compiler = protox::Compiler::new([folder, samples]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("kitchen.proto").unwrap();
    compiler.encode_file_descriptor_set()
});

pub(crate) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(SET.as_slice()).unwrap());

pub(crate) fn schema() -> Schema {
    descriptor::load(&SET, &[SERVICE], &[]).unwrap()
}

pub(crate) fn everything() -> MessageDescriptor {
    POOL.get_message_by_name("kitchen.v1.Everything").unwrap()
}

pub(crate) fn id(schema: &Schema, name: &str) -> MessageId {
    schema.message_named(name).unwrap()
}

/// JSON to protobuf by us: the bytes, or the refusal as a sentence.
pub(crate) fn encode(schema: &Schema, json: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder::new(schema, false, &[], Vec::new());
    let body = Json::new(json).and_then(|mut json| encoder.body(&mut json, id(schema, "kitchen.v1.Everything")));
    body.map(|()| encoder.out).map_err(|refusal| refusal.to_string())
}

/// Protobuf to JSON by us.
pub(crate) fn print(schema: &Schema, printing: Printing, bytes: &[u8]) -> Result<String, Unprintable> {
    let mut out = Vec::new();
    print_message(schema, printing, id(schema, "kitchen.v1.Everything"), bytes, &mut out, 1 << 20)?;
    Ok(String::from_utf8(out).unwrap())
}

/// JSON to a message by the oracle.
pub(crate) fn oracle(json: &str) -> Result<DynamicMessage, String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(everything(), &mut reader).map_err(|cause| cause.to_string())?;
    reader.end().map_err(|cause| cause.to_string())?;
    Ok(message)
}

/// A message in a form in which NaN equals itself and maps have an order.
pub(crate) fn comparable(message: &DynamicMessage) -> serde_json::Value {
    normal(serde_json::to_value(message).unwrap())
}

/// Numbers as text of a few digits: `1` and `1.0` are one number in JSON, the oracle prints a float as a double, and its
/// reader of numbers may miss the last bit.
pub(crate) fn normal(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => format!("{:.5e}", number.as_f64().unwrap()).into(),
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        other => other,
    }
}
