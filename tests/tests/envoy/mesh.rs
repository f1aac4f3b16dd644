//! Sidecars: who may call is known by certificate, plain text is refused, and what is deleted is cut off.

use std::time::Duration;

use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, raw};
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::TlsClient;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, answered_by, documents, service, until, workload};

/// Calls Service `web` from its own address on port 7001.
fn caller(name: &str, home: &Loopback) -> String {
    workload(name, home.ip(), &[], &[("web", 7001)])
}

/// The Workload `web` behind its sidecar at port 15080; only the service account `friend` may call it.
fn callee(home: &Loopback) -> String {
    let web = workload("web", home.ip(), &[("web", 15_080, 9001)], &[]);
    format!(
        "{web}
---
apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: web, namespace: shop }}
spec:
  targetRefs: [{{ group: windrose.dev, kind: Workload, name: web }}]
  action: Allow
  rules: [{{ from: [{{ serviceAccount: friend }}] }}]"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_identity_passes_a_wrong_one_is_forbidden_and_plain_text_gets_nothing() {
    let (web, friend, stranger) = (Loopback::claim(), Loopback::claim(), Loopback::claim());
    let back = EchoServer::start("web", web.port(9001)).await;
    let declared = documents(&[service("web"), callee(&web), caller("friend", &friend), caller("stranger", &stranger)]);
    let stage = Stage::set(Loopback::claim(), &declared).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    let _outbound = stage.envoy("workload", "friend", &[]).await;
    let _other = stage.envoy("workload", "stranger", &[]).await;

    let (from_friend, from_stranger) = (Call::get(friend.port(7001), "/"), Call::get(stranger.port(7001), "/"));
    answered_by(&from_friend, "web").await;
    let told = back.last();
    let presented = told["headers"]["x-forwarded-client-cert"][0].as_str().unwrap_or_default();
    assert!(presented.contains("URI=spiffe://windrose.local/ns/shop/sa/friend"), "{told}");

    until(&from_stranger, "the stranger to be forbidden", |reply| reply.status == 403).await;
    let seen = back.requests();
    let plain = raw(web.port(15080), b"GET / HTTP/1.1\r\nhost: web\r\n\r\n", Duration::from_secs(5)).await.unwrap();
    assert!(plain.is_empty(), "{plain:?}");
    let nobody = Call::get(web.port(15080), "/").tls(&TlsClient::trusting_anyone(), "web.shop").send().await;
    assert!(nobody.is_err(), "{nobody:?}");
    assert_eq!(back.requests(), seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_workload_cuts_its_stream_for_good() {
    let (web, friend) = (Loopback::claim(), Loopback::claim());
    let _back = EchoServer::start("web", web.port(9001)).await;
    let stage = Stage::set(Loopback::claim(), &documents(&[service("web"), callee(&web), caller("friend", &friend)])).await;
    let outbound = stage.envoy("workload", "friend", &[]).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    stage.synced("workload/shop/friend").await;
    answered_by(&Call::get(friend.port(7001), "/"), "web").await;

    stage.declare("shop.yaml", &documents(&[service("web"), callee(&web)]));
    wait_until(PATIENCE, "the stream to be cut", async || match outbound.stat("control_plane.connected_state").await {
        0 => Ok(()),
        state => Err(state.to_string()),
    })
    .await;
    // It tries again with the same credential, and is refused.
    let refused = "cluster.windrose/xds.upstream_rq_total";
    let tried = outbound.stat(refused).await;
    wait_until(PATIENCE, "another attempt", async || match outbound.stat(refused).await {
        count if count > tried => Ok(()),
        count => Err(count.to_string()),
    })
    .await;
    assert!(!stage.ask("proxies").to_string().contains("workload/shop/friend"));
}
