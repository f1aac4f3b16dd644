//! Which headers carry a trace: a service that calls on must hand them over, or the trace falls apart.

use tonic::metadata::MetadataMap;

/// W3C and B3, both forms, and Envoy's request id.
const TRACE_HEADERS: [&str; 9] =
    ["traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags", "x-request-id"];

/// A request with `message` that continues the trace of the one that came in with `inbound`.
pub(crate) fn continued<T>(inbound: &MetadataMap, message: T) -> tonic::Request<T> {
    let mut outbound = tonic::Request::new(message);
    for name in TRACE_HEADERS {
        if let Some(value) = inbound.get(name) {
            outbound.metadata_mut().insert(name, value.clone());
        }
    }
    outbound
}
