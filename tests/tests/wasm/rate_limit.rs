//! `rate-limit` in the real Envoy: exactly the quota over all workers, also in parallel and over a change of
//! configuration; what a client writes into its headers buys it nothing; what is unknown, broken or panics is closed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply, raw};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess};

use crate::module;

const DAY_MS: u64 = 86_400_000;

fn limit(name: &str, requests: u32, key: Value) -> Value {
    json!({"name": name, "key": key, "default": {"requests": requests, "window_ms": DAY_MS, "burst": requests}, "headers": true})
}

fn configuration() -> Value {
    json!({"policies": {
        "hundred": [limit("hundred", 100, json!([]))],
        "address": [limit("address", 3, json!(["client_address"]))],
        "tenant": [limit("tenant", 2, json!([{"header": "x-tenant"}]))],
        "both": [limit("hundred", 100, json!([])), limit("own", 5, json!([]))],
    }})
}

/// A route that names an entry of the table, if any.
fn route(prefix: &str, limits: Option<&str>) -> Value {
    let metadata = limits.map_or(json!({}), |id| json!({"filter_metadata": {"windrose": {"ratelimit": id}}}));
    json!({"match": {"prefix": prefix}, "metadata": metadata, "route": {"cluster": "upstream"}})
}

fn routes() -> Vec<Value> {
    let limited = ["hundred", "address", "tenant", "both", "unknown"].map(|id| route(&format!("/{id}"), Some(id)));
    limited.into_iter().chain([route("/free", None)]).collect()
}

struct Gateway {
    envoy: EnvoyProcess,
    upstream: EchoServer,
    home: Loopback,
}

impl Gateway {
    async fn start(filter: Value) -> Self {
        let home = Loopback::claim();
        let upstream = EchoServer::start("upstream", home.port(8080)).await;
        let mut bootstrap: Value =
            serde_json::from_str(&module::bootstrap(home.port(10_000), upstream.address(), &[filter], &routes())).unwrap();
        // As the product's edge has it: the address is the peer's, not what a header says.
        bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["use_remote_address"] = json!(true);
        let options = EnvoyOptions { concurrency: 2, ..EnvoyOptions::default() };
        let envoy = EnvoyProcess::start_with(&bootstrap.to_string(), &options).await;
        Self { envoy, upstream, home }
    }

    async fn good() -> Self {
        Self::start(module::filter("rate-limit", &module::built("rate-limit"), &configuration())).await
    }

    fn call(&self, path: &str) -> Call {
        Call::get(self.home.port(10_000), path)
    }

    async fn get(&self, path: &str) -> Reply {
        self.call(path).send().await.unwrap()
    }

