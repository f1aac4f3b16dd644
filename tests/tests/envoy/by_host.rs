//! Routes that go host by host (SRDS) answer whatever a client writes as whole tables (RDS) do, and a listener that changes
//! from one to the other loses no request.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Connection};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::load::Load;
use windrose_tests::tls::TlsClient;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, at_host, closed, documents, endpoint, gateway, route, service, until};

/// As clients may spell hosts; some are no hosts at all.
const HOSTS: [&str; 22] = [
    "shop.example",
    "SHOP.example",
    "shop.example:8080",
    "Shop.Example:99",
    "shop.example.",
    "shop.EXAMPLE.:80",
    "shop.example:x",
    "shop.example:",
    "shop.example:80:90",
    "closed.example",
    "CLOSED.example:80",
    "grpc.example:80",
    "GRPC.example",
    "moved.example",
    "Moved.example",
    "other.example",
    "OTHER.example",
    "",
    ":80",
    "[::1]",
    "[::1]:8080",
    "shop.example,closed.example",
];

/// Headers by which a client would choose scope and table itself.
const SPOOFED: [(&str, &str); 2] = [("x-windrose-host", "shop.example"), ("x-windrose-table", "shop/edge/8080")];

/// A client that wants a WebSocket.
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The same, for what only a gRPC route takes.
const GRPC_UPGRADE: [(&str, &str); 5] = [UPGRADE[0], UPGRADE[1], UPGRADE[2], UPGRADE[3], ("content-type", "application/grpc")];

/// What a client gets and what the service sees, as far as it says how the route was found.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    location: String,
    grpc_status: String,
    authority: Value,
    marks: Vec<String>,
}

async fn ask(to: SocketAddr, path: &str, host: &str, headers: &[(&str, &str)]) -> Seen {
    let call = headers.iter().fold(Call::get(to, path).host(host), |call, (name, value)| call.header(name, value));
    see(&call).await
}

async fn see(call: &Call) -> Seen {
    let reply = call.send().await.unwrap();
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let names = told["headers"].as_object().into_iter().flat_map(|headers| headers.keys().cloned());
    Seen {
        status: reply.status,
        location: reply.header("location").to_owned(),
        grpc_status: reply.header("grpc-status").to_owned(),
        authority: told["authority"].clone(),
        marks: names.filter(|name| name.contains("windrose")).collect(),
    }
}

/// Four hosts on two ports; the second port has a wildcard host besides, so that its table is whole.
fn two_ports(home: &Loopback) -> String {
    let moved = at_host("moved.example", &route("moved", EVERYTHING, "web")).replace(
        "backendRefs: [{ name: web, port: 80 }]",
        "filters: [{ type: RequestRedirect, requestRedirect: { port: 80, path: { type: ReplaceFullPath, replaceFullPath: /new } } }]",
    );
    let wild = at_host("\"*.wild.example\"", &route("wild", EVERYTHING, "web")).replace("name: edge }", "name: edge, sectionName: whole }");
    let grpc = at_host("grpc.example", &route("grpc", EVERYTHING, "web"))
        .replace("kind: HTTPRoute", "kind: GRPCRoute")
        .replace(&format!("path: {EVERYTHING}"), "method: { service: shop.Orders }");
    documents(&[
        gateway(&[("hosts", home.port(8080)), ("whole", home.port(8081))]),
        service("web"),
        endpoint("web", home.port(9001)),
        at_host("shop.example", &route("shop", EVERYTHING, "web")),
        at_host("closed.example", &route("closed", EVERYTHING, "web")),
        moved,
        wild,
        grpc,
        closed("closed"),
    ])
}

