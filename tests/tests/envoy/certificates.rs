//! Certificates at the edge: a new one reaches new connections and resets no old one; a bad one is refused without a
//! word of its key, and its neighbours go on.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Connection};
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, documents, endpoint, gateway_of, route, service};

/// Renewals while connections are open.
const RENEWALS: usize = 5;

pub(crate) fn secret(name: &str, identity: &Identity) -> String {
    let [chain, key] = [&identity.chain_pem, &identity.key_pem].map(|pem| serde_json::Value::from(pem.as_str()));
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: {name}, namespace: shop }}
type: kubernetes.io/tls
stringData: {{ tls.crt: {chain}, tls.key: {key} }}"
    )
}

/// Two HTTPS listeners, each with a Secret of its own.
fn declared(home: &Loopback, first: &Identity, second: &Identity) -> String {
    let gateway = gateway_of(
        home.ip(),
        "
  - { name: first, port: 8443, protocol: HTTPS, tls: { certificateRefs: [{ name: first }] } }
  - { name: second, port: 8444, protocol: HTTPS, tls: { certificateRefs: [{ name: second }] } }",
    );
    documents(&[
        gateway,
        secret("first", first),
        secret("second", second),
        service("web"),
        endpoint("web", home.port(9001)),
        route("web", EVERYTHING, "web"),
    ])
}

/// The leaf that a new connection is shown.
async fn shown(call: &Call) -> Result<Vec<u8>, String> {
    let reply = call.send().await.map_err(|cause| cause.to_string())?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    Ok(reply.peer_certificates[0].to_vec())
}

