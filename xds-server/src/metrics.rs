//! The numbers of a running server in the Prometheus text format. `docs/metrics.md` explains each; a test compares the names.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use windrose_admin::report::CertificateReport;
use windrose_state::{StreamStatus, View};
use windrose_vocab::{ResourceKind, Severity};
use windrose_xds_serve::Counters;

use crate::pipeline::Picture;
use crate::report::SourceReport;

/// Upper bounds of the convergence histogram, in seconds: from one proxy on loopback to a fleet that is out of reach.
const CONVERGENCE_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How long changes took from their planning until the last proxy had acknowledged them.
#[derive(Clone, Debug)]
pub(crate) struct Convergence(Histogram);

impl Default for Convergence {
    fn default() -> Self {
        Self(Histogram::new(CONVERGENCE_BUCKETS))
    }
}

impl Convergence {
    pub(crate) fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

/// Where the numbers come from.
pub(crate) struct Sources<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) picture: &'a Picture,
    pub(crate) streams: &'a [StreamStatus],
    /// What a stream should have.
    pub(crate) desired: &'a dyn Fn(&StreamStatus) -> Option<Arc<View>>,
    pub(crate) convergence: &'a Convergence,
    pub(crate) source: &'a SourceReport,
    pub(crate) certificates: &'a [CertificateReport],
    pub(crate) started: SystemTime,
    /// Nothing new is planned any more.
    pub(crate) stopped: bool,
}

/// All numbers as text.
pub(crate) fn text(sources: &Sources<'_>) -> String {
    let mut registry = Registry::with_prefix("windrose");
    let help = "From the planning of a change until the last proxy that it concerns had acknowledged it";
    registry.register_with_unit("convergence", help, Unit::Seconds, sources.convergence.0.clone());
    registry.register_collector(Box::new(Numbers { all: numbers(sources) }));
    let mut out = String::new();
    let encoded = text::encode_registry(&mut out, &process()).and_then(|()| text::encode(&mut out, &registry));
    match encoded {
        Ok(()) => out,
        Err(fmt::Error) => String::new(),
    }
}

/// What the process itself takes, under the names that every Prometheus client gives it.
fn process() -> Registry {
    let mut registry = Registry::default();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let time = Duration::try_from(time).unwrap_or_default().as_secs_f64();
    registry.register_with_unit("process_cpu", "Processor time, user and system", Unit::Seconds, ConstCounter::new(time));
    if let Some(bytes) = resident() {
        registry.register_with_unit("process_resident_memory", "Resident memory", Unit::Bytes, ConstGauge::new(bytes));
    }
    registry
}

/// Bytes of memory that are resident, where the system tells.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kilobytes.parse::<i64>().ok()?.checked_mul(1024)
}

