//! What a TrafficPolicy says of endpoints and retries, as Envoy does it.

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service};

/// A TrafficPolicy of a Service, of the same name.
fn traffic(service: &str, spec: &str) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: TrafficPolicy
metadata: {{ name: {service}, namespace: shop }}
spec: {{ targetRefs: [{{ kind: Service, name: {service} }}], {spec} }}"
    )
}

/// Requests in a row, of which in turn every second one would reach the other.
const CALLS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_its_health_check_gets_no_request_until_it_is_well() {
    let home = Loopback::claim();
    let (_well, sick) = (EchoServer::start("well", home.port(9001)).await, EchoServer::start("sick", home.port(9002)).await);
    let second = endpoint("web", home.port(9002)).replace("web-1", "web-2");
    let ends = [endpoint("web", home.port(9001)), second];
    let without = documents(&[gateway(&[("http", home.port(8080))]), service("web"), documents(&ends), route("web", EVERYTHING, "web")]);
    let check = "healthCheck: { interval: 1s, unhealthyThreshold: 1, probe: { httpPath: /healthz } }, loadBalancing: { type: RoundRobin }";
    // Both answer whoever asks for that with 200: neither a retry nor an ejection has a cause.
    let call = Call::get(home.port(8080), "/").header("x-echo-status", "200");
    sick.answer(500);
    let stage = Stage::set(home, &without).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&call, "sick").await;

    stage.declare("shop.yaml", &documents(&[without, traffic("web", check)]));
    wait_until(PATIENCE, "only the other to be asked", async || {
        for _ in 0..CALLS {
            let reply = call.send().await.map_err(|cause| cause.to_string())?;
            (reply.header("x-echo-server") == "well").then_some(()).ok_or_else(|| reply.text())?;
        }
        Ok(())
    })
    .await;
    assert_eq!(sick.last()["path"], "/healthz");
    sick.answer(200);
    answered_by(&call, "sick").await;
    answered_by(&call, "well").await;
}
