//! Who may open a stream, and that a stream ends with the credential that opened it.

use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use tonic::Code;
use windrose_pki::{Authority, Directory, NodeAuthority, SystemEntropy};
use windrose_vocab::{ResourceKind, SpiffeId};

use crate::client::{Credential, node};
use crate::stage::{DAY, Stage, catalog, cluster, domain, orders, resource, until};

async fn refused(stage: &Stage, credential: &Credential) -> Code {
    match stage.delta(credential).await {
        Err(status) => status.code(),
        Ok(mut stream) => stream.next().await.unwrap_err().code(),
    }
}

#[tokio::test]
async fn without_a_credential_or_with_a_wrong_token_a_stream_is_unauthenticated() {
    let stage = Stage::new().await;
    let other = Stage::new().await;
    let wrong = [None, Some(other.token(&orders())), Some("x".repeat(10_000)), Some("a.b.c".into())];
    for token in wrong {
        assert_eq!(refused(&stage, &Credential { token, certificate: None }).await, Code::Unauthenticated);
    }
    assert_eq!(stage.counters.unauthenticated.get(), 4);
    assert_eq!(stage.counters.streams.get(), 0);
}

/// Whether the handshake ended it: the client learns that at its first read.
async fn is_cut_off(stage: &Stage, credential: &Credential) -> bool {
    let code = refused(stage, credential).await;
    matches!(code, Code::Unavailable | Code::Unknown) && stage.counters.streams.get() == 0
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_get_through_the_handshake() {
    let stage = Stage::new().await;
    let other = Stage::new().await;
    assert!(is_cut_off(&stage, &other.certificate(&orders())).await);
    until("counted", || stage.counters.handshakes_failed.get() == 1).await;
}

#[tokio::test]
async fn a_workload_certificate_is_no_node_credential() {
    let stage = Stage::new().await;
    let directory = Directory::open(stage.folder.path().join("pki")).unwrap();
    let mesh = Authority::open(directory, &domain(), SystemTime::now(), &SystemEntropy).unwrap();
    let identity = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap();
    let svid = mesh.issue(&identity, SystemTime::now(), &SystemEntropy).unwrap();
    let shown = Credential { certificate: Some((svid.chain, svid.key.expose().to_owned())), token: None };
    assert!(is_cut_off(&stage, &shown).await);
}

/// A certificate that the node root signed all the same.
fn forged(stage: &Stage, uris: &[&str]) -> Credential {
    let pem = std::fs::read_to_string(stage.folder.path().join("pki/node-root.pem")).unwrap();
    let root_key = KeyPair::from_pem(&pem[pem.find("-----BEGIN PRIVATE KEY").unwrap()..]).unwrap();
    let issuer = Issuer::from_ca_cert_der(stage.nodes.authority.root(), &root_key).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Credential { certificate: Some((certificate.pem(), key.serialize_pem())), token: None }
}

#[tokio::test]
async fn rule_51_a_certificate_with_two_names_or_a_workloads_name_is_unauthenticated() {
    let stage = Stage::new().await;
    let node = "spiffe://cluster.local/windrose/node/workload/shop/orders";
    let cases: [&[&str]; 3] = [
        &[node, "spiffe://cluster.local/windrose/node/workload/shop/catalog"],
        &["spiffe://cluster.local/ns/shop/sa/orders"],
        &["spiffe://other.example/windrose/node/workload/shop/orders"],
    ];
    for uris in cases {
        assert_eq!(refused(&stage, &forged(&stage, uris)).await, Code::Unauthenticated, "{uris:?}");
    }
    assert!(stage.delta(&forged(&stage, &[node])).await.is_ok(), "the forger can forge");
}

#[tokio::test]
async fn an_expired_credential_opens_nothing() {
    let stage = Stage::new().await;
    let (certificate, token) = (stage.certificate(&orders()), stage.bearer(&orders()));
    stage.move_clock(2 * DAY);
    for credential in [certificate, token] {
        assert_eq!(refused(&stage, &credential).await, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn rule_50_a_stream_is_cut_when_its_credential_expires() {
    let mut stage = Stage::with(Default::default(), Some(Duration::from_millis(300))).await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    stream.next().await.unwrap();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(stage.counters.expired.get(), 1);
    until("its connection is gone", || stage.counters.connections_open.get() == 0).await;
}

#[tokio::test]
async fn a_stream_is_cut_when_its_credential_is_revoked_and_another_is_not() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    stage.publish(&catalog(), [cluster("a", "one")]);
    let mut gone = stage.delta(&stage.certificate(&orders())).await.unwrap();
    let mut stays = stage.delta(&stage.certificate(&catalog())).await.unwrap();
    for stream in [&mut gone, &mut stays] {
        stream.subscribe(ResourceKind::Cluster).await;
        let first = stream.next().await.unwrap();
        stream.ack(&first).await;
    }
    stage.nodes.revoke(&orders());
    assert_eq!(gone.next().await.unwrap_err().code(), Code::Unauthenticated);
    // The client may have a newer certificate, which only a new connection shows.
    until("only the other's connection is there", || stage.counters.connections_open.get() == 1).await;
    assert_eq!(refused(&stage, &stage.bearer(&orders())).await, Code::Unauthenticated);
    stage.publish(&catalog(), [cluster("a", "two")]);
    stays.next().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_about_to_end_loses_its_listeners_and_nothing_else() {
    let mut stage = Stage::new().await;
    let world = |content: &'static str| [cluster("a", content), resource(ResourceKind::Listener, "edge", content)];
    stage.publish(&orders(), world("one"));
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    for kind in [ResourceKind::Cluster, ResourceKind::Listener] {
        stream.subscribe(kind).await;
        let first = stream.next().await.unwrap();
        assert_eq!(first.resources.len(), 1);
        stream.ack(&first).await;
    }
    stage.nodes.leave(&orders());
    let last = stream.next().await.unwrap();
    assert_eq!((last.resources.len(), last.removed_resources.as_slice()), (0, &["edge".to_owned()][..]));
    stream.ack(&last).await;
    stage.publish(&orders(), world("two"));
    let change = stream.next().await.unwrap();
    assert_eq!(change.type_url, ResourceKind::Cluster.type_url(), "endpoints and clusters go on for what is in flight");
    stream.ack(&change).await;
    let listener = tokio::time::timeout(Duration::from_millis(200), stream.responses.message()).await;
    assert!(listener.is_err(), "listeners do not come back");
}

#[tokio::test]
async fn rule_47_a_node_that_claims_to_be_another_gets_nothing_of_either() {
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    stage.publish(&catalog(), [cluster("a", "one")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
    let ours = Struct { fields: [("proxy".to_owned(), text(catalog().to_string()))].into() };
    let metadata = Struct { fields: [("windrose".to_owned(), Value { kind: Some(Kind::StructValue(ours)) })].into() };
    let lying = Node { metadata: Some(metadata), ..node() };
    let request = DeltaDiscoveryRequest { node: Some(lying), type_url: ResourceKind::Cluster.type_url().into(), ..Default::default() };
    stream.send.send(request).await.unwrap();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn rule_47_the_node_id_decides_nothing() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("mine", "one")]);
    stage.publish(&catalog(), [cluster("theirs", "one")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: catalog().to_string(), cluster: catalog().to_string(), ..node() }),
        type_url: ResourceKind::Cluster.type_url().into(),
        ..Default::default()
    };
    stream.send.send(request).await.unwrap();
    let names: Vec<_> = stream.next().await.unwrap().resources.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["mine"]);
}

#[tokio::test]
async fn rule_48_a_secret_of_another_does_not_exist_and_all_secrets_cannot_be_asked_for() {
    let mut stage = Stage::new().await;
    let secret = |name: &str| resource(ResourceKind::Secret, name, "PRIVATE KEY");
    stage.publish(&orders(), [secret("spiffe://cluster.local/ns/shop/sa/orders")]);
    stage.publish(&catalog(), [secret("spiffe://cluster.local/ns/shop/sa/catalog")]);
    let ask = |names: &[&str]| DeltaDiscoveryRequest {
        node: Some(Node { id: catalog().to_string(), ..node() }),
        type_url: ResourceKind::Secret.type_url().into(),
        resource_names_subscribe: names.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    let both = ["spiffe://cluster.local/ns/shop/sa/orders", "spiffe://cluster.local/ns/shop/sa/catalog"];
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.send.send(ask(&both)).await.unwrap();
    let answer = stream.next().await.unwrap();
    assert_eq!(answer.resources.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), [both[0]]);
    assert_eq!(answer.removed_resources, [both[1]]);
    let mut greedy = stage.delta(&stage.certificate(&orders())).await.unwrap();
    greedy.send.send(ask(&["*"])).await.unwrap();
    assert_eq!(greedy.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn another_server_authority_is_not_believed_by_clients() {
    let stage = Stage::new().await;
    let directory = Directory::open(stage.folder.path().join("elsewhere")).unwrap();
    let other = NodeAuthority::open(&directory, &domain(), SystemTime::now(), &SystemEntropy).unwrap();
    let server = other.issue_server(&["localhost".into()], SystemTime::now(), &SystemEntropy).unwrap();
    stage.tls.replace(server.chain, server.key.expose()).unwrap();
    assert!(is_cut_off(&stage, &stage.certificate(&orders())).await);
}
