//! The real Envoy as a client: it proves itself, gets a listener, a route and a cluster, answers requests, and goes on
//! over a restart of the server.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use windrose_state::Protocol;
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind};

use crate::client::Credential;
use crate::stage::{Stage, orders, until};

struct Envoy {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

/// The binary; without one these tests say what they skip, and in CI they fail.
fn binary() -> Option<PathBuf> {
    let found = std::env::var_os("ENVOY").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ENVOY names no Envoy binary, and CI must not skip the tests with it");
        eprintln!("SKIPPED: no test with the real Envoy ran; set ENVOY to its binary");
    }
    found
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Its files, and an Envoy that was told of nothing but the server.
fn start(binary: &Path, stage: &Stage, credential: &Credential, api_type: &str) -> Envoy {
    let folder = tempfile::tempdir().unwrap();
    let root = written(folder.path(), "root.pem", &stage.nodes.authority.root_pem());
    let certificates = credential.certificate.as_ref().map(|(certificate, key)| {
        let (certificate, key) = (written(folder.path(), "node.pem", certificate), written(folder.path(), "node.key", key));
        format!("tls_certificates: [{{certificate_chain: {{filename: {certificate}}}, private_key: {{filename: {key}}}}}],")
    });
    let injector = credential.token.as_ref().map(|token| {
        let secret = format!(
            "resources: [{{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: token, generic_secret: {{secret: {{inline_string: \"{token}\"}}}}}}]"
        );
        let secret = written(folder.path(), "token.yaml", &secret);
        INJECTOR.replace("SECRET", &secret)
    });
    let bootstrap = BOOTSTRAP
        .replace("API_TYPE", api_type)
        .replace("PORT", &stage.address.port().to_string())
        .replace("ROOT", &root)
        .replace("INJECTOR", &injector.unwrap_or_default())
        .replace("CERTIFICATES", &certificates.unwrap_or_default());
    let config = written(folder.path(), "envoy.yaml", &bootstrap);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let arguments = ["-c", &config, "--concurrency", "1", "-l", "warn", "--disable-hot-restart"];
    let process = Command::new(binary).args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    Envoy { process, folder }
}

const INJECTOR: &str = r#"
          http_filters:
          - name: injector
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
              overwrite: true
              credential:
                name: generic
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
                  header_value_prefix: "Bearer "
                  credential: {name: token, sds_config: {path_config_source: {path: SECRET}}}
          - name: codec
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}
"#;

const BOOTSTRAP: &str = r#"
node: {id: orders-1, cluster: orders}
dynamic_resources:
  ads_config: {api_type: API_TYPE, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds
    connect_timeout: 1s
    type: STATIC
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 20s, timeout: 10s}}}
INJECTOR
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context: {CERTIFICATES validation_context: {trusted_ca: {filename: ROOT}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: localhost}}]}}
"#;

fn resource(kind: ResourceKind, name: &str, message: &impl Message, refs: &[(ResourceKind, &str)]) -> Resource {
    let bytes = message.encode_to_vec();
    let version = Fingerprint::of("test", &bytes);
    let refs: Vec<_> = refs.iter().map(|&(kind, name)| ResourceId::new(kind, name)).collect();
    Resource { id: ResourceId::new(kind, name), version, bytes: bytes.into(), refs: Arc::from(refs) }
}

fn any(type_name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{type_name}"), value: message.encode_to_vec() }
}

fn address(at: SocketAddr) -> core::Address {
    let port = core::socket_address::PortSpecifier::PortValue(at.port().into());
    let socket = core::SocketAddress { address: at.ip().to_string(), port_specifier: Some(port), ..Default::default() };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    }
}

