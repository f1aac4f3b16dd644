//! One request is one trace: a real Zipkin, and a collector of OTLP, have the spans of the edge, of the sidecar and of the
//! service, each below the one that called it, and those of the proxies say who called whom.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::otlp::OtlpCollector;
use windrose_tests::process::Process;
use windrose_tests::proto::otlp;
use windrose_tests::sample::SampleService;
use windrose_tests::wait::wait_until;
use windrose_tests::{places, skip};

use crate::stage::{EVERYTHING, Stage, documents, endpoint, gateway, route, service, until, workload};

/// Zipkin is a Spring application; on two loaded cores it takes its time. Spans come in batches every few seconds.
const ZIPKIN_START: Duration = Duration::from_secs(90);
const SPANS: Duration = Duration::from_secs(30);

/// A shop of the catalog whose proxies send all their traces to `collector`, on `port`.
fn traced(home: &Loopback, provider: &str, collector: &str, port: u16) -> String {
    let policy = format!(
        "apiVersion: windrose.dev/v1alpha1
kind: TelemetryPolicy
metadata: {{ name: shop, namespace: shop }}
spec:
  tracing: {{ provider: {provider}, backend: {collector}, port: 80, samplingPerTenThousand: 10000 }}"
    );
    documents(&[
        gateway(&[("http", home.port(8080))]),
        service("catalog"),
        workload("shelf", home.ip(), &[("catalog", 15_080, 9001)], &[]),
        route("catalog", EVERYTHING, "catalog"),
        service(collector),
        endpoint(collector, home.port(port)),
        policy,
    ])
}

/// A span, whatever protocol it came by.
#[derive(Debug)]
struct Hop {
    id: String,
    parent: String,
    service: String,
    tags: BTreeMap<String, String>,
}

/// The services from the one that answered back to the first that was called; a step for each span.
fn way_back<'h>(hops: &'h [Hop], answered: &str) -> Vec<&'h Hop> {
    let first = hops.iter().find(|hop| hop.service == answered);
    let above = |hop: &&'h Hop| hops.iter().find(|other| other.id == hop.parent);
    // A trace that bites its tail would have no end.
    std::iter::successors(first, above).take(hops.len()).collect()
}

/// Waits until the spans of service, sidecar and edge hang together, and looks at what the sidecar's say.
async fn joined(what: &str, edge: &str, sidecar: &str, hops: impl AsyncFn() -> Result<Vec<Hop>, String>) {
    wait_until(SPANS, what, async || {
        let hops = hops().await?;
        let way = way_back(&hops, "catalog");
        let mut services: Vec<&str> = way.iter().map(|hop| &*hop.service).collect();
        services.dedup();
        let told = |hop: &&Hop, tag: &str, account: &str| {
            hop.tags.get(tag).is_some_and(|identity| *identity == format!("spiffe://windrose.local/ns/shop/sa/{account}"))
        };
        let identified = way.iter().any(|hop| hop.service == sidecar && told(hop, "source", "edge") && told(hop, "destination", "shelf"));
        let whole = services == ["catalog", sidecar, edge] && way.last().is_some_and(|hop| hop.parent.is_empty());
        if whole && identified { Ok(()) } else { Err(format!("{services:?}: {hops:?}")) }
    })
    .await;
}

/// Everything that a request went through, still running: spans come in batches.
struct Called {
    stage: Stage,
    trace: String,
    _running: (EnvoyProcess, EnvoyProcess, SampleService),
}

impl Called {
    /// One request through edge and sidecar to the real service, which tells its span to `traces`.
    async fn once(home: Loopback, declared: &str, traces: &str) -> Self {
        let catalog = SampleService::start("catalog", home.port(9001), &["--traces", traces]).await;
        let stage = Stage::set(home, declared).await;
        let (edge, shelf) = (stage.envoy("gateway", "edge", &[]).await, stage.envoy("workload", "shelf", &[]).await);
        let call = Call::get(stage.home.port(8080), "/debug/headers");
        let reply = until(&call, "an answer of the catalog", |reply| reply.status == 200).await;
        let seen: Value = serde_json::from_slice(&reply.body).unwrap();
        let parent = seen["headers"]["traceparent"][0].as_str().unwrap_or_else(|| panic!("no trace at the service: {seen}"));
        let trace = parent.split('-').nth(1).unwrap().to_owned();
        Self { stage, trace, _running: (edge, shelf, catalog) }
    }
}

