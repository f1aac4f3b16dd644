//! Sidecars: who may call is known by certificate, plain text is refused, and what is deleted is cut off.

use std::time::Duration;

use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply, raw};
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::TlsClient;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, answered_by, beyond, counted, documents, service, until, workload};

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

/// The mode of all ports of the namespace, and of one.
fn mode(all: &str, port: u16, of_port: &str) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: MeshPolicy
metadata: {{ name: shop, namespace: shop }}
spec: {{ mtls: {all}, ports: [{{ port: {port}, mtls: {of_port} }}] }}"
    )
}

/// Who the application was told calls it, as its sidecar knows it.
fn caller_told(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["headers"]["x-forwarded-client-cert"].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permissive_port_takes_both_a_strict_one_only_identities_whichever_is_the_exception() {
    let (web, friend) = (Loopback::claim(), Loopback::claim());
    let back = EchoServer::start("web", web.port(9001)).await;
    let declared = |policy: String| {
        let serves = [("web", 15_080, 9001), ("other", 15_081, 9001)];
        let workloads = [workload("web", web.ip(), &serves, &[]), workload("friend", friend.ip(), &[], &[("web", 7001), ("other", 7002)])];
        documents(&[service("web"), service("other"), documents(&workloads), policy])
    };
    let stage = Stage::set(Loopback::claim(), &declared(mode("Permissive", 15_081, "Strict"))).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    let _outbound = stage.envoy("workload", "friend", &[]).await;

    for (permissive, strict) in [(15_080, 15_081), (15_081, 15_080)] {
        // Plain text has no identity, whatever it says.
        let forged =
            Call::get(web.port(permissive), "/").host("web.shop").header("x-forwarded-client-cert", "URI=spiffe://windrose.local/a");
        let plain = until(&forged, "plain text to be taken", |reply| reply.status == 200).await;
        assert_eq!(caller_told(&plain), "null");
        for port in [7001, 7002] {
            let with_identity = until(&Call::get(friend.port(port), "/"), "an identity to be taken", |reply| reply.status == 200).await;
            assert!(caller_told(&with_identity).contains("/sa/friend"), "{}", with_identity.text());
        }
        wait_until(PATIENCE, "plain text to be refused", async || {
            let seen = back.requests();
            let answer = raw(web.port(strict), b"GET / HTTP/1.1\r\nhost: web.shop\r\n\r\n", Duration::from_secs(5)).await.unwrap();
            if answer.is_empty() && back.requests() == seen { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        stage.declare("shop.yaml", &declared(mode("Strict", 15_081, "Permissive")));
    }
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
    counted(&outbound, "control_plane.connected_state", 0).await;
    // It tries again with the same credential, and is refused.
    let refused = "cluster.windrose/xds.upstream_rq_total";
    let tried = outbound.stat(refused).await;
    beyond(&outbound, refused, tried).await;
    let all = stage.ask("proxies");
    let friends: Vec<_> = all.as_array().unwrap().iter().filter(|one| one["proxy"] == "workload/shop/friend").collect();
    assert!(friends.iter().all(|one| one["orphaned"].is_string() && one["synced"] == false), "{all}");
}
