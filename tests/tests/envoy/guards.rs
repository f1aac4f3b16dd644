//! A route with the first policy of its port comes and goes: it is closed from the moment it is there, also on connections from before,
//! and no other route is. Whatever else comes and goes, nobody is refused whom both versions let by, and no filter is sent twice.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Connection, Reply};
use windrose_tests::echo::EchoServer;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, answered_by, at_host, closed, documents, endpoint, gateway, route, service, until};

/// How often both come and go.
const ROUNDS: usize = 15;

/// Calls of a route that is closed, in each round.
const CALLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_with_the_first_policy_of_its_port_is_closed_and_no_other_is() {
    comes_and_goes(|route| route).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_one_of_a_host_that_goes_by_itself() {
    comes_and_goes(|route| at_host("shop.example", &route)).await;
}

async fn comes_and_goes(at: impl Fn(String) -> String) {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let open = || {
        let of_web = at(route("open", "{ value: /open }", "web"));
        documents(&[gateway(&[("http", home.port(8080))]), service("web"), endpoint("web", back.address()), of_web])
    };
    let (without, with) = (open(), documents(&[open(), at(route("admin", "{ value: /admin }", "web")), closed("admin")]));
    let call = |path: &str| Call::get(home.port(8080), path).host("shop.example");
    let (others, admin) = (call("/open"), call("/admin"));
    let stage = Stage::set(home, &without).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&others, "web").await;
    let mut kept = Connection::open(&others).await.unwrap();
    let long = (Connection::open(&admin).await.unwrap(), admin.clone());

    let (stop, stopped) = watch::channel(());
    let watching = tokio::spawn(statuses(others.clone(), stopped.clone()));
    let watching_kept = tokio::spawn(statuses_on(long, stopped));
    for _ in 0..ROUNDS {
        stage.declare("shop.yaml", &with);
        until(&admin, "a refusal", |reply| reply.status == 401).await;
        for _ in 0..CALLS {
            assert_eq!(admin.send().await.unwrap().status, 401);
            assert_eq!(kept.send(&admin).await.unwrap().status, 401);
            assert_eq!(kept.send(&others).await.unwrap().status, 200);
        }
        stage.declare("shop.yaml", &without);
        until(&admin, "no route", |reply| reply.status == 404).await;
    }
    drop(stop);
    assert_eq!(watching.await.unwrap(), BTreeSet::from([200]));
    let seen = watching_kept.await.unwrap();
    assert!(seen.is_superset(&BTreeSet::from([401, 404])) && !seen.contains(&200), "{seen:?}");
    assert_eq!(edge.stat("listener_manager.listener_modified").await, 0);
    assert_eq!(edge.stat("listener_manager.listener_in_place_updated").await, 0);
}

/// What is answered until somebody stops it, each time on a connection of its own.
async fn statuses(call: Call, stopped: watch::Receiver<()>) -> BTreeSet<u16> {
    let mut seen = BTreeSet::new();
    while stopped.has_changed().is_ok() {
        seen.insert(call.send().await.unwrap().status);
    }
    seen
}

/// The same on one connection.
async fn statuses_on((mut connection, call): (Connection, Call), stopped: watch::Receiver<()>) -> BTreeSet<u16> {
    let mut seen = BTreeSet::new();
    while stopped.has_changed().is_ok() {
        seen.insert(connection.send(&call).await.unwrap().status);
    }
    seen
}

