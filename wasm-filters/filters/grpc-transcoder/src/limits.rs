//! Every bound of this filter, with its unit and its reason.

/// Bytes of one descriptor set: the whole of googleapis is about 3 MiB, and a set is parsed by every worker.
pub const DESCRIPTOR_SET_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Message and enum types named in one descriptor set.
pub const TYPES_MAX: usize = 50_000;
/// Fields of one message, and values of one enum: field indices are 16 bits wide.
pub const MEMBERS_MAX: usize = 16_384;
/// How deep types are nested inside types in a `.proto` file.
pub const TYPE_NESTING_MAX: u32 = 32;
/// HTTP bindings of one policy: the router is built per worker.
pub const BINDINGS_MAX: usize = 10_000;
/// `additional_bindings` are one level deep by specification; this bounds how many one method may have.
pub const BINDINGS_PER_METHOD_MAX: usize = 64;
/// Segments of one template or of one request path; more is answered with 400.
pub const PATH_SEGMENTS_MAX: usize = 128;
/// Variables of one template: one bit each in the mask that finds collisions.
pub const VARIABLES_MAX: usize = 32;
/// Names in one field path (`a.b.c`).
pub const FIELD_PATH_MAX: usize = 16;
/// Query parameters of one request.
pub const QUERY_PARAMETERS_MAX: usize = 256;
/// JSON and protobuf nesting, as in the protobuf libraries; deeper is answered with 400.
pub const NESTING_MAX: u32 = 100;
/// Bytes of a request body when the policy names no other bound (1 MiB, Envoy's own buffer).
pub const REQUEST_BYTES_DEFAULT: usize = 1024 * 1024;
/// Bytes of one response message when the policy names no other bound.
pub const RESPONSE_MESSAGE_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// The largest bound a policy may name, for both: one message is held in the memory of a worker.
pub const MESSAGE_BYTES_CEILING: usize = 64 * 1024 * 1024;
/// JSON may be longer than the message it came from (names, escapes, base64); this bounds by how much.
pub const JSON_GROWTH_MAX: usize = 16;
/// Milliseconds to which a client's `grpc-timeout` is cut when the policy names no other bound.
pub const TIMEOUT_MAX_DEFAULT: u64 = 60_000;
/// Milliseconds below which a client's `grpc-timeout` is raised: a nanosecond only burns an upstream request.
pub const TIMEOUT_MIN: u64 = 1;
/// Characters of a field path or of an offending value shown in an error.
pub const SHOWN_CHARS_MAX: usize = 64;
/// Steps of a field path shown in an error.
pub const SHOWN_STEPS_MAX: usize = 16;
/// Bytes of a `grpc-message` passed on to the client.
pub const STATUS_MESSAGE_BYTES_MAX: usize = 4096;
/// Characters of one JSON number; an exact double has at most 1,077.
pub const NUMBER_CHARS_MAX: usize = 1100;
