//! Listeners that share a port: what a policy of one says holds for its own hosts, in whatever letters, and for no other's.

use std::net::SocketAddr;

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;

use crate::stage::{Stage, documents, endpoint, gateway, route, service, until};

const OFFICE: &str = "10.1.2.3";
const STRANGER: &str = "203.0.113.9";

fn listeners(at: SocketAddr, all: &[(&str, &str)]) -> String {
    let one = |(name, host): &(&str, &str)| {
        let host = if host.is_empty() { String::new() } else { format!(", hostname: '{host}'") };
        format!("{{ name: {name}, port: {}, protocol: HTTP{host} }}", at.port())
    };
    let all: Vec<_> = all.iter().map(one).collect();
    gateway(&[("x", at)]).replace(&format!("{{ name: x, port: {}, protocol: HTTP }}", at.port()), &all.join(", "))
}

fn policy(kind: &str, name: &str, section: Option<&str>, spec: &str) -> String {
    let section = section.map(|section| format!(", sectionName: {section}")).unwrap_or_default();
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: {kind}
metadata: {{ name: {name}, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge{section} }}]
  {spec}"
    )
}

fn policies() -> Vec<String> {
    let authorize = |name, section, spec: &str| policy("AuthorizationPolicy", name, section, spec);
    let edge = |name, section, spec: &str| policy("EdgePolicy", name, section, spec);
    vec![
        edge("hops", None, "trustedHops: 1"),
        edge("web", Some("web"), "http2: { maxStreams: 50 }"),
        edge("office", Some("office"), "addresses: { allow: [10.0.0.0/8] }"),
        authorize("admin", Some("admin"), "action: Allow\n  rules: [{ from: [{ network: 10.0.0.0/8 }] }]"),
        authorize("web", Some("web"), "action: Allow\n  rules: [{ paths: [{ prefix: / }] }]"),
        authorize("all", None, "action: Deny\n  rules: [{ paths: [{ prefix: /secret }] }]"),
    ]
}

