//! What Envoy itself refuses: only the object that caused it waits, its status has Envoy's words, and a repair or a
//! restart leaves nothing behind.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{REPEATED_TOO_OFTEN, REPEATED_WORDS};
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service, until};

/// The promise is one second from the refusal; a loaded machine gets three from the edit.
const STATUS_MAX: Duration = Duration::from_secs(3);

/// The match of a path that Envoy refuses.
pub(crate) fn repeated_too_often() -> String {
    format!("{{ type: RegularExpression, value: '{REPEATED_TOO_OFTEN}' }}")
}

fn routes(home: &Loopback, special: &str) -> String {
    documents(&[
        gateway(&[("http", home.port(8080))]),
        service("one"),
        endpoint("one", home.port(9001)),
        service("other"),
        endpoint("other", home.port(9002)),
        route("web", EVERYTHING, "one"),
        route("special", special, "other"),
    ])
}

fn with_listener_at(home: &Loopback, ports: &[(&str, u16)]) -> String {
    let listeners: Vec<_> = ports.iter().map(|(name, port)| (*name, home.port(*port))).collect();
    documents(&[gateway(&listeners), service("one"), endpoint("one", home.port(9001)), route("web", EVERYTHING, "one")])
}

/// Waits until the status of an object has these words of Envoy's.
async fn told(stage: &Stage, kind: &str, name: &str, words: &str) -> Value {
    wait_until(STATUS_MAX, &format!("{words} in the status of {kind} {name}"), async || {
        let object = stage.object(kind, name);
        if object.to_string().contains(words) { Ok(object) } else { Err(object.to_string()) }
    })
    .await
}

async fn programmed(stage: &Stage, kind: &str, name: &str) {
    wait_until(PATIENCE, &format!("{kind} {name} to be programmed"), async || {
        let object = stage.object(kind, name);
        let state = &object["programmed"];
        let all = state["acknowledged"] == 1 && state["targets"] == 1 && state["refused"].as_array().is_none_or(Vec::is_empty);
        if all { Ok(()) } else { Err(object.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_on_a_held_port_is_told_in_envoys_words_and_programmed_once_repaired() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let declared = with_listener_at(&home, &[("http", 8080)]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let (good, bad) = (Call::get(stage.home.port(8080), "/"), Call::get(stage.home.port(8081), "/"));
    answered_by(&good, "one").await;

    let held = TcpListener::bind(stage.home.port(8081)).unwrap();
    stage.declare("shop.yaml", &with_listener_at(&stage.home, &[("http", 8080), ("held", 8081)]));
    let object = told(&stage, "Gateway", "edge", "annot bind").await;
    assert_eq!(good.send().await.unwrap().status, 200);
    assert_eq!(object["programmed"]["acknowledged"], 0, "{object}");

    drop(held);
    stage.declare("shop.yaml", &with_listener_at(&stage.home, &[("http", 8080), ("repaired", 8082)]));
    answered_by(&Call::get(stage.home.port(8082), "/"), "one").await;
    programmed(&stage, "Gateway", "edge").await;
    assert_eq!(bad.send().await.unwrap_err().step(), "connect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_port_that_becomes_free_is_programmed_without_an_edit() {
    a_held_port_becomes_free(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_port_that_becomes_free_is_programmed_by_state_of_the_world_too() {
    a_held_port_becomes_free(&["--state-of-the-world"]).await;
}

async fn a_held_port_becomes_free(arguments: &[&str]) {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let held = TcpListener::bind(home.port(8081)).unwrap();
    let declared = with_listener_at(&home, &[("http", 8080), ("held", 8081)]);
    let stage = Stage::set(home, &declared).await;
    let edge = stage.envoy("gateway", "edge", arguments).await;
    answered_by(&Call::get(stage.home.port(8080), "/"), "one").await;
    told(&stage, "Gateway", "edge", "annot bind").await;
    // The first retry is over, and the word stays.
    wait_until(PATIENCE, "a retry", async || match edge.stat("listener_manager.lds.update_rejected").await {
        0 | 1 => Err("none yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    told(&stage, "Gateway", "edge", "annot bind").await;
    assert_eq!(stage.object("Gateway", "edge")["programmed"]["acknowledged"], 0);

    drop(held);
    answered_by(&Call::get(stage.home.port(8081), "/"), "one").await;
    programmed(&stage, "Gateway", "edge").await;
    assert!(!stage.object("Gateway", "edge").to_string().contains("annot bind"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_envoy_refuses_waits_alone_and_a_restarted_envoy_gets_what_was_accepted() {
    a_refused_route_waits_alone(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_for_state_of_the_world() {
    a_refused_route_waits_alone(&["--state-of-the-world"]).await;
}

async fn a_refused_route_waits_alone(arguments: &[&str]) {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = routes(&home, "{ type: Exact, value: /a }");
    let mut stage = Stage::set(home, &declared).await;
    let edge = stage.envoy("gateway", "edge", arguments).await;
    let at = stage.home.port(8080);
    answered_by(&Call::get(at, "/a"), "other").await;

    stage.declare("shop.yaml", &routes(&stage.home, &repeated_too_often()));
    told(&stage, "HTTPRoute", "special", REPEATED_WORDS).await;
    told(&stage, "HTTPRoute", "special", "RefusedByEnvoy").await;
    answered_by(&Call::get(at, "/"), "one").await;
    answered_by(&Call::get(at, "/a"), "other").await;
    drop(edge);
    let edge = stage.same_envoy("edge").await;
    answered_by(&Call::get(at, "/"), "one").await;
    answered_by(&Call::get(at, "/a"), "other").await;

    // With the server gone too, only what it kept (at most once a second) can tell what was accepted.
    drop(edge);
    let ledger = stage.server.options().state.join("accepted.log");
    wait_until(PATIENCE, "the refusal to be kept", async || {
        let kept = std::fs::read(&ledger).map_err(|cause| cause.to_string())?;
        if String::from_utf8_lossy(&kept).contains(REPEATED_WORDS) { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    stage.kill_and_restart().await;
    let _edge = stage.same_envoy("edge").await;
    answered_by(&Call::get(at, "/"), "one").await;
    answered_by(&Call::get(at, "/a"), "other").await;

    stage.declare("shop.yaml", &routes(&stage.home, "{ type: Exact, value: /b }"));
    answered_by(&Call::get(at, "/b"), "other").await;
    until(&Call::get(at, "/a"), "the former path to be the other route's", |reply| reply.header("x-echo-server") == "one").await;
    programmed(&stage, "HTTPRoute", "special").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_with_a_refused_route_serves_the_others() {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = routes(&home, &repeated_too_often());
    let stage = Stage::set(home, &declared).await;
    let at = stage.home.port(8080);
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&Call::get(at, "/"), "one").await;
    told(&stage, "HTTPRoute", "special", REPEATED_WORDS).await;
    programmed(&stage, "HTTPRoute", "web").await;
    // The trial of the suspects is over by then, and its verdict stays.
    tokio::time::sleep(Duration::from_secs(2)).await;
    told(&stage, "HTTPRoute", "special", REPEATED_WORDS).await;
    programmed(&stage, "HTTPRoute", "web").await;
    answered_by(&Call::get(at, "/"), "one").await;

    stage.declare("shop.yaml", &routes(&stage.home, "{ type: Exact, value: /a }"));
    answered_by(&Call::get(at, "/a"), "other").await;
    programmed(&stage, "HTTPRoute", "special").await;
}
