//! Stock Envoy itself: it starts as the tests start it, and it is a judge of static configuration.

use std::time::Duration;

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{EnvoyProcess, validate};

/// One listener that forwards everything to one address.
fn forwarding(listen: std::net::SocketAddr, to: std::net::SocketAddr) -> String {
    format!(
        r#"
node: {{id: stock, cluster: tests}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: {}, port_value: {}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: back}}}}]}}
  clusters:
  - name: back
    load_assignment:
      cluster_name: back
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]
"#,
        listen.ip(),
        listen.port(),
        to.ip(),
        to.port()
    )
}

#[tokio::test]
async fn the_pinned_version_starts_forwards_and_ends() {
    let home = Loopback::claim();
    let upstream = EchoServer::start("one", home.port(9000)).await;
    let mut envoy = EnvoyProcess::start(&forwarding(home.port(8080), upstream.address())).await;
    let pinned = std::fs::read_to_string(windrose_tests::places::checkout().join("envoy-config/envoy.version")).unwrap();
    let pinned = pinned.lines().find_map(|line| line.strip_prefix("version ")).unwrap();
    let server = envoy.admin_get("/server_info").await.unwrap().json();
    assert!(server["version"].as_str().unwrap().contains(&format!("/{pinned}/")), "{server}");

    let told = Call::get(home.port(8080), "/a").host("shop.example").send().await.unwrap().json();
    assert_eq!((told["server"].as_str(), told["authority"].as_str()), (Some("one"), Some("shop.example")));
    assert_eq!(envoy.stat("cluster.back.upstream_rq_completed").await, 1);
    assert_eq!(envoy.config_dump().await["configs"][0]["bootstrap"]["node"]["id"], "stock");
    assert!(envoy.process().terminate(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn two_envoys_live_side_by_side() {
    let (one, other) = (Loopback::claim(), Loopback::claim());
    let upstream = EchoServer::start("one", one.port(9000)).await;
    let first = EnvoyProcess::start(&forwarding(one.port(8080), upstream.address())).await;
    let second = EnvoyProcess::start(&forwarding(other.port(8080), upstream.address())).await;
    assert_ne!(first.admin(), second.admin());
    for home in [one, other] {
        assert_eq!(Call::get(home.port(8080), "/").send().await.unwrap().status, 200);
    }
}

#[test]
fn validate_accepts_the_good_and_quotes_envoy_on_the_bad() {
    let address = "127.0.0.1:9000".parse().unwrap();
    let good = forwarding(address, address);
    assert_eq!(validate(&good), Ok(()));
    let words = validate(&good.replace("cluster: back}", "cluster: gone}")).unwrap_err();
    assert!(words.contains("unknown cluster 'gone'"), "{words}");
}
