//! Services that decide who passes: asked by a rule, and by a listener before a route is chosen.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply};
use windrose_tests::echo::EchoServer;
use windrose_tests::load::Load;
use windrose_tests::server::windrose;

use crate::stage::{EVERYTHING, Stage, answered_by, at_host, documents, endpoint, gateway, route, service, until};

/// Denies what says `x-deny`; gives the others the tenant `gold`, and tries in every way to give them another host.
struct Tenants;

#[tonic::async_trait]
impl Authorization for Tenants {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let request = request.into_inner();
        let asked =
            request.attributes.and_then(|all| all.request).and_then(|all| all.http).ok_or_else(|| Status::internal("no request"))?;
        let denied = asked.headers.contains_key("x-deny");
        let answer = if denied {
            HttpResponse::DeniedResponse(DeniedHttpResponse { status: Some(HttpStatus { code: 401 }), ..Default::default() })
        } else {
            let elsewhere = [":authority", "host", "x-windrose-host"].map(|name| (name, "other.example"));
            let set = [("x-tenant", "gold"), elsewhere[0], elsewhere[1], elsewhere[2], ("content-length", "7")];
            HttpResponse::OkResponse(OkHttpResponse { headers: set.map(header).into(), ..Default::default() })
        };
        let status = Some(rpc::Status { code: if denied { 16 } else { 0 }, ..Default::default() });
        Ok(Response::new(CheckResponse { status, http_response: Some(answer), ..Default::default() }))
    }
}

fn header((key, value): (&str, &str)) -> HeaderValueOption {
    let header = HeaderValue { key: key.to_owned(), value: value.to_owned(), ..Default::default() };
    HeaderValueOption { header: Some(header), ..Default::default() }
}

async fn tenants(at: SocketAddr) -> DropGuard {
    let (listener, stop) = (TcpListener::bind(at).await.unwrap(), CancellationToken::new());
    let ended = stop.clone().cancelled_owned();
    let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(Tenants));
    tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended));
    stop.drop_guard()
}

/// A Service with this server behind it.
fn served(name: &str, server: &EchoServer) -> String {
    documents(&[service(name), endpoint(name, server.address())])
}

/// A filter that asks the Service `auth` by HTTP.
const ASK: &str = "{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, http: {} } }";

