//! A Service with endpoints in the mesh and outside of it: mutual TLS to those with a sidecar, plain text to the others.

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service, workload};

/// Calls after the set has changed: each endpoint would have its turn.
const CALLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_without_a_sidecar_stay_plain_and_the_others_get_mutual_tls() {
    let home = Loopback::claim();
    let inside = EchoServer::start("inside", home.port(9001)).await;
    let outside = EchoServer::start("outside", home.port(9002)).await;
    let meshed = [
        gateway(&[("http", home.port(8080))]),
        service("web"),
        workload("web", home.ip(), &[("web", 15_080, 9001)], &[]),
        route("web", EVERYTHING, "web"),
    ];
    let mixed = [&meshed[..], &[endpoint("web", home.port(9002))]].concat();
    let stage = Stage::set(home, &documents(&mixed)).await;
    let (_edge, _web) = (stage.envoy("gateway", "edge", &[]).await, stage.envoy("workload", "web", &[]).await);
    let call = Call::get(stage.home.port(8080), "/");
    answered_by(&call, "inside").await;
    answered_by(&call, "outside").await;
    let told = inside.last();
    let presented = told["headers"]["x-forwarded-client-cert"][0].as_str().unwrap_or_default();
    assert!(presented.contains("URI=spiffe://windrose.local/ns/shop/sa/edge"), "{told}");

    stage.declare("shop.yaml", &documents(&meshed));
    wait_until(PATIENCE, "the endpoint outside to be gone", async || {
        let before = outside.requests();
        for _ in 0..CALLS {
            let reply = call.send().await.map_err(|cause| cause.to_string())?;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        if outside.requests() == before { Ok(()) } else { Err("it is still called".to_owned()) }
    })
    .await;
    answered_by(&call, "inside").await;
}
