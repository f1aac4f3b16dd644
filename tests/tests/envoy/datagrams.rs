//! Datagrams: a session stays with one endpoint, sessions are shared out by weight, and the share of a lost backend is dropped.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use windrose_tests::address::Loopback;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, documents, gateway_of};

/// What a session may wait for its answer; a lost one costs as much.
const ANSWER: Duration = Duration::from_millis(500);

/// Answers every datagram with its name.
async fn echo(name: &'static str, at: SocketAddr) {
    let socket = UdpSocket::bind(at).await.unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut bytes).await {
            socket.send_to(name.as_bytes(), from).await.unwrap();
        }
    });
}

/// One datagram of this socket; who answered it.
async fn ask(socket: &UdpSocket) -> Option<String> {
    socket.send(b"who?").await.unwrap();
    let mut bytes = [0; 64];
    let length = tokio::time::timeout(ANSWER, socket.recv(&mut bytes)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

/// A session from any port of this address.
async fn session(from: IpAddr, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((from, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket
}

fn declared(at: SocketAddr, backends: &[(&str, SocketAddr)], shares: &str, more: &str) -> String {
    let gateway = gateway_of(at.ip(), &format!("[{{ name: dns, port: {}, protocol: UDP }}]", at.port()));
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {{ name: dns, namespace: shop }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ backendRefs: [{shares}] }}]"
    );
    let service = |(name, at): &(&str, SocketAddr)| {
        format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec: {{ ports: [{{ name: dns, port: 53, protocol: UDP }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, namespace: shop, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
ports: [{{ name: dns, port: {}, protocol: UDP }}]
endpoints: [{{ addresses: [\"{}\"] }}]",
            at.port(),
            at.ip()
        )
    };
    let mut all: Vec<String> = backends.iter().map(service).collect();
    all.extend([gateway, route]);
    all.extend((!more.is_empty()).then(|| more.to_owned()));
    documents(&all)
}

async fn answered(at: SocketAddr, from: IpAddr) {
    let what = format!("an answer to a datagram from {from} at {at}");
    wait_until(PATIENCE, &what, async || ask(&session(from, at).await).await.map(drop).ok_or_else(|| "none".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_shared_out_by_weight_and_a_lost_share_is_dropped() {
    let home = Loopback::claim();
    let (at, ip) = (home.port(5300), home.ip());
    let backends = [("one", home.port(9001)), ("two", home.port(9002))];
    for (name, at) in backends {
        echo(name, at).await;
    }
    let shares = "{ name: one, port: 53, weight: 6 }, { name: two, port: 53, weight: 3 }, { name: lost, port: 53, weight: 1 }";
    let stage = Stage::set(home, &declared(at, &backends, shares, "")).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered(at, ip).await;

    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..200 {
        let answer = ask(&session(ip, at).await).await;
        *counts.entry(answer.unwrap_or_else(|| "nobody".to_owned())).or_insert(0) += 1;
    }
    for (name, expected) in [("one", 120), ("two", 60), ("nobody", 20)] {
        let count = counts.get(name).copied().unwrap_or(0);
        assert!(count.abs_diff(expected) <= 20, "{name} {count} of 200, not about {expected}: {counts:?}");
    }

    let one = session(ip, at).await;
    let first = ask(&one).await;
    for _ in 0..5 {
        assert_eq!(ask(&one).await, first, "a session stays where it is");
    }
    stage.synced("gateway/shop/edge").await;

    // Shares change without a new cluster or listener.
    stage.declare(
        "shop.yaml",
        &declared(at, &backends, "{ name: one, port: 53, weight: 0 }, { name: two, port: 53 }, { name: two, port: 53 }", ""),
    );
    wait_until(PATIENCE, "all sessions to go to two", async || {
        for _ in 0..5 {
            let answer = ask(&session(ip, at).await).await;
            if answer.as_deref() != Some("two") {
                return Err(format!("{answer:?}"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_send_is_decided_by_address_and_all_addresses_take_both_families() {
    let home = Loopback::claim();
    let ip = home.ip();
    let backends = [("one", home.port(9001))];
    echo("one", home.port(9001)).await;
    let closed = format!(
        "apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: {{ name: near, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  addresses: {{ allow: [\"127.0.0.0/8\", \"::1/128\"], deny: [\"{ip}/32\"] }}"
    );
    let any = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap().local_addr().unwrap();
    let stage = Stage::set(home, &declared(any, &backends, "{ name: one, port: 53 }", &closed)).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    answered(SocketAddr::from((here, any.port())), here).await;
    answered(SocketAddr::from((Ipv6Addr::LOCALHOST, any.port())), Ipv6Addr::LOCALHOST.into()).await;
    assert_eq!(ask(&session(ip, SocketAddr::from((here, any.port()))).await).await, None, "{ip} may not send");
}
