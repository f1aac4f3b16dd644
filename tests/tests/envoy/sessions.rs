//! Sessions and shares, as only Envoy can show them: who answers whom, and under which path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply};
use windrose_tests::echo::EchoServer;

use crate::stage::{Stage, answered_by, documents, endpoint, gateway, service, until};

/// Requests of a client that has a session: by chance alone one of three would answer all of them once in 3^24.
const CALLS: usize = 25;

/// Requests whose shares are counted.
const COUNTED: usize = 400;

fn slice(all: &[SocketAddr]) -> String {
    let (first, more) = (endpoint("web", all[0]), &all[1..]);
    let more = more.iter().enumerate().map(|(index, at)| endpoint("web", *at).replace("name: web-1", &format!("name: web-{}", index + 2)));
    documents(&std::iter::once(first).chain(more).collect::<Vec<_>>())
}

fn declared(listen: SocketAddr, session: &str, endpoints: &[SocketAddr]) -> String {
    let route = route(&format!("sessionPersistence: {session}, backendRefs: [{{ name: web, port: 80 }}]"));
    documents(&[gateway(&[("http", listen)]), service("web"), slice(endpoints), route])
}

fn route(rule: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: web, namespace: shop }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ {rule} }}]"
    )
}

fn by(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-echo-server").to_owned()
}

/// Who answers so many calls.
async fn answerers(call: &Call, count: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for _ in 0..count {
        found.insert(by(&call.send().await.unwrap()));
    }
    found
}

#[tokio::test]
async fn a_session_keeps_its_endpoint_when_others_come_and_finds_another_when_it_goes() {
    let home = Loopback::claim();
    let names = ["one", "other", "third"];
    let mut servers = Vec::new();
    for (name, port) in names.iter().zip(9001..) {
        servers.push(EchoServer::start(name, home.port(port)).await);
    }
    let at: Vec<SocketAddr> = servers.iter().map(EchoServer::address).collect();
    let listen = home.port(8080);
    let cookie = "{ sessionName: cart, type: Cookie }";
    let stage = Stage::set(home, &declared(listen, cookie, &at[..2])).await;
    let _envoy = stage.envoy("gateway", "edge", &[]).await;

    let anybody = Call::get(listen, "/");
    let first = until(&anybody, "an answer", |reply| reply.status == 200).await;
    let (owner, set) = (by(&first), first.header("set-cookie").to_owned());
    assert!(set.starts_with("cart=") && set.contains("HttpOnly") && set.contains("Path=/"), "{set}");
    assert!(!set.contains("Max-Age"), "a session cookie ends with the browser: {set}");
    let known = anybody.clone().header("cookie", set.split(';').next().unwrap());
    assert_eq!(answerers(&known, CALLS).await, BTreeSet::from([owner.clone()]));
    assert!(known.send().await.unwrap().header("set-cookie").is_empty(), "whom a cookie names keeps it");

    stage.declare("shop.yaml", &declared(listen, cookie, &at));
    answered_by(&anybody, "third").await;
    assert_eq!(answerers(&known, CALLS).await, BTreeSet::from([owner.clone()]), "a session stays when another endpoint comes");

    let left: Vec<SocketAddr> = at.iter().zip(names).filter(|(_, name)| *name != owner).map(|(at, _)| *at).collect();
    stage.declare("shop.yaml", &declared(listen, cookie, &left));
    let moved = until(&known, "an answer of another", |reply| reply.status == 200 && reply.header("x-echo-server") != owner).await;
    assert!(moved.header("set-cookie").starts_with("cart="), "a new cookie names the new one");

    stage.declare("shop.yaml", &declared(listen, "{ type: Header, header: { name: X-Session } }", &at));
    let told = until(&anybody, "a session by header", |reply| !reply.header("x-session").is_empty()).await;
    let known = anybody.clone().header("x-session", told.header("x-session"));
    assert_eq!(answerers(&known, CALLS).await, BTreeSet::from([by(&told)]));
}

#[tokio::test]
async fn backends_that_rewrite_the_path_apart_get_their_paths_and_their_shares() {
    let home = Loopback::claim();
    let (a, b) = (EchoServer::start("a", home.port(9001)).await, EchoServer::start("b", home.port(9002)).await);
    let listen = home.port(8080);
    let rewrite = |name: &str, weight: u32, path: &str| {
        let filter = format!("{{ type: URLRewrite, urlRewrite: {{ path: {{ type: ReplacePrefixMatch, replacePrefixMatch: {path} }} }} }}");
        format!("{{ name: {name}, port: 80, weight: {weight}, filters: [{filter}] }}")
    };
    let (of_a, never) = (rewrite("a", 3, "/of-a"), rewrite("b", 0, "/never"));
    let route =
        route(&format!("matches: [{{ path: {{ value: /api }} }}], backendRefs: [{of_a}, {never}, {{ name: b, port: 80, weight: 1 }}]"));
    let all = [gateway(&[("http", listen)]), service("a"), service("b"), endpoint("a", a.address()), endpoint("b", b.address()), route];
    let stage = Stage::set(home, &documents(&all)).await;
    let _envoy = stage.envoy("gateway", "edge", &[]).await;

    let call = Call::get(listen, "/api/x");
    until(&call, "an answer", |reply| reply.status == 200).await;
    let mut counted: BTreeMap<(String, String), usize> = BTreeMap::new();
    for _ in 0..COUNTED {
        let reply = call.send().await.unwrap();
        let path = reply.json()["path"].as_str().unwrap_or_default().to_owned();
        *counted.entry((by(&reply), path)).or_default() += 1;
    }
    let expected = [("a", "/of-a/x"), ("b", "/api/x")].map(|(name, path)| (name.to_owned(), path.to_owned()));
    assert_eq!(counted.keys().cloned().collect::<Vec<_>>(), expected, "{counted:?}");
    // 300 of 400 at 3 to 1; seven standard deviations to either side.
    assert!((240..=360).contains(&counted[&expected[0]]), "{counted:?}");
}
