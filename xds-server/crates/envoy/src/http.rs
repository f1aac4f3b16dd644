//! `ir::http::HttpHandler` → an HTTP connection manager.

use std::collections::BTreeSet;

use windrose_ir::http::{
    ClientAddress, EscapedSlashes, ForwardedCertificate, HttpFilter, HttpHandler, HttpLimits, RouteSource, Underscores,
};
use windrose_ir::listener::Direction;
use windrose_vocab::{ResourceId, ResourceKind};

use crate::limits::{DOWNSTREAM_KEEPALIVE, DOWNSTREAM_KEEPALIVE_ANSWER, HEADERS_KIB, MORE_HOPS_THAN_ENTRIES, STREAMS, WINDOW_BYTES};
use crate::pb;
use crate::route::scoped;
use crate::{filters, metrics, telemetry};
use pb::core::http_protocol_options::HeadersWithUnderscoresAction;
use pb::hcm::http_connection_manager::{
    ForwardClientCertDetails, InternalAddressConfig, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
    SetCurrentClientCertDetails, UpgradeConfig,
};
use pb::hcm::{HttpConnectionManager, Rds};

pub(crate) fn manager(handler: &HttpHandler, direction: Direction) -> HttpConnectionManager {
    let limits = &handler.limits;
    let mut manager = HttpConnectionManager {
        stat_prefix: handler.stat_name.to_string(),
        http_filters: filters::chain(handler),
        tracing: handler.tracing.as_ref().map(|tracing| telemetry::tracing(tracing, direction)),
        access_log: loggers(handler, direction),
        common_http_protocol_options: Some(common(limits, handler.underscores)),
        http2_protocol_options: Some(http2(limits, handler.websocket)),
        // What stands behind may name itself; the proxy does not.
        server_header_transformation: ServerHeaderTransformation::PassThrough as i32,
        max_request_headers_kb: pb::number(clamp(limits.max_headers_kib, &HEADERS_KIB)),
        stream_idle_timeout: pb::duration(limits.stream_idle_timeout),
        request_timeout: pb::duration(limits.request_timeout),
        request_headers_timeout: pb::duration(limits.headers_timeout),
        use_remote_address: pb::boolean(handler.client_address.is_edge()),
        xff_num_trusted_hops: trusted_hops(handler.client_address),
        internal_address_config: Some(nobody_is_internal()),
        normalize_path: pb::boolean(handler.paths.normalize),
        merge_slashes: handler.paths.merge_slashes,
        path_with_escaped_slashes_action: escaped_slashes(handler.paths.escaped_slashes) as i32,
        upgrade_configs: vec![upgrade()],
        strip_trailing_host_dot: true,
        ..Default::default()
    };
    forward_certificate(&mut manager, handler.client_certificate);
    route(&mut manager, &handler.routes);
    let taken_off = handler.filters.iter().filter_map(|filter| {
        let HttpFilter::TakeOff(names) = filter else { return None };
        Some(filters::take_off::early(names))
    });
    manager.early_header_mutation_extensions.extend(taken_off);
    manager
}

fn loggers(handler: &HttpHandler, direction: Direction) -> Vec<pb::accesslog::AccessLog> {
    let log = handler.access_log.as_ref().map(|log| telemetry::request_log(log, direction, &filters::log_fields(handler)));
    let metrics = handler.metrics.then(|| metrics::logger(handler, direction));
    log.into_iter().chain(metrics).collect()
}

/// What the handler needs: its table, its extensions, the collector of its traces. Scopes are not named by a listener.
pub(crate) fn refs(handler: &HttpHandler) -> BTreeSet<ResourceId> {
    let extensions = handler.filters.iter().filter_map(HttpFilter::extension);
    let extensions = extensions.map(|name| ResourceId::new(ResourceKind::Extension, name.clone()));
    let table = match &handler.routes {
        RouteSource::Table(name) => Some(ResourceId::new(ResourceKind::Routes, name.clone())),
        RouteSource::Scoped(_) => None,
    };
    extensions.chain(table).chain(handler.tracing.as_ref().map(telemetry::tracing_ref)).collect()
}