    /// The answers to so many calls at once, each on a connection of its own, counted by status.
    async fn at_once(&self, path: &str, count: usize) -> BTreeMap<u16, usize> {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let call = self.call(path);
            calls.spawn(async move { call.send().await.unwrap().status });
        }
        let mut statuses = BTreeMap::new();
        while let Some(status) = calls.join_next().await {
            *statuses.entry(status.unwrap()).or_default() += 1;
        }
        statuses
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_quota_passes_over_all_workers_and_all_routes_of_a_limit() {
    let gateway = Gateway::good().await;
    assert_eq!(gateway.at_once("/hundred", 300).await, BTreeMap::from([(200, 100), (429, 200)]));
    assert_eq!(gateway.upstream.requests(), 100, "what was refused never reached the service");
    let refused = gateway.get("/hundred").await;
    assert_eq!(refused.json()["error"]["code"], "rate_limited");
    assert_eq!(refused.header("ratelimit-policy"), "\"hundred\";q=100;w=86400");
    assert!(refused.header("ratelimit").starts_with("\"hundred\";r=0;t="), "{}", refused.header("ratelimit"));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(gateway.get("/both").await.status, 429, "another route with the same limit shares its count");
    assert_eq!(gateway.at_once("/free", 20).await, BTreeMap::from([(200, 20)]));
    assert_eq!(gateway.envoy.stat("wasmcustom.windrose_rate_limit_refused").await, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_writes_into_its_headers_is_not_its_address() {
    let gateway = Gateway::good().await;
    let mut statuses = Vec::new();
    for name in ["x-forwarded-for", "x-real-ip", "forwarded", "x-envoy-external-address", "true-client-ip"] {
        let call = gateway.call("/address").header(name, format!("203.0.113.{}", statuses.len() + 1));
        statuses.push(call.send().await.unwrap().status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_counts_apart_and_one_that_is_missing_or_no_text_is_not_unlimited() {
    let gateway = Gateway::good().await;
    let of = async |tenant: Option<&[u8]>| {
        let call = gateway.call("/tenant");
        let call = tenant.map_or(call.clone(), |tenant| call.header("x-tenant", tenant));
        call.send().await.unwrap().status
    };
    for tenant in [None, Some(b"a".as_slice()), Some(b"b"), Some(b"\xff\xfe")] {
        let statuses = [of(tenant).await, of(tenant).await, of(tenant).await];
        assert_eq!(statuses, [200, 200, 429], "{tenant:?}");
    }
    assert!(!gateway.envoy.log().contains("VM_FAIL"), "no request ended the VM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_repeated_is_no_fresh_key() {
    let gateway = Gateway::good().await;
    let mut statuses = Vec::new();
    for random in 0..4 {
        let request = format!("GET /tenant HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-tenant: {random}\r\nx-tenant: real\r\n\r\n");
        let answer = raw(gateway.home.port(10_000), request.as_bytes(), Duration::from_secs(5)).await.unwrap();
        statuses.push(String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned());
    }
    assert_eq!(statuses, ["200", "200", "429", "429"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_unknown_or_whose_module_panics_lets_nobody_through() {
    let gateway = Gateway::good().await;
    let reply = gateway.get("/unknown").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("rate_limit_unknown")));
    assert_eq!(gateway.upstream.requests(), 0);

    let folder = tempfile::tempdir().unwrap();
    let panicking = module::from_text(folder.path(), "rate-limit", module::PANICKING);
    let gateway = Gateway::start(module::filter("rate-limit", &panicking, &configuration())).await;
    for path in ["/hundred", "/free"] {
        assert!(gateway.get(path).await.status >= 500, "{path}");
    }
    assert_eq!(gateway.upstream.requests(), 0);
}

/// Delivered by ECDS with the denying default of the product: a module that is absent or refuses its table is never open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_or_refused_module_lets_nobody_through_and_a_new_table_keeps_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let good = module::built("rate-limit");
    let refused = json!({"policies": {"hundred": [{"name": "hundred", "default": {"requests": 1, "window_ms": 0, "burst": 1}}]}});
    let absent = folder.path().join("absent.wasm");
    let not_wasm = module::no_module(folder.path());
    tokio::join!(
        is_closed("absent", module::plugin("rate-limit", &absent, &configuration())),
        is_closed("not a module", module::plugin("rate-limit", &not_wasm, &configuration())),
        is_closed("refused", module::plugin("rate-limit", &good, &refused)),
    );

    let gateway =
        Gateway::start(module::delivered(folder.path(), "rate-limit", &module::plugin("rate-limit", &good, &configuration()))).await;
    assert_eq!(gateway.at_once("/hundred", 60).await, BTreeMap::from([(200, 60)]));
    let mut more = configuration();
    more["policies"]["new"] = json!([limit("new", 1, json!([]))]);
    let before = gateway.envoy.stat("extension_config_discovery.http_filter.rate-limit.config_reload").await;
    module::deliver(folder.path(), "rate-limit", &module::plugin("rate-limit", &good, &more));
    windrose_tests::wait::wait_until(Duration::from_secs(20), "the new table", async || {
        let reloads = gateway.envoy.stat("extension_config_discovery.http_filter.rate-limit.config_reload").await;
        if reloads > before { Ok(()) } else { Err(reloads.to_string()) }
    })
    .await;
    assert_eq!(gateway.at_once("/hundred", 60).await, BTreeMap::from([(200, 40), (429, 20)]));
}

/// Delivered so, the plugin lets nobody through.
async fn is_closed(name: &str, plugin: Value) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(module::delivered(folder.path(), "rate-limit", &plugin)).await;
    assert_eq!(gateway.get("/hundred").await.status, 403, "{name}");
    assert_eq!(gateway.upstream.requests(), 0, "{name}");
}