/// The status for a host and a path, as somebody at this address gets it.
async fn status(at: SocketAddr, from: &str, host: &str, path: &str) -> u16 {
    Call::get(at, path).host(host).header("x-forwarded-for", from).send().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listener_of_a_port_is_judged_by_its_own_policies() {
    let exact = [("admin", "admin.example"), ("web", "www.example"), ("office", "office.example")];
    let wide = [("any", ""), ("wild", "*.wild.example"), ("free", "free.wild.example")];
    let deny = policy("AuthorizationPolicy", "wild", Some("wild"), "action: Deny\n  rules: [{ methods: [GET] }]");
    let cases = [(exact.to_vec(), Vec::new()), ([exact, wide].concat(), vec![deny])];
    for (all, more) in cases {
        let home = Loopback::claim();
        let back = EchoServer::start("back", home.port(9001)).await;
        let at = home.port(8080);
        let with_any = all.len() > exact.len();
        let mut declared = vec![
            listeners(at, &all),
            service("back"),
            endpoint("back", back.address()),
            route("app", "{ type: PathPrefix, value: /app }", "back"),
        ];
        declared.extend(policies());
        declared.extend(more);
        let stage = Stage::set(home, &documents(&declared)).await;
        let _edge = stage.envoy("gateway", "edge", &[]).await;
        let first = Call::get(at, "/app").host("admin.example").header("x-forwarded-for", OFFICE);
        until(&first, "an answer to the office", |reply| reply.status == 200).await;

        for host in ["admin.example", "ADMIN.example", "admin.example:8080", "Admin.Example:1", "admin.example."] {
            assert_eq!(status(at, STRANGER, host, "/app").await, 403, "{host} with any: {with_any}");
            assert_eq!(status(at, OFFICE, host, "/app").await, 200, "{host} with any: {with_any}");
        }
        for host in ["www.example", "WWW.example:80"] {
            assert_eq!(status(at, STRANGER, host, "/app").await, 200, "{host} with any: {with_any}");
        }
        assert_eq!(status(at, STRANGER, "office.example", "/app").await, 403, "addresses of the second listener");
        assert_eq!(status(at, OFFICE, "OFFICE.example", "/app").await, 200);
        // The Gateway's own policy judges everything, whether it finds a host and a route or not.
        for host in ["admin.example", "www.example", "office.example", "nobody.example", "[::1]:80"] {
            assert_eq!(status(at, OFFICE, host, "/secret").await, 403, "{host} with any: {with_any}");
        }
        assert_eq!(status(at, OFFICE, "www.example", "/none").await, 404);
        if with_any {
            for host in ["other.example", "[::1]:80", "127.0.0.1"] {
                assert_eq!(status(at, STRANGER, host, "/app").await, 200, "{host}");
            }
            assert_eq!(status(at, OFFICE, "a.WILD.example:8080", "/app").await, 403);
            assert_eq!(status(at, STRANGER, "free.wild.example", "/app").await, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_reads_as_a_guarded_path_is_not_let_by_under_another_name() {
    let home = Loopback::claim();
    let back = EchoServer::start("back", home.port(9001)).await;
    let at = home.port(8080);
    let deny = policy("AuthorizationPolicy", "admin", None, "action: Deny\n  rules: [{ paths: [{ prefix: /admin }] }]");
    let declared = vec![
        listeners(at, &[("any", "")]),
        service("back"),
        endpoint("back", back.address()),
        route("all", "{ type: PathPrefix, value: / }", "back"),
        deny,
    ];
    let stage = Stage::set(home, &documents(&declared)).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    until(&Call::get(at, "/public"), "an answer", |reply| reply.status == 200).await;
    let refused = |status: u16| [400, 403].contains(&status);
    let tricks = [
        "/admin/users",
        "/%61dmin/users",
        "//admin/users",
        "/./admin/users",
        "/open/../admin/users",
        "/open/..;/admin/users",
        "/open/..;x=1/admin/users",
        "/open/%2e%2e;/admin/users",
        "/open/.%2e;/admin/users",
        "/open/%2E%2E%3B/admin/users",
        "/.;/admin/users",
        "/%2e;/admin/users",
        "/admin;x=1/users",
        "/admin;/users",
        "/admin;",
        "/;/admin/users",
        "/open%2f..%2fadmin",
        "/open%5c..%5cadmin",
    ];
    let reached = back.requests();
    for http2 in [false, true] {
        for path in tricks {
            let call = Call::get(at, path);
            let reply = if http2 { call.http2() } else { call }.send().await.unwrap();
            assert!(refused(reply.status), "{path}: {} {}", reply.status, reply.text());
        }
    }
    assert_eq!(back.requests(), reached, "what was refused reached the service");
    for path in ["/public?a=;b", "/a.b/..c/d", "/a%3Bb", "/public?x=/..;/"] {
        assert_eq!(Call::get(at, path).send().await.unwrap().status, 200, "{path}");
    }

    // Who needs parameters says so; dots with parameters stay what nobody means.
    let keep = policy("EdgePolicy", "edge", None, "paths: { parameters: Keep }");
    stage.declare("shop.yaml", &documents(&[declared, vec![keep]].concat()));
    until(&Call::get(at, "/cars;color=red"), "an answer with parameters", |reply| reply.status == 200).await;
    for path in ["/open/%2e%2e;/admin/users", "/%2e;x/admin"] {
        assert_eq!(Call::get(at, path).send().await.unwrap().status, 400, "{path}");
    }
}

/// A ListenerSet of another namespace at the edge, with a listener for this host.
fn set_of_team(at: SocketAddr, host: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {{ name: team, namespace: team }}
spec:
  parentRef: {{ namespace: shop, name: edge }}
  listeners: [{{ name: one, port: {}, protocol: HTTP, hostname: {host} }}]",
        at.port()
    )
}

/// The same document, of the namespace `team` and about its ListenerSet.
fn of_team(document: &str) -> String {
    let document =
        document.replace("namespace: shop", "namespace: team").replace("kind: Gateway, name: edge", "kind: ListenerSet, name: team");
    document.replace("{ name: edge }", "{ group: gateway.networking.k8s.io, kind: ListenerSet, name: team }")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_attaches_a_listener_to_another_ones_gateway_can_close_it_and_never_open_it() {
    const LAB: &str = "10.9.0.1";
    let home = Loopback::claim();
    let back = EchoServer::start("back", home.port(9001)).await;
    let at = home.port(8080);
    let allow = |name: &str, network: &str| {
        policy("AuthorizationPolicy", name, None, &format!("action: Allow\n  rules: [{{ from: [{{ network: {network} }}] }}]"))
    };
    let addresses = |name: &str, rules: &str| policy("EdgePolicy", name, None, rules);
    let app = || route("app", "{ value: /app }", "back");
    let shop = vec![
        listeners(at, &[("web", "shop.example")])
            .replace("listeners: [", "allowedListeners: { namespaces: { from: All } }\n  listeners: ["),
        set_of_team(at, "team.example"),
        documents(&[service("back"), endpoint("back", back.address()), app()]),
        of_team(&documents(&[service("back"), endpoint("back", back.address()), app()])),
    ];
    let open = allow("open", "0.0.0.0/0");
    let closed_by_rules = vec![addresses("hops", "trustedHops: 1"), allow("office", "10.0.0.0/8")];
    let closed_by_address = vec![addresses("hops", "trustedHops: 1\n  addresses: { allow: [10.0.0.0/8] }")];
    let of_set = [
        ("no rule", vec![]),
        ("everybody", vec![of_team(&open)]),
        ("every address", vec![of_team(&addresses("open", "trustedHops: 3\n  addresses: { allow: [0.0.0.0/0] }"))]),
        ("the lab", vec![of_team(&open), of_team(&allow("lab", "10.9.0.0/16"))]),
    ];
    let stage = Stage::set(home, &documents(&shop)).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    until(&Call::get(at, "/app").host("team.example"), "an answer to anybody", |reply| reply.status == 200).await;
    for (number, closed) in [closed_by_rules, closed_by_address].into_iter().enumerate() {
        for (position, (name, rules)) in of_set.iter().enumerate() {
            // A path of its own tells when it is in force.
            let mark = format!("/mark-{number}-{position}");
            let marked = route("mark", &format!("{{ value: {mark} }}"), "back");
            stage.declare("shop.yaml", &documents(&[shop.clone(), closed.clone(), rules.clone(), vec![marked]].concat()));
            let lab = Call::get(at, &mark).host("shop.example").header("x-forwarded-for", LAB);
            until(&lab, name, |reply| reply.status == 200).await;
            for host in ["shop.example", "team.example", "TEAM.example:80"] {
                for from in [STRANGER, &format!("{OFFICE}, {STRANGER}")] {
                    assert_eq!(status(at, from, host, "/app").await, 403, "{name}: {from} at {host}");
                }
                assert_eq!(status(at, LAB, host, "/app").await, 200, "{name}: the lab at {host}");
            }
        }
    }
    // And close it does: only what both let in.
    let both =
        [shop, vec![allow("office", "10.0.0.0/8"), addresses("hops", "trustedHops: 1"), of_team(&allow("lab", "10.9.0.0/16"))]].concat();
    stage.declare("shop.yaml", &documents(&both));
    let office = Call::get(at, "/app").host("team.example").header("x-forwarded-for", OFFICE);
    until(&office, "the word of both", |reply| reply.status == 403).await;
    assert_eq!(status(at, LAB, "team.example", "/app").await, 200);
    assert_eq!(status(at, OFFICE, "shop.example", "/app").await, 200, "the Gateway's own listener is the Gateway's");
}
