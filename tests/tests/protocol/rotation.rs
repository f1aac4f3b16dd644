//! SVIDs are renewed under connections that live: an edge and a sidecar that speak mutual TLS, rotations pushed over SDS,
//! and nobody who is connected notices.

use std::collections::BTreeSet;
use std::time::SystemTime;

use tokio::task::JoinSet;
use windrose_envoy::{render_svid, render_trust};
use windrose_ir::secret::{MESH_TRUST, WORKLOAD_SVID};
use windrose_pki::{Authority, Directory, SystemEntropy, WorkloadCertificate};
use windrose_state::Protocol;
use windrose_tests::client::{Call, Connection, Reply};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;
use windrose_vocab::{Fingerprint, ProxyKey, Resource, ResourceKind, Sensitive, SpiffeId, TrustDomain};

use crate::parts::{self, core, hcm, tls};
use crate::stage::{PATIENCE, Stage};
use crate::unit::Unit;

/// Connections that live through all rotations, each with one of its own between edge and sidecar.
const CONNECTIONS: usize = 50;

/// Rotations of both certificates.
const ROTATIONS: usize = 4;

/// How long each request takes at the service: so long that all connections have one at the same time.
const AT_WORK_MS: &str = "400";

/// The mesh: an authority and a count of what it issued.
struct Mesh {
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Mesh {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("mesh")).unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let authority = Authority::open(directory, &domain, SystemTime::now(), &SystemEntropy).unwrap();
        Self { authority, _folder: folder }
    }

    fn issue(&self, account: &str) -> WorkloadCertificate {
        let identity = SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/{account}")).unwrap();
        self.authority.issue(&identity, SystemTime::now(), &SystemEntropy).unwrap()
    }

    /// As the secret of a proxy. Its version is that of its bytes here: a slot of the authority lasts 12 hours.
    fn svid(certificate: &WorkloadCertificate) -> Resource {
        let key = Sensitive::new(certificate.key.expose().as_bytes().to_vec());
        render_svid(&certificate.chain, &key, Fingerprint::of("rotation", certificate.chain.as_bytes()))
    }

    fn trust(&self) -> Resource {
        let bundle = self.authority.bundle();
        render_trust(bundle.pem(), bundle.version())
    }
}

fn sds(name: &str) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(parts::ads(None)) }
}

/// Its own certificate to show, and the mesh's roots to check the other by.
fn mutual() -> tls::CommonTlsContext {
    use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
    let combined = CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext::default()),
        validation_context_sds_secret_config: Some(sds(MESH_TRUST)),
        ..Default::default()
    };
    tls::CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![sds(WORKLOAD_SVID)],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(combined)),
        ..Default::default()
    }
}

const SECRETS: [(ResourceKind, &str); 2] = [(ResourceKind::Secret, WORKLOAD_SVID), (ResourceKind::Secret, MESH_TRUST)];

/// The edge: in the clear from clients, mutual TLS to the sidecar.
fn edge(unit: &Unit) -> Vec<Resource> {
    let context = tls::UpstreamTlsContext { common_tls_context: Some(mutual()), ..Default::default() };
    let message = parts::cluster::Cluster { transport_socket: Some(parts::transport_socket(&context)), ..unit.cluster_message() };
    let refs = [&[(ResourceKind::Endpoints, unit.name)], &SECRETS[..]].concat();
    unit.resources_with(parts::resource(ResourceKind::Cluster, unit.name, &message, &refs))
}

/// The sidecar: mutual TLS from its clients, whom it tells the service about.
fn sidecar(unit: &Unit) -> Vec<Resource> {
    use hcm::http_connection_manager::ForwardClientCertDetails::SanitizeSet;
    let manager = hcm::HttpConnectionManager { forward_client_cert_details: SanitizeSet.into(), ..unit.manager() };
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext { alpn_protocols: vec!["h2".into(), "http/1.1".into()], ..mutual() }),
        require_client_certificate: Some(parts::google::BoolValue { value: true }),
        ..Default::default()
    };
    let mut message = unit.listener_message(vec![parts::filter("http", &manager)]);
    let socket: core::TransportSocket = parts::transport_socket(&context);
    message.filter_chains[0].transport_socket = Some(socket);
    let refs = [&[(ResourceKind::Routes, unit.name)], &SECRETS[..]].concat();
    unit.resources_with(parts::resource(ResourceKind::Listener, unit.name, &message, &refs))
}

/// All at once, so that the edge needs a connection for each; every answer is good.
async fn all_call(connections: &mut Vec<Connection>, call: &Call) -> BTreeSet<String> {
    let mut calls = JoinSet::new();
    for mut connection in connections.drain(..) {
        let call = call.clone();
        calls.spawn(async move { (connection.send(&call).await.unwrap(), connection) });
    }
    let mut shown = BTreeSet::new();
    while let Some(called) = calls.join_next().await {
        let (reply, connection) = called.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        shown.insert(shown_to_the_service(&reply));
        connections.push(connection);
    }
    shown
}

