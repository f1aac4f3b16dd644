//! The main job: one HTTPRoute in a file, the real server, one real Envoy, one answer; then the file changes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess};
use windrose_tests::server::{ServerOptions, ServerProcess};
use windrose_tests::wait::wait_until;

/// A Gateway with one listener and one route, to a Backend at an address.
fn declared(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: windrose
  addresses: [{{ type: IPAddress, value: "{}" }}]
  listeners: [{{ name: http, port: {}, protocol: HTTP }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: shop }}
spec: {{ ports: [{{ name: http, port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: web-1, namespace: shop, labels: {{ kubernetes.io/service-name: web }} }}
addressType: IPv4
ports: [{{ name: http, port: {} }}]
endpoints: [{{ addresses: ["{}"] }}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: web, namespace: shop }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ backendRefs: [{{ name: web, port: 80 }}] }}]
"#,
        listen.ip(),
        listen.port(),
        backend.port(),
        backend.ip()
    )
}

/// Writes a file as a careful editor does: whole, then renamed.
fn write(folder: &Path, text: &str) {
    let new = folder.join("shop.yaml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("shop.yaml")).unwrap();
}

#[tokio::test]
async fn a_route_in_a_file_is_answered_and_follows_the_file() {
    let home = Loopback::claim();
    let (one, other) = (EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("declared");
    std::fs::create_dir(&folder).unwrap();
    let listen = home.port(8080);
    write(&folder, &declared(listen, one.address()));

    let server = ServerProcess::start(&ServerOptions::new(&folder, &place.path().join("state"), &home)).await;
    let edge = place.path().join("edge");
    server.bootstrap("gateway", "shop/edge", &edge, &[]);
    let _envoy = EnvoyProcess::start_in(&edge, &EnvoyOptions::default()).await;
    answered_by(listen, "one").await;

    write(&folder, &declared(listen, other.address()));
    answered_by(listen, "other").await;
}

async fn answered_by(listen: SocketAddr, name: &str) {
    let what = format!("an answer of {name}");
    wait_until(Duration::from_secs(10), &what, async || {
        let reply = Call::get(listen, "/").send().await.map_err(|cause| cause.to_string())?;
        if reply.header("x-echo-server") == name { Ok(()) } else { Err(format!("{} {}", reply.status, reply.text())) }
    })
    .await;
}
