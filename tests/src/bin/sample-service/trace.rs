//! Traces: which headers a service hands on when it calls, or the trace falls apart, and the span that it tells of itself.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::json;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use windrose_tests::client::Call;
use windrose_tests::proto::otlp;
use windrose_tests::proto::otlp::trace_service_client::TraceServiceClient;

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

/// Where spans go, and what is spoken there: `zipkin=127.0.0.1:9411` or `otlp=127.0.0.1:4317`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Collector {
    /// Zipkin v2 JSON over HTTP.
    Zipkin(SocketAddr),
    /// OTLP over gRPC.
    Otlp(SocketAddr),
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || format!("{text}: known are zipkin=IP:PORT and otlp=IP:PORT");
        let (kind, address) = text.split_once('=').ok_or_else(known)?;
        let address = address.parse().map_err(|cause| format!("{address}: {cause}"))?;
        match kind {
            "zipkin" => Ok(Self::Zipkin(address)),
            "otlp" => Ok(Self::Otlp(address)),
            _ => Err(known()),
        }
    }
}

/// A span of this service below the one that called it.
#[derive(Debug)]
pub(crate) struct Span {
    service: &'static str,
    name: String,
    trace: String,
    parent: String,
    start: SystemTime,
}

impl Span {
    /// Begins one for a request whose trace is sampled; none where it is not.
    pub(crate) fn begin(service: &'static str, name: String, headers: &HeaderMap) -> Option<Self> {
        let (trace, parent) = w3c(headers).or_else(|| b3(headers))?;
        Some(Self { service, name, trace, parent, start: SystemTime::now() })
    }

    /// Ends it now, and tells the collector.
    ///
    /// # Errors
    /// Why the collector did not take it.
    pub(crate) async fn end(self, collector: Collector) -> Result<(), String> {
        let (id, end) = (RandomState::new().build_hasher().finish().max(1), SystemTime::now());
        match collector {
            Collector::Zipkin(address) => self.tell_zipkin(id, end, address).await,
            Collector::Otlp(address) => self.tell_otlp(id, end, address).await,
        }
    }

    async fn tell_zipkin(self, id: u64, end: SystemTime, address: SocketAddr) -> Result<(), String> {
        let (start, end) = (nanoseconds(self.start) / 1_000, nanoseconds(end) / 1_000);
        let span = json!([{
            "traceId": self.trace,
            "parentId": self.parent,
            "id": format!("{id:016x}"),
            "kind": "SERVER",
            "name": self.name,
            "timestamp": start,
            "duration": end.saturating_sub(start).max(1),
            "localEndpoint": { "serviceName": self.service },
        }]);
        let call = Call::post(address, "/api/v2/spans", span.to_string()).header("content-type", "application/json");
        match call.send().await {
            Ok(reply) if reply.status < 300 => Ok(()),
            Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
            Err(cause) => Err(cause.to_string()),
        }
    }

    async fn tell_otlp(self, id: u64, end: SystemTime, address: SocketAddr) -> Result<(), String> {
        let text = |text: &str| otlp::AnyValue { value: Some(otlp::any_value::Value::StringValue(text.to_owned())) };
        let span = otlp::Span {
            trace_id: bytes(&self.trace).ok_or("the trace's id is not hexadecimal")?,
            span_id: id.to_be_bytes().into(),
            parent_span_id: bytes(&self.parent).ok_or("the parent's id is not hexadecimal")?,
            name: self.name,
            kind: otlp::span::Kind::Server.into(),
            start_time_unix_nano: nanoseconds(self.start),
            end_time_unix_nano: nanoseconds(end),
            attributes: Vec::new(),
        };
        let named = otlp::KeyValue { key: "service.name".to_owned(), value: Some(text(self.service)) };
        let spans = otlp::ResourceSpans {
            resource: Some(otlp::Resource { attributes: vec![named] }),
            scope_spans: vec![otlp::ScopeSpans { spans: vec![span] }],
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|cause| cause.to_string())?;
        let channel = endpoint.connect().await.map_err(|cause| cause.to_string())?;
        let exported = TraceServiceClient::new(channel).export(otlp::ExportTraceServiceRequest { resource_spans: vec![spans] }).await;
        exported.map(drop).map_err(|status| status.to_string())
    }
}

/// Trace and calling span of `traceparent` (W3C Trace Context), where they are sampled.
fn w3c(headers: &HeaderMap) -> Option<(String, String)> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (_version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    sampled.then(|| (trace.to_owned(), parent.to_owned()))
}

/// The same of Zipkin's headers.
fn b3(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    (text("x-b3-sampled")? == "1").then_some(())?;
    Some((text("x-b3-traceid")?.to_owned(), text("x-b3-spanid")?.to_owned()))
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(hexadecimal.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_read_from_either_kind_of_header_and_only_where_it_is_sampled() {
        let headers = |all: &[(&'static str, &'static str)]| {
            all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let called = |all: &[(&'static str, &'static str)]| {
            Span::begin("catalog", "GET /".to_owned(), &headers(all)).map(|span| (span.trace, span.parent))
        };
        let expected = Some(("0af7651916cd43dd8448eb211c80319c".to_owned(), "b7ad6b7169203331".to_owned()));
        assert_eq!(called(&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]), expected);
        assert_eq!(called(&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]), None);
        let b3 = [("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c"), ("x-b3-spanid", "b7ad6b7169203331")];
        assert_eq!(called(&[b3[0], b3[1], ("x-b3-sampled", "1")]), expected);
        assert_eq!(called(&b3), None);
    }
}
