//! Traffic never notices: not 200 changes of its route, not a server that is killed and comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::load::{Load, Tally};

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, at_host, documents, endpoint, gateway, route, service, workload};

/// Changes, and the requests that go through with each: ten thousand in all.
const CHANGES: usize = 200;
const REQUESTS_OF_EACH: u64 = 50;

/// Both services are there all the time; the route has one of them, so that each change brings a cluster and takes one.
fn pointing_to(home: &Loopback, back: &str) -> String {
    declaring(home, route("web", EVERYTHING, back))
}

fn declaring(home: &Loopback, route: String) -> String {
    documents(&[
        gateway(&[("http", home.port(8080))]),
        service("one"),
        endpoint("one", home.port(9001)),
        service("other"),
        endpoint("other", home.port(9002)),
        route,
    ])
}

fn all_good(tally: &Tally) {
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load_lose_no_request() {
    changes_of_a_route(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_by_state_of_the_world() {
    changes_of_a_route(&["--state-of-the-world"]).await;
}

async fn changes_of_a_route(bootstrap: &[&str]) {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = ["one", "other"].map(|back| pointing_to(&home, back));
    let call = Call::get(home.port(8080), "/");
    changes_lose_no_request((home, bootstrap), &declared, &call).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_of_a_host_that_goes_by_itself_lose_no_request() {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = ["one", "other"].map(|back| declaring(&home, at_host("shop.example", &route("web", EVERYTHING, back))));
    let call = Call::get(home.port(8080), "/").host("shop.example");
    changes_lose_no_request((home, &[]), &declared, &call).await;
}

/// At that place, by an Envoy with this bootstrap.
async fn changes_lose_no_request((home, bootstrap): (Loopback, &[&str]), declared: &[String; 2], call: &Call) {
    let stage = Stage::set(home, &declared[0]).await;
    let _edge = stage.envoy("gateway", "edge", bootstrap).await;
    answered_by(call, "one").await;

    change_under(Load::start(4, Duration::from_millis(1), call), &stage, declared, call).await;
}

/// Changes what is declared to and fro under load.
async fn change_under(load: Load, stage: &Stage, declared: &[String; 2], call: &Call) {
    for change in 1..=CHANGES {
        stage.declare("shop.yaml", &declared[change % 2]);
        answered_by(call, ["one", "other"][change % 2]).await;
        load.go_on(REQUESTS_OF_EACH, PATIENCE).await;
    }
    let tally = load.finish().await;
    all_good(&tally);
    assert!(tally.total() >= 10_000, "{tally:?}");
}

/// What Envoy counts when it is sent something, or does something about it.
async fn receipts(envoy: &EnvoyProcess) -> BTreeMap<String, u64> {
    let stats = envoy.admin_get("/stats?format=text").await.unwrap().text();
    let lines = stats.lines().filter_map(|line| line.split_once(": "));
    let counts = lines.filter(|(name, _)| {
        name.ends_with(".update_success")
            || name.ends_with(".update_rejected")
            || name.starts_with("listener_manager.listener_")
            || ["cluster_manager.cluster_added", "cluster_manager.cluster_modified", "cluster_manager.cluster_removed"].contains(name)
    });
    counts.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

fn moved(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect()
}

/// How an Envoy speaks, and which of its counters stand still over a restart of the server.
struct Way {
    bootstrap: &'static [&'static str],
    stands_still: fn(&str) -> bool,
}

const DELTA: Way = Way { bootstrap: &[], stands_still: |_| true };

/// On a new stream it says which names it wants and not what it has of them: those are sent again, no cluster or listener is.
const STATE_OF_THE_WORLD: Way =
    Way { bootstrap: &["--state-of-the-world"], stands_still: |name| name.contains("_manager.") || !name.ends_with(".update_success") };

impl Way {
    /// What moved of what should stand still.
    async fn moved_since(&self, before: &BTreeMap<String, u64>, envoy: &EnvoyProcess) -> Vec<String> {
        moved(before, &receipts(envoy).await).into_iter().filter(|name| (self.stands_still)(name)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_comes_back_and_resends_nothing() {
    killed_under_load(&DELTA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_by_state_of_the_world() {
    killed_under_load(&STATE_OF_THE_WORLD).await;
}

async fn killed_under_load(way: &Way) {
    let home = Loopback::claim();
    let _backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
    let declared = pointing_to(&home, "one");
    let mut stage = Stage::set(home, &declared).await;
    let edge = stage.envoy("gateway", "edge", way.bootstrap).await;
    let call = Call::get(stage.home.port(8080), "/");
    answered_by(&call, "one").await;
    stage.synced("gateway/shop/edge").await;

    let before = receipts(&edge).await;
    let load = Load::start(4, Duration::from_millis(1), &call);
    stage.kill_and_restart().await;
    stage.synced("gateway/shop/edge").await;
    assert_eq!(way.moved_since(&before, &edge).await, Vec::<String>::new());

    // What comes next is the new endpoint and nothing besides.
    let before = receipts(&edge).await;
    let (from, to) = (endpoint("one", stage.home.port(9001)), endpoint("one", stage.home.port(9002)));
    stage.declare("shop.yaml", &declared.replace(&from, &to));
    answered_by(&call, "other").await;
    stage.synced("gateway/shop/edge").await;
    all_good(&load.finish().await);
    assert_eq!(moved(&before, &receipts(&edge).await), ["cluster.shop/one/80.update_success"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_comes_back_with_the_same_certificates_for_its_sidecars() {
    killed_before_sidecars(&DELTA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_state_of_the_world_they_get_certificates_again_and_lose_no_request() {
    killed_before_sidecars(&STATE_OF_THE_WORLD).await;
}

async fn killed_before_sidecars(way: &Way) {
    let home = Loopback::claim();
    let _back = EchoServer::start("web", home.port(9001)).await;
    let declared = documents(&[
        gateway(&[("http", home.port(8080))]),
        service("web"),
        workload("web", home.ip(), &[("web", 15_080, 9001)], &[]),
        route("web", EVERYTHING, "web"),
    ]);
    let mut stage = Stage::set(home, &declared).await;
    let (edge, web) = (stage.envoy("gateway", "edge", way.bootstrap).await, stage.envoy("workload", "web", way.bootstrap).await);
    let call = Call::get(stage.home.port(8080), "/");
    answered_by(&call, "web").await;
    stage.synced("workload/shop/web").await;
    stage.synced("gateway/shop/edge").await;

    let before = (receipts(&edge).await, receipts(&web).await);
    assert!(before.1.iter().any(|(name, count)| name.contains("sds") && *count > 0), "{:?}", before.1);
    let load = Load::start(2, Duration::from_millis(1), &call);
    stage.kill_and_restart().await;
    stage.synced("workload/shop/web").await;
    stage.synced("gateway/shop/edge").await;
    all_good(&load.finish().await);
    assert_eq!((way.moved_since(&before.0, &edge).await, way.moved_since(&before.1, &web).await), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_between_two_sidecars_lose_no_request_on_its_way_through_edge_and_both() {
    changes_of_a_mesh(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_those_by_state_of_the_world() {
    changes_of_a_mesh(&["--state-of-the-world"]).await;
}

async fn changes_of_a_mesh(bootstrap: &[&str]) {
    let (home, front, rear) = (Loopback::claim(), Loopback::claim(), Loopback::claim());
    let _backs = [EchoServer::start("one", rear.port(9001)).await, EchoServer::start("other", rear.port(9002)).await];
    let call = Call::get(home.port(8080), "/");
    let common = documents(&[
        gateway(&[("http", home.port(8080))]),
        route("web", EVERYTHING, "front"),
        documents(&["front", "rear", "one", "other"].map(service)),
        // The application of the first sidecar is what calls through it.
        workload("front", front.ip(), &[("front", 15_080, 7001)], &[("rear", 7001)]),
        workload("rear", rear.ip(), &[("one", 15_080, 9001), ("other", 15_081, 9002)], &[]),
    ]);
    // Each change gives the caller another service, and the called another rule that lets it by.
    let declared = [("one", "serviceAccount: front"), ("other", "namespace: shop")].map(|(back, caller)| {
        let parent = "{ group: '', kind: Service, name: rear }";
        let split = route("split", EVERYTHING, back).replace("{ name: edge }", parent);
        let callers = format!(
            "apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: callers, namespace: shop }}
spec:
  targetRefs: [{{ group: windrose.dev, kind: Workload, name: rear }}]
  action: Allow
  rules: [{{ from: [{{ {caller} }}] }}]"
        );
        documents(&[common.clone(), split, callers])
    });
    let stage = Stage::set(home, &declared[0]).await;
    // A rule that changes drains the connections between the two, and such as `windrose run` gives them: at the end of a second, as other
    // tests have it, a connection may be cut on which a request has just set out.
    let envoy = |role, name| stage.envoy_that_drains(role, name, bootstrap, 10);
    let _edge = envoy("gateway", "edge").await;
    let _sidecars = [envoy("workload", "front").await, envoy("workload", "rear").await];
    answered_by(&call, "one").await;
    change_under(Load::start(4, Duration::from_millis(1), &call), &stage, &declared, &call).await;
}