/// One name with its values.
#[derive(Debug)]
struct Number {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    values: Vec<(Option<(&'static str, String)>, u64)>,
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Number {
    Number { name, help, kind: MetricType::Counter, values: vec![(None, value)] }
}

fn gauge(name: &'static str, help: &'static str, value: usize) -> Number {
    Number { name, help, kind: MetricType::Gauge, values: vec![(None, value as u64)] }
}

fn labelled(
    (name, help, kind): (&'static str, &'static str, MetricType),
    label: &'static str,
    values: impl Iterator<Item = (impl ToString, u64)>,
) -> Number {
    Number { name, help, kind, values: values.map(|(value, number)| (Some((label, value.to_string())), number)).collect() }
}

fn time(name: &'static str, help: &'static str, time: Option<SystemTime>) -> Option<Number> {
    let seconds = time?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(Number { name, help, kind: MetricType::Gauge, values: vec![(None, seconds)] })
}

fn numbers(sources: &Sources<'_>) -> Vec<Number> {
    let mut all = wire(sources.counters);
    all.extend(configuration(sources));
    all.extend(proxies(sources));
    all.push(certificates(sources.certificates));
    all
}

fn wire(counters: &Counters) -> Vec<Number> {
    let by_kind = ResourceKind::ALL.into_iter().map(|kind| (kind.short(), counters.rejections_of[kind.index()].get()));
    vec![
        counter("xds_connections", "Connections accepted", counters.connections.get()),
        counter("xds_connections_dropped", "Connections dropped because too many were open", counters.connections_dropped.get()),
        counter("xds_accept_errors", "Failed accepts", counters.accept_errors.get()),
        counter("xds_handshakes_failed", "TLS handshakes that failed or took too long", counters.handshakes_failed.get()),
        counter("xds_streams", "Streams opened by an authenticated peer", counters.streams.get()),
        counter("xds_unauthenticated", "Streams refused for want of a good credential", counters.unauthenticated.get()),
        counter("xds_streams_failed", "Streams ended because what they sent broke a limit or the protocol", counters.streams_failed.get()),
        counter("xds_credentials_expired", "Streams cut because their credential expired", counters.expired.get()),
        counter("xds_credentials_revoked", "Streams cut because their credential was revoked", counters.revoked.get()),
        counter("xds_requests", "Requests read", counters.requests.get()),
        counter("xds_responses", "Responses sent", counters.responses.get()),
        counter("xds_response_bytes", "Bytes of those responses", counters.response_bytes.get()),
        counter("xds_resources", "Resources in those responses", counters.resources.get()),
        labelled(("xds_rejections", "Rejections (NACKs) by clients", MetricType::Counter), "type", by_kind),
        Number { kind: MetricType::Gauge, ..counter("xds_connections_open", "Connections open now", counters.connections_open.get()) },
        Number { kind: MetricType::Gauge, ..counter("xds_streams_open", "Authenticated streams open now", counters.streams_open.get()) },
    ]
}

fn configuration(sources: &Sources<'_>) -> Vec<Number> {
    let Sources { picture, source, .. } = sources;
    let severities = [Severity::Error, Severity::Warning, Severity::Info];
    let of = |severity: Severity| {
        let planned = picture.plan.diagnostics.iter().filter(|one| one.severity == severity).count();
        let read = source.diagnostics.iter().filter(|one| one.severity == severity.to_string()).count();
        (planned + read) as u64
    };
    let version = std::iter::once((env!("CARGO_PKG_VERSION"), 1));
    let mut all = vec![
        labelled(("build_info", "Always 1; the label tells the version", MetricType::Gauge), "version", version),
        gauge("config_generation", "Number of the configuration that is served", usize::try_from(picture.generation).unwrap_or(usize::MAX)),
        gauge("config_stopped", "1 when a bug of the server keeps it from planning anything new", usize::from(sources.stopped)),
        gauge("config_kinds_unread", "Kinds that cannot be read, and without which nothing new is served", source.kept.len()),
        gauge("config_objects", "Objects that are declared and in effect", picture.declared.iter().count()),
        gauge("config_objects_unreadable", "Objects whose newest version cannot be read", source.unread.len()),
        gauge(
            "config_objects_refused",
            "Objects whose newest version Envoy refused, or which cannot be used",
            picture.refused.objects.len(),
        ),
        labelled(
            ("config_diagnostics", "Problems found by reading and planning", MetricType::Gauge),
            "severity",
            severities.into_iter().map(|severity| (severity, of(severity))),
        ),
        gauge("programs", "Kinds of proxies that are planned", picture.plan.programs.len()),
    ];
    all.extend(time("start_timestamp_seconds", "When the server started", Some(sources.started)));
    all.extend(time("config_read_timestamp_seconds", "When a change was read last", source.read_at));
    all.extend(time("config_published_timestamp_seconds", "When a change was planned and published last", picture.published));
    all
}

fn proxies(sources: &Sources<'_>) -> Vec<Number> {
    let kinds = || ResourceKind::ALL.into_iter().enumerate();
    let (mut wanted, mut lacking, mut refused) =
        ([0_u64; ResourceKind::ALL.len()], [0_u64; ResourceKind::ALL.len()], [0_u64; ResourceKind::ALL.len()]);
    let mut synced = 0;
    for stream in sources.streams {
        let Some(view) = (sources.desired)(stream) else { continue };
        let behind = stream.behind(&view);
        synced += usize::from(view.ready && behind.is_empty());
        for (at, kind) in kinds() {
            wanted[at] += view.of_kind(kind).len() as u64;
        }
        for (id, lack) in &behind {
            lacking[id.kind.index()] += 1;
            refused[id.kind.index()] += u64::from(lack.refused.is_some());
        }
    }
    let by_type = |name, help, counts: [u64; ResourceKind::ALL.len()]| {
        labelled((name, help, MetricType::Gauge), "type", kinds().map(|(at, kind)| (kind.short(), counts[at])))
    };
    vec![
        gauge("proxies", "Proxies that are connected", sources.streams.len()),
        gauge("proxies_synced", "Proxies that have acknowledged everything that they should have", synced),
        by_type("proxy_resources", "Resources that connected proxies should have", wanted),
        by_type("proxy_resources_behind", "Those that they have not acknowledged in the newest version", lacking),
        by_type("proxy_resources_refused", "Those that they refuse in that version", refused),
    ]
}

/// One number for each kind of certificate: the end that comes first.
fn certificates(all: &[CertificateReport]) -> Number {
    let mut first: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for one in all {
        let end = first.entry(&one.kind).or_insert(one.not_after);
        *end = (*end).min(one.not_after);
    }
    let help = "When the first certificate or credential of that kind expires";
    labelled(("certificate_expiry_timestamp_seconds", help, MetricType::Gauge), "kind", first.into_iter())
}

/// The numbers of one moment.
#[derive(Debug)]
struct Numbers {
    all: Vec<Number>,
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Number { name, help, kind, values } in &self.all {
            let mut family = encoder.encode_descriptor(name, help, None, *kind)?;
            for (label, value) in values {
                let Some((name, of)) = label else {
                    // There is one such value, and it needs the encoder itself: an empty set of labels would show as `{}`.
                    encode(*kind, *value, family)?;
                    break;
                };
                encode(*kind, *value, family.encode_family(&[(*name, of.as_str())])?)?;
            }
        }
        Ok(())
    }
}

fn encode(kind: MetricType, value: u64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
    }
}

#[cfg(test)]
mod tests {
    use windrose_vocab::Kind;

