//! The sample services as a gateway finds them: real state, reflection, a trace that is handed on, an end in order.

use std::time::Duration;

use serde_json::json;
use tonic::Code;
use tonic::transport::Endpoint;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::proto::orders::orders_client::OrdersClient;
use windrose_tests::proto::orders::{CreateOrderRequest, GetOrderRequest, WatchOrdersRequest};
use windrose_tests::sample::SampleService;

fn order(product: &str, quantity: u32) -> CreateOrderRequest {
    CreateOrderRequest { product: product.to_owned(), quantity, ..CreateOrderRequest::default() }
}

#[tokio::test]
async fn an_order_is_reserved_at_the_inventory_kept_and_watched() {
    let home = Loopback::claim();
    let inventory = SampleService::start("inventory", home.port(9001), &["--stock", "5", "--instance", "shelf"]).await;
    let at = format!("http://{}", inventory.address());
    let mut orders = SampleService::start("orders", home.port(9002), &["--inventory", &at]).await;
    let channel = Endpoint::from_shared(format!("http://{}", orders.address())).unwrap().connect().await.unwrap();
    let mut client = OrdersClient::new(channel);

    let made = client.create_order(order("compass", 3)).await.unwrap().into_inner();
    let reservation = made.reservation.clone().unwrap();
    assert_eq!((made.id.as_str(), reservation.remaining, reservation.served_by.as_str()), ("o-1", 2, "shelf"));
    assert_eq!(client.get_order(GetOrderRequest { id: "o-1".to_owned() }).await.unwrap().into_inner(), made);

    let unknown = client.get_order(GetOrderRequest { id: "o-9".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(client.create_order(order("compass", 3)).await.unwrap_err().code(), Code::FailedPrecondition);
    let none = client.create_order(order("compass", 0)).await.unwrap_err();
    assert_eq!((none.code(), none.message()), (Code::InvalidArgument, "quantity: must be at least 1"));

    let mut watch = client.watch_orders(WatchOrdersRequest { limit: 2, product: String::new() }).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().order.unwrap().id, "o-1");
    client.create_order(order("chart", 1)).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().order.unwrap().id, "o-2");
    assert!(watch.message().await.unwrap().is_none());

    drop((client, watch));
    assert!(orders.process().terminate(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn the_trace_of_the_caller_goes_on_to_the_inventory() {
    let home = Loopback::claim();
    let listening = EchoServer::start("inventory", home.port(9001)).await;
    let at = format!("http://{}", listening.address());
    let arguments = ["--inventory", &at, "--inventory-authority", "inventory.shop"];
    let orders = SampleService::start("orders", home.port(9002), &arguments).await;
    let channel = Endpoint::from_shared(format!("http://{}", orders.address())).unwrap().connect().await.unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = tonic::Request::new(order("compass", 1));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("x-b3-traceid", "463ac35c9f6413ad".parse().unwrap());
    request.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());

    // The one that listens speaks no gRPC, so the order fails; what counts is what reached it.
    assert!(OrdersClient::new(channel).create_order(request).await.is_err());
    let seen = listening.last();
    assert_eq!((seen["path"].as_str(), seen["authority"].as_str()), (Some("/inventory.v1.Inventory/Reserve"), Some("inventory.shop")));
    assert_eq!(seen["headers"]["traceparent"], json!([parent]));
    assert_eq!(seen["headers"]["x-b3-traceid"], json!(["463ac35c9f6413ad"]));
    assert_eq!(seen["headers"]["authorization"], json!(null));
}

#[tokio::test]
async fn the_catalog_tells_its_version_and_fails_on_command() {
    let home = Loopback::claim();
    let mut catalog = SampleService::start("catalog", home.port(9003), &["--version", "v2", "--instance", "c2"]).await;
    let at = catalog.address();
    let reply = Call::get(at, "/v1/products").send().await.unwrap();
    assert_eq!((reply.status, reply.header("x-served-by"), reply.json()["version"].as_str()), (200, "c2", Some("v2")));
    assert_eq!(Call::get(at, "/v1/products/compass").send().await.unwrap().json()["products"][0]["currency"], "EUR");
    assert_eq!(Call::get(at, "/v1/products/anchor").send().await.unwrap().status, 404);
    let seen = Call::get(at, "/debug/headers").header("x-claim-plan", "gold").send().await.unwrap().json();
    assert_eq!(seen["headers"]["x-claim-plan"], json!(["gold"]));

    Call::post(at, "/control?failRate=0.5&delayMs=1", "").send().await.unwrap();
    let mut failed = 0;
    for _ in 0..10 {
        failed += u32::from(Call::get(at, "/v1/products").send().await.unwrap().status == 503);
    }
    assert_eq!(failed, 5);
    assert_eq!(Call::post(at, "/control?failRate=2", "").send().await.unwrap().status, 400);
    assert_eq!(Call::get(at, "/healthz").send().await.unwrap().status, 200);
    assert_eq!(Call::post(at, "/control?failRate=1", "").send().await.unwrap().json()["failed"], 5);
    assert_eq!(Call::get(at, "/healthz").send().await.unwrap().status, 503);
    assert!(catalog.process().terminate(Duration::from_secs(10)).await.success());
}

#[test]
fn the_descriptor_set_carries_the_http_bindings() {
    let output = std::process::Command::new(windrose_tests::places::sample_service()).arg("descriptor").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    for wanted in ["orders.v1", "inventory.v1", "/v1/orders/{id}", "/v1/orders:watch"] {
        assert!(text.contains(wanted), "{wanted} is not in the descriptor set");
    }
}