async fn shown_another(call: &Call, than: &[u8]) -> Vec<u8> {
    wait_until(PATIENCE, "another certificate", async || {
        let leaf = shown(call).await?;
        if leaf == than { Err("the former one".to_owned()) } else { Ok(leaf) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_reaches_new_connections_and_resets_no_old_one() {
    let (home, authority) = (Loopback::claim(), TestAuthority::new("shop root"));
    let _back = EchoServer::start("web", home.port(9001)).await;
    let (first, second) = (authority.issue(&["shop.example"]), authority.issue(&["shop.example"]));
    let text = declared(&home, &first, &second);
    let stage = Stage::set(home, &text).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;
    let call = Call::get(stage.home.port(8443), "/").host("shop.example").tls(&TlsClient::trusting(authority.root_pem()), "shop.example");
    let mut leaf = wait_until(PATIENCE, "the first answer", async || shown(&call).await).await;

    let (mut old, mut streams) = (Connection::open(&call).await.unwrap(), Connection::open(&call.clone().http2()).await.unwrap());
    for _ in 0..RENEWALS {
        stage.declare("shop.yaml", &declared(&stage.home, &authority.issue(&["shop.example"]), &second));
        leaf = shown_another(&call, &leaf).await;
        assert_eq!(old.send(&call).await.unwrap().status, 200);
        assert_eq!(streams.send(&call.clone().http2()).await.unwrap().status, 200);
    }
    assert!(old.is_open() && streams.is_open());
    assert_eq!(edge.stat("listener_manager.listener_modified").await, 0);
}

/// Opens one connection after the other until it is stopped; returns what went wrong and how many went well.
fn knock(call: &Call) -> (CancellationToken, JoinHandle<(Vec<String>, usize)>) {
    let (call, stop) = (call.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let knocking = tokio::spawn(async move {
        let (mut failed, mut went_well) = (Vec::new(), 0);
        while !stopped.is_cancelled() {
            match shown(&call).await {
                Ok(_) => went_well += 1,
                Err(why) => failed.push(why),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (failed, went_well)
    });
    (stop, knocking)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_and_its_key_that_are_replaced_one_after_the_other_cost_no_connection() {
    let (home, authority) = (Loopback::claim(), TestAuthority::new("shop root"));
    let _back = EchoServer::start("web", home.port(9001)).await;
    let (first, second) = (authority.issue(&["shop.example"]), authority.issue(&["shop.example"]));
    let inline = secret("first", &first);
    let from_files =
        "apiVersion: v1\nkind: Secret\nmetadata: { name: first, namespace: shop }\nfiles: { tls.crt: first.crt, tls.key: first.key }";
    let text = declared(&home, &first, &second).replace(&inline, from_files);
    let mut stage = Stage::set(home, &text).await;
    stage.declare("first.crt", &first.chain_pem);
    stage.declare("first.key", &first.key_pem);
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = Call::get(stage.home.port(8443), "/").host("shop.example").tls(&TlsClient::trusting(authority.root_pem()), "shop.example");
    let mut leaf = wait_until(PATIENCE, "the first answer", async || shown(&call).await).await;

    for (order, restarts) in [(["first.crt", "first.key"], false), (["first.key", "first.crt"], false), (["first.crt", "first.key"], true)]
    {
        let (stop, knocking) = knock(&call);
        let renewed = authority.issue(&["shop.example"]);
        let content = |file: &str| if file.ends_with("crt") { renewed.chain_pem.clone() } else { renewed.key_pem.clone() };
        stage.declare(order[0], &content(order[0]));
        let said = "the private key does not match the certificate";
        told(&stage, said).await;
        if restarts {
            stage.kill_and_restart().await;
            told(&stage, said).await;
            stage.synced("gateway/shop/edge").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(shown(&call).await.unwrap(), leaf, "the former one goes on");
        stage.declare(order[1], &content(order[1]));
        leaf = shown_another(&call, &leaf).await;
        stop.cancel();
        let (failed, went_well) = knocking.await.unwrap();
        assert!(failed.is_empty() && went_well > 5, "{order:?}: {went_well} went well, and {failed:?}");
        stage.synced("gateway/shop/edge").await;
        let secret = stage.object("Secret", "first");
        assert!(secret["inForce"] == "declared" && stage.object("Gateway", "edge")["resolved"] == true, "{secret}");
    }
}

/// Waits until the Secret is said to be stale, and the Gateway to refer to what cannot be used.
async fn told(stage: &Stage, said: &str) {
    wait_until(PATIENCE, "a word about the Secret", async || {
        let (secret, gateway) = (stage.object("Secret", "first"), stage.object("Gateway", "edge"));
        let stale = secret["inForce"] == "lastGood" && secret["programmed"]["status"] == false;
        let says = [&secret, &gateway].iter().all(|one| one["message"].as_str().is_some_and(|message| message.contains(said)));
        let reason = gateway["resolved"] == false && gateway["reason"] == "InvalidCertificateRef";
        if stale && says && reason { Ok(()) } else { Err(format!("{secret}\n{gateway}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_certificate_is_refused_and_never_told() {
    let (home, authority) = (Loopback::claim(), TestAuthority::new("shop root"));
    let _back = EchoServer::start("web", home.port(9001)).await;
    let (first, second) = (authority.issue(&["shop.example"]), authority.issue(&["shop.example"]));
    let text = declared(&home, &first, &second);
    let stage = Stage::set(home, &text).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let client = TlsClient::trusting(authority.root_pem());
    let [one, two] = [8443, 8444].map(|port| Call::get(stage.home.port(port), "/").host("shop.example").tls(&client, "shop.example"));
    wait_until(PATIENCE, "the first answer", async || shown(&one).await).await;
    let before = shown(&two).await.unwrap();

    let stranger = authority.issue(&["shop.example"]);
    let mixed = Identity { chain_pem: second.chain_pem.clone(), key_pem: stranger.key_pem.clone() };
    stage.declare("shop.yaml", &declared(&stage.home, &first, &mixed));
    let status = wait_until(PATIENCE, "a word about the Secret in the status", async || {
        let status = stage.ask("status").to_string();
        if status.contains("does not match the certificate") { Ok(status) } else { Err(status) }
    })
    .await;
    shown(&one).await.unwrap();

    let all = [status, stage.ask("proxies").to_string(), stage.server.log()].concat();
    for line in stranger.key_pem.lines().filter(|line| !line.starts_with('-') && line.len() > 16) {
        assert!(!all.contains(&line[..16]), "a piece of the key was told");
    }
    let renewed = authority.issue(&["shop.example"]);
    stage.declare("shop.yaml", &declared(&stage.home, &first, &renewed));
    shown_another(&two, &before).await;
}
