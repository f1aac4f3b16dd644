//! Who asks for a proxy's configuration with a token that is not its own, as a stranger in the cluster would.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use prost::Message;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Reply};
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage};

const AUDIENCE: &str = "windrose.dev/xds";
/// Long enough for every answer of a server that has the resource.
const ANSWERED: Duration = Duration::from_secs(8);

/// A Gateway with a certificate of its own.
fn edge(name: &str, certificate: &Identity) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{ name: {name} }}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name} }}
spec:
  gatewayClassName: windrose
  listeners: [{{ name: https, port: 443, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: {name} }}] }} }}]
",
        indented(&certificate.chain_pem),
        indented(&certificate.key_pem)
    )
}

/// Asks for Secrets by name.
fn asking(stage: &Stage, secrets: &[&str]) -> Call {
    let namespace = &stage.namespace;
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: "stranger".to_owned(), ..Node::default() }),
        type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".to_owned(),
        resource_names_subscribe: secrets.iter().map(|name| format!("Secret/{namespace}/{name}")).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], &message].concat();
    let address =
        stage.kubectl(&["-n", SYSTEM, "get", "service", NAME, "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[?(@.name==\"xds\")].port}"]);
    let to: SocketAddr = address.parse().unwrap_or_else(|_| panic!("{address}"));
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let call = Call::post(to, path, framed).http2().tls(&TlsClient::trusting_anyone(), "windrose");
    call.header("content-type", "application/grpc").header("te", "trailers")
}

async fn answer(call: &Call, token: &str) -> Reply {
    call.clone().bearer(token.trim()).stream(ANSWERED).await.unwrap()
}

/// The status by which a stream was refused; empty where it is open.
fn refusal(reply: &Reply) -> String {
    let status = reply.trailers.get("grpc-status").or_else(|| reply.headers.get("grpc-status"));
    status.map(|status| status.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn holds(reply: &Reply, certificate: &Identity) -> bool {
    // A line of the key that no other has.
    let line = certificate.key_pem.lines().nth(1).unwrap();
    reply.body.windows(line.len()).any(|part| part == line.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_no_more_than_the_stream_of_the_pod_that_it_was_made_for() {
    let Some(stage) = Stage::open("tokens") else { return };
    let authority = TestAuthority::new("shop");
    let (own, others) = (authority.issue(&["own.example"]), authority.issue(&["others.example"]));
    stage.backend("echo", 1).await;
    stage.apply(&format!("{}---{}", edge("own", &own), edge("others", &others)));
    stage.address("own", 443).await;
    stage.address("others", 443).await;
    let pod_of = |label: &str| stage.kubectl(&["get", "pod", "-l", label, "-o", "jsonpath={.items[0].metadata.name}"]);
    let pod = pod_of("gateway.networking.k8s.io/gateway-name=own");
    let account = stage.kubectl(&["get", "pod", &pod, "-o", "jsonpath={.spec.serviceAccountName}"]);
    let made = |account: &str, audience: &str, bound: &str| {
        let audience = format!("--audience={audience}");
        let bound_to = format!("--bound-object-name={bound}");
        let all = ["create", "token", account, &audience, "--bound-object-kind=Pod", &bound_to];
        stage.kubectl(if bound.is_empty() { &all[..4] } else { &all })
    };
    let call = asking(&stage, &["own", "others"]);

    let good = made(&account, AUDIENCE, &pod);
    let reply = answer(&call, &good).await;
    assert!(refusal(&reply).is_empty() && holds(&reply, &own), "its own certificate: {reply:?}");
    assert!(!holds(&reply, &others), "and no other");

    let (signed, signature) = good.trim().rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let wrong = [
        ("none", String::new()),
        ("for another audience", made(&account, "https://kubernetes.default.svc.cluster.local", &pod)),
        ("of no Pod", made(&account, AUDIENCE, "")),
        ("of another account", made("default", AUDIENCE, &pod_of("app=echo"))),
        ("signed by nobody", forged),
    ];
    for (what, token) in wrong {
        let reply = answer(&call, &token).await;
        assert_eq!(refusal(&reply), "16", "UNAUTHENTICATED, {what}: {reply:?}");
        assert!(!holds(&reply, &own), "{what}");
    }

    stage.kubectl(&["delete", "pod", &pod]);
    wait_until(PATIENCE, "the token to end with its Pod", async || {
        let reply = answer(&call, &good).await;
        if refusal(&reply) == "16" && !holds(&reply, &own) { Ok(()) } else { Err(format!("{reply:?}")) }
    })
    .await;
}