/// How often all of them come and go.
const CYCLES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_come_and_go_refuse_nobody_whom_they_let_by() {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let common =
        [gateway(&[("http", home.port(8080))]), service("web"), endpoint("web", back.address()), route("web", "{ value: /web }", "web")];
    let other = || documents(&[route("other", "{ value: /other }", "web"), closed("other")]);
    // The first and the last of a port, others beside them, and one under another name.
    let both = documents(&[public("b"), limited("b"), other()]);
    let states = [String::new(), limited("a"), documents(&[public("a"), other()]), both, public("b"), public("c")];
    let state = |position: usize| {
        let mark = route("mark", &format!("{{ value: /state-{position} }}"), "web");
        documents(&[documents(&common), mark, states[position].clone()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>())
    };
    let edge = home.port(8080);
    let call = |path: &str| Call::get(edge, path);
    let stage = Stage::set(home, &state(0)).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&call("/web"), "web").await;

    let load = Load::start(4, Duration::ZERO, &call("/web"));
    for position in (0..CYCLES).flat_map(|_| 0..states.len()) {
        stage.declare("shop.yaml", &state(position));
        answered_by(&call(&format!("/state-{position}")), "web").await;
    }
    // Gone again while Envoy still loads the filter for it, or just when it is there.
    for pause in [100, 400, 1000, 2000, 3000] {
        stage.declare("shop.yaml", &state(1));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        stage.declare("shop.yaml", &state(0));
        answered_by(&call("/state-0"), "web").await;
    }
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}

/// A policy of the route `web` that asks nothing.
fn public(name: &str) -> String {
    of_web("AuthPolicy", name, "public: { reason: a shop window, approvedBy: the shop }")
}

/// A policy of the route `web` with more room than is asked for.
fn limited(name: &str) -> String {
    of_web("RateLimitPolicy", name, "limits: [{ name: each, key: [{ route: true }], quota: { requests: 1000000, window: 1s } }]")
}

fn of_web(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  \
         targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: web }}]\n  {spec}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_one_limit_keeps_what_was_counted_by_another() {
    let home = Loopback::claim();
    let _back = EchoServer::start("web", home.port(9001)).await;
    let at = home.port(8080);
    let common = documents(&[
        gateway(&[("http", at)]),
        service("web"),
        endpoint("web", home.port(9001)),
        route("web", "{ value: /web }", "web"),
        route("beside", "{ value: /beside }", "web"),
    ]);
    let hourly = |route: &str, requests: u32| {
        let quota = format!("limits: [{{ name: hourly, key: [{{ route: true }}], quota: {{ requests: {requests}, window: 1h }} }}]");
        of_web("RateLimitPolicy", route, &quota).replace("name: web }]", &format!("name: {route} }}]"))
    };
    let stage = Stage::set(home, &documents(&[common.clone(), hourly("web", 3), hourly("beside", 100)])).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let (web, beside) = (Call::get(at, "/web"), Call::get(at, "/beside"));
    let allows =
        |requests: u32| move |reply: &Reply| reply.status == 200 && reply.header("ratelimit-policy").contains(&format!("q={requests};"));
    until(&beside, "its limit", allows(100)).await;
    until(&web, "the limit to be reached", |reply| reply.status == 429).await;

    stage.declare("shop.yaml", &documents(&[common, hourly("web", 3), hourly("beside", 200)]));
    until(&beside, "its new limit", allows(200)).await;
    assert_eq!(web.send().await.unwrap().status, 429, "what was used up stays so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_another_name_of_its_rule_nor_a_policy_beside_opens_what_a_policy_closes() {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let common = documents(&[gateway(&[("http", home.port(8080))]), service("web"), endpoint("web", back.address())]);
    let rule = |name: &str, path: &str| {
        format!("{{ name: {name}, matches: [{{ path: {{ value: {path} }} }}], backendRefs: [{{ name: web, port: 80 }}] }}")
    };
    let web = |admin: &str, mark: &str| {
        let parents = "parentRefs: [{ name: edge }]";
        let rules = [rule(admin, "/admin"), rule("health", "/health"), rule("mark", mark)].join(", ");
        let kind = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute";
        documents(&[common.clone(), format!("{kind}\nmetadata: {{ name: web, namespace: shop }}\nspec: {{ {parents}, rules: [{rules}] }}")])
    };
    let at = |rule: &str, policy: String| policy.replace("name: web }]", &format!("name: web, sectionName: {rule} }}]"));
    let open = documents(&[at("health", public("health")), at("mark", public("mark"))]);
    let states = [
        documents(&[web("admin", "/state-0"), at("admin", closed("web")), open.clone()]),
        documents(&[web("staff", "/state-1"), at("admin", closed("web")), open.clone()]),
        documents(&[web("staff", "/state-2"), at("staff", closed("web")), open.clone()]),
        documents(&[web("staff", "/state-3"), at("staff", closed("web")), at("staff", public("a")), open.clone()]),
    ];
    let edge = home.port(8080);
    let call = |path: &str| Call::get(edge, path);
    let stage = Stage::set(home, &states[0]).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&call("/state-0"), "web").await;

    let (stop, stopped) = watch::channel(());
    let watching = [call("/admin"), call("/health")].map(|call| tokio::spawn(statuses(call, stopped.clone())));
    for (position, refused) in [(1, Some(("web", "TargetNotFound"))), (2, None), (3, Some(("a", "Conflicted"))), (0, None)] {
        stage.declare("shop.yaml", &states[position]);
        answered_by(&call(&format!("/state-{position}")), "web").await;
        for policy in ["web", "health"].into_iter().chain(refused.map(|(name, _)| name)) {
            let told = stage.object("AuthPolicy", policy).to_string();
            let reason = refused.filter(|(name, _)| *name == policy).map(|(_, reason)| reason);
            assert!(
                ["TargetNotFound", "Conflicted"].iter().all(|word| told.contains(word) == (reason == Some(word))),
                "{position}: {told}"
            );
        }
    }
    drop((stop, stopped));
    let [admin, health] = watching;
    assert_eq!((admin.await.unwrap(), health.await.unwrap()), (BTreeSet::from([401]), BTreeSet::from([200])));
}

