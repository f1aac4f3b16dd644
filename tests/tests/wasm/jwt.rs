//! `jwt-auth` in the real Envoy: who comes in and who does not, what the upstream and a later filter hear of the claims,
//! and that a module which is absent, broken or panicking lets nobody through.

use std::time::Duration;

use serde_json::{Value, json};
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply, raw};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess, validate};

use crate::module;

/// A module that reads the property `windrose.claim.sub` and sets it as request header `x-read`; the whole of another
/// filter that comes after ours.
const READER: &str = r#"(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "windrose.claim.sub")
  (data (i32.const 64) "x-read")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 16) (i32.const 18) (i32.const 0) (i32.const 4)))
      (then (drop (call $set (i32.const 0) (i32.const 64) (i32.const 6) (i32.load (i32.const 0)) (i32.load (i32.const 4))))))
    (i32.const 0)))"#;

/// Tokens that OpenSSL signed, shared with the filter's native tests; good until 2100.
pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../wasm-filters/filters/jwt-auth/src/tests/vectors.json")).unwrap()
}

fn token(name: &str) -> String {
    let vectors = vectors();
    vectors["tokens"][name].as_str().or_else(|| vectors[name].as_str()).unwrap().to_owned()
}

pub(crate) fn configuration() -> Value {
    let provider = json!({
        "name": "main", "issuer": "https://id.example", "audiences": ["orders"], "jwks": vectors()["jwks"].to_string(),
        "algorithms": ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"],
    });
    let jwt = |require: Value| {
        json!({"jwt": {
            "providers": [provider],
            "require": require,
            "claims_to_headers": [{"claim": "sub", "header": "x-user"}, {"claim": "realm_access.roles", "header": "x-roles"}],
            "claims_to_properties": ["sub", "tier"],
        }})
    };
    let gold = json!({"claims": [{"claim": "tier", "any_of": ["gold"]}], "scopes": ["orders:read"]});
    json!({"policies": {"orders": jwt(json!({})), "gold": jwt(gold), "open": {"public": {}}}})
}

/// Our filter, one that reads what it handed on, and an echo behind them.
pub(crate) struct Gateway {
    envoy: EnvoyProcess,
    pub(crate) upstream: EchoServer,
    home: Loopback,
    _folder: tempfile::TempDir,
}

impl Gateway {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let reader = module::from_text(folder.path(), "reader", READER);
        let filters = [
            module::filter("jwt-auth", &module::built("jwt-auth"), &configuration()),
            module::edits("jwt-auth"),
            module::filter("reader", &reader, &Value::Null),
        ];
        let mut told = module::route("/orders", Some("orders"));
        told["response_headers_to_add"] =
            json!([{"header": {"key": "x-state", "value": "%FILTER_STATE(wasm.windrose.claim.tier:PLAIN)%"}}]);
        let routes = [
            told,
            module::route("/gold", Some("gold")),
            module::route("/open", Some("open")),
            module::route("/unknown", Some("nobody-knows")),
            module::route("/bare", None),
        ];
        Self::start_with(&filters, &routes, folder).await
    }

    pub(crate) async fn start_with(filters: &[Value], routes: &[Value], folder: tempfile::TempDir) -> Self {
        let home = Loopback::claim();
        let upstream = EchoServer::start("upstream", home.port(8080)).await;
        let mut bootstrap: Value =
            serde_json::from_str(&module::bootstrap(home.port(10_000), upstream.address(), filters, routes)).unwrap();
        // As the product's edge has it.
        let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        (manager["normalize_path"], manager["merge_slashes"]) = (json!(true), json!(true));
        manager["path_with_escaped_slashes_action"] = json!("REJECT_REQUEST");
        let options = EnvoyOptions { component_log_level: "wasm:debug".to_owned(), concurrency: 2, ..EnvoyOptions::default() };
        let envoy = EnvoyProcess::start_with(&bootstrap.to_string(), &options).await;
        Self { envoy, upstream, home, _folder: folder }
    }

    fn call(&self, path: &str) -> Call {
        Call::get(self.home.port(10_000), path)
    }

    async fn get(&self, path: &str) -> Reply {
        self.call(path).send().await.unwrap()
    }

    pub(crate) async fn with_token(&self, path: &str, token: &str) -> Reply {
        self.call(path).header("authorization", format!("Bearer {token}")).send().await.unwrap()
    }
}

