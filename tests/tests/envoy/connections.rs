//! Connections that are handed on as they are, by server name (TLSRoute) or by port (TCPRoute), and such as the edge itself
//! makes to a backend by TLS (BackendTLSPolicy).

use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::{TlsClient, server_config};

use crate::stage::{EVERYTHING, Stage, answered_by, beyond, documents, endpoint, free, gateway_of, route, service, until};

/// One listener of each kind.
fn listeners(home: &Loopback) -> String {
    gateway_of(
        home.ip(),
        "
  - { name: http, port: 8080, protocol: HTTP }
  - { name: tls, port: 8443, protocol: TLS, tls: { mode: Passthrough } }
  - { name: tcp, port: 5432, protocol: TCP }",
    )
}

/// A route of another kind from a listener to the Service of its name; `of` says for which hosts, if any.
fn stream(kind: &str, listener: &str, of: &str, service: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{ name: {service}, namespace: shop }}
spec: {{ parentRefs: [{{ name: edge, sectionName: {listener} }}], {of}rules: [{{ backendRefs: [{{ name: {service}, port: 80 }}] }}] }}"
    )
}

/// The Service `secure` is spoken to by TLS, as that name and by these roots.
fn by_tls(name: &str, roots_pem: &str) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{ name: roots, namespace: shop }}
data: {{ ca.crt: {} }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{ name: secure, namespace: shop }}
spec:
  targetRefs: [{{ group: '', kind: Service, name: secure }}]
  validation: {{ hostname: {name}, caCertificateRefs: [{{ group: '', kind: ConfigMap, name: roots }}] }}",
        serde_json::Value::from(roots_pem)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_where_name_or_port_says_and_a_backend_by_tls_is_who_it_must_be_or_gets_nothing() {
    let (home, authority, another) = (Loopback::claim(), TestAuthority::new("root"), TestAuthority::new("another root"));
    let with_tls = async |name: &str, port| {
        let config = server_config(&authority.issue(&[&format!("{name}.example")]), None, &["http/1.1"]);
        EchoServer::start_tls(name, home.port(port), config).await
    };
    let _named = [with_tls("first", 9001).await, with_tls("second", 9002).await];
    let (secure, at_secure) = (with_tls("secure", 9003).await, home.port(9003));
    let _bytes = EchoServer::start("bytes", home.port(9004)).await;
    let ports = [("first", 9001), ("second", 9002), ("secure", 9003), ("bytes", 9004)];
    let services = ports.map(|(name, port)| documents(&[service(name), endpoint(name, home.port(port))]));
    let common = documents(&[
        listeners(&home),
        documents(&services),
        stream("TLSRoute", "tls", "hostnames: [first.example], ", "first"),
        stream("TLSRoute", "tls", "hostnames: [second.example], ", "second"),
        stream("TCPRoute", "tcp", "", "bytes"),
        route("secure", EVERYTHING, "secure"),
    ]);
    let declared = |policy: String| documents(&[common.clone(), policy]);
    let (tls, tcp, http) = (home.port(8443), home.port(5432), home.port(8080));
    let stage = Stage::set(home, &declared(by_tls("secure.example", authority.root_pem()))).await;
    let edge = stage.envoy("gateway", "edge", &[]).await;

    let client = TlsClient::trusting(authority.root_pem());
    let named = |name: &str| Call::get(tls, "/").tls(&client, name);
    answered_by(&named("first.example"), "first").await;
    answered_by(&named("second.example"), "second").await;
    assert_eq!(named("third.example").send().await.unwrap_err().step(), "tls");
    answered_by(&Call::get(tcp, "/"), "bytes").await;

    let call = Call::get(http, "/");
    answered_by(&call, "secure").await;
    stage.declare("shop.yaml", &declared(by_tls("other.example", authority.root_pem())));
    until(&call, "the backend to be refused", |reply| reply.status == 503).await;
    beyond(&edge, "cluster.shop/secure/80.ssl.fail_verify_san", 0).await;
    stage.declare("shop.yaml", &declared(by_tls("secure.example", authority.root_pem())));
    answered_by(&call, "secure").await;

    drop(secure);
    free(at_secure).await;
    let config = server_config(&another.issue(&["secure.example"]), None, &["http/1.1"]);
    let impostor = EchoServer::start_tls("impostor", at_secure, config).await;
    until(&call, "the impostor to be refused", |reply| reply.status == 503).await;
    beyond(&edge, "cluster.shop/secure/80.ssl.fail_verify_error", 0).await;
    assert_eq!(impostor.requests(), 0);
}
