//! Traces and access logs. Every line carries the golden fields: who called whom, by verified identity.

use windrose_ir::listener::Direction;
use windrose_ir::telemetry::{AccessLog, LogSink, TraceProvider, Tracing};
use windrose_vocab::{ResourceId, ResourceKind, Text};

use crate::limits::{EXPORT_TIMEOUT, PATH_TAG_BYTES};
use crate::pb;
use pb::accesslog::access_log_filter::FilterSpecifier;
use pb::accesslog::{AccessLogFilter, ComparisonFilter, ResponseFlagFilter, StatusCodeFilter, access_log, comparison_filter};
use pb::core::{SubstitutionFormatString, substitution_format_string};

/// Fields of every line about a request. The path is without its query, where tokens can be.
const REQUEST_FIELDS: [(&str, &str); 22] = [
    ("time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("path", "%PATH(NQ:ORIG_OR_PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("status", "%RESPONSE_CODE%"),
    ("grpc_status", "%GRPC_STATUS%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("duration_ms", "%DURATION%"),
    ("upstream_ms", "%RESPONSE_DURATION%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("route", "%ROUTE_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("trace_id", "%TRACE_ID%"),
];

/// Fields of every line about a connection.
const CONNECTION_FIELDS: [(&str, &str); 10] = [
    ("time", "%START_TIME%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("duration_ms", "%DURATION%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ("server_name", "%REQUESTED_SERVER_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("failure", "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Who calls whom: inbound the peer calls us, outbound we call the peer.
fn identities(direction: Direction) -> [(&'static str, &'static str); 2] {
    match direction {
        Direction::Inbound => [("source", "%DOWNSTREAM_PEER_URI_SAN%"), ("destination", "%DOWNSTREAM_LOCAL_URI_SAN%")],
        Direction::Outbound => [("source", "%UPSTREAM_LOCAL_URI_SAN%"), ("destination", "%UPSTREAM_PEER_URI_SAN%")],
    }
}

/// A field of a line, and the command that fills it.
pub(crate) type LogField = (&'static str, &'static str);

/// A log of requests; `more` are fields that only this handler has.
pub(crate) fn request_log(log: &AccessLog, direction: Direction, more: &[LogField]) -> pb::accesslog::AccessLog {
    let filter = log.minimum_status.map(|status| {
        FilterSpecifier::StatusCodeFilter(StatusCodeFilter {
            comparison: Some(ComparisonFilter {
                op: comparison_filter::Op::Ge as i32,
                value: Some(pb::core::RuntimeUInt32 {
                    default_value: status,
                    runtime_key: "windrose.access_log.minimum_status".to_owned(),
                }),
            }),
        })
    });
    logger(log, &[&REQUEST_FIELDS[..], more].concat(), direction, filter)
}

/// A log of connections.
pub(crate) fn connection_log(log: &AccessLog, direction: Direction) -> pb::accesslog::AccessLog {
    logger(log, &CONNECTION_FIELDS, direction, None)
}

/// A log of the connections of a listener that no chain took.
pub(crate) fn unmatched_log(log: &AccessLog, direction: Direction) -> pb::accesslog::AccessLog {
    let no_chain = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: vec!["NR".to_owned()] });
    logger(log, &CONNECTION_FIELDS, direction, Some(no_chain))
}

fn logger(log: &AccessLog, fields: &[LogField], direction: Direction, filter: Option<FilterSpecifier>) -> pb::accesslog::AccessLog {
    let format = json_format(fields.iter().copied().chain(identities(direction)).chain(log.fields.iter().map(pair)));
    let (name, config) = match &log.sink {
        LogSink::Stdout => {
            let format = pb::log_stream::stdout_access_log::AccessLogFormat::LogFormat(format);
            ("envoy.access_loggers.stdout", pb::any(&pb::log_stream::StdoutAccessLog { access_log_format: Some(format) }))
        }
        LogSink::File(path) => {
            let format = pb::log_file::file_access_log::AccessLogFormat::LogFormat(format);
            let config = pb::log_file::FileAccessLog { path: path.to_string(), access_log_format: Some(format) };
            ("envoy.access_loggers.file", pb::any(&config))
        }
    };
    pb::accesslog::AccessLog {
        name: name.to_owned(),
        filter: filter.map(|specifier| AccessLogFilter { filter_specifier: Some(specifier) }),
        config_type: Some(access_log::ConfigType::TypedConfig(config)),
    }
}

fn json_format<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> SubstitutionFormatString {
    SubstitutionFormatString {
        omit_empty_values: true,
        format: Some(substitution_format_string::Format::JsonFormat(pb::string_struct(fields))),
        ..Default::default()
    }
}

fn pair((name, text): &(Text, Text)) -> (&str, &str) {
    (name, text)
}

/// Tracing of a handler.
pub(crate) fn tracing(tracing: &Tracing, direction: Direction) -> pb::hcm::http_connection_manager::Tracing {
    let service = match tracing.provider {
        // The service's name in a Zipkin span is that of the node; in a tag it is what was declared.
        TraceProvider::Zipkin { .. } => Some(("service", &*tracing.service)),
        TraceProvider::OpenTelemetry { .. } => None,
    };
    pb::hcm::http_connection_manager::Tracing {
        // Nobody outside may ask for a trace by `x-client-trace-id`.
        client_sampling: pb::percent(0),
        random_sampling: Some(pb::types::Percent { value: f64::from(tracing.sampling_basis_points.min(10_000)) / 100.0 }),
        overall_sampling: pb::percent(100),
        max_path_tag_length: pb::number(PATH_TAG_BYTES),
        custom_tags: tracing.tags.iter().map(pair).chain(service).map(tag).chain(identities(direction).map(filled_tag)).collect(),
        provider: Some(provider(tracing)),
        // A span for each way through the proxy, so that the service behind is a child of what called it.
        spawn_upstream_span: pb::boolean(true),
        ..Default::default()
    }
}

/// The cluster that spans are sent to.
pub(crate) fn tracing_ref(tracing: &Tracing) -> ResourceId {
    let (TraceProvider::Zipkin { cluster, .. } | TraceProvider::OpenTelemetry { cluster, .. }) = &tracing.provider;
    ResourceId::new(ResourceKind::Cluster, cluster.clone())
}

fn provider(tracing: &Tracing) -> pb::trace::tracing::Http {
    let (name, config) = match &tracing.provider {
        TraceProvider::Zipkin { cluster, host, path } => ("envoy.tracers.zipkin", pb::any(&zipkin(cluster, host, path))),
        TraceProvider::OpenTelemetry { cluster, host } => {
            ("envoy.tracers.opentelemetry", pb::any(&opentelemetry(cluster, host, &tracing.service)))
        }
    };
    pb::trace::tracing::Http { name: name.to_owned(), config_type: Some(pb::trace::tracing::http::ConfigType::TypedConfig(config)) }
}

fn zipkin(cluster: &str, host: &str, path: &str) -> pb::trace::ZipkinConfig {
    use pb::trace::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    pb::trace::ZipkinConfig {
        collector_cluster: cluster.to_owned(),
        collector_endpoint: path.to_owned(),
        collector_hostname: host.to_owned(),
        collector_endpoint_version: CollectorEndpointVersion::HttpJson as i32,
        trace_id_128bit: true,
        shared_span_context: pb::boolean(false),
        trace_context_option: TraceContextOption::UseB3WithW3cPropagation as i32,
        ..Default::default()
    }
}

fn opentelemetry(cluster: &str, host: &str, service: &str) -> pb::trace::OpenTelemetryConfig {
    use pb::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    // By itself Envoy names the cluster as `:authority`, and a collector may reset a stream for the slashes in it.
    let target = EnvoyGrpc { cluster_name: cluster.to_owned(), authority: host.to_owned(), ..Default::default() };
    pb::trace::OpenTelemetryConfig {
        grpc_service: Some(pb::core::GrpcService {
            timeout: pb::duration(EXPORT_TIMEOUT),
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
            ..Default::default()
        }),
        service_name: service.to_owned(),
        ..Default::default()
    }
}

fn tag((name, value): (&str, &str)) -> pb::tracing::CustomTag {
    let literal = pb::tracing::custom_tag::Literal { value: value.to_owned() };
    pb::tracing::CustomTag { tag: name.to_owned(), r#type: Some(pb::tracing::custom_tag::Type::Literal(literal)) }
}

/// A tag that a command of the log language fills.
fn filled_tag((name, command): (&str, &str)) -> pb::tracing::CustomTag {
    pb::tracing::CustomTag { tag: name.to_owned(), r#type: Some(pb::tracing::custom_tag::Type::Value(command.to_owned())) }
}

/// Kept with the fields above: a name occurs once, or a log line would lose one of two.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_field_of_a_log_line_is_named_twice() {
        for fields in [&REQUEST_FIELDS[..], &CONNECTION_FIELDS[..]] {
            for direction in [Direction::Inbound, Direction::Outbound] {
                let names: Vec<_> = fields.iter().copied().chain(identities(direction)).map(|(name, _)| name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            }
        }
    }
}