/// How many scopes this Envoy has; none where no listener takes scopes.
async fn scopes(envoy: &EnvoyProcess) -> u64 {
    let stats = envoy.admin_get("/stats?filter=all_scopes").await.unwrap().text();
    stats.lines().filter_map(|line| line.rsplit_once(": ")).map(|(_, count)| count.trim().parse::<u64>().unwrap()).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_of_a_host_is_answered_as_a_whole_table_would() {
    let home = Loopback::claim();
    let _web = EchoServer::start("web", home.port(9001)).await;
    let declared = two_ports(&home);
    let stage = Stage::set(home, &declared).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;
    let (hosts, whole) = (stage.home.port(8080), stage.home.port(8081));
    answered_by(&Call::get(hosts, "/").host("shop.example"), "web").await;
    answered_by(&Call::get(whole, "/").host("a.wild.example"), "web").await;
    stage.synced("gateway/shop/edge").await;
    assert!(scopes(&edge).await > 0, "the first port takes no scopes");

    for host in HOSTS {
        // A port that takes whole tables lets a client's own headers of these names by; here only what is found counts.
        let expected = Seen { marks: Vec::new(), ..ask(whole, "/x", host, &SPOOFED).await };
        assert_eq!(ask(hosts, "/x", host, &SPOOFED).await, expected, "{host:?}");
        for (path, headers) in [("/x", &UPGRADE[..]), ("/shop.Orders/Get", &GRPC_UPGRADE)] {
            assert_eq!(ask(hosts, path, host, headers).await, ask(whole, path, host, headers).await, "{host:?} {path}, upgrade");
        }
    }
    for host in HOSTS.into_iter().filter(|host| host.parse::<http::uri::Authority>().is_ok()) {
        let [by_host, as_whole] = [hosts, whole].map(|port| Call::get(port, "/x").host(host).http2());
        assert_eq!(see(&by_host).await, see(&as_whole).await, "{host:?}, HTTP/2");
    }
    // And not because both would refuse everything.
    let upper = ask(hosts, "/x", "Shop.Example:99", &SPOOFED).await;
    assert_eq!((upper.status, upper.authority, upper.marks), (200, "Shop.Example:99".into(), Vec::new()));
    assert_eq!(ask(hosts, "/x", "CLOSED.example", &[]).await.status, 401);
    assert_eq!(ask(hosts, "/x", "Moved.example", &[]).await.location, "http://Moved.example:80/new");
    assert_eq!(ask(hosts, "/x", "SHOP.example", &UPGRADE).await.status, 200);
    let refused = ask(hosts, "/shop.Orders/Get", "GRPC.example", &GRPC_UPGRADE).await;
    assert_eq!((&*refused.grpc_status, refused.authority), ("7", Value::Null), "permission denied, as gRPC says it");
}

/// The edge over plain text and TLS, and one exact host whose route goes to `back`.
fn over_both(home: &Loopback, authority: &TestAuthority, back: &str) -> String {
    let identity = authority.issue(&["shop.example"]);
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let secret = format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: shop, namespace: shop }}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(&identity.chain_pem),
        indented(&identity.key_pem)
    );
    let https =
        format!(", {{ name: https, port: {}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: shop }}] }} }}]", home.port(8443).port());
    let edge = gateway(&[("http", home.port(8080))]);
    documents(&[
        format!("{}{https}", edge.strip_suffix(']').unwrap()),
        secret,
        service("one"),
        endpoint("one", home.port(9001)),
        service("other"),
        endpoint("other", home.port(9002)),
        at_host("shop.example", &route("shop", EVERYTHING, back)),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_goes_over_to_a_whole_table_and_back_under_load_and_loses_no_request() {
    let home = Loopback::claim();
    let authority = TestAuthority::new("public root");
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = over_both(&home, &authority, "one");
    let stage = Stage::set(home, &declared).await;
    let edge = stage.envoy_that_drains("gateway", "edge", &[], 10).await;
    let plain = Call::get(stage.home.port(8080), "/").host("shop.example");
    let secure = Call::get(stage.home.port(8443), "/").host("shop.example").tls(&TlsClient::trusting(authority.root_pem()), "shop.example");
    answered_by(&plain, "one").await;
    answered_by(&secure, "one").await;
    assert!(scopes(&edge).await > 0, "the listeners take no scopes");

    let with_wild = documents(&[declared.clone(), at_host("\"*.wild.example\"", &route("wild", EVERYTHING, "one"))]);
    let calls = [plain.clone(), secure.clone(), secure.clone().http2()];
    let loads = calls.each_ref().map(|call| Load::start(2, Duration::from_millis(2), call));
    for _ in 0..4 {
        for (text, status) in [(&with_wild, 200), (&declared, 404)] {
            stage.declare("shop.yaml", text);
            for call in [&plain, &secure] {
                let wild = call.clone().host("a.wild.example");
                until(&wild, &format!("{status}"), |reply| reply.status == status).await;
            }
        }
    }
    for load in loads {
        load.go_on(20, PATIENCE).await;
        let tally = load.finish().await;
        assert_eq!(tally.other_than(200), 0, "{tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_from_before_a_wildcard_host_came_still_follows_its_routes() {
    let home = Loopback::claim();
    let authority = TestAuthority::new("public root");
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = ["one", "other"].map(|back| over_both(&home, &authority, back));
    let stage = Stage::set(home, &declared[0]).await;
    let _edge = stage.envoy_that_drains("gateway", "edge", &[], 600).await;
    let call = Call::get(stage.home.port(8080), "/").host("shop.example");
    answered_by(&call, "one").await;

    let mut old = Connection::open(&call).await.unwrap();
    assert_eq!(old.send(&call).await.unwrap().header("x-echo-server"), "one");
    stage.declare("wild.yaml", &at_host("\"*.wild.example\"", &route("wild", EVERYTHING, "one")));
    answered_by(&call.clone().host("a.wild.example"), "one").await;
    stage.declare("shop.yaml", &declared[1]);
    wait_until(PATIENCE, "the old connection to follow", async || {
        let reply = old.send(&call).await.map_err(|cause| cause.to_string())?;
        if reply.header("x-echo-server") == "other" { Ok(()) } else { Err(format!("{}", reply.status)) }
    })
    .await;
}
