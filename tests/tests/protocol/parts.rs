//! Envoy's messages in the few shapes that the stories need, and a resource made of one.

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use envoy_types::pb::envoy::config::{
    cluster::v3 as cluster, core::v3 as core, endpoint::v3 as endpoint, listener::v3 as listener, route::v3 as route,
};
pub(crate) use envoy_types::pb::envoy::extensions::filters::http::{header_mutation::v3 as header_mutation, wasm::v3 as wasm};
pub(crate) use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
pub(crate) use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
pub(crate) use envoy_types::pb::google::protobuf as google;
use prost::{Message, Name};
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind};

/// A resource whose version is that of its bytes.
pub(crate) fn resource(kind: ResourceKind, name: &str, message: &impl Message, refs: &[(ResourceKind, &str)]) -> Resource {
    let bytes = message.encode_to_vec();
    let version = Fingerprint::of("protocol test", &bytes);
    let mut refs: Vec<_> = refs.iter().map(|&(kind, name)| ResourceId::new(kind, name)).collect();
    refs.sort();
    Resource { id: ResourceId::new(kind, name), version, bytes: bytes.into(), refs: Arc::from(refs) }
}

pub(crate) fn any<M: Message + Name>(message: &M) -> google::Any {
    google::Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

pub(crate) fn extension<M: Message + Name>(name: &str, config: &M) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

/// The stream that everything else came by; `wait` bounds how long Envoy waits for a first answer.
pub(crate) fn ads(wait: Option<i64>) -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        initial_fetch_timeout: wait.map(|seconds| google::Duration { seconds, nanos: 0 }),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    }
}

pub(crate) fn address(at: SocketAddr) -> core::Address {
    let port = core::socket_address::PortSpecifier::PortValue(at.port().into());
    let socket = core::SocketAddress { address: at.ip().to_string(), port_specifier: Some(port), ..Default::default() };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

pub(crate) fn text(inline: &str) -> core::DataSource {
    core::DataSource { specifier: Some(core::data_source::Specifier::InlineString(inline.to_owned())), ..Default::default() }
}

/// A response header; `value` may be a format.
pub(crate) fn header(name: &str, value: &str) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

/// `{test: {told: ...}}`.
pub(crate) fn metadata(told: &str) -> core::Metadata {
    let value = google::Value { kind: Some(google::value::Kind::StringValue(told.to_owned())) };
    let fields = google::Struct { fields: [("told".to_owned(), value)].into() };
    core::Metadata { filter_metadata: [("test".to_owned(), fields)].into(), ..Default::default() }
}

pub(crate) fn filter<M: Message + Name>(name: &str, config: &M) -> listener::Filter {
    listener::Filter { name: name.to_owned(), config_type: Some(listener::filter::ConfigType::TypedConfig(any(config))) }
}

pub(crate) fn http_filter<M: Message + Name>(name: &str, config: &M) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any(config))),
        ..Default::default()
    }
}

/// A filter that comes by ECDS, in the place that the product renders, which takes the filter of the stories too.
pub(crate) fn discovered(name: &str) -> hcm::HttpFilter {
    let mut filter = windrose_envoy::discovered(name);
    if let Some(hcm::http_filter::ConfigType::ConfigDiscovery(place)) = &mut filter.config_type {
        place.type_urls.push(header_mutation::HeaderMutation::type_url());
    }
    filter
}

/// TLS with a certificate that comes by SDS.
pub(crate) fn secured_by(secret: &str) -> core::TransportSocket {
    let source = tls::SdsSecretConfig { name: secret.to_owned(), sds_config: Some(ads(None)) };
    let common = tls::CommonTlsContext { tls_certificate_sds_secret_configs: vec![source], ..Default::default() };
    transport_socket(&tls::DownstreamTlsContext { common_tls_context: Some(common), ..Default::default() })
}

pub(crate) fn transport_socket<M: Message + Name>(context: &M) -> core::TransportSocket {
    let config = core::transport_socket::ConfigType::TypedConfig(any(context));
    core::TransportSocket { name: "envoy.transport_sockets.tls".to_owned(), config_type: Some(config) }
}

/// Hosts of any name, whose every request goes to `cluster`.
pub(crate) fn table(name: &str, cluster: &str, headers: Vec<core::HeaderValueOption>) -> route::RouteConfiguration {
    let specifier = route::route_action::ClusterSpecifier::Cluster(cluster.to_owned());
    let action = route::RouteAction { cluster_specifier: Some(specifier), ..Default::default() };
    let everything = route::route_match::PathSpecifier::Prefix("/".to_owned());
    let route = route::Route {
        r#match: Some(route::RouteMatch { path_specifier: Some(everything), ..Default::default() }),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    };
    let host = route::VirtualHost { name: "all".to_owned(), domains: vec!["*".to_owned()], routes: vec![route], ..Default::default() };
    route::RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![host], response_headers_to_add: headers, ..Default::default() }
}

/// One endpoint, which has this metadata.
pub(crate) fn endpoints(cluster: &str, at: SocketAddr, told: &str) -> endpoint::ClusterLoadAssignment {
    let target = endpoint::Endpoint { address: Some(address(at)), ..Default::default() };
    let one = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(target)),
        metadata: Some(metadata(told)),
        ..Default::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints { lb_endpoints: vec![one], ..Default::default() }],
        ..Default::default()
    }
}
