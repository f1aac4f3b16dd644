//! Clients that show certificates at the edge: a valid one is required, or nothing at all is believed of it.

use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::TlsClient;

use crate::certificates::secret;
use crate::stage::{EVERYTHING, Stage, answered_by, documents, endpoint, route, service};

/// Port 8443 wants a certificate of this CA; port 8444 lets anybody in (`AllowInsecureFallback`), and a policy denies one
/// identity there and on the other port.
fn declared(home: &Loopback, server: &str, ca_pem: &str) -> String {
    let ca = serde_json::Value::from(ca_pem);
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: windrose
  addresses: [{{ type: IPAddress, value: \"{}\" }}]
  tls:
    frontend:
      default: {{ validation: {{ caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: ca }}] }} }}
      perPort:
      - port: 8444
        tls: {{ validation: {{ caCertificateRefs: [{{ group: \"\", kind: ConfigMap, name: ca }}], mode: AllowInsecureFallback }} }}
  listeners:
  - {{ name: strict, port: 8443, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}
  - {{ name: lax, port: 8444, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: ca, namespace: shop }}
data: {{ ca.crt: {ca} }}
---
apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: partner, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  action: Deny
  rules: [{{ from: [{{ identity: \"spiffe://partner.example/ns/a/sa/banned\" }}] }}]",
        home.ip()
    );
    documents(&[gateway, server.to_owned(), service("web"), endpoint("web", home.port(9001)), route("web", EVERYTHING, "web")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_believed_by_a_certificate_that_was_verified_and_by_no_other() {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let (ours, foreign) = (TestAuthority::new("clients"), TestAuthority::new("a stranger"));
    let declared = declared(&home, &secret("edge", &ours.issue(&["edge.example"])), ours.root_pem());
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let (strict, lax) = (stage.home.port(8443), stage.home.port(8444));
    let client = || TlsClient::trusting(ours.root_pem());
    let call = |to, client: &TlsClient| Call::get(to, "/").tls(client, "edge.example");
    let [good, banned, forged] = [
        ours.issue(&["spiffe://partner.example/ns/a/sa/good"]),
        ours.issue(&["spiffe://partner.example/ns/a/sa/banned"]),
        foreign.issue(&["spiffe://partner.example/ns/a/sa/banned"]),
    ];

    answered_by(&call(strict, &client().showing(&good)), "web").await;
    let told = back.last();
    let presented = told["headers"]["x-forwarded-client-cert"][0].as_str().unwrap_or_default();
    assert!(presented.contains("URI=spiffe://partner.example/ns/a/sa/good"), "{told}");
    assert_eq!(call(strict, &client().showing(&banned)).send().await.unwrap().status, 403);
    assert!(call(strict, &client()).send().await.is_err());
    assert!(call(strict, &client().showing(&forged)).send().await.is_err());

    // Here everybody comes in, with no certificate and with one of a stranger, who is not taken for whom it names.
    answered_by(&call(lax, &client()), "web").await;
    answered_by(&call(lax, &client().showing(&forged)), "web").await;
    assert!(back.last()["headers"]["x-forwarded-client-cert"].is_null(), "{}", back.last());
    assert_eq!(call(lax, &client().showing(&banned)).send().await.unwrap().status, 403);
}
