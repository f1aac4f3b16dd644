//! `grpc-transcoder` in the real Envoy, before a real gRPC service: REST calls reach their methods, answers and errors come
//! back as JSON, streams flow, and what strangers send ends at the filter.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};
use windrose_grpc_transcoder::{Config, GIVE_BODY_LUA, Policy};
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, Reply, raw};
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess, validate};
use windrose_tests::proto;
use windrose_tests::proto::orders::orders_client::OrdersClient;
use windrose_tests::proto::orders::orders_server::{Orders, OrdersServer};
use windrose_tests::proto::orders::{CreateOrderRequest, GetOrderRequest, Order, OrderEvent, WatchOrdersRequest};

use crate::module;

/// An order service whose product names say what happens: `fail-7` is answered with status 7.
#[derive(Debug, Default)]
struct Scripted {
    calls: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Orders for Scripted {
    type WatchOrdersStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<OrderEvent, Status>> + Send>>;

    async fn create_order(&self, request: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let timeout = request.metadata().get("grpc-timeout").map_or(String::new(), |value| value.to_str().unwrap().to_owned());
        let wanted = request.into_inner();
        if let Some(code) = wanted.product.strip_prefix("fail-") {
            return Err(Status::new(Code::from_i32(code.parse().unwrap()), "as \"you\" said\r\n"));
        }
        let mut response = Response::new(Order {
            id: timeout,
            product: wanted.product,
            quantity: wanted.quantity,
            customer: wanted.customer,
            priority: wanted.priority,
            tags: wanted.tags,
            labels: wanted.labels,
            price_limit: wanted.price_limit,
            gift_note: wanted.gift_note,
            reservation: None,
        });
        response.metadata_mut().insert("x-kept", "1".parse().unwrap());
        Ok(response)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(Order { id: request.into_inner().id, ..Order::default() }))
    }

