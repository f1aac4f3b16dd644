//! What a rule of an HTTPRoute asks besides a backend: answers to other origins (CORS), copies, and ends of patience.

use std::time::{Duration, Instant};

use http::Method;
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply};
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service, until};

const SHOP: &str = "https://shop.example";
const STRANGER: &str = "https://stranger.example";

/// A route to `web` from `/name` whose rule has these fields too.
fn rule(name: &str, fields: &str) -> String {
    route(name, &format!("{{ value: /{name} }}"), "web").replace("backendRefs", &format!("{fields}, backendRefs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_answers_other_origins_copies_requests_and_ends_what_takes_too_long() {
    let home = Loopback::claim();
    let (back, shadow) = (EchoServer::start("web", home.port(9001)).await, EchoServer::start("shadow", home.port(9002)).await);
    let at = home.port(8080);
    let cors =
        format!("{{ allowOrigins: ['{SHOP}'], allowMethods: [GET, PUT], allowHeaders: [x-cart], exposeHeaders: [x-total], maxAge: 600 }}");
    let declared = documents(&[
        gateway(&[("http", at)]),
        documents(&["web", "shadow"].map(service)),
        endpoint("web", back.address()),
        endpoint("shadow", shadow.address()),
        rule("cors", &format!("filters: [{{ type: CORS, cors: {cors} }}]")),
        rule("copied", "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: shadow, port: 80 } } }]"),
        rule("whole", "timeouts: { request: 500ms }"),
        rule("each", "timeouts: { request: 8s, backendRequest: 500ms }"),
    ]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&Call::get(at, "/cors"), "web").await;

    preflights(&Call::new(Method::OPTIONS, at, "/cors"), &back).await;
    let actual = async |origin| Call::get(at, "/cors").header("origin", origin).send().await.unwrap();
    let (known, unknown) = (actual(SHOP).await, actual(STRANGER).await);
    assert_eq!((allowed(&known), known.header("access-control-expose-headers"), known.status), (SHOP, "x-total", 200));
    assert_eq!((allowed(&unknown), unknown.header("x-echo-server")), ("", "web"), "the browser keeps it from the page, nobody else");

    assert_eq!(shadow.requests(), 0, "only what is to be copied is");
    answered_by(&Call::post(at, "/copied?a=b", "text"), "web").await;
    wait_until(PATIENCE, "the copy", async || if shadow.requests() > 0 { Ok(()) } else { Err(String::new()) }).await;
    assert_eq!((&shadow.last()["path"], &shadow.last()["body"]), (&"/copied?a=b".into(), &"text".into()));

    for path in ["/whole", "/each"] {
        let begun = Instant::now();
        let late = Call::get(at, path).header("x-echo-delay-ms", "5000").send().await.unwrap();
        assert_eq!(late.status, 504, "{path}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{path}: {:?}", begun.elapsed());
        assert_eq!(Call::get(at, path).send().await.unwrap().status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_withdrawn_closes_its_route_at_once_and_no_other() {
    let home = Loopback::claim();
    let _back = EchoServer::start("web", home.port(9001)).await;
    let at = home.port(8080);
    let grant = "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: shop, namespace: store }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }]
  to: [{ group: '', kind: Service }]";
    let of_others = [service("web"), endpoint("web", home.port(9001))].map(|object| object.replace("namespace: shop", "namespace: store"));
    let declared = documents(&[
        gateway(&[("http", at)]),
        service("web"),
        endpoint("web", home.port(9001)),
        documents(&of_others),
        route("own", "{ value: /own }", "web"),
        route("lent", "{ value: /lent }", "web").replace("{ name: web, port", "{ name: web, namespace: store, port"),
    ]);
    let stage = Stage::set(home, &documents(&[declared.clone(), grant.to_owned()])).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let (own, lent) = (Call::get(at, "/own"), Call::get(at, "/lent"));
    answered_by(&own, "web").await;
    answered_by(&lent, "web").await;

    stage.declare("shop.yaml", &declared);
    until(&lent, "what is not lent any more to be closed", |reply| reply.status == 500).await;
    assert_eq!(own.send().await.unwrap().status, 200);
    stage.declare("shop.yaml", &documents(&[declared.clone(), grant.to_owned()]));
    answered_by(&lent, "web").await;
}

fn allowed(reply: &Reply) -> &str {
    reply.header("access-control-allow-origin")
}

/// The edge answers a browser that asks whether it may, and the backend hears nothing of it.
async fn preflights(options: &Call, back: &EchoServer) {
    let reached = back.requests();
    let ask = async |origin: &str| {
        let call = options.clone().header("origin", origin).header("access-control-request-method", "PUT");
        call.send().await.unwrap()
    };
    let (known, unknown) = (ask(SHOP).await, ask(STRANGER).await);
    assert_eq!((allowed(&known), known.header("access-control-max-age"), known.status), (SHOP, "600", 200));
    for (header, word) in [("methods", "PUT"), ("headers", "x-cart")] {
        let value = known.header(&format!("access-control-allow-{header}"));
        assert!(value.contains(word), "{header}: {value}");
    }
    assert_eq!(allowed(&unknown), "");
    assert_eq!(back.requests(), reached);
}
