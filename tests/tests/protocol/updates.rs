//! What an update costs a proxy, and what it is left with: only what changed moves, what it runs is what was served, and
//! a proxy that stands still holds nobody up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use prost::Name;
use serde_json::Value;
use windrose_state::Protocol;
use windrose_tests::client::{Call, Connection};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;
use windrose_vocab::{Resource, ResourceKind};

use crate::parts::{self, listener};
use crate::stage::{PATIENCE, Stage};
use crate::unit::Unit;

/// Words that a resource tells in turn.
const WORDS: [&str; 2] = ["one", "two"];

/// Changes of endpoints under load.
const MOVES: usize = 100;

async fn unit(stage: &Stage, kind: ResourceKind, name: &'static str, port: u16) -> (Unit, EchoServer) {
    let back = EchoServer::start(name, stage.home.port(port + 1_000)).await;
    (Unit::with(kind, name, stage.home.port(port), back.address()), back)
}

/// Counters of what Envoy was sent besides endpoints, or did about it.
async fn other_updates(envoy: &EnvoyProcess) -> BTreeMap<String, u64> {
    let stats = envoy.admin_get("/stats?format=text").await.unwrap().text();
    let counts = stats.lines().filter_map(|line| line.split_once(": "));
    let moving = counts.filter(|(name, _)| {
        let endpoints = name.starts_with("cluster.");
        // `cluster_updated` counts endpoints that came and went.
        let moves = ["_manager.cluster_added", "_manager.cluster_modified", "_manager.cluster_removed", "_manager.listener_"];
        !endpoints && (name.ends_with("update_success") || moves.iter().any(|one| name.contains(one)))
    });
    moving.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

async fn moving_endpoints(protocol: Protocol) {
    let mut stage = Stage::set(protocol).await;
    let (mut unit, _first) = unit(&stage, ResourceKind::Endpoints, "alpha", 8_001).await;
    let second = EchoServer::start("second", stage.home.port(9_100)).await;
    let backends = [unit.backend, second.address()];
    stage.publish(unit.resources());
    let envoy = stage.envoy().await;
    unit.runs(ResourceKind::Endpoints, "one").await;
    stage.in_sync().await;

    let before = other_updates(&envoy).await;
    let load = Load::start(2, Duration::from_millis(1), &unit.call());
    for n in 1..=MOVES {
        unit.backend = backends[n % 2];
        unit.tell(ResourceKind::Endpoints, WORDS[n % 2]);
        stage.publish(unit.resources());
        unit.runs(ResourceKind::Endpoints, WORDS[n % 2]).await;
    }
    stage.in_sync().await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    assert!(tally.total() > MOVES as u64, "{tally:?}");
    assert_eq!(other_updates(&envoy).await, before);
}

#[tokio::test]
async fn rule_32_endpoints_that_move_under_load_cost_no_request_and_no_cluster_update() {
    moving_endpoints(Protocol::Delta).await;
}

#[tokio::test]
async fn rule_32_nor_by_state_of_the_world() {
    moving_endpoints(Protocol::Sotw).await;
}

/// Two chains: one for HTTP/2 in the clear, one for all else.
fn two_chains(unit: &Unit, prior_knowledge: &Unit) -> Vec<Resource> {
    use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
    let mut message = unit.listener_message(vec![parts::filter("http", &unit.manager())]);
    let inspector = listener::listener_filter::ConfigType::TypedConfig(parts::any(&HttpInspector::default()));
    message.listener_filters =
        vec![listener::ListenerFilter { name: HttpInspector::NAME.to_owned(), config_type: Some(inspector), ..Default::default() }];
    let chosen = listener::FilterChainMatch { application_protocols: vec!["h2c".to_owned()], ..Default::default() };
    let mut other = prior_knowledge.listener_message(vec![parts::filter("http", &prior_knowledge.manager())]).filter_chains.remove(0);
    (other.name, other.filter_chain_match) = ("h2c".to_owned(), Some(chosen));
    message.filter_chains.push(other);
    unit.resources_with(unit.listener_of(&message))
}

#[tokio::test]
async fn rule_36_a_change_inside_one_filter_chain_drains_no_other() {
    let mut stage = Stage::set(Protocol::Delta).await;
    let (mut changed, _back) = unit(&stage, ResourceKind::Listener, "alpha", 8_001).await;
    // The same names of everything but the listener's second chain.
    let same = Unit::with(ResourceKind::Listener, "alpha", changed.listen, changed.backend);
    stage.publish(two_chains(&changed, &same));
    let envoy = stage.envoy().await;
    changed.runs(ResourceKind::Listener, "one").await;
    let over_http2 = changed.call().http2();
    let (mut old, mut other) = (Connection::open(&changed.call()).await.unwrap(), Connection::open(&over_http2).await.unwrap());
    old.send(&changed.call()).await.unwrap();
    other.send(&over_http2).await.unwrap();

    changed.tell(ResourceKind::Listener, "two");
    stage.publish(two_chains(&changed, &same));
    changed.runs(ResourceKind::Listener, "two").await;
    wait_until(PATIENCE, "the chain that changed to drain", async || {
        if old.is_open() { old.send(&changed.call()).await.map_or(Ok(()), |_| Err("it serves on".to_owned())) } else { Ok(()) }
    })
    .await;
    let reply = other.send(&over_http2).await.unwrap();
    assert_eq!((reply.status, reply.header("server"), other.is_open()), (200, "one", true));
    assert_eq!(envoy.stat("listener_manager.listener_in_place_updated").await, 1);
}

/// The secret of the bootstrap, which comes from a file.
const XDS_CERTIFICATE: &str = "xds-certificate";

/// Name and version of every dynamic resource in a `config_dump`, by the dump's kind; of a scope its word.
fn dumped(dump: &Value) -> BTreeMap<(ResourceKind, String), String> {
    // Where the list stands, and where in an entry the version and the resource do.
    const PLACES: [(ResourceKind, &str, &str, &str, &str); 6] = [
        (ResourceKind::Cluster, "dynamic_active_clusters", "", "cluster", "name"),
        (ResourceKind::Endpoints, "dynamic_endpoint_configs", "", "endpoint_config", "cluster_name"),
        (ResourceKind::Secret, "dynamic_active_secrets", "", "secret", "name"),
        (ResourceKind::Extension, "ecds_filters", "", "ecds_filter", "name"),
        (ResourceKind::Listener, "dynamic_listeners", "active_state", "listener", "name"),
        (ResourceKind::Routes, "dynamic_route_configs", "", "route_config", "name"),
    ];
    let mut found = BTreeMap::new();
    for config in dump["configs"].as_array().unwrap() {
        found.extend(scopes(config).map(|(name, word)| ((ResourceKind::ScopedRoutes, name), word)));
        for (kind, list, state, resource, name) in PLACES {
            for entry in config[list].as_array().into_iter().flatten() {
                let entry = if state.is_empty() { entry } else { &entry[state] };
                let own = if resource.is_empty() { entry } else { &entry[resource] };
                let name = own[name].as_str().unwrap_or_default().to_owned();
                // After an update in place the dump has the new listener, and the version of the former one.
                let content = &own["filter_chains"][0]["filters"][0]["typed_config"]["server_name"];
                let version = if kind == ResourceKind::Listener { content } else { &entry["version_info"] };
                if name != XDS_CERTIFICATE {
                    found.insert((kind, name), version.as_str().unwrap_or_default().to_owned());
                }
            }
        }
    }
    found
}

/// Scopes are shown with the version of their listener's subscription, not each with its own: their content tells them apart.
fn scopes(config: &Value) -> impl Iterator<Item = (String, String)> {
    let listed = |value: &Value, list: &str| value[list].as_array().cloned().unwrap_or_default();
    let all = listed(config, "dynamic_scoped_route_configs").into_iter().flat_map(move |set| listed(&set, "scoped_route_configs"));
    all.map(move |scope| {
        let headers = listed(&scope["route_configuration"], "response_headers_to_add");
        let word = headers.iter().map(|one| &one["header"]).find(|header| header["key"] == "x-scope").map(|header| header["value"].clone());
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        (text(scope["name"].clone()), text(word.unwrap_or_default()))
    })
}

#[tokio::test]
async fn rule_37_after_every_update_the_proxy_runs_exactly_what_was_served() {
    let mut stage = Stage::set(Protocol::Delta).await;
    let mut units = Vec::new();
    let all =
        [(ResourceKind::Secret, "alpha", 8_001), (ResourceKind::Extension, "zulu", 8_002), (ResourceKind::ScopedRoutes, "mike", 8_004)];
    for (kind, name, port) in all {
        units.push(unit(&stage, kind, name, port).await);
    }
    let everything = |units: &[(Unit, EchoServer)]| -> Vec<Resource> { units.iter().flat_map(|(unit, _)| unit.resources()).collect() };
    stage.publish(everything(&units));
    let envoy = stage.envoy().await;
    units[1].0.runs(ResourceKind::Extension, "one").await;

    let changes = [
        (1, ResourceKind::Cluster),
        (1, ResourceKind::Endpoints),
        (1, ResourceKind::Routes),
        (1, ResourceKind::Extension),
        (1, ResourceKind::Listener),
        (2, ResourceKind::ScopedRoutes),
    ];
    for (n, (changed, kind)) in changes.into_iter().enumerate() {
        units[changed].0.tell(kind, "two");
        if n == 2 {
            // What goes must be gone as well.
            units.remove(0);
            units.insert(0, unit(&stage, ResourceKind::Secret, "bravo", 8_003).await);
        }
        let served: BTreeMap<_, _> = units.iter().flat_map(|(unit, _)| served(unit)).collect();
        stage.publish(everything(&units));
        units[changed].0.runs(kind, "two").await;
        stage.in_sync().await;
        wait_until(PATIENCE, "the proxy to run what was served", async || {
            let shown = dumped(&envoy.config_dump().await);
            if shown == served { Ok(()) } else { Err(format!("{shown:#?}\nserved: {served:#?}")) }
        })
        .await;
    }
}

/// What [`dumped`] should find of a unit.
fn served(unit: &Unit) -> BTreeMap<(ResourceKind, String), String> {
    let shown = |one: &Resource| match one.id.kind {
        // Envoy does not keep it.
        ResourceKind::Endpoints => String::new(),
        ResourceKind::Listener | ResourceKind::ScopedRoutes => unit.word(one.id.kind).to_owned(),
        _ => one.version.to_string(),
    };
    unit.resources().iter().map(|one| ((one.id.kind, one.id.name.to_string()), shown(one))).collect()
}

/// A megabyte that tells apart one version from another.
fn heavy(unit: &Unit) -> Vec<Resource> {
    let mut message = unit.table(("x-routes", ResourceKind::Routes));
    message.virtual_hosts[0].metadata = Some(parts::metadata(&"x".repeat(1 << 20)));
    unit.resources_with(unit.routes_of(&message))
}

#[tokio::test]
async fn rule_38_a_proxy_that_stands_still_costs_one_response_and_wakes_to_the_newest() {
    let mut stage = Stage::set(Protocol::Delta).await;
    let (mut unit, _back) = unit(&stage, ResourceKind::Routes, "alpha", 8_001).await;
    stage.publish(heavy(&unit));
    let mut envoy = stage.envoy().await;
    unit.runs(ResourceKind::Routes, "one").await;
    stage.in_sync().await;

    let before = (stage.counters.responses.get(), stage.counters.response_bytes.get());
    envoy.process().signal("STOP");
    for n in 0..60 {
        unit.tell(ResourceKind::Routes, WORDS[n % 2]);
        stage.publish(heavy(&unit));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (responses, bytes) = (stage.counters.responses.get() - before.0, stage.counters.response_bytes.get() - before.1);
    assert!(responses <= 1 && bytes < 2 << 20, "{responses} responses, {bytes} bytes for a proxy that stands still");
    unit.tell(ResourceKind::Routes, "newest");
    stage.publish(heavy(&unit));
    envoy.process().signal("CONT");
    unit.runs(ResourceKind::Routes, "newest").await;
    stage.in_sync().await;
    let responses = stage.counters.responses.get() - before.0;
    assert!(responses <= 2, "{responses} responses: it was sent what was overtaken");
}

/// How long Envoy waits for the first configuration of a filter.
const FILTER_WAIT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn rule_35_a_listener_whose_filter_is_not_there_yet_opens_after_15_s_and_denies() {
    let mut stage = Stage::set(Protocol::Delta).await;
    let (unit, _back) = unit(&stage, ResourceKind::Extension, "alpha", 8_001).await;
    let without: Vec<_> = unit.resources().into_iter().filter(|one| one.id.kind != ResourceKind::Extension).collect();
    let listener = without.iter().find(|one| one.id.kind == ResourceKind::Listener).unwrap();
    // The server itself would refuse a set that lacks it, so the listener does not say that it needs it.
    let silent = Resource { refs: [windrose_vocab::ResourceId::new(ResourceKind::Routes, "alpha")].into(), ..listener.clone() };
    stage.publish(without.into_iter().filter(|one| one.id.kind != ResourceKind::Listener).chain([silent]));
    let started = Instant::now();
    let _envoy = stage.envoy().await;
    let denied = wait_until(FILTER_WAIT + PATIENCE, "a denial", async || {
        Call::get(unit.listen, "/").send().await.map(|reply| reply.status).map_err(|cause| cause.to_string())
    })
    .await;
    assert_eq!(denied, 403, "the first answer of all");
    let waited = started.elapsed();
    assert!(waited >= FILTER_WAIT, "open after {waited:?}: nobody waited for the filter");
    stage.publish(unit.resources());
    unit.runs(ResourceKind::Extension, "one").await;
}