    use super::*;
    use crate::ends;

    fn sample() -> String {
        let convergence = Convergence::default();
        convergence.observe(Duration::from_millis(30));
        text(&Sources {
            counters: &Counters::default(),
            picture: &Picture { published: Some(UNIX_EPOCH), ..Picture::default() },
            streams: &[],
            desired: &|_| None,
            convergence: &convergence,
            source: &SourceReport { read_at: Some(UNIX_EPOCH), kept: [Kind::AuthPolicy].into(), ..SourceReport::default() },
            certificates: &[7, 9]
                .map(|end| ends::report("certificate", "of a Gateway".into(), UNIX_EPOCH + Duration::from_secs(end), false)),
            started: UNIX_EPOCH,
            stopped: false,
        })
    }

    #[test]
    fn the_page_about_metrics_names_all_of_them_and_no_other() {
        let text = sample();
        let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let page = include_str!("../../docs/metrics.md");
        let written: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next()).collect();
        let family = |name: &str| name.trim_end_matches("_total").to_owned();
        let (mut told, mut written): (Vec<_>, Vec<_>) =
            (told.iter().map(|name| family(name)).collect(), written.iter().map(|name| family(name)).collect());
        told.sort();
        written.sort();
        assert_eq!(told, written);
    }

    #[test]
    fn names_follow_the_conventions_and_values_have_their_labels() {
        let text = sample();
        for line in [
            "windrose_xds_rejections_total{type=\"CDS\"} 0",
            "windrose_convergence_seconds_bucket{le=\"0.05\"} 1",
            "windrose_certificate_expiry_timestamp_seconds{kind=\"certificate\"} 7",
            "windrose_proxies 0",
            "windrose_config_kinds_unread 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
