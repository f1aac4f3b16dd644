//! The generated messages, clients and servers: of the sample services, with their descriptor set, and of the traces that
//! services and proxies tell. `make bless` generates them anew.

/// The encoded `FileDescriptorSet` of all sample services: imports and `google.api.http` options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("../../envoy-config/demo/orders.pb");

/// Package `orders.v1`.
pub mod orders {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code; what it says is in the .proto file")]
    include!("proto/orders.v1.rs");
}

/// Package `inventory.v1`.
pub mod inventory {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code; what it says is in the .proto file")]
    include!("proto/inventory.v1.rs");
}

/// OTLP's traces, package `opentelemetry.proto.collector.trace.v1`.
pub mod otlp {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code; what it says is in the .proto file")]
    include!("proto/opentelemetry.proto.collector.trace.v1.rs");
}
