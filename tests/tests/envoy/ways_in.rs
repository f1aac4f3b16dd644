//! The other ways to the same configuration: state of the world instead of delta, a bearer token instead of a certificate,
//! a folder that was written elsewhere, a credential that is renewed while Envoy runs.

use std::time::{Duration, Instant};

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, closed, documents, endpoint, gateway, route, service, until};

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

/// When the credential ends that the edge came with, in seconds since 1970.
async fn expiry(stage: &Stage, wanted: impl Fn(u64) -> bool) -> u64 {
    wait_until(PATIENCE, "the edge with that credential", async || {
        let all = stage.ask("proxies");
        all[0]["credentialExpires"].as_u64().filter(|end| wanted(*end)).ok_or_else(|| all.to_string())
    })
    .await
}

/// An edge in a folder that was moved to its place shows the renewed credential when it comes back.
async fn shows_what_was_renewed(kind: &str) {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let (call, admin) = (Call::get(home.port(8080), "/"), Call::get(home.port(8080), "/admin"));
    let guarded = documents(&[route("admin", "{ value: /admin }", "one"), closed("admin")]);
    let declared = ["one", "other"].map(|back| documents(&[pointing_to(&home, back), guarded.clone()]));
    let mut stage = Stage::set(home, &declared[0]).await;
    let _edge = stage.moved_envoy("gateway", "edge", &["--identity", kind, "--ttl", "12h"]).await;
    answered_by(&call, "one").await;
    // Of a module that lies elsewhere Envoy makes no filter.
    until(&admin, "a refusal by the filter", |reply| reply.status == 401).await;

    let before = expiry(&stage, |_| true).await;
    stage.renew("gateway", "edge", &["--identity", kind, "--ttl", "24h"]);
    stage.kill_and_restart().await;
    expiry(&stage, |end| end > before + 11 * 3_600).await;
    stage.declare("shop.yaml", &declared[1]);
    answered_by(&call, "other").await;

    // One that was revoked is no end of it: the next one is shown as soon as it is there, although the server did not go away.
    stage.renew("gateway", "edge", &["--identity", kind, "--ttl", "48h", "--revoke"]);
    let revoked = Instant::now();
    expiry(&stage, |end| end > before + 35 * 3_600).await;
    assert!(revoked.elapsed() < Duration::from_secs(10), "it took {:?}", revoked.elapsed());
    stage.declare("shop.yaml", &declared[0]);
    answered_by(&call, "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_whose_folder_was_moved_comes_back_with_its_renewed_certificate() {
    shows_what_was_renewed("certificate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_with_its_renewed_token() {
    shows_what_was_renewed("token").await;
}
