//! Certificates from Secrets, replaced while Envoy serves.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::tls::TlsClient;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage};

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn secret(certificate: &str, key: &str) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: shop }}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(certificate),
        indented(key)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_replaced_is_served_at_once_and_costs_no_request() {
    let Some(stage) = Stage::open("secret") else { return };
    let (first, second) = (pair(), pair());
    stage.backend("echo", 1).await;
    stage.apply(&secret(&first.0, &first.1));
    stage.apply(
        r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: windrose
  listeners: [{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: shop }] } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: edge }
spec: { parentRefs: [{ name: edge }], rules: [{ backendRefs: [{ name: echo, port: 8080 }] }] }
",
    );
    let at = stage.address("edge", 443).await;
    let call = |trusted: &str| Call::get(at, "/").host("shop.example").tls(&TlsClient::trusting(trusted), "shop.example");
    stage.answered(&call(&first.0), "echo").await;
    // Clients that know both, as those of a rotation do; every call is a handshake of its own.
    let load = Load::start(2, Duration::from_millis(20), &call(&format!("{}{}", first.0, second.0)).header("connection", "close"));
    stage.apply(&secret(&second.0, &second.1));
    stage.answered(&call(&second.0), "echo").await;
    wait_until(PATIENCE, "the former certificate to be gone", async || match call(&first.0).send().await {
        Ok(_) => Err("it is still served".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    load.go_on(20, PATIENCE).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}
