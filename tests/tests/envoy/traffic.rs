//! What a TrafficPolicy says of endpoints and retries, as Envoy does it.

use tokio::task::JoinSet;
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
    wait_until(PATIENCE, "a question about its health", async || {
        if sick.last()["path"] == "/healthz" { Ok(()) } else { Err(sick.last().to_string()) }
    })
    .await;
    sick.answer(200);
    answered_by(&call, "sick").await;
    answered_by(&call, "well").await;
}

/// Requests at once, each of which fails after a while and may be tried again once.
const BURST: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_failures_is_tried_again_within_the_budget_and_no_further() {
    let home = Loopback::claim();
    let backs = [EchoServer::start("tight", home.port(9001)).await, EchoServer::start("wide", home.port(9002)).await];
    let budgets = [("tight", "percent: 10, minimum: 1"), ("wide", "percent: 100, minimum: 100")];
    let services = budgets.iter().zip(&backs).map(|((name, budget), back)| {
        let retries = format!("retries: {{ attempts: 1, statuses: [503], budget: {{ {budget} }} }}");
        let path = format!("{{ value: /{name} }}");
        documents(&[service(name), endpoint(name, back.address()), route(name, &path, name), traffic(name, &retries)])
    });
    let at = home.port(8080);
    let declared = documents(&[gateway(&[("http", at)]), documents(&services.collect::<Vec<_>>())]);
    let stage = Stage::set(home, &declared).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;
    let mut tried_again = Vec::new();
    for (name, back) in ["tight", "wide"].into_iter().zip(&backs) {
        let call = Call::get(at, &format!("/{name}"));
        answered_by(&call, name).await;
        let before = back.requests();
        back.answer(503);
        let failing = call.header("x-echo-delay-ms", "500");
        let burst: JoinSet<u16> = (0..BURST).map(|_| failing.clone()).map(async |call| call.send().await.unwrap().status).collect();
        assert!(burst.join_all().await.iter().all(|status| *status == 503), "{name}");
        let stat = async |what: &str| edge.stat(&format!("cluster.shop/{name}/80.upstream_rq_{what}")).await;
        let (again, overflow) = (stat("retry").await, stat("retry_overflow").await);
        assert_eq!((back.requests() - before, again + overflow), (BURST + again, BURST), "{name}");
        tried_again.push(again);
    }
    assert!((1..=BURST / 2).contains(&tried_again[0]), "{tried_again:?}");
    assert_eq!(tried_again[1], BURST);
}
