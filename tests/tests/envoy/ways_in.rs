//! The other ways to the same configuration: state of the world instead of delta, a bearer token instead of a certificate.

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;

use crate::stage::{EVERYTHING, Stage, answered_by, documents, endpoint, gateway, route, service};

fn pointing_to(home: &Loopback, back: &str) -> String {
    let ends = [("one", 9001), ("other", 9002)].map(|(name, port)| documents(&[service(name), endpoint(name, home.port(port))]));
    documents(&[gateway(&[("http", home.port(8080))]), ends.join("\n---\n"), route("web", EVERYTHING, back)])
}

/// An edge with this bootstrap gets the route, follows an edit, and a restart of the server.
async fn gets_and_follows(arguments: &[&str]) {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = ["one", "other"].map(|back| pointing_to(&home, back));
    let mut stage = Stage::set(home, &declared[0]).await;
    let edge = stage.envoy("gateway", "edge", arguments).await;
    let call = Call::get(stage.home.port(8080), "/");
    answered_by(&call, "one").await;
    stage.declare("shop.yaml", &declared[1]);
    answered_by(&call, "other").await;
    stage.synced("gateway/shop/edge").await;

    stage.kill_and_restart().await;
    stage.synced("gateway/shop/edge").await;
    stage.declare("shop.yaml", &declared[0]);
    answered_by(&call, "one").await;
    stage.synced("gateway/shop/edge").await;
    assert_eq!(edge.stat("listener_manager.listener_modified").await, 0);
    assert_eq!(edge.stat("listener_manager.listener_added").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_speaks_state_of_the_world_gets_and_follows_the_same() {
    gets_and_follows(&["--state-of-the-world"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_with_a_bearer_token_gets_and_follows_the_same() {
    gets_and_follows(&["--identity", "token"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_of_the_world_and_a_token_go_together() {
    gets_and_follows(&["--state-of-the-world", "--identity", "token"]).await;
}