/// Zipkin with its store in memory, at port 9411 of the test's own address.
fn zipkin(home: &Loopback, folder: &std::path::Path) -> Option<Process> {
    let (Some(java), Some(jar)) = (skip::java(), places::zipkin()) else {
        skip::because("no Java or no Zipkin (tests/setup.sh zipkin): its traces are not looked at");
        return None;
    };
    let at = home.port(9411);
    let mut command = Command::new(java);
    command.current_dir(folder).args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar"]).arg(jar);
    command.arg(format!("--armeria.ports[0].ip={}", at.ip()));
    command.args([&format!("--armeria.ports[0].port={}", at.port()), "--armeria.ports[0].protocols[0]=http"]);
    Some(Process::start("zipkin", command, &folder.join("zipkin.log")))
}

async fn zipkin_ready(zipkin: &mut Process, health: &Call) {
    wait_until(ZIPKIN_START, "Zipkin to be ready", async || {
        if let Some(status) = zipkin.ended() {
            panic!("zipkin ended with {status}");
        }
        match health.send().await {
            Ok(reply) if reply.status == 200 => Ok(()),
            Ok(reply) => Err(reply.text()),
            Err(cause) => Err(cause.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_through_edge_sidecar_and_service_is_one_trace_in_zipkin() {
    let home = Loopback::claim();
    let place = tempfile::tempdir().unwrap();
    let Some(mut zipkin) = zipkin(&home, place.path()) else { return };
    zipkin_ready(&mut zipkin, &Call::get(home.port(9411), "/health")).await;
    let declared = traced(&home, "Zipkin", "zipkin", 9411);
    let traces = format!("zipkin={}", home.port(9411));
    let called = Called::once(home, &declared, &traces).await;
    let asked = Call::get(called.stage.home.port(9411), &format!("/api/v2/trace/{}", called.trace));
    // A Zipkin span has the proxy's own name.
    joined("one trace in Zipkin", "edge", "shelf", async || {
        let reply = asked.send().await.map_err(|cause| cause.to_string())?;
        let spans: Vec<Value> = serde_json::from_slice(&reply.body).map_err(|_| reply.text())?;
        Ok(spans.iter().map(of_zipkin).collect())
    })
    .await;
}

fn of_zipkin(span: &Value) -> Hop {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = span["tags"].as_object().into_iter().flatten();
    Hop {
        id: text(&span["id"]),
        parent: text(&span["parentId"]),
        service: text(&span["localEndpoint"]["serviceName"]),
        tags: tags.map(|(name, value)| (name.clone(), text(value))).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_by_otlp() {
    let home = Loopback::claim();
    let collector = OtlpCollector::start(home.port(4317)).await;
    let declared = traced(&home, "OpenTelemetry", "otel", 4317);
    let traces = format!("otlp={}", home.port(4317));
    let called = Called::once(home, &declared, &traces).await;
    joined("one trace by OTLP", "edge.shop", "catalog.shop", async || {
        let hops = collector.spans().iter().flat_map(of_otlp).collect::<Vec<_>>();
        Ok(hops.into_iter().filter(|(trace, _)| *trace == called.trace).map(|(_, hop)| hop).collect())
    })
    .await;
}

/// The spans of one service, each with its trace.
fn of_otlp(spans: &otlp::ResourceSpans) -> Vec<(String, Hop)> {
    let service = spans.resource.iter().flat_map(|resource| texts(&resource.attributes)).find(|(name, _)| name == "service.name");
    let service = service.map(|(_, name)| name).unwrap_or_default();
    let all = spans.scope_spans.iter().flat_map(|scope| &scope.spans);
    let hop = |span: &otlp::Span| Hop {
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        service: service.clone(),
        tags: texts(&span.attributes).collect(),
    };
    all.map(|span| (hexadecimal(&span.trace_id), hop(span))).collect()
}

fn texts(attributes: &[otlp::KeyValue]) -> impl Iterator<Item = (String, String)> {
    attributes.iter().filter_map(|attribute| {
        let otlp::any_value::Value::StringValue(text) = attribute.value.as_ref()?.value.as_ref()?;
        Some((attribute.key.clone(), text.clone()))
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
