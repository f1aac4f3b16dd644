//! Who called whom, counted and logged: the golden metrics of edge and sidecar have verified identities, and a policy that
//! is only audited says what it would have done and does nothing.

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, gateway, route, service, until, workload};

fn observed(home: &Loopback, log: &str) -> String {
    let policies = format!(
        "apiVersion: windrose.dev/v1alpha1
kind: TelemetryPolicy
metadata: {{ name: shop, namespace: shop }}
spec: {{ metrics: true, accessLog: {{ file: {log} }} }}
---
apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: no-delete, namespace: shop }}
spec: {{ action: Deny, audit: true, rules: [{{ methods: [DELETE] }}] }}
---
apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: friends, namespace: shop }}
spec: {{ action: Allow, audit: true, rules: [{{ from: [{{ serviceAccount: friend }}] }}] }}"
    );
    documents(&[
        gateway(&[("http", home.port(8080))]),
        service("web"),
        workload("web", home.ip(), &[("web", 15_080, 9001)], &[]),
        route("web", EVERYTHING, "web"),
        policies,
    ])
}

/// Waits until the proxy has counted `count` requests with exactly these labels among others.
async fn counted(envoy: &EnvoyProcess, labels: &[(&str, &str)], count: u64) {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    wait_until(PATIENCE, &format!("{count} requests with {labels:?}"), async || {
        let all = envoy.admin_get("/stats/prometheus").await.map_err(|cause| cause.to_string())?.text();
        let ours: Vec<&str> = all.lines().filter(|line| line.starts_with("envoy_windrose_requests{")).collect();
        let found = ours.iter().any(|line| labels.iter().all(|label| line.contains(label)) && line.ends_with(&format!("}} {count}")));
        let timed = all.contains("envoy_windrose_request_milliseconds_count{");
        if found && timed { Ok(()) } else { Err(ours.join("\n")) }
    })
    .await;
}

/// Lines of the log, once there are as many.
async fn lines(log: &std::path::Path, count: usize) -> Vec<Value> {
    wait_until(PATIENCE, "the log to be written", async || {
        let text = std::fs::read_to_string(log).map_err(|cause| cause.to_string())?;
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= count { Ok(lines) } else { Err(text) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_verified_identities_and_an_audited_policy_stops_nobody() {
    let home = Loopback::claim();
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("access.json");
    let _back = EchoServer::start("web", home.port(9001)).await;
    let declared = observed(&home, log.to_str().unwrap());
    let stage = Stage::set(home, &declared).await;
    let (edge, web) = (stage.envoy("gateway", "edge", &[]).await, stage.envoy("workload", "web", &[]).await);
    let at = stage.home.port(8080);
    answered_by(&Call::get(at, "/"), "web").await;
    let delete = Call::new(http::Method::DELETE, at, "/");
    until(&delete, "the request that would be denied to pass", |reply| reply.status == 200).await;

    let identity = |account: &str| format!("spiffe://windrose.local/ns/shop/sa/{account}");
    counted(&edge, &[("reporter", "edge"), ("source", "outside"), ("destination", &identity("web")), ("status", "200")], 2).await;
    counted(&web, &[("reporter", "server"), ("source", &identity("edge")), ("destination", &identity("web")), ("status", "200")], 2).await;

    let told = lines(&log, 4).await;
    let of_sidecar = |method: &str| {
        let found = told.iter().find(|line| line["method"] == method && line["audit"].is_string());
        found.unwrap_or_else(|| panic!("no audited {method} in {told:?}")).clone()
    };
    let (got, deleted) = (of_sidecar("GET"), of_sidecar("DELETE"));
    assert_eq!((&got["audit_deny"], &got["audit"]), (&"allowed".into(), &"denied".into()), "{got}");
    assert_eq!(deleted["audit_deny"], "denied", "{deleted}");
    assert!(deleted["audit_deny_rule"].as_str().is_some_and(|rule| rule.starts_with("shop/no-delete/")), "{deleted}");
    assert_eq!(deleted["status"], 200, "{deleted}");

    // Who calls counts too, what it called and by whom that was answered.
    let caller = Loopback::claim();
    let calling = workload("caller", caller.ip(), &[], &[("web", 7001)]);
    stage.declare("caller.yaml", &calling);
    let envoy = stage.envoy("workload", "caller", &[]).await;
    answered_by(&Call::get(caller.port(7001), "/"), "web").await;
    counted(&envoy, &[("reporter", "client"), ("source", &identity("caller")), ("destination", &identity("web")), ("status", "200")], 1)
        .await;
}