    /// One event each 50 ms; product `fail` ends with an error.
    async fn watch_orders(&self, request: Request<WatchOrdersRequest>) -> Result<Response<Self::WatchOrdersStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let WatchOrdersRequest { limit, product } = request.into_inner();
        let (events, stream) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for sequence in 1..=u64::from(limit) {
                if events.send(Ok(OrderEvent { sequence, order: None })).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if product == "fail" {
                let _ = events.send(Err(Status::resource_exhausted("enough"))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Envoy with the filter, and the service behind it.
struct Gateway {
    envoy: EnvoyProcess,
    home: Loopback,
    calls: Arc<AtomicUsize>,
}

fn configuration() -> Value {
    let policy = Policy { descriptors: "samples".into(), services: vec!["orders.v1.Orders".into()], ..Policy::default() };
    let config = Config {
        descriptors: [("samples".into(), Config::encode_descriptors(proto::DESCRIPTOR_SET))].into(),
        policies: [("orders".into(), policy)].into(),
        ..Config::default()
    };
    config.compile().unwrap();
    serde_json::from_str(&config.to_json()).unwrap()
}

fn bootstrap(listener: SocketAddr, upstream: SocketAddr, configuration: &Value) -> String {
    bootstrap_with(listener, upstream, module::filter("grpc-transcoder", &module::built("grpc-transcoder"), configuration))
}

fn bootstrap_with(listener: SocketAddr, upstream: SocketAddr, filter: Value) -> String {
    let lua = json!({"name": "give-body", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": GIVE_BODY_LUA},
    }});
    let filters = [lua, filter, module::edits("grpc-transcoder")];
    let route = |prefix: &str, transcode: Option<&str>| {
        let mut route = module::route(prefix, None);
        if let Some(id) = transcode {
            route["metadata"] = json!({"filter_metadata": {"windrose": {"transcode": id}}});
            route["request_body_buffer_limit"] = json!(5 << 20);
        }
        route
    };
    let mut native = route("/orders.v1.Orders", Some("orders"));
    native["response_headers_to_add"] = json!([{"header": {"key": "x-route", "value": "native"}}]);
    let routes = [route("/untouched", None), route("/unknown", Some("nobody-knows")), route("/v1", Some("orders")), native];
    let mut bootstrap: Value = serde_json::from_str(&module::bootstrap(listener, upstream, &filters, &routes)).unwrap();
    // As the product has it: little for each connection, and for a route that transcodes what a message needs.
    bootstrap["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(32 << 10);
    bootstrap["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    });
    bootstrap.to_string()
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(module::filter("grpc-transcoder", &module::built("grpc-transcoder"), &configuration())).await
    }

    async fn start_with(filter: Value) -> Self {
        let home = Loopback::claim();
        let service = Scripted::default();
        let calls = Arc::clone(&service.calls);
        let listener = TcpListener::bind(home.port(8080)).await.unwrap();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(OrdersServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let options = EnvoyOptions { component_log_level: "wasm:debug".to_owned(), ..EnvoyOptions::default() };
        let envoy = EnvoyProcess::start_with(&bootstrap_with(home.port(10_000), home.port(8080), filter), &options).await;
        Self { envoy, home, calls }
    }

    fn address(&self) -> SocketAddr {
        self.home.port(10_000)
    }

    fn post(&self, body: &str) -> Call {
        Call::post(self.address(), "/v1/orders", body.to_owned()).header("content-type", "application/json")
    }

    async fn get(&self, path: &str) -> Reply {
        Call::get(self.address(), path).send().await.unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn rest_calls_reach_their_methods_and_come_back_as_json() {
    let gateway = Gateway::start().await;
    let body = json!({"product": "rose", "quantity": 2, "priority": "PRIORITY_EXPRESS", "tags": ["a", "é\n"], "labels": {"k": "v"},
        "priceLimit": {"currency": "EUR", "units": "9007199254740993"}, "giftNote": ""});
    for http2 in [false, true] {
        let call = gateway.post(&body.to_string());
        let reply = if http2 { call.http2() } else { call }.send().await.unwrap();
        assert_eq!((reply.status, reply.json()), (200, body.clone()));
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        assert_eq!(reply.header("x-kept"), "1");
        assert_eq!(reply.header("x-route"), "", "the route is the one that the REST path chose");
        assert!(!reply.trailers.contains_key("grpc-status"));
    }
    assert_eq!(gateway.get("/v1/orders/a%20b%252F").await.json(), json!({"id": "a b%2F"}));
    let clamped = gateway.post("{\"product\":\"x\"}").header("grpc-timeout", "1H").send().await.unwrap();
    assert_eq!(clamped.json()["id"], "60000m");
    let large = json!({"product": "x".repeat(900_000)});
    assert_eq!(gateway.post(&large.to_string()).send().await.unwrap().json(), large);
}

#[tokio::test]
async fn what_strangers_send_ends_at_the_filter() {
    let gateway = Gateway::start().await;
    let get = |path: &str| Call::get(gateway.address(), path);
    let cases = [
        (gateway.post("{\"quantity\":\"x\"}"), 400, "quantity: expected uint32, got \"x\""),
        (gateway.post("{\"priceLimit\":{\"units\":1.5}}"), 400, "priceLimit.units: expected int64, got \"1.5\""),
        (gateway.post("{\"prduct\":\"\"}"), 400, "prduct: orders.v1.CreateOrderRequest has no such field"),
        (gateway.post("{\"product\":\"a\",\"product\":\"b\"}"), 400, "product: given twice"),
        (gateway.post("{\"product\":\"a\",}"), 400, "expected a value after the comma"),
        (gateway.post(&"[".repeat(100_000)), 400, "expected an object, got an array"),
        (Call::post(gateway.address(), "/v1/orders", "{}").header("content-type", "text/plain"), 415, "application/json"),
        (Call::new(Method::DELETE, gateway.address(), "/v1/orders/1"), 404, "no method is bound to this path"),
        (get("/v1/orders/a%2Fb"), 400, "id: an escaped slash"),
        (get("/v1/orders/%2e%2e"), 400, "id: dot segments"),
        (get("/v1/orders/x?id=y"), 400, "id: the path or the body of the request gives this field a value already"),
        (get("/v1/orders/x?nope=y"), 400, "nope: orders.v1.GetOrderRequest has no such field"),
        (get("/v1/orders:watch?limit=-1"), 400, "limit: -1 is out of range for uint32"),
    ];
    for (call, status, message) in cases {
        let reply = call.send().await.unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (status, "application/json"), "{message}: {}", reply.text());
        let error = reply.json();
        assert!(error["message"].as_str().unwrap().contains(message), "{message}: {error}");
        assert!(error["code"].is_u64() && error["details"].is_array(), "{error}");
    }
    let reply = gateway.post(&format!("{{\"product\":\"{}\"}}", "x".repeat(1 << 20))).send().await.unwrap();
    assert_eq!(reply.status, 413);
    assert_eq!(gateway.get("/unknown/v1/orders").await.status, 500, "a policy that is not in force");
    assert_eq!(gateway.calls(), 0);
    // The upstream knows only gRPC and says so; nothing was transcoded.
    let reply = gateway.get("/untouched").await;
    assert_eq!((reply.status, reply.header("grpc-status")), (200, "12"));
}

#[tokio::test]
async fn a_message_is_larger_than_the_buffer_of_a_connection() {
    let gateway = Gateway::start().await;
    for http2 in [false, true] {
        let call = gateway.post(&format!("{{\"product\":\"{}\"}}", "x".repeat(900 << 10)));
        let reply = if http2 { call.http2() } else { call }.send().await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text().chars().take(200).collect::<String>());
        assert_eq!(reply.json()["product"].as_str().map(str::len), Some(900 << 10));
    }
}

/// A call that is gRPC already passes as it comes, also one whose end nobody has seen yet.
#[tokio::test]
async fn a_stream_of_grpc_is_not_waited_for() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let head =
        "POST /v1/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.expect("it was held back").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn every_grpc_status_has_its_http_status() {
    let gateway = Gateway::start().await;
    let expected = [499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, http) in (1..).zip(expected) {
        let reply = gateway.post(&format!("{{\"product\":\"fail-{code}\"}}")).send().await.unwrap();
        assert_eq!((reply.status, reply.json()), (http, json!({"code": code, "message": "as \"you\" said\r\n", "details": []})));
    }
    // Headers first, then the status: no message has been sent, so the status still counts.
    let reply = gateway.get("/v1/orders:watch?product=fail").await;
    assert_eq!((reply.status, reply.json()["message"].clone()), (429, json!("enough")));
}

#[tokio::test]
async fn streams_are_arrays_lines_or_events() {
    let gateway = Gateway::start().await;
    let watch = |query: &str, accept: &str| Call::get(gateway.address(), &format!("/v1/orders:watch?{query}")).header("accept", accept);
    for http2 in [false, true] {
        let call = watch("limit=3", "*/*");
        let reply = if http2 { call.http2() } else { call }.send().await.unwrap();
        assert_eq!(reply.json(), json!([{"sequence": "1"}, {"sequence": "2"}, {"sequence": "3"}]));
        assert!(!reply.trailers.contains_key("grpc-status"));
    }
    assert_eq!(watch("limit=1", "*/*").send().await.unwrap().json(), json!([{"sequence": "1"}]));
    assert_eq!(watch("", "*/*").send().await.unwrap().text(), "[]");
    let failed = watch("limit=2&product=fail", "*/*").send().await.unwrap();
    assert_eq!(failed.json()[2]["error"], json!({"code": 8, "message": "enough", "details": []}));

    let lines = watch("limit=2", "application/x-ndjson").send().await.unwrap();
    assert_eq!(
        (lines.header("content-type"), lines.text().as_str()),
        ("application/x-ndjson", "{\"sequence\":\"1\"}\n{\"sequence\":\"2\"}\n")
    );
    let events = watch("limit=1", "text/event-stream").send().await.unwrap();
    assert_eq!((events.header("content-type"), events.text().as_str()), ("text/event-stream", "data: {\"sequence\":\"1\"}\n\n"));
    let cut = watch("limit=2&product=fail", "text/event-stream").send().await.unwrap_err();
    assert_eq!(cut.step(), "body", "a client must not take a broken stream for a whole one");
    assert_eq!(gateway.post("{\"product\":\"still here\"}").send().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_array_flows_from_its_second_element_on() {
    let gateway = Gateway::start().await;
    let mut socket = TcpStream::connect(gateway.address()).await.unwrap();
    socket.write_all(b"GET /v1/orders:watch?limit=1000 HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    let flowing = async {
        while !String::from_utf8_lossy(&got).contains("\"sequence\":\"5\"") {
            assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(5), flowing).await.expect("elements come while the stream goes on");
    // A client that goes away ends the call upstream.
    drop(socket);
    let stat = "cluster.upstream.upstream_rq_active";
    windrose_tests::wait::wait_until(Duration::from_secs(5), "the call to end", async || match gateway.envoy.stat(stat).await {
        0 => Ok(()),
        active => Err(format!("{active} active")),
    })
    .await;
}

#[tokio::test]
async fn native_grpc_passes_untouched() {
    let gateway = Gateway::start().await;
    let mut client = OrdersClient::connect(format!("http://{}", gateway.address())).await.unwrap();
    let order = client.create_order(CreateOrderRequest { product: "rose".into(), ..CreateOrderRequest::default() }).await.unwrap();
    assert_eq!(order.get_ref().product, "rose");
    let failed = client.create_order(CreateOrderRequest { product: "fail-5".into(), ..CreateOrderRequest::default() }).await;
    assert_eq!(failed.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn bodies_come_in_pieces_with_expectation_and_without_length() {
    let gateway = Gateway::start().await;
    let head = "POST /v1/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n{{\"pro\r\n10\r\nduct\":\"in parts\"\r\n1\r\n}}\r\n0\r\n\r\n");
    let expecting = format!("{head}expect: 100-continue\r\ncontent-length: 15\r\n\r\n{{\"product\":\"e\"}}");
    let empty = format!("{head}content-length: 0\r\n\r\n");
    for (request, answer) in [(chunked, "{\"product\":\"in parts\"}"), (expecting, "{\"product\":\"e\"}"), (empty, "{}")] {
        let got = raw(gateway.address(), request.as_bytes(), Duration::from_secs(5)).await.unwrap();
        let got = String::from_utf8_lossy(&got);
        assert!(got.contains("200 OK") && got.contains(answer), "{request}: {got}");
    }
}

#[tokio::test]
async fn a_missing_upstream_is_envoy_s_own_answer() {
    let home = Loopback::claim();
    let envoy = EnvoyProcess::start(&bootstrap(home.port(10_000), home.port(8080), &configuration())).await;
    let reply = Call::post(home.port(10_000), "/v1/orders", "{}").header("content-type", "application/json").send().await.unwrap();
    assert_eq!(reply.status, 503);
    drop(envoy);
}

#[tokio::test]
async fn envoy_refuses_a_configuration_that_we_refuse() {
    let home = Loopback::claim();
    let mut configuration = configuration();
    validate(&bootstrap(home.port(10_000), home.port(8080), &configuration)).unwrap();
    configuration["policies"]["orders"]["services"] = json!(["orders.v1.Nothing"]);
    let reason = Config::parse(configuration.to_string().as_bytes()).unwrap().compile().unwrap_err();
    assert!(reason.0.contains("orders.v1.Nothing"), "{reason}");
    assert!(validate(&bootstrap(home.port(10_000), home.port(8080), &configuration)).is_err());
}

/// Without the filter REST would reach the service as it is: nobody passes, be the route transcoded or not.
#[tokio::test]
async fn an_absent_refused_or_panicking_module_lets_nobody_through() {
    let folder = tempfile::tempdir().unwrap();
    let panicking = module::from_text(folder.path(), "panicking", module::PANICKING);
    let refused = json!({"policies": {"orders": {"descriptors": "absent", "services": []}}});
    let absent = folder.path().join("absent.wasm");
    let plugin = |module, configuration| module::plugin("grpc-transcoder", module, configuration);
    tokio::join!(
        is_closed("absent", plugin(&absent, &configuration())),
        is_closed("not a module", plugin(&module::no_module(folder.path()), &configuration())),
        is_closed("refused", plugin(&module::built("grpc-transcoder"), &refused)),
        is_closed("panicking", plugin(&panicking, &configuration())),
    );
}

/// Delivered so, the plugin lets nobody through.
async fn is_closed(name: &str, plugin: Value) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(module::delivered(folder.path(), "grpc-transcoder", &plugin)).await;
    for reply in [gateway.post("{}").send().await.unwrap(), gateway.get("/untouched").await] {
        assert!(reply.status == 403 || reply.status >= 500, "{name}: {} {}", reply.status, reply.text());
    }
    assert_eq!(gateway.calls(), 0, "{name}");
}
