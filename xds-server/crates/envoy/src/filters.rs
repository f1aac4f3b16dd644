//! The HTTP filters of a chain: Envoy's own with their configuration, ours by discovery, the router last.

pub(crate) mod body_limit;
mod by_host;
pub(crate) mod cors;
pub(crate) mod edits;
pub(crate) mod external_auth;
pub(crate) mod give_body;
pub(crate) mod idle;
pub(crate) mod jwt;
mod paths;
pub(crate) mod rate_limit;
pub(crate) mod rbac;
pub(crate) mod router;
pub(crate) mod sessions;
mod skip;
pub(crate) mod spelling;
pub(crate) mod take_off;
pub(crate) mod transcoder;
pub(crate) mod wasm;

use std::collections::{BTreeMap, BTreeSet};

use windrose_ir::http::{ClientAddress, HttpFilter, HttpHandler, PathParameters, RouteSource};
use windrose_vocab::Text;

use crate::pb;
use crate::telemetry::LogField;
use external_auth::Phase;

/// All filters of a handler in the order requests pass them.
pub(crate) fn chain(handler: &HttpHandler) -> Vec<pb::hcm::HttpFilter> {
    // The others read what the route says, so it has to be found before.
    let spelling = match &handler.routes {
        RouteSource::Scoped(_) => Some(spelling::filter()),
        RouteSource::Table(_) => None,
    };
    let limit = handler.limits.max_body_bytes.map(body_limit::filter);
    let declared = handler.filters.iter().flat_map(|one| filter(one, handler.client_address));
    let strict = handler.client_address.is_edge() || handler.paths.parameters == PathParameters::Reject;
    let paths = strict.then(|| paths::filter(handler.paths));
    spelling.into_iter().chain(paths).chain(limit).chain(declared).chain([router::filter()]).collect()
}

fn filter(filter: &HttpFilter, client: ClientAddress) -> Vec<pb::hcm::HttpFilter> {
    match filter {
        // Before routes are looked for, which no filter is.
        HttpFilter::TakeOff(_) => Vec::new(),
        HttpFilter::HostTakeOff(hosts, names) => vec![by_host::only(hosts, take_off::before_a_route(names))],
        HttpFilter::ListenerAuth(position) => vec![external_auth::filter(Phase::Listener(*position))],
        HttpFilter::Cors => vec![cors::filter()],
        HttpFilter::RouteAuth => vec![external_auth::filter(Phase::Route)],
        HttpFilter::Extension(name) => vec![wasm::discovered(name)],
        HttpFilter::Authorization(authorization) => rbac::http_filters(authorization, client),
        HttpFilter::HostAuthorization(hosts, authorization) => {
            rbac::http_filters(authorization, client).into_iter().map(|filter| by_host::only(hosts, filter)).collect()
        }
        HttpFilter::GrpcStats => vec![grpc_stats()],
        HttpFilter::Sessions => vec![sessions::filter()],
    }
}

/// Fields of the access log that tell what the handler's filters found and did not enforce.
pub(crate) fn log_fields(handler: &HttpHandler) -> Vec<LogField> {
    let fields = handler.filters.iter().map(|filter| match filter {
        HttpFilter::Authorization(authorization) | HttpFilter::HostAuthorization(_, authorization) => rbac::log_fields(authorization),
        HttpFilter::TakeOff(_)
        | HttpFilter::HostTakeOff(_, _)
        | HttpFilter::ListenerAuth(_)
        | HttpFilter::Cors
        | HttpFilter::RouteAuth
        | HttpFilter::Extension(_)
        | HttpFilter::GrpcStats
        | HttpFilter::Sessions => Vec::new(),
    });
    fields.flatten().collect()
}

/// Counts by service and method only what is listed, and nothing is: the sums per cluster are what people look at.
fn grpc_stats() -> pb::hcm::HttpFilter {
    use pb::grpc_stats::filter_config::PerMethodStatSpecifier;
    let config = pb::grpc_stats::FilterConfig {
        emit_filter_state: false,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(pb::google::BoolValue { value: false })),
        ..Default::default()
    };
    built_in("envoy.filters.http.grpc_stats", &config)
}

/// The ids of a table that are not among what is written of it.
fn closed<R, W>(all: &BTreeMap<Text, R>, written: &BTreeMap<String, W>) -> BTreeSet<String> {
    all.keys().filter(|id| !written.contains_key(&***id)).map(ToString::to_string).collect()
}

/// A filter of Envoy's own, or one with a name of ours and a configuration of Envoy's own.
pub(crate) fn built_in<M: prost::Message + prost::Name>(name: &str, config: &M) -> pb::hcm::HttpFilter {
    let config = pb::hcm::http_filter::ConfigType::TypedConfig(pb::any(config));
    pb::hcm::HttpFilter { name: name.to_owned(), config_type: Some(config), ..Default::default() }
}