/// The values that the upstream got under a header name.
fn told(reply: &Reply, header: &str) -> Value {
    reply.json()["headers"][header].clone()
}

pub(crate) fn code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn good_tokens_come_in_and_others_do_not() {
    let gateway = Gateway::start().await;

    for algorithm in vectors()["tokens"].as_object().unwrap().keys() {
        let reply = gateway.with_token("/orders", &token(algorithm)).await;
        assert_eq!(reply.status, 200, "{algorithm}: {}", reply.text());
        assert_eq!(told(&reply, "x-user"), json!(["alice"]), "{algorithm}");
        assert_eq!(told(&reply, "x-roles"), json!([r#"["admin","dev"]"#]), "{algorithm}");
        assert_eq!(told(&reply, "authorization"), Value::Null, "the upstream does not see the token");
    }
    let fallbacks = gateway.envoy.log().matches("verifying in Rust").count();
    assert_eq!(fallbacks, 0, "Envoy's verify_signature took every call");

    let before = gateway.upstream.requests();
    let missing = gateway.get("/orders").await;
    assert_eq!(code(&missing), (401, "token_missing".to_owned()));
    assert_eq!(missing.header("www-authenticate"), "Bearer realm=\"windrose\"");
    assert_eq!(missing.header("content-type"), "application/json");
    let refused = [("expired", "token_expired"), ("other_audience", "token_audience_wrong"), ("pss_short_salt", "token_signature_invalid")];
    for (name, expected) in refused {
        assert_eq!(code(&gateway.with_token("/orders", &token(name)).await), (401, expected.to_owned()));
    }
    let cut = token("ES256").replace(".eyJ", ".eyK");
    assert_eq!(gateway.with_token("/orders", &cut).await.status, 401);
    for forged in ["ES256", "RS256", "EdDSA", "HS256"] {
        let (other, good) = (token("expired"), token(forged));
        let payload = other.split('.').nth(1).unwrap();
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[1] = payload;
        let reply = gateway.with_token("/orders", &parts.join(".")).await;
        assert_eq!(code(&reply), (401, "token_signature_invalid".to_owned()), "{forged}");
    }
    assert_eq!(gateway.with_token("/gold", &token("RS256")).await.status, 200);
    assert_eq!(code(&gateway.with_token("/gold", &token("bronze")).await), (403, "claim_missing".to_owned()));
    assert_eq!(gateway.with_token("/orders", &token("bronze")).await.status, 200);
    assert_eq!(gateway.upstream.requests(), before + 2);
}

#[tokio::test]
async fn a_later_filter_and_envoy_s_own_formatter_read_the_claims() {
    let gateway = Gateway::start().await;
    // The second time the answer comes from the cache of one of the workers.
    for _ in 0..4 {
        let reply = gateway.with_token("/orders", &token("ES256")).await;
        assert_eq!(told(&reply, "x-read"), json!(["alice"]));
        assert_eq!(reply.header("x-state"), "gold");
    }
    let open = gateway.get("/open").await;
    assert_eq!((open.status, told(&open, "x-read")), (200, Value::Null));
    assert_ne!(gateway.envoy.stat("wasmcustom.windrose.jwt.cached").await, 0);
}

#[tokio::test]
async fn what_a_client_claims_to_be_is_stripped_on_every_route() {
    let gateway = Gateway::start().await;
    let spoofed = |path: &str| gateway.call(path).header("x-user", "root").header("X-Roles", "root");
    let open = spoofed("/open").send().await.unwrap();
    assert_eq!((open.status, told(&open, "x-user"), told(&open, "x-roles")), (200, Value::Null, Value::Null));
    let bearer = format!("Bearer {}", token("RS256"));
    let orders = spoofed("/orders").header("authorization", &bearer).send().await.unwrap();
    assert_eq!(told(&orders, "x-user"), json!(["alice"]));
}

#[tokio::test]
async fn a_route_without_a_known_policy_is_closed_also_to_good_tokens() {
    let gateway = Gateway::start().await;
    for (path, expected) in [("/unknown", (403, "policy_unknown")), ("/bare", (403, "policy_unknown")), ("/nowhere", (404, "no_route"))] {
        let reply = gateway.with_token(path, &token("RS256")).await;
        assert_eq!(code(&reply), (expected.0, expected.1.to_owned()), "{path}");
    }
}

/// However a path is written, the route that serves it is the one whose policy judged it.
#[tokio::test]
async fn no_spelling_of_a_path_takes_another_policy_along() {
    let gateway = Gateway::start().await;
    let spellings = [
        ("//orders", 401),
        ("/./orders", 401),
        ("/%6frders", 401),
        ("/open/../orders", 401),
        ("/open/%2e%2e/orders", 401),
        ("/open%2f..%2forders", 400),
    ];
    for (path, expected) in spellings {
        assert_eq!(gateway.get(path).await.status, expected, "{path}");
        let with_token = if expected == 401 { 200 } else { expected };
        assert_eq!(gateway.with_token(path, &token("RS256")).await.status, with_token, "{path}");
    }
    assert_eq!(gateway.upstream.last()["path"], "/orders");
}

#[tokio::test]
async fn a_grpc_caller_hears_a_grpc_status() {
    let gateway = Gateway::start().await;
    let reply = gateway.call("/no.Such/Route").header("content-type", "application/grpc").http2().send().await.unwrap();
    assert_eq!((reply.status, reply.header("grpc-status"), reply.header("grpc-message")), (200, "12", "no route matches this request"));
    let reply = gateway.call("/orders").header("content-type", "application/grpc").http2().send().await.unwrap();
    assert_eq!((reply.status, reply.header("grpc-status"), reply.header("grpc-message")), (200, "16", "a bearer token is required"));
}

#[tokio::test]
async fn bytes_that_are_not_text_harm_nobody() {
    let gateway = Gateway::start().await;
    for value in [b"Bearer \xff\xfe.\x80.\x81".as_slice(), b"\xff\xff", b"Bearer", b"Bearer ..", b"bEARER     x"] {
        let request = [b"GET /orders HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: ", value, b"\r\n\r\n"].concat();
        let answer = raw(gateway.home.port(10_000), &request, Duration::from_secs(5)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{value:?}: {}", String::from_utf8_lossy(&answer));
    }
    let good = format!("Bearer {}", token("RS256"));
    for second in [good.as_str(), "Bearer\tx", "Basic x"] {
        let two =
            format!("GET /orders HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: {good}\r\nauthorization: {second}\r\n\r\n");
        let answer = raw(gateway.home.port(10_000), two.as_bytes(), Duration::from_secs(5)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{second}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(gateway.with_token("/orders", &"x".repeat(20_000)).await.status, 431);
    assert_eq!(gateway.with_token("/orders", &token("RS256")).await.status, 200);
    assert_eq!(gateway.upstream.requests(), 1);
    assert!(!gateway.envoy.log().contains("VM_FAIL"), "no request ended the VM");
}

/// What a client calls hop-by-hop is gone before the filter looks, so the service gets nothing less than what the filter sets.
#[tokio::test]
async fn what_a_client_calls_hop_by_hop_takes_away_no_proof_and_no_claim() {
    let gateway = Gateway::start().await;
    let good = token("RS256");
    let with = async |connection: &str| {
        let request = format!(
            "GET /orders HTTP/1.1\r\nhost: a\r\nconnection: close{connection}\r\nauthorization: Bearer {good}\r\nx-user: root\r\n\r\n"
        );
        let answer = raw(gateway.home.port(10_000), request.as_bytes(), Duration::from_secs(5)).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (connection, expected) in [("", "200"), (", authorization", "401"), (", x-user", "200")] {
        let before = gateway.upstream.requests();
        assert_eq!(with(connection).await, expected, "connection: close{connection}");
        assert_eq!(gateway.upstream.requests() - before, u64::from(expected == "200"), "connection: close{connection}");
        assert_eq!(gateway.upstream.last()["headers"]["x-user"], json!(["alice"]), "connection: close{connection}");
    }
}

/// Filters with one `vm_id` share a VM; each must still answer by its own table.
#[tokio::test]
async fn two_configurations_in_one_vm_do_not_mix() {
    let module = module::built("jwt-auth");
    let open = module::filter("jwt-auth", &module, &json!({"policies": {"orders": {"public": {}}}}));
    let closed = module::filter("jwt-auth", &module, &configuration());
    for (filters, expected) in [([&open, &open], 200), ([&open, &closed], 401), ([&closed, &open], 401)] {
        let filters = filters.map(Clone::clone);
        let gateway = Gateway::start_with(&filters, &[module::route("/", Some("orders"))], tempfile::tempdir().unwrap()).await;
        assert_eq!(gateway.get("/orders").await.status, expected);
        assert_eq!(gateway.with_token("/orders", &token("RS256")).await.status, 200);
    }
}

#[tokio::test]
async fn a_panicking_module_lets_nobody_through() {
    let folder = tempfile::tempdir().unwrap();
    let panicking = module::from_text(folder.path(), "jwt-auth", module::PANICKING);
    let filters = [module::filter("jwt-auth", &panicking, &configuration())];
    let gateway = Gateway::start_with(&filters, &[module::route("/", Some("orders"))], folder).await;
    for _ in 0..10 {
        let reply = gateway.with_token("/orders", &token("RS256")).await;
        assert!(reply.status >= 500, "{}", reply.status);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(gateway.upstream.requests(), 0);
}

/// Delivered by ECDS with the denying default: the good module is the control, the others leave the default in force, for which
/// each listener waits 15 s.
#[tokio::test]
async fn an_absent_or_broken_module_lets_nobody_through() {
    let folder = tempfile::tempdir().unwrap();
    let not_wasm = module::no_module(folder.path());
    let (module, absent) = (module::built("jwt-auth"), folder.path().join("absent.wasm"));
    let plugin = |module, configuration| module::plugin("jwt-auth", module, configuration);
    let (good, refused) = (configuration(), json!({"policies": {"orders": {"jwt": {}}}}));
    tokio::join!(
        delivered_lets_through("good", plugin(&module, &good)),
        delivered_lets_through("absent", plugin(&absent, &good)),
        delivered_lets_through("not a module", plugin(&not_wasm, &good)),
        delivered_lets_through("refused configuration", plugin(&module, &refused)),
    );
}

async fn delivered_lets_through(name: &str, plugin: Value) {
    let (folder, home) = (tempfile::tempdir().unwrap(), Loopback::claim());
    let by_ecds = [module::delivered(folder.path(), "jwt-auth", &plugin)];
    let direct = [json!({"name": "jwt-auth", "typed_config": plugin})];
    let route = [module::route("/", Some("orders"))];
    let bootstrap = module::bootstrap(home.port(10_000), home.port(8080), &direct, &route);
    assert_eq!(validate(&bootstrap).is_ok(), name == "good", "{name}");

    let gateway = Gateway::start_with(&by_ecds, &route, folder).await;
    let (status, passed) = if name == "good" { (200, 3) } else { (403, 0) };
    for _ in 0..3 {
        assert_eq!(gateway.with_token("/orders", &token("RS256")).await.status, status, "{name}");
    }
    assert_eq!(gateway.upstream.requests(), passed, "{name}");
}

/// What the filter takes off and sets never makes Envoy choose another route than the one whose policy judged the request.
#[tokio::test]
async fn a_request_is_served_by_the_route_that_judged_it() {
    let on_header = |value: &str, policy: &str| {
        let mut route = module::route("/", Some(policy));
        route["match"]["headers"] = json!([{"name": "x-user", "string_match": {"exact": value}}]);
        route["response_headers_to_add"] = json!([{"header": {"key": "x-route", "value": value}}]);
        route
    };
    let folder = tempfile::tempdir().unwrap();
    let filters = [module::filter("jwt-auth", &module::built("jwt-auth"), &configuration()), module::edits("jwt-auth")];
    let routes = [on_header("guest", "open"), on_header("alice", "gold"), module::route("/", Some("orders"))];
    let gateway = Gateway::start_with(&filters, &routes, folder).await;

    let guest = gateway.call("/secret").header("x-user", "guest").send().await.unwrap();
    assert_eq!((guest.status, guest.header("x-route")), (200, "guest"), "judged public, and served by the guarded route");
    assert_eq!(told(&guest, "x-user"), Value::Null);
    // A token of `alice` that is not good for the route of that name.
    let bronze = gateway.with_token("/secret", &token("bronze")).await;
    assert_eq!((bronze.status, bronze.header("x-route")), (200, ""), "a claim led to a route with another policy");
}