/// A listener whose routes send everything to `backend`, and tell so in a header.
fn world(open: SocketAddr, backend: SocketAddr, told: &str) -> Vec<Resource> {
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "in".into(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(ads()),
            route_config_name: "routes".into(),
        })),
        http_filters: vec![hcm::HttpFilter {
            name: "router".into(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(
                "envoy.extensions.filters.http.router.v3.Router",
                &Router::default(),
            ))),
            ..Default::default()
        }],
        ..Default::default()
    };
    let network = listener::Filter {
        name: "http".into(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(any(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            &manager,
        ))),
    };
    let listener = listener::Listener {
        name: "in".into(),
        address: Some(address(open)),
        filter_chains: vec![listener::FilterChain { filters: vec![network], ..Default::default() }],
        ..Default::default()
    };
    let to_backend = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster("backend".into())),
        ..Default::default()
    };
    let everything = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".into())),
            ..Default::default()
        }),
        action: Some(route::route::Action::Route(to_backend)),
        response_headers_to_add: vec![core::HeaderValueOption {
            header: Some(core::HeaderValue { key: "told".into(), value: told.into(), ..Default::default() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let host = route::VirtualHost { name: "all".into(), domains: vec!["*".into()], routes: vec![everything], ..Default::default() };
    let routes = route::RouteConfiguration { name: "routes".into(), virtual_hosts: vec![host], ..Default::default() };
    let cluster = cluster::Cluster {
        name: "backend".into(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(cluster::cluster::DiscoveryType::Eds.into())),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig { eds_config: Some(ads()), ..Default::default() }),
        ..Default::default()
    };
    let one = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address(backend)),
            ..Default::default()
        })),
        ..Default::default()
    };
    let endpoints = endpoint::ClusterLoadAssignment {
        cluster_name: "backend".into(),
        endpoints: vec![endpoint::LocalityLbEndpoints { lb_endpoints: vec![one], ..Default::default() }],
        ..Default::default()
    };
    vec![
        resource(ResourceKind::Listener, "in", &listener, &[(ResourceKind::Routes, "routes")]),
        resource(ResourceKind::Routes, "routes", &routes, &[(ResourceKind::Cluster, "backend")]),
        resource(ResourceKind::Cluster, "backend", &cluster, &[(ResourceKind::Endpoints, "backend")]),
        resource(ResourceKind::Endpoints, "backend", &endpoints, &[]),
    ]
}

/// An HTTP server that answers everything with 200.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
                }
            });
        }
    });
    address
}

fn free_address() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The whole answer, or nothing while the port is closed.
async fn get(at: SocketAddr) -> String {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    asked.await.unwrap_or_default()
}

async fn answers(at: SocketAddr, told: &str) {
    let began = std::time::Instant::now();
    loop {
        let answer = get(at).await;
        if answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("told: {told}\r\n")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no answer with `told: {told}`, the last was: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_driven(credential: impl Fn(&Stage) -> Credential, api_type: &str, protocol: Protocol) {
    let Some(binary) = binary() else { return };
    let mut stage = Stage::new().await;
    let (open, backend) = (free_address(), backend().await);
    stage.publish(&orders(), world(open, backend, "one"));
    let _envoy = start(&binary, &stage, &credential(&stage), api_type);
    answers(open, "one").await;
    let opened = stage.observed.snapshot().remove(0).opened;
    assert_eq!((&*opened.node, opened.protocol, opened.scope.proxy), ("orders-1", protocol, orders()));
    stage.publish(&orders(), world(open, backend, "two"));
    answers(open, "two").await;
    let observed = stage.observed.clone();
    until("everything is acknowledged", || observed.snapshot().first().is_some_and(windrose_state::StreamStatus::is_in_sync)).await;

    let resources = stage.counters.resources.get();
    stage.restart().await;
    answers(open, "two").await;
    until("it came back", || observed.len() == 1).await;
    if protocol == Protocol::Delta {
        until("it is known to have everything", || observed.snapshot().first().is_some_and(windrose_state::StreamStatus::is_in_sync)).await;
        assert_eq!(stage.counters.resources.get(), resources, "nothing unchanged is sent again");
    }
    stage.publish(&orders(), world(open, backend, "three"));
    answers(open, "three").await;
    assert_eq!((stage.counters.rejections.get(), stage.counters.unauthenticated.get()), (0, 0));
}

#[tokio::test]
async fn envoy_is_driven_by_delta_with_a_client_certificate() {
    is_driven(|stage| stage.certificate(&orders()), "DELTA_GRPC", Protocol::Delta).await;
}

#[tokio::test]
async fn envoy_is_driven_by_state_of_the_world_with_a_bearer_token() {
    is_driven(|stage| stage.bearer(&orders()), "GRPC", Protocol::Sotw).await;
}
