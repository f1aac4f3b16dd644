//! What an Envoy is started with so that everything else comes from the control plane: who it is, where the control plane
//! is, how both prove themselves, and the few settings that cannot come over xDS.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use windrose_vocab::Text;

use crate::endpoints::{pipe, socket};
use crate::limits::{REGEX_PROGRAM, XDS_CONNECT, XDS_KEEPALIVE, XDS_KEEPALIVE_ANSWER, XDS_RECONNECT, XDS_RECONNECT_MAX};
use crate::{pb, print, tls};
use pb::bootstrap::bootstrap::{DeferredStatOptions, DynamicResources, StaticResources};
use pb::bootstrap::{Admin, Bootstrap, LayeredRuntime, RuntimeLayer, runtime_layer};
use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use pb::core::api_config_source::ApiType;
use pb::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use pb::overload::{OverloadManager, ResourceMonitor, resource_monitor};
use pb::tls::common_tls_context::ValidationContextType;
use pb::tls::{CertificateValidationContext, CommonTlsContext, SdsSecretConfig, UpstreamTlsContext};

/// Name of the cluster that is the control plane.
pub const XDS_CLUSTER: &str = "windrose/xds";
/// Name of the file that is given to `envoy -c`.
pub const BOOTSTRAP_FILE: &str = "envoy.yaml";
/// Name of the file with the source of the client certificate.
const CERTIFICATE_FILE: &str = "xds-certificate.yaml";
/// Name of the file with the source of the token.
pub const TOKEN_FILE: &str = "xds-token.yaml";

/// What the bootstrap says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's id: a claim, for people.
    pub node_id: Text,
    /// The service's name, in Zipkin spans for example.
    pub node_cluster: Text,
    /// Facts for the control plane, as text; they stand under `windrose`.
    pub metadata: BTreeMap<Text, Text>,
    /// The zone that the node says it is in.
    pub zone: Option<Text>,
    /// The control plane.
    pub server: Server,
    /// How the node proves who it is.
    pub identity: Identity,
    /// State of the world instead of delta.
    pub state_of_the_world: bool,
    /// The absolute path of the folder in which the files will lie.
    pub folder: Text,
    /// Where Envoy's own pages are.
    pub admin: AdminPages,
    /// Connections of all listeners together.
    pub max_connections: u32,
}

/// The control plane as the node sees it.
#[derive(Clone, Debug)]
pub struct Server {
    /// IP address or name.
    pub host: Text,
    /// Port.
    pub port: u16,
    /// The name or address that its certificate must carry.
    pub name: Text,
    /// CA certificates (PEM) that its certificate is checked by.
    pub trust: Text,
}

/// How a node proves who it is. Paths are absolute; Envoy refuses others.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A client certificate, read again whenever its folder changes.
    Certificate {
        /// Chain in PEM.
        chain: Text,
        /// Key in PEM.
        key: Text,
        /// The folder in which both lie.
        directory: Text,
    },
    /// A bearer token, read again whenever its folder changes; every new stream carries the newest.
    Token {
        /// The token alone.
        file: Text,
        /// The folder in which it lies.
        directory: Text,
    },
}

/// Where Envoy's own pages are.
#[derive(Clone, Debug)]
pub enum AdminPages {
    /// A TCP address; the caller sees to it that it is loopback.
    Socket(SocketAddr),
    /// A Unix socket for its owner alone.
    Unix(Text),
}

/// The files to be written into [`Settings::folder`], by name; [`BOOTSTRAP_FILE`] is the one Envoy is started with.
#[must_use]
pub fn files(settings: &Settings) -> BTreeMap<&'static str, String> {
    let (name, secret) = identity_file(&settings.identity);
    BTreeMap::from([(BOOTSTRAP_FILE, print::exact(&message(settings))), (name, secret)])
}

fn message(settings: &Settings) -> Bootstrap {
    Bootstrap {
        node: Some(pb::core::Node {
            id: settings.node_id.to_string(),
            cluster: settings.node_cluster.to_string(),
            metadata: (!settings.metadata.is_empty()).then(|| metadata(&settings.metadata)),
            locality: settings.zone.as_deref().map(pb::zone),
            ..Default::default()
        }),
        static_resources: Some(StaticResources { clusters: vec![xds_cluster(settings)], ..Default::default() }),
        dynamic_resources: Some(dynamic_resources(settings)),
        admin: Some(Admin { address: Some(admin(&settings.admin)), ignore_global_conn_limit: true, ..Default::default() }),
        layered_runtime: Some(runtime()),
        overload_manager: Some(overload(settings.max_connections)),
        // Statistics of a cluster that nobody calls cost nothing until somebody does.
        deferred_stat_options: Some(DeferredStatOptions { enable_deferred_creation_stats: true }),
        stats_config: Some(lean_stats()),
        ..Default::default()
    }
}

