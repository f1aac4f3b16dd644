//! The numbers of a running server in the Prometheus text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use windrose_state::StreamStatus;
use windrose_vocab::Severity;
use windrose_xds_serve::Counters;

use crate::pipeline::Picture;

/// All numbers as text.
pub(crate) fn text(counters: &Counters, picture: &Picture, streams: &[StreamStatus]) -> String {
    let mut registry = Registry::with_prefix("windrose");
    registry.register_collector(Box::new(Numbers::of(counters, picture, streams)));
    let mut out = String::new();
    match text::encode(&mut out, &registry) {
        Ok(()) => out,
        Err(fmt::Error) => String::new(),
    }
}

/// The numbers of one moment.
#[derive(Debug)]
struct Numbers {
    counts: Vec<(&'static str, &'static str, u64)>,
    gauges: Vec<(&'static str, &'static str, i64)>,
}

impl Numbers {
    fn of(counters: &Counters, picture: &Picture, streams: &[StreamStatus]) -> Self {
        let of_severity = |severity| picture.plan.diagnostics.iter().filter(|one| one.severity == severity).count();
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            counts: vec![
                ("xds_connections", "Connections accepted", counters.connections.get()),
                ("xds_connections_dropped", "Connections dropped because too many were open", counters.connections_dropped.get()),
                ("xds_accept_errors", "Failed accepts", counters.accept_errors.get()),
                ("xds_handshakes_failed", "TLS handshakes that failed or took too long", counters.handshakes_failed.get()),
                ("xds_streams", "Streams opened by an authenticated peer", counters.streams.get()),
                ("xds_unauthenticated", "Streams refused for want of a good credential", counters.unauthenticated.get()),
                ("xds_streams_failed", "Streams ended because what they sent broke a limit or the protocol", counters.streams_failed.get()),
                ("xds_credentials_expired", "Streams cut because their credential expired", counters.expired.get()),
                ("xds_credentials_revoked", "Streams cut because their credential was revoked", counters.revoked.get()),
                ("xds_requests", "Requests read", counters.requests.get()),
                ("xds_responses", "Responses sent", counters.responses.get()),
                ("xds_response_bytes", "Bytes of those responses", counters.response_bytes.get()),
                ("xds_resources", "Resources in those responses", counters.resources.get()),
                ("xds_rejections", "Rejections (NACKs) by clients", counters.rejections.get()),
                ("generation", "Worlds and refusals that were planned", picture.generation),
            ],
            gauges: vec![
                ("xds_connections_open", "Connections open now", signed(counters.connections_open.get())),
                ("xds_streams_open", "Authenticated streams open now", signed(counters.streams_open.get())),
                ("proxies_synced", "Streams that acknowledged everything", gauge(streams.iter().filter(|one| one.is_in_sync()).count())),
                ("proxies", "Streams that are open", gauge(streams.len())),
                ("programs", "Kinds of proxies that are planned", gauge(picture.plan.programs.len())),
                ("diagnostics_errors", "Errors found by the planner", gauge(of_severity(Severity::Error))),
                ("diagnostics_warnings", "Warnings found by the planner", gauge(of_severity(Severity::Warning))),
            ],
        }
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in &self.counts {
            let metric = ConstCounter::new(*value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        for (name, help, value) in &self.gauges {
            let metric = ConstGauge::new(*value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}