/// The hash of the client certificate with which the request reached the sidecar.
fn shown_to_the_service(reply: &Reply) -> String {
    let told = reply.json();
    let presented = told["headers"]["x-forwarded-client-cert"][0].as_str().unwrap_or_default();
    presented.split(';').find_map(|part| part.strip_prefix("Hash=")).unwrap_or_default().to_owned()
}

async fn opened(envoy: &EnvoyProcess) -> (u64, u64) {
    (envoy.stat("cluster.edge.upstream_cx_total").await, envoy.stat("cluster.edge.upstream_cx_destroy").await)
}

async fn rotations_reset_no_connection(protocol: Protocol) {
    let mesh = Mesh::new();
    let mut stage = Stage::set(protocol).await;
    let back = EchoServer::start("back", stage.home.port(9_000)).await;
    let (front_key, side_key) = (ProxyKey::gateway("shop", "edge"), ProxyKey::workload("shop", "web"));
    let side = Unit::with(ResourceKind::Routes, "web", stage.home.port(15_080), back.address());
    let front = Unit::with(ResourceKind::Routes, "edge", stage.home.port(8_080), side.listen);
    let mut newest = mesh.issue("web");
    stage.publish_for(&front_key, edge(&front), [Mesh::svid(&mesh.issue("edge")), mesh.trust()]);
    stage.publish_for(&side_key, sidecar(&side), [Mesh::svid(&newest), mesh.trust()]);
    let (edge_envoy, side_envoy) = (stage.envoy_of(&front_key).await, stage.envoy_of(&side_key).await);
    front.runs(ResourceKind::Routes, "one").await;

    let call = front.call().header("x-echo-delay-ms", AT_WORK_MS);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(&call).await.unwrap());
    }
    let first = all_call(&mut connections, &call).await;
    assert_eq!(first.len(), 1, "{first:?}");
    let at_first = opened(&edge_envoy).await;
    assert!(at_first.0 >= CONNECTIONS as u64, "{at_first:?} connections to the sidecar");
    let own = mesh.issue("client");
    let own = Identity { chain_pem: own.chain, key_pem: own.key.expose().to_owned() };
    let direct = Call::get(side.listen, "/").http2().tls(&TlsClient::trusting_anyone().showing(&own), "web.shop");
    let mut streams = Connection::open(&direct).await.unwrap();

    for _ in 0..ROTATIONS {
        newest = mesh.issue("web");
        let before = stage.counters.resources.get();
        stage.rotate(&front_key, [Mesh::svid(&mesh.issue("edge")), mesh.trust()]);
        stage.rotate(&side_key, [Mesh::svid(&newest), mesh.trust()]);
        shows(&direct, &newest).await;
        assert_eq!(all_call(&mut connections, &call).await, first, "a connection was opened again");
        assert_eq!(streams.send(&direct).await.unwrap().status, 200);
        wait_until(PATIENCE, "both to be told", async || match stage.counters.resources.get() - before {
            0 | 1 => Err("not yet".to_owned()),
            _ => Ok(()),
        })
        .await;
        stage.in_sync().await;
        assert_eq!(stage.counters.resources.get() - before, 2, "rule 34: a rotation pushes one resource to each");
    }
    assert!(streams.is_open() && connections.iter().all(Connection::is_open));
    assert_eq!(opened(&edge_envoy).await, at_first, "connections opened and ended");
    for envoy in [&edge_envoy, &side_envoy] {
        assert_eq!(envoy.stat("listener_manager.listener_modified").await, 0);
        assert_eq!(envoy.stat("cluster_manager.cluster_modified").await, 0);
    }

    // More at once than ever: what is opened for them shows the newest certificate of the edge.
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(&call).await.unwrap());
    }
    let all = all_call(&mut connections, &call).await;
    assert_eq!((all.len(), all.is_superset(&first)), (2, true), "{all:?}");
}

/// Waits until new handshakes show this certificate.
async fn shows(direct: &Call, newest: &WorkloadCertificate) {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let wanted = CertificateDer::from_pem_slice(newest.chain.as_bytes()).unwrap();
    wait_until(PATIENCE, "the newest certificate", async || {
        let reply = direct.send().await.map_err(|cause| cause.to_string())?;
        if reply.peer_certificates.first() == Some(&wanted) { Ok(()) } else { Err("a former one".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn rule_34_rotated_svids_reset_none_of_fifty_connections() {
    rotations_reset_no_connection(Protocol::Delta).await;
}

#[tokio::test]
async fn rule_34_nor_by_state_of_the_world() {
    rotations_reset_no_connection(Protocol::Sotw).await;
}