fn metadata(facts: &BTreeMap<Text, Text>) -> pb::google::Struct {
    let ours = pb::string_struct(facts.iter().map(|(name, value)| (&**name, &**value)));
    let value = pb::google::Value { kind: Some(pb::google::value::Kind::StructValue(ours)) };
    pb::google::Struct { fields: [("windrose".to_owned(), value)].into() }
}

fn dynamic_resources(settings: &Settings) -> DynamicResources {
    let api_type = if settings.state_of_the_world { ApiType::Grpc } else { ApiType::DeltaGrpc };
    let stream = EnvoyGrpc {
        cluster_name: XDS_CLUSTER.to_owned(),
        // Else Envoy sends the cluster's name as `:authority`, and a `/` in it makes the request malformed.
        authority: settings.server.name.to_string(),
        retry_policy: Some(pb::core::RetryPolicy {
            retry_back_off: Some(pb::core::BackoffStrategy {
                base_interval: pb::duration(XDS_RECONNECT),
                max_interval: pb::duration(XDS_RECONNECT_MAX),
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    DynamicResources {
        lds_config: pb::ads(),
        cds_config: pb::ads(),
        ads_config: Some(pb::core::ApiConfigSource {
            api_type: api_type as i32,
            transport_api_version: pb::core::ApiVersion::V3 as i32,
            grpc_services: vec![pb::core::GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(stream)), ..Default::default() }],
            set_node_on_first_message_only: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn xds_cluster(settings: &Settings) -> pb::cluster::Cluster {
    use pb::upstream_http::HttpProtocolOptions;
    use pb::upstream_http::http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig};
    let server = &settings.server;
    let literal = server.host.parse::<std::net::IpAddr>().is_ok();
    let kind = if literal { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let endpoint = pb::endpoint::Endpoint { address: Some(socket(&server.host, server.port)), ..Default::default() };
    let http2 = pb::core::Http2ProtocolOptions {
        connection_keepalive: Some(pb::core::KeepaliveSettings {
            interval: pb::duration(XDS_KEEPALIVE),
            timeout: pb::duration(XDS_KEEPALIVE_ANSWER),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2)),
        })),
        http_filters: credential_filters(settings),
        ..Default::default()
    };
    pb::cluster::Cluster {
        name: XDS_CLUSTER.to_owned(),
        connect_timeout: pb::duration(XDS_CONNECT),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind as i32)),
        load_assignment: Some(pb::endpoint::ClusterLoadAssignment {
            cluster_name: XDS_CLUSTER.to_owned(),
            endpoints: vec![pb::endpoint::LocalityLbEndpoints {
                lb_endpoints: vec![pb::endpoint::LbEndpoint {
                    host_identifier: Some(pb::endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }),
        typed_extension_protocol_options: [("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), pb::any(&options))].into(),
        transport_socket: Some(tls::socket(&server_tls(settings))),
        ..Default::default()
    }
}

fn server_tls(settings: &Settings) -> UpstreamTlsContext {
    let certificates = match settings.identity {
        Identity::Certificate { .. } => vec![by_path(CERTIFICATE_FILE, settings)],
        Identity::Token { .. } => vec![],
    };
    // An address is no server name (RFC 6066).
    let is_address = settings.server.name.parse::<std::net::IpAddr>().is_ok();
    UpstreamTlsContext {
        sni: if is_address { String::new() } else { settings.server.name.to_string() },
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(tls::versions(windrose_ir::listener::TlsVersion::Tls12)),
            tls_certificate_sds_secret_configs: certificates,
            validation_context_type: Some(ValidationContextType::ValidationContext(CertificateValidationContext {
                trusted_ca: Some(pb::inline_text(&settings.server.trust)),
                match_typed_subject_alt_names: vec![tls::host_name(&settings.server.name)],
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The token is put into the requests of the stream by a filter of the cluster itself.
fn credential_filters(settings: &Settings) -> Vec<pb::hcm::HttpFilter> {
    match settings.identity {
        Identity::Certificate { .. } => vec![],
        Identity::Token { .. } => {
            let credential = pb::injected::Generic {
                credential: Some(by_path(TOKEN_FILE, settings)),
                header_value_prefix: "Bearer ".to_owned(),
                ..Default::default()
            };
            let injector = pb::credential_injector::CredentialInjector {
                overwrite: true,
                credential: Some(pb::extension("envoy.http.injected_credentials.generic", &credential)),
                ..Default::default()
            };
            vec![
                crate::filters::built_in("envoy.filters.http.credential_injector", &injector),
                crate::filters::built_in("envoy.filters.http.upstream_codec", &pb::upstream_codec::UpstreamCodec {}),
            ]
        }
    }
}

fn by_path(file: &str, settings: &Settings) -> SdsSecretConfig {
    let path = format!("{}/{file}", settings.folder.trim_end_matches('/'));
    SdsSecretConfig {
        name: file.trim_end_matches(".yaml").to_owned(),
        sds_config: Some(pb::core::ConfigSource {
            resource_api_version: pb::core::ApiVersion::V3 as i32,
            config_source_specifier: Some(pb::core::config_source::ConfigSourceSpecifier::PathConfigSource(pb::core::PathConfigSource {
                path,
                ..Default::default()
            })),
            ..Default::default()
        }),
    }
}

/// The source of the node's credential: only from a file of its own does Envoy follow changes of what it points to.
fn identity_file(identity: &Identity) -> (&'static str, String) {
    let watched = |path: &str| Some(pb::core::WatchedDirectory { path: path.to_owned(), ..Default::default() });
    let (file, secret) = match identity {
        Identity::Certificate { chain, key, directory } => {
            let certificate = pb::tls::TlsCertificate {
                certificate_chain: Some(pb::filename(chain)),
                private_key: Some(pb::filename(key)),
                watched_directory: watched(directory),
                ..Default::default()
            };
            (CERTIFICATE_FILE, pb::tls::secret::Type::TlsCertificate(certificate))
        }
        Identity::Token { file, directory } => {
            let source = pb::core::DataSource { watched_directory: watched(directory), ..pb::filename(file) };
            let secret = pb::tls::GenericSecret { secret: Some(source), ..Default::default() };
            (TOKEN_FILE, pb::tls::secret::Type::GenericSecret(secret))
        }
    };
    let secret = pb::tls::Secret { name: file.trim_end_matches(".yaml").to_owned(), r#type: Some(secret) };
    let response = pb::discovery::DiscoveryResponse { resources: vec![pb::any(&secret)], ..Default::default() };
    (file, print::exact(&response))
}

fn admin(pages: &AdminPages) -> pb::core::Address {
    match pages {
        AdminPages::Socket(address) => socket(&address.ip().to_string(), address.port()),
        AdminPages::Unix(path) => pipe(path, 0o600),
    }
}

/// Settings of Envoy that are keys and not fields. Nothing can change them while it runs.
pub(crate) fn runtime() -> LayeredRuntime {
    let size = || pb::google::Value { kind: Some(pb::google::value::Kind::NumberValue(f64::from(REGEX_PROGRAM))) };
    let keys = ["re2.max_program_size.error_level", "re2.max_program_size.warn_level"];
    let layer = pb::google::Struct { fields: keys.map(|key| (key.to_owned(), size())).into() };
    LayeredRuntime {
        layers: vec![RuntimeLayer {
            name: "windrose".to_owned(),
            layer_specifier: Some(runtime_layer::LayerSpecifier::StaticLayer(layer)),
        }],
    }
}

/// The bound on the connections of all listeners together.
pub(crate) fn overload(max_connections: u32) -> OverloadManager {
    let config =
        pb::downstream_connections::DownstreamConnectionsConfig { max_active_downstream_connections: i64::from(max_connections.max(1)) };
    OverloadManager {
        resource_monitors: vec![ResourceMonitor {
            name: "envoy.resource_monitors.global_downstream_max_connections".to_owned(),
            config_type: Some(resource_monitor::ConfigType::TypedConfig(pb::any(&config))),
        }],
        ..Default::default()
    }
}

/// A scrape blocks Envoy's main thread: what nobody looks at is not counted.
fn lean_stats() -> pb::metrics::StatsConfig {
    use pb::metrics::{StatsMatcher, stats_matcher};
    let unread =
        [".circuit_breakers.high.", ".external.", ".internal.", ".canary.", ".ssl.curves.", ".ssl.sigalgs.", ".http1.", ".flow_control_"];
    let patterns = unread.map(pb::contains).to_vec();
    pb::metrics::StatsConfig {
        stats_matcher: Some(StatsMatcher {
            stats_matcher: Some(stats_matcher::StatsMatcher::ExclusionList(pb::matcher::ListStringMatcher { patterns })),
        }),
        ..Default::default()
    }
}