/// Clients that Envoy calls internal may set its own headers (`x-envoy-retry-on`, time-outs). By itself it calls all private
/// addresses so, and an empty list means the same: the one range here is an address that no connection comes from.
fn nobody_is_internal() -> InternalAddressConfig {
    let nobody = pb::core::CidrRange { address_prefix: "0.0.0.0".to_owned(), prefix_len: pb::number(32) };
    InternalAddressConfig { cidr_ranges: vec![nobody], unix_sockets: false }
}

/// Where `use_remote_address` is off, Envoy takes the connection's address if `x-forwarded-for` has fewer entries than it is to skip; switched
/// on it would write that header, and `x-forwarded-proto`, request ids and headers of Envoy's own too.
fn trusted_hops(client: ClientAddress) -> u32 {
    match client {
        ClientAddress::Edge { trusted_hops } => trusted_hops,
        ClientAddress::Forwarded => 0,
        ClientAddress::Connection => MORE_HOPS_THAN_ENTRIES,
    }
}

fn common(limits: &HttpLimits, underscores: Underscores) -> pb::core::HttpProtocolOptions {
    let underscores = match underscores {
        Underscores::Keep => HeadersWithUnderscoresAction::Allow,
        Underscores::Reject => HeadersWithUnderscoresAction::RejectRequest,
    };
    pb::core::HttpProtocolOptions {
        idle_timeout: pb::duration(limits.connection_idle_timeout),
        max_connection_duration: limits.connection_duration.and_then(pb::positive),
        max_headers_count: pb::number(limits.max_headers.max(1)),
        headers_with_underscores_action: underscores as i32,
        ..Default::default()
    }
}

fn http2(limits: &HttpLimits, extended_connect: bool) -> pb::core::Http2ProtocolOptions {
    pb::core::Http2ProtocolOptions {
        max_concurrent_streams: pb::number(clamp(limits.max_streams, &STREAMS)),
        initial_stream_window_size: pb::number(clamp(limits.stream_window_bytes, &WINDOW_BYTES)),
        initial_connection_window_size: pb::number(clamp(limits.connection_window_bytes, &WINDOW_BYTES)),
        allow_connect: extended_connect,
        connection_keepalive: Some(pb::core::KeepaliveSettings {
            interval: pb::duration(DOWNSTREAM_KEEPALIVE),
            timeout: pb::duration(DOWNSTREAM_KEEPALIVE_ANSWER),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn clamp(value: u32, range: &std::ops::RangeInclusive<u32>) -> u32 {
    value.clamp(*range.start(), *range.end())
}

fn escaped_slashes(action: EscapedSlashes) -> PathWithEscapedSlashesAction {
    match action {
        EscapedSlashes::Keep => PathWithEscapedSlashesAction::KeepUnchanged,
        EscapedSlashes::Reject => PathWithEscapedSlashesAction::RejectRequest,
        EscapedSlashes::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
    }
}

/// On but for routes that turn it off: Envoy asks before the filters run, when the scope of a host that is spelled
/// otherwise is not found yet.
fn upgrade() -> UpgradeConfig {
    UpgradeConfig { upgrade_type: "websocket".to_owned(), enabled: pb::boolean(true), ..Default::default() }
}

fn forward_certificate(manager: &mut HttpConnectionManager, certificate: ForwardedCertificate) {
    match certificate {
        ForwardedCertificate::Sanitize => manager.forward_client_cert_details = ForwardClientCertDetails::Sanitize as i32,
        ForwardedCertificate::Set => {
            manager.forward_client_cert_details = ForwardClientCertDetails::SanitizeSet as i32;
            manager.set_current_client_cert_details = Some(SetCurrentClientCertDetails { uri: true, ..Default::default() });
        }
    }
}

fn route(manager: &mut HttpConnectionManager, source: &RouteSource) {
    manager.route_specifier = Some(match source {
        RouteSource::Table(name) => RouteSpecifier::Rds(Rds { config_source: pb::ads(), route_config_name: name.to_string() }),
        RouteSource::Scoped(name) => {
            manager.early_header_mutation_extensions = vec![scoped::headers(name)];
            RouteSpecifier::ScopedRoutes(scoped::source(name))
        }
    });
}
