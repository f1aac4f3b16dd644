//! The golden metrics of a handler: how many requests, how they ended, how long they took, told by who called whom.
//! One set for edge and mesh; its labels hold nothing that a stranger can choose.

use windrose_ir::http::HttpHandler;
use windrose_ir::listener::Direction;

use crate::limits::METRICS_MAX;
use crate::pb;
use pb::log_stats::Config;
use pb::log_stats::config::histogram::Unit;
use pb::log_stats::config::{Counter, Histogram, Stat, Tag};

/// In Prometheus' words `envoy_windrose_requests` and `envoy_windrose_request_milliseconds`.
pub(crate) fn logger(handler: &HttpHandler, direction: Direction) -> pb::accesslog::AccessLog {
    let stat = |name: &str| Some(Stat { name: name.to_owned(), tags: tags(handler.client_address.is_edge(), direction) });
    let requests = Counter { stat: stat("requests"), value_fixed: pb::number64(1), ..Default::default() };
    let times = Histogram { stat: stat("request_milliseconds"), unit: Unit::Milliseconds as i32, value_format: "%DURATION%".to_owned() };
    let scope = pb::types::Scope {
        prefix: "windrose".to_owned(),
        max_counters: pb::number(METRICS_MAX),
        max_histograms: pb::number(METRICS_MAX),
        ..Default::default()
    };
    let config = Config { stats_scope: Some(scope), counters: vec![requests], histograms: vec![times], ..Default::default() };
    pb::accesslog::AccessLog {
        name: "envoy.access_loggers.stats".to_owned(),
        filter: None,
        config_type: Some(pb::accesslog::access_log::ConfigType::TypedConfig(pb::any(&config))),
    }
}

/// Identities are those that mutual TLS has verified; empty where there is none.
fn tags(edge: bool, direction: Direction) -> Vec<Tag> {
    let (reporter, source, destination) = match (edge, direction) {
        (true, _) => ("edge", "outside", "%UPSTREAM_PEER_URI_SAN%"),
        (false, Direction::Inbound) => ("server", "%DOWNSTREAM_PEER_URI_SAN%", "%DOWNSTREAM_LOCAL_URI_SAN%"),
        (false, Direction::Outbound) => ("client", "%UPSTREAM_LOCAL_URI_SAN%", "%UPSTREAM_PEER_URI_SAN%"),
    };
    let all = [
        ("reporter", reporter),
        ("source", source),
        ("destination", destination),
        ("cluster", "%UPSTREAM_CLUSTER%"),
        ("status", "%RESPONSE_CODE%"),
        ("grpc_status", "%GRPC_STATUS%"),
    ];
    all.map(|(name, value)| Tag { name: name.to_owned(), value_format: value.to_owned(), rules: None }).into()
}
