//! One request is one trace: a real Zipkin has the spans of the edge and of the sidecar together.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::process::Process;
use windrose_tests::wait::wait_until;
use windrose_tests::{places, skip};

use crate::stage::{EVERYTHING, Stage, answered_by, documents, endpoint, gateway, route, service, workload};

/// Zipkin is a Spring application; on two loaded cores it takes its time. Spans come in batches every few seconds.
const ZIPKIN_START: Duration = Duration::from_secs(90);
const SPANS: Duration = Duration::from_secs(30);

fn traced(home: &Loopback) -> String {
    let policy = "apiVersion: windrose.dev/v1alpha1
kind: TelemetryPolicy
metadata: { name: shop, namespace: shop }
spec:
  tracing: { provider: Zipkin, backend: zipkin, port: 80, samplingPerTenThousand: 10000 }";
    documents(&[
        gateway(&[("http", home.port(8080))]),
        service("web"),
        workload("web", home.ip(), &[("web", 15_080, 9001)], &[]),
        route("web", EVERYTHING, "web"),
        service("zipkin"),
        endpoint("zipkin", home.port(9411)),
        policy.to_owned(),
    ])
}

/// Zipkin with its store in memory, at port 9411 of the test's own address.
fn zipkin(home: &Loopback, folder: &std::path::Path) -> Option<Process> {
    let (Some(java), Some(jar)) = (skip::java(), places::zipkin()) else {
        skip::because("no Java or no Zipkin (tests/setup.sh zipkin): traces are not looked at");
        return None;
    };
    let at = home.port(9411);
    let mut command = Command::new(java);
    command.current_dir(folder).args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar"]).arg(jar);
    command.arg(format!("--armeria.ports[0].ip={}", at.ip()));
    command.args([&format!("--armeria.ports[0].port={}", at.port()), "--armeria.ports[0].protocols[0]=http"]);
    Some(Process::start("zipkin", command, &folder.join("zipkin.log")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_through_edge_and_sidecar_is_one_trace_in_zipkin() {
    let home = Loopback::claim();
    let place = tempfile::tempdir().unwrap();
    let Some(mut zipkin) = zipkin(&home, place.path()) else { return };
    let health = Call::get(home.port(9411), "/health");
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

    let back = EchoServer::start("web", home.port(9001)).await;
    let declared = traced(&home);
    let stage = Stage::set(home, &declared).await;
    let (_edge, _web) = (stage.envoy("gateway", "edge", &[]).await, stage.envoy("workload", "web", &[]).await);
    answered_by(&Call::get(stage.home.port(8080), "/traced"), "web").await;

    let seen = back.last();
    let id = seen["headers"]["x-b3-traceid"][0].as_str().unwrap_or_else(|| panic!("no trace at the service: {seen}")).to_owned();
    let asked = Call::get(stage.home.port(9411), &format!("/api/v2/trace/{id}"));
    wait_until(SPANS, "the spans of edge and sidecar in one trace", async || {
        let reply = asked.send().await.map_err(|cause| cause.to_string())?;
        let spans: Vec<Value> = serde_json::from_slice(&reply.body).unwrap_or_default();
        let of = |service: &str| spans.iter().any(|span| span["localEndpoint"]["serviceName"] == service);
        if of("edge") && of("web") { Ok(()) } else { Err(reply.text()) }
    })
    .await;
}
