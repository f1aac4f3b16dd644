//! TranscodingPolicy: a gRPC service spoken as REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;

/// Speaks gRPC services as REST with JSON, as their `google.api.http` annotations say.
///
/// Attaches to an HTTPRoute or one of its rules, or to a Service. Native gRPC requests pass unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TranscodingPolicy {
    /// What it transcodes.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Where the descriptors are.
    pub descriptors: DescriptorSource,
    /// Full names of services; at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub services: Vec<String>,
    /// How JSON is printed and read.
    #[serde(default)]
    pub json: JsonOptions,
    /// Largest JSON body in bytes; larger ones get 413. 1 MiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_request_bytes: Option<u32>,
    /// Largest message of the service in bytes. 4 MiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_response_bytes: Option<u32>,
}

/// Where a `google.protobuf.FileDescriptorSet` is (`protoc --include_imports --descriptor_set_out`). Exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescriptorSource {
    /// A file, relative to the file that declares the policy; followed when it changes. Files mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A ConfigMap of the same namespace, key `descriptors.pb` in `binaryData`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// The set itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

/// How JSON is printed and read; all as proto3 JSON says where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonOptions {
    /// Print fields that have their default value.
    #[serde(default)]
    pub always_print_primitive_fields: bool,
    /// Print enums as numbers.
    #[serde(default)]
    pub enums_as_integers: bool,
    /// Print the names of the `.proto` file instead of camelCase.
    #[serde(default)]
    pub preserve_proto_field_names: bool,
    /// Drop unknown fields of a request instead of answering 400.
    #[serde(default)]
    pub ignore_unknown_fields: bool,
}