/// The smallest filter is more than that, and all else that an edge of a few routes is sent less.
const FILTER_BYTES: u64 = 100_000;

/// Bytes that the server has sent so far, as it counts them.
async fn sent(stage: &Stage) -> u64 {
    let metrics = stage.server.admin_get("/metrics").await.unwrap().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("windrose_xds_response_bytes_total "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no such number in {metrics}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_start_nor_an_edit_of_a_policy_sends_a_filter_that_lies_beside_envoy() {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let routes = ["web", "admin"].map(|name| route(name, &format!("{{ value: /{name} }}"), "web"));
    let common = documents(&[gateway(&[("http", home.port(8080))]), service("web"), endpoint("web", back.address()), documents(&routes)]);
    let states = [
        documents(&[common.clone(), limited("web"), closed("admin")]),
        documents(&[common.clone(), limited("web").replace("1000000", "1"), closed("admin")]),
        documents(&[common.clone(), limited("web").replace("1000000", "1"), closed("admin").replace("name: nobody", "name: somebody")]),
    ];
    let (web, admin) = (Call::get(home.port(8080), "/web"), Call::get(home.port(8080), "/admin"));
    let stage = Stage::set(home, &states[0]).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&web, "web").await;
    until(&admin, "a refusal", |reply| reply.status == 401).await;
    for state in &states[1..] {
        let before = sent(&stage).await;
        stage.declare("shop.yaml", state);
        wait_until(PATIENCE, "something to be sent", async || if sent(&stage).await > before { Ok(()) } else { Err(String::new()) }).await;
        stage.synced("gateway/shop/edge").await;
    }
    until(&web, "the new limit", |reply| reply.status == 429).await;
    let small = sent(&stage).await;
    assert!(small < FILTER_BYTES, "{small}");

    // One that has none beside it is sent them, and that shows.
    drop(edge);
    let _edge = stage.envoy("gateway", "edge", &["--without-modules"]).await;
    until(&admin, "a refusal", |reply| reply.status == 401).await;
    let large = sent(&stage).await;
    assert!(large > small + FILTER_BYTES, "{large}");
}
