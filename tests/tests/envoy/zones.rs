//! Endpoints that are meant for zones: who is in one sends there first, and elsewhere when nothing there answers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service, until};

/// Of two endpoints by chance alone one would answer so many calls once in 2^24.
const CALLS: usize = 25;

/// The endpoint of `web` in a zone that it is meant for.
fn slice(zone: &str, at: SocketAddr) -> String {
    let hints = format!("], zone: {zone}, hints: {{ forZones: [{{ name: {zone} }}] }} }}]");
    endpoint("web", at).replace("name: web-1", &format!("name: web-{zone}")).replace("] }]", &hints)
}

/// An endpoint that fails once is not asked again for as long as this test takes.
const DETECTS: &str = "apiVersion: windrose.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  outlierDetection: { consecutive5xx: 1, interval: 1s, baseEjection: 5m, maxEjection: 5m, maxEjectionPercent: 100 }";

fn declared(listen: SocketAddr, slices: &[String]) -> String {
    let all = [gateway(&[("http", listen)]), service("web"), route("web", "{ value: / }", "web"), DETECTS.to_owned()];
    documents(&[&all[..], slices].concat())
}

/// Who answers so many calls, each of which is answered well.
async fn answerers(call: &Call) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for _ in 0..CALLS {
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        found.insert(reply.header("x-echo-server").to_owned());
    }
    found
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_sends_to_its_own_zone_and_elsewhere_when_that_is_empty() {
    let home = Loopback::claim();
    let (a, b) = (EchoServer::start("a", home.port(9001)).await, EchoServer::start("b", home.port(9002)).await);
    let (listen, both) = (home.port(8080), [slice("a", a.address()), slice("b", b.address())]);
    let call = Call::get(listen, "/");
    let stage = Stage::set(home, &declared(listen, &both)).await;

    let elsewhere = stage.envoy("gateway", "edge", &["--zone", "c"]).await;
    answered_by(&call, "a").await;
    assert_eq!(answerers(&call).await, names(&["a", "b"]), "nothing is meant for its zone");
    drop(elsewhere);
    wait_until(PATIENCE, "it to be gone", async || {
        let there = stage.ask("proxies");
        if there[0].is_null() { Ok(()) } else { Err(there.to_string()) }
    })
    .await;

    let _edge = stage.envoy("gateway", "edge", &["--zone", "a"]).await;
    answered_by(&call, "a").await;
    assert_eq!(answerers(&call).await, names(&["a"]));
    stage.synced("gateway/shop/edge").await;
    assert_eq!(stage.ask("proxies")[0]["zone"], "a");
    let programmed = stage.object("HTTPRoute", "web")["programmed"].take();
    assert_eq!((&programmed["acknowledged"], &programmed["targets"]), (&1.into(), &1.into()), "{programmed}");

    stage.declare("shop.yaml", &declared(listen, &both[1..]));
    wait_until(PATIENCE, "the other zone to answer", async || {
        let found = answerers(&call).await;
        if found == names(&["b"]) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;

    stage.declare("shop.yaml", &declared(listen, &both));
    answered_by(&call, "a").await;
    wait_until(PATIENCE, "its own zone to answer alone", async || {
        let found = answerers(&call).await;
        if found == names(&["a"]) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_turns_to_another_zone_by_itself_when_its_own_fails() {
    let home = Loopback::claim();
    let (a, b) = (EchoServer::start("a", home.port(9001)).await, EchoServer::start("b", home.port(9002)).await);
    let listen = home.port(8080);
    let call = Call::get(listen, "/");
    let stage = Stage::set(home, &declared(listen, &[slice("a", a.address()), slice("b", b.address())])).await;
    let _edge = stage.envoy("gateway", "edge", &["--zone", "a"]).await;
    answered_by(&call, "a").await;
    a.answer(503);
    until(&call, "an answer of the other zone", |reply| reply.status == 200 && reply.header("x-echo-server") == "b").await;
    a.answer(200);
    assert_eq!(answerers(&call).await, names(&["b"]), "it waits before it tries its own again");
}