/// A route whose rule asks the Service `auth` by HTTP.
fn asking(name: &str, path: &str, backend: &str) -> String {
    let filter = "filters: [{ type: ExternalAuth, externalAuth: { protocol: HTTP, backendRef: { name: auth, port: 80 }, \
                  http: { path: /check, allowedHeaders: [x-echo-status], allowedResponseHeaders: [x-echo-server] }, forwardBody: { maxSize: 16 } } }]";
    route(name, path, backend).replace("backendRefs", &format!("{filter}, backendRefs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_lets_by_whom_its_service_lets_by_and_nobody_while_it_is_away() {
    let home = Loopback::claim();
    let auth = EchoServer::start("auth", home.port(9001)).await;
    let back = EchoServer::start("back", home.port(9002)).await;
    let at = home.port(8080);
    let declared = documents(&[
        gateway(&[("http", at)]),
        served("auth", &auth),
        served("back", &back),
        at_host("shop.example", &asking("guarded", "{ value: /guarded }", "back")),
        at_host("shop.example", &route("open", "{ value: /open }", "back")),
        at_host("shop.example", &asking("lost", "{ value: /lost }", "back").replace("{ name: auth,", "{ name: nobody,")),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = |path: &str| Call::get(at, path).host("shop.example");

    answered_by(&call("/open"), "back").await;
    assert_eq!(auth.requests(), 0, "an open route asks nobody");

    let passed = call("/guarded/a?b=c").header("x-echo-server", "forged").send().await.unwrap();
    assert_eq!((passed.status, passed.header("x-echo-server")), (200, "back"));
    assert_eq!(passed.json()["headers"]["x-echo-server"], serde_json::json!(["auth"]), "{}", passed.text());
    assert_eq!(
        (&auth.last()["path"], &auth.last()["authority"]),
        (&"/check/guarded/a?b=c".into(), &"shop.example".into()),
        "{}",
        auth.last()
    );

    let reached = back.requests();
    // A host in other letters is found by a filter, after Envoy decided what it turns off.
    for host in ["shop.example", "SHOP.example"] {
        let denied = call("/guarded").host(host).header("x-echo-status", "403").send().await.unwrap();
        assert_eq!(denied.status, 403, "{host}");
    }
    assert_eq!(call("/lost").send().await.unwrap().status, 500);
    let long = Call::post(at, "/guarded", vec![b'a'; 64]).host("shop.example").send().await.unwrap();
    assert_eq!(long.status, 413);
    assert_eq!(back.requests(), reached, "what was refused reached the backend");

    drop(auth);
    until(&call("/guarded"), "a refusal without the service", |reply| reply.status == 503).await;
    assert_eq!(call("/open").send().await.unwrap().status, 200);
}

/// The same document in the namespace `team`, as a guest at the edge of `shop`.
fn of_team(document: &str) -> String {
    document.replace("namespace: shop", "namespace: team").replace("{ name: edge }", "{ namespace: shop, name: edge }")
}

/// What the backend is told under a header.
fn told(reply: &Reply, header: &str) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["headers"][header].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_routes_service_is_to_set_no_client_sends_there_and_every_other_route_of_the_port_keeps() {
    let home = Loopback::claim();
    let auth = EchoServer::start("auth", home.port(9001)).await;
    let (back, chosen) = (EchoServer::start("back", home.port(9002)).await, EchoServer::start("chosen", home.port(9003)).await);
    let at = home.port(8080);
    let open_to_all = "protocol: HTTP, allowedRoutes: { namespaces: { from: All } }";
    let guarded = |name: &str, path: &str, backend: &str| {
        let names = asking(name, path, backend).replace("[x-echo-server]", "[X-User, X-Echo-Server, authorization]");
        names.replace("[x-echo-status]", "[x-echo-status, x-user]")
    };
    let declared = documents(&[
        gateway(&[("http", at)]).replace("protocol: HTTP", open_to_all),
        served("auth", &auth),
        served("back", &back),
        served("chosen", &chosen),
        of_team(&served("back", &back)),
        guarded("guarded", "{ value: /guarded }", "back"),
        guarded("vip", "{ value: /guarded }, headers: [{ name: x-user, value: admin }]", "chosen"),
        of_team(&route("open", "{ value: /open }", "back")),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = |path: &str, user: &str| {
        let call = Call::get(at, path).header("x-user", user).header("x-echo-server", "forged");
        call.header("authorization", "Basic eDp5").header("x-else", "kept")
    };
    answered_by(&call("/guarded", "root"), "back").await;

    // What passes an upgrade has no body to tell it by: the backend is asked what it saw.
    let upgrade = |call: Call| call.header("connection", "upgrade").header("upgrade", "websocket");
    // What a client sends chooses a rule, and the rule that was chosen judges and serves.
    for (name, call, by) in [
        ("plain", call("/guarded", "root"), &back),
        ("HTTP/2", call("/guarded", "root").http2(), &back),
        ("WebSocket", upgrade(call("/guarded", "root")), &back),
        ("chosen by it", call("/guarded", "admin"), &chosen),
    ] {
        let reached = by.requests();
        assert_eq!((call.send().await.unwrap().status, by.requests()), (200, reached + 1), "{name}");
        let seen = by.last()["headers"].clone();
        assert_eq!(
            (&seen["x-user"], &seen["x-echo-server"], &seen["x-else"]),
            (&Value::Null, &json!(["auth"]), &json!(["kept"])),
            "{name}"
        );
        // It has a meaning of its own: the service judges by it.
        assert_eq!(seen["authorization"], json!(["Basic eDp5"]), "{name}");
        assert_eq!((&auth.last()["headers"]["x-user"], &auth.last()["path"]), (&Value::Null, &json!("/check/guarded")), "{name}");
    }
    let asked = auth.requests();
    for call in [call("/open", "root"), call("/open", "root").http2(), upgrade(call("/open", "root"))] {
        assert_eq!(call.send().await.unwrap().status, 200);
        let seen = back.last()["headers"].clone();
        assert_eq!((&seen["x-user"], &seen["x-echo-server"]), (&json!(["root"]), &json!(["forged"])));
    }
    assert_eq!((call("/nothing", "root").send().await.unwrap().status, auth.requests()), (404, asked));
    let denied = call("/guarded", "root").header("x-echo-status", "403").send().await.unwrap();
    assert_eq!(denied.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_listeners_service_is_to_set_chooses_no_route_there_and_every_other_host_of_the_port_keeps() {
    let home = Loopback::claim();
    let auth = EchoServer::start("auth", home.port(9001)).await;
    let (back, gold) = (EchoServer::start("back", home.port(9002)).await, EchoServer::start("gold", home.port(9003)).await);
    let (at, alone) = (home.port(8080), home.port(8081));
    let asks = format!("filters: {{ requests: [{}] }}", ASK.replace("http: {}", "http: { allowedResponseHeaders: [X-Tenant] }"));
    let listener = |name: &str, at: SocketAddr, more: &str| format!("{{ name: {name}, port: {}, protocol: HTTP, {more} }}", at.port());
    let listeners = [
        listener("guarded", at, &format!("hostname: guarded.example, {asks}")),
        listener("free", at, "hostname: free.example"),
        listener("alone", alone, &asks),
    ];
    let of_gold = "{ value: / }, headers: [{ name: x-tenant, value: gold }]";
    let declared = documents(&[
        gateway(&[("x", at)]).replace(&format!("{{ name: x, port: {}, protocol: HTTP }}", at.port()), &listeners.join(", ")),
        served("auth", &auth),
        served("back", &back),
        served("gold", &gold),
        route("plain", EVERYTHING, "back"),
        route("gold", of_gold, "gold"),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let forged = |to: SocketAddr, host: &str| Call::get(to, "/").host(host).header("x-tenant", "gold").header("x-else", "kept");
    answered_by(&forged(at, "free.example"), "gold").await;
    answered_by(&forged(alone, "any.example"), "back").await;

    for (to, host) in [(at, "guarded.example"), (at, "GUARDED.example:80"), (alone, "any.example")] {
        let got = forged(to, host).send().await.unwrap();
        let seen = (got.header("x-echo-server"), told(&got, "x-tenant"), told(&got, "x-else"));
        assert_eq!(seen, ("back", Value::Null, json!(["kept"])), "{host}: {}", got.text());
    }
    let asked = auth.requests();
    for host in ["free.example", "Free.example:80"] {
        let got = forged(at, host).send().await.unwrap();
        assert_eq!((got.header("x-echo-server"), told(&got, "x-tenant")), ("gold", json!(["gold"])), "{host}: {}", got.text());
    }
    assert_eq!(auth.requests(), asked, "the other listener asks nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_about_a_request_whose_token_is_not_good() {
    let home = Loopback::claim();
    let auth = EchoServer::start("auth", home.port(9001)).await;
    let back = EchoServer::start("back", home.port(9002)).await;
    let at = home.port(8080);
    let keys = tempfile::tempdir().unwrap();
    let token = |arguments: &[&str]| {
        let output = windrose(&[&["token", "--state", keys.path().join("state").to_str().unwrap()], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let policy = format!(
        "apiVersion: windrose.dev/v1alpha1
kind: AuthPolicy
metadata: {{ name: users, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: guarded }}]
  jwt: [{{ name: users, issuer: 'https://dev.windrose.local', audiences: [windrose-dev], jwks: {{ inline: '{}' }} }}]",
        token(&["--jwks"]).replace('\n', "")
    );
    let guarded = asking("guarded", "{ value: /guarded }", "back");
    let declared = documents(&[gateway(&[("http", at)]), served("auth", &auth), served("back", &back), guarded, policy]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = Call::get(at, "/guarded");

    answered_by(&call.clone().bearer(&token(&[])), "back").await;
    let asked = auth.requests();
    assert!(asked > 0);
    for bad in [call.clone(), call.clone().bearer("no.good.token"), call.clone().bearer(&token(&["--audience", "others"]))] {
        assert_eq!(bad.send().await.unwrap().status, 401);
    }
    assert_eq!(auth.requests(), asked, "who has no good token is told to nobody");
    let denied = call.bearer(&token(&[])).header("x-echo-status", "403").send().await.unwrap();
    assert_eq!((denied.status, auth.requests()), (403, asked + 1), "a good token is not enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_service_answers_about_itself_does_not_go_on_to_the_backend() {
    let home = Loopback::claim();
    let auth = EchoServer::start("auth", home.port(9001)).await;
    let back = EchoServer::start("back", home.port(9002)).await;
    let at = home.port(8080);
    let to = |name: &str, backend: &str| {
        let asks = format!("filters: [{ASK}], backendRefs");
        route(name, &format!("{{ value: /{name} }}"), backend).replace("backendRefs", &asks)
    };
    let declared = documents(&[
        gateway(&[("http", at)]),
        served("auth", &auth),
        served("back", &back),
        service("modern").replace("port: 80", "port: 80, appProtocol: kubernetes.io/h2c"),
        endpoint("modern", back.address()),
        to("plain", "back"),
        to("h2", "modern"),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    for path in ["/plain", "/h2"] {
        let got = until(&Call::get(at, path), "an answer", |reply| reply.status == 200).await;
        assert_eq!((got.header("x-echo-server"), got.json()["body"].as_str()), ("back", Some("")), "{}", got.text());
        let sent = Call::post(at, path, "twelve bytes").send().await.unwrap();
        assert_eq!((sent.status, sent.json()["body"].as_str()), (200, Some("twelve bytes")), "{}", sent.text());
        assert_eq!(sent.json()["headers"]["x-echo-server"], serde_json::json!(["auth"]), "{}", sent.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_of_a_listener_is_asked_and_one_that_may_not_be_lets_nobody_pass() {
    let home = Loopback::claim();
    let (first, second) = (EchoServer::start("first", home.port(9001)).await, EchoServer::start("second", home.port(9002)).await);
    let back = EchoServer::start("back", home.port(9003)).await;
    let at = home.port(8080);
    let ask = |name: &str| {
        let told = "http: { allowedHeaders: [x-first, x-second], allowedResponseHeaders: [x-a] }";
        ASK.replace("http: {}", told).replace("name: auth", &format!("name: {name}"))
    };
    let listener = |name: &str, host: &str, filters: &[String]| {
        let filters = filters.join(", ");
        format!("{{ name: {name}, port: {}, protocol: HTTP, hostname: '{host}', filters: {{ requests: [{filters}] }} }}", at.port())
    };
    let unknown = "{ type: ExtensionRef, extensionRef: { group: guards.example, kind: Guard, name: door } }".to_owned();
    let listeners = [
        listener("both", "both.example", &[ask("first"), ask("second")]),
        listener("lost", "lost.example", &[ask("first"), ask("nobody")]),
        listener("unknown", "unknown.example", &[ask("first"), unknown]),
        format!("{{ name: free, port: {}, protocol: HTTP }}", at.port()),
    ];
    let declared = documents(&[
        gateway(&[("x", at)]).replace(&format!("{{ name: x, port: {}, protocol: HTTP }}", at.port()), &listeners.join(", ")),
        served("first", &first),
        served("second", &second),
        served("back", &back),
        // Of the whole Gateway, and of a listener by name.
        route("all", EVERYTHING, "back"),
        route("named", "{ value: /named }", "back").replace("{ name: edge }", "{ name: edge, sectionName: unknown }"),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = |host: &str| Call::get(at, "/").host(host);
    answered_by(&call("free.example"), "back").await;

    let (one, other) = (first.requests(), second.requests());
    assert_eq!(call("both.example").send().await.unwrap().status, 200);
    assert_eq!((first.requests(), second.requests()), (one + 1, other + 1), "one of the two was not asked");
    let reached = back.requests();
    second.answer(403);
    assert_eq!(call("both.example").send().await.unwrap().status, 403);
    for host in ["lost.example", "unknown.example"] {
        for path in ["/", "/named", "/nothing"] {
            let reply = Call::get(at, path).host(host).send().await.unwrap();
            assert_eq!(reply.status, 403, "{host}{path}");
        }
    }
    assert_eq!(back.requests(), reached, "what was refused reached the backend");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_asks_about_every_request_before_a_route_is_chosen() {
    let home = Loopback::claim();
    let gold = EchoServer::start("gold", home.port(9001)).await;
    let plain = EchoServer::start("plain", home.port(9002)).await;
    let auth = tenants(home.port(9003)).await;
    let (at, free) = (home.port(8080), home.port(8081));
    let asks = "protocol: HTTP, filters: { requests: [{ type: ExternalAuth, externalAuth: { protocol: GRPC, backendRef: { name: auth, port: 80 }, grpc: {} } }] }";
    let gateways = |asks: &str| gateway(&[("guarded", at), ("free", free)]).replacen("protocol: HTTP", asks, 1);
    let of_gold = "{ value: /plain }, headers: [{ name: x-tenant, value: gold }]";
    let declared = |gateway: String| {
        documents(&[
            gateway,
            service("auth").replace("port: 80", "port: 80, appProtocol: kubernetes.io/h2c"),
            endpoint("auth", home_port(at, 9003)),
            service("gold"),
            endpoint("gold", home_port(at, 9001)),
            service("plain"),
            endpoint("plain", home_port(at, 9002)),
            at_host("shop.example", &route("gold", of_gold, "gold")),
            at_host("shop.example", &route("plain", "{ value: /plain }", "plain")),
            at_host("other.example", &route("other", EVERYTHING, "plain")),
        ])
    };
    let stage = Stage::set(home, &declared(gateways("protocol: HTTP"))).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let call = |to: SocketAddr, path: &str| Call::get(to, path).host("shop.example");
    answered_by(&call(at, "/plain"), "plain").await;

    // It comes to be asked under load; only which route is chosen changes.
    let load = Load::start(2, Duration::from_millis(2), &call(at, "/plain"));
    stage.declare("shop.yaml", &declared(gateways(asks)));
    answered_by(&call(at, "/plain"), "gold").await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    assert_eq!(gold.last()["authority"], "shop.example", "a service moved a request to another host");
    for host in ["shop.example", "SHOP.EXAMPLE", "other.example", "nobody.example"] {
        for path in ["/plain", "/nothing"] {
            let denied = call(at, path).host(host).header("x-deny", "1").send().await.unwrap();
            assert_eq!(denied.status, 401, "{host}{path}");
        }
    }
    answered_by(&call(at, "/x").host("other.example"), "plain").await;
    assert_eq!(call(at, "/").host("nobody.example").send().await.unwrap().status, 404);

    // The other listener of the Gateway asks nobody.
    answered_by(&call(free, "/plain").header("x-deny", "1"), "plain").await;
    assert_eq!(call(free, "/nothing").header("x-deny", "1").send().await.unwrap().status, 404);

    drop(auth);
    until(&call(at, "/plain"), "a refusal without the service", |reply| reply.status == 503).await;
    let reached = (gold.requests(), plain.requests());
    for path in ["/plain", "/nothing"] {
        assert_eq!(call(at, path).send().await.unwrap().status, 503, "{path}");
    }
    assert_eq!((gold.requests(), plain.requests()), reached, "what was refused reached a backend");
    stage.declare("shop.yaml", &declared(gateways("protocol: HTTP")));
    answered_by(&call(at, "/plain"), "plain").await;
}

fn home_port(at: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(at.ip(), port)
}
