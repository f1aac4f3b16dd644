//! What a proxy tells about requests: traces and access logs.

use windrose_vocab::{Text, canonical};

/// Tracing of the requests of one handler.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracing {
    /// Where spans go.
    pub provider: TraceProvider,
    /// Share of requests that start a trace, in hundredths of a percent (0 to 10,000).
    pub sampling_basis_points: u32,
    /// Name of this service in the spans.
    pub service: Text,
    /// Fixed tags, sorted.
    pub tags: Vec<(Text, Text)>,
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TraceProvider {
    /// Zipkin v2 JSON over HTTP.
    Zipkin {
        /// Cluster of the collector.
        cluster: Text,
        /// Host header.
        host: Text,
        /// Path, usually `/api/v2/spans`.
        path: Text,
    },
    /// OTLP over gRPC.
    OpenTelemetry {
        /// Cluster of the collector.
        cluster: Text,
        /// Host that it is called by.
        host: Text,
    },
}

/// An access log, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: LogSink,
    /// Extra fields: name and format string in the proxy's log language, sorted.
    pub fields: Vec<(Text, Text)>,
    /// Only answers with this status or above, if given.
    pub minimum_status: Option<u32>,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// Standard output.
    Stdout,
    /// A file.
    File(Text),
}

canonical!(struct Tracing { provider, sampling_basis_points, service, tags });
canonical!(enum TraceProvider { Zipkin { cluster, host, path }, OpenTelemetry { cluster, host } });
canonical!(struct AccessLog { sink, fields, minimum_status });
canonical!(
    enum LogSink {
        Stdout,
        File(path),
    }
);
