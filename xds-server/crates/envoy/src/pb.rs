//! Short names for Envoy's protobuf packages, and constructors for the wrappers that every message is full of.

use prost::{Message, Name};
use windrose_vocab::Duration;

pub(crate) use envoy_types::pb::envoy::config::{
    accesslog::v3 as accesslog, bootstrap::v3 as bootstrap, cluster::v3 as cluster, common::mutation_rules::v3 as mutation,
    core::v3 as core, endpoint::v3 as endpoint, listener::v3 as listener, metrics::v3 as metrics, overload::v3 as overload,
    rbac::v3 as rbac, route::v3 as route, trace::v3 as trace,
};
pub(crate) use envoy_types::pb::envoy::extensions::{
    access_loggers::{file::v3 as log_file, stats::v3 as log_stats, stream::v3 as log_stream},
    clusters::{common::dns::v3 as dns_family, dns::v3 as dns_cluster},
    common::matching::v3 as matching,
    filters::common::matcher::action::v3 as matcher_action,
    filters::http::{
        body_size_limit::v3 as body_size_limit, composite::v3 as composite, cors::v3 as cors,
        credential_injector::v3 as credential_injector, ext_authz::v3 as ext_authz, filter_chain::v3 as filter_chain,
        grpc_stats::v3 as grpc_stats, header_mutation::v3 as header_mutation, lua::v3 as lua, rbac::v3 as http_rbac, router::v3 as router,
        stateful_session::v3 as stateful_session, upstream_codec::v3 as upstream_codec, wasm::v3 as http_wasm,
    },
    filters::listener::tls_inspector::v3 as tls_inspector,
    filters::network::{
        connection_limit::v3 as connection_limit, direct_response::v3 as direct_response, http_connection_manager::v3 as hcm,
        rbac::v3 as network_rbac, tcp_proxy::v3 as tcp_proxy,
    },
    filters::udp::udp_proxy::v3 as udp_proxy,
    http::{
        early_header_mutation::header_mutation::v3 as early_header_mutation,
        injected_credentials::generic::v3 as injected,
        stateful_session::{cookie::v3 as session_cookie, header::v3 as session_header},
    },
    matching::{common_inputs::network::v3 as network_inputs, input_matchers::ip::v3 as matching_ip},
    rbac::principals::mtls_authenticated::v3 as mtls_authenticated,
    resource_monitors::downstream_connections::v3 as downstream_connections,
    retry::host::previous_hosts::v3 as previous_hosts,
    transport_sockets::{raw_buffer::v3 as raw_buffer, tls::v3 as tls},
    upstreams::http::v3 as upstream_http,
    wasm::v3 as wasm,
};
pub(crate) use envoy_types::pb::envoy::service::discovery::v3 as discovery;
pub(crate) use envoy_types::pb::envoy::r#type::{http::v3 as http_types, matcher::v3 as matcher, tracing::v3 as tracing, v3 as types};
pub(crate) use envoy_types::pb::google::protobuf as google;
pub(crate) use envoy_types::pb::xds::{core::v3 as xds_core, r#type::matcher::v3 as xds_matcher};

/// The message with its type URL.
pub(crate) fn any<M: Message + Name>(message: &M) -> google::Any {
    google::Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// An extension of that name with that configuration.
pub(crate) fn extension<M: Message + Name>(name: &str, config: &M) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

/// The same in the words of the matchers.
pub(crate) fn xds_extension<M: Message + Name>(name: &str, config: &M) -> xds_core::TypedExtensionConfig {
    xds_core::TypedExtensionConfig { name: name.to_owned(), typed_config: Some(any(config)) }
}

/// The locality that is known by its zone alone.
pub(crate) fn zone(name: &str) -> core::Locality {
    core::Locality { zone: name.to_owned(), ..Default::default() }
}

pub(crate) fn number(value: u32) -> Option<google::UInt32Value> {
    Some(google::UInt32Value { value })
}

pub(crate) fn number64(value: u64) -> Option<google::UInt64Value> {
    Some(google::UInt64Value { value })
}

pub(crate) fn boolean(value: bool) -> Option<google::BoolValue> {
    Some(google::BoolValue { value })
}

pub(crate) fn percent(value: u32) -> Option<types::Percent> {
    Some(types::Percent { value: f64::from(value.min(100)) })
}

/// The duration; protobuf's largest where it is larger (Envoy takes no more than 10,000 years).
pub(crate) fn duration(value: Duration) -> Option<google::Duration> {
    const LARGEST: u64 = 315_576_000_000;
    let seconds = i64::try_from(value.as_secs().min(LARGEST)).unwrap_or_default();
    Some(google::Duration { seconds, nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default() })
}

/// The duration, at least a millisecond: for fields in which Envoy refuses zero.
pub(crate) fn positive(value: Duration) -> Option<google::Duration> {
    duration(value.max(Duration::from_millis(1)))
}

pub(crate) fn inline_text(text: &str) -> core::DataSource {
    data_source(core::data_source::Specifier::InlineString(text.to_owned()))
}

pub(crate) fn inline_bytes(bytes: &[u8]) -> core::DataSource {
    data_source(core::data_source::Specifier::InlineBytes(bytes.to_vec()))
}

pub(crate) fn filename(path: &str) -> core::DataSource {
    data_source(core::data_source::Specifier::Filename(path.to_owned()))
}

fn data_source(specifier: core::data_source::Specifier) -> core::DataSource {
    core::DataSource { specifier: Some(specifier), ..Default::default() }
}

/// A string that must be equal.
pub(crate) fn exact(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Exact(text.to_owned()))
}

/// A string that must begin so.
pub(crate) fn prefix(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Prefix(text.to_owned()))
}

/// A string that must match as a whole (RE2).
pub(crate) fn whole_regex(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::SafeRegex(regex(text)))
}

/// A string that must hold this somewhere.
pub(crate) fn contains(text: &str) -> matcher::StringMatcher {
    string_matcher(matcher::string_matcher::MatchPattern::Contains(text.to_owned()))
}

fn string_matcher(pattern: matcher::string_matcher::MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { ignore_case: false, match_pattern: Some(pattern) }
}

pub(crate) fn regex(text: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher { regex: text.to_owned(), engine_type: None }
}

/// A JSON-like object of strings.
pub(crate) fn string_struct<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> google::Struct {
    let value = |text: &str| google::Value { kind: Some(google::value::Kind::StringValue(text.to_owned())) };
    google::Struct { fields: fields.into_iter().map(|(name, text)| (name.to_owned(), value(text))).collect() }
}

/// The delta ADS stream, from which all that is named comes.
pub(crate) fn ads() -> Option<core::ConfigSource> {
    Some(core::ConfigSource {
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {})),
        ..Default::default()
    })
}
