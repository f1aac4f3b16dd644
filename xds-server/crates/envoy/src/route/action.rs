//! What a route does: sends on, redirects, or answers.

use windrose_ir::route::{
    Forward, HashOn, Mirror, PathMatch, PathRewrite, Redirect, Retry, Rewrite, Route, RouteAction, Session, WeightedBackend,
};

use super::headers::Changes;
use super::matching::without_slash;
use crate::limits::{BACKOFF_GROWTH, HOST_ATTEMPTS};
use crate::pb;
use pb::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use pb::route::route::Action;
use pb::route::route_action::hash_policy::{self, PolicySpecifier};
use pb::route::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HashPolicy, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy, UpgradeConfig,
};
use pb::route::weighted_cluster::{ClusterWeight, RandomValueSpecifier, cluster_weight};

/// A name that no cluster has. A share that goes to it is answered with the code for absent clusters: Envoy has no
/// other way to answer a part of a split by itself.
const NO_CLUSTER: &str = "windrose/no-backend";

/// `host` is a Host header that the route's header changes set.
pub(super) fn action(route: &Route, host: Option<&str>) -> Action {
    let prefix = match &route.matcher.path {
        PathMatch::Prefix(prefix) => Some(&**prefix),
        PathMatch::Exact(_) | PathMatch::Regex(_) => None,
    };
    match &route.action {
        RouteAction::Forward(to) => {
            let mut action = forward(to, prefix, host);
            if to.backends.iter().any(|backend| backend.cluster.is_none()) {
                action.cluster_not_found_response_code = no_cluster_code(route.matcher.grpc) as i32;
            }
            Action::Route(action)
        }
        RouteAction::Redirect(to) => Action::Redirect(redirect(to, prefix)),
        RouteAction::Respond { status, body } => Action::DirectResponse(pb::route::DirectResponseAction {
            status: u32::from((*status).clamp(200, 599)),
            body: (!body.is_empty()).then(|| pb::inline_text(body)),
            body_format: None,
        }),
    }
}

/// What a share without a cluster is answered: 500, and to gRPC 503, of which Envoy makes the status `UNAVAILABLE`.
fn no_cluster_code(grpc: bool) -> ClusterNotFoundResponseCode {
    if grpc { ClusterNotFoundResponseCode::ServiceUnavailable } else { ClusterNotFoundResponseCode::InternalServerError }
}

fn forward(to: &Forward, prefix: Option<&str>, header_host: Option<&str>) -> pb::route::RouteAction {
    let host = to.rewrite.host.as_deref().or(header_host);
    let mut action = pb::route::RouteAction {
        timeout: pb::duration(to.timeout),
        idle_timeout: to.idle_timeout.and_then(pb::duration),
        retry_policy: to.retry.as_ref().map(retry),
        request_mirror_policies: to.mirrors.iter().map(mirror).collect(),
        hash_policy: to.hash.iter().map(hash).collect(),
        upgrade_configs: vec![websocket(to.websocket)],
        max_stream_duration: to
            .max_grpc_timeout
            .map(|limit| MaxStreamDuration { grpc_timeout_header_max: pb::duration(limit), ..Default::default() }),
        ..Default::default()
    };
    rewrite_path(&mut action, &to.rewrite, prefix);
    split(&mut action, to, host);
    action
}

fn split(action: &mut pb::route::RouteAction, to: &Forward, host: Option<&str>) {
    let literal = |host: &str| HostRewriteSpecifier::HostRewriteLiteral(host.to_owned());
    // A share that is drawn for each request would take sessions elsewhere.
    let drawn = (to.session == Some(Session::Hashed)).then_some(RandomValueSpecifier::UseHashPolicy(pb::google::BoolValue { value: true }));
    action.cluster_specifier = Some(match &*to.backends {
        [only] if only.request_headers == Default::default() && only.response_headers == Default::default() => {
            action.host_rewrite_specifier = only.host.as_deref().or(host).map(literal);
            ClusterSpecifier::Cluster(cluster(only).to_owned())
        }
        several => {
            // Envoy takes a route's host before a backend's: where one backend has its own, each carries its host.
            let shares: Vec<ClusterWeight> = several.iter().map(weighted).collect();
            let own = shares.iter().any(|share| share.host_rewrite_specifier.is_some());
            action.host_rewrite_specifier = host.filter(|_| !own).map(literal);
            let clusters = shares.into_iter().map(|share| with_host(share, host.filter(|_| own))).collect();
            ClusterSpecifier::WeightedClusters(pb::route::WeightedCluster { clusters, random_value_specifier: drawn, ..Default::default() })
        }
    });
}

fn with_host(share: ClusterWeight, host: Option<&str>) -> ClusterWeight {
    let literal = |host: &str| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_owned());
    ClusterWeight { host_rewrite_specifier: share.host_rewrite_specifier.or(host.map(literal)), ..share }
}

fn weighted(backend: &WeightedBackend) -> ClusterWeight {
    let changes = Changes::of(&backend.request_headers, &backend.response_headers);
    let host = backend.host.as_deref().or(changes.host.as_deref());
    ClusterWeight {
        name: cluster(backend).to_owned(),
        weight: pb::number(backend.weight),
        request_headers_to_add: changes.request_add,
        request_headers_to_remove: changes.request_remove,
        response_headers_to_add: changes.response_add,
        response_headers_to_remove: changes.response_remove,
        host_rewrite_specifier: host.map(|host| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())),
        ..Default::default()
    }
}

fn cluster(backend: &WeightedBackend) -> &str {
    backend.cluster.as_deref().unwrap_or(NO_CLUSTER)
}

fn rewrite_path(action: &mut pb::route::RouteAction, rewrite: &Rewrite, matched: Option<&str>) {
    match rewrite.path.as_ref().map(|path| new_path(path, matched)) {
        None => {}
        Some(NewPath::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(NewPath::Regex(regex)) => action.regex_rewrite = Some(regex),
    }
}

/// How Envoy is told a new path.
enum NewPath {
    /// What matched becomes this.
    Prefix(String),
    /// What this matches becomes that.
    Regex(pb::matcher::RegexMatchAndSubstitute),
}

/// A prefix is replaced by whole segments, with and without a slash at the end of either (Gateway API's table):
/// Envoy's plain replacement would make `//x` of `/a/x` where `/a` becomes `/`, and `/bx` of `/x` where `/` becomes `/b`.
fn new_path(path: &PathRewrite, matched: Option<&str>) -> NewPath {
    match path {
        PathRewrite::Full(path) => NewPath::Regex(substitute("^/.*$".to_owned(), path)),
        PathRewrite::Prefix(new) => match (matched.map(without_slash), without_slash(new)) {
            (None, new) => NewPath::Regex(substitute("^/.*$".to_owned(), if new.is_empty() { "/" } else { new })),
            (Some(""), new) => NewPath::Prefix(format!("{new}/")),
            (Some(old), "") => NewPath::Regex(substitute(format!("^{}/?", quote(old)), "/")),
            (Some(_), new) => NewPath::Prefix(new.to_owned()),
        },
    }
}

fn substitute(pattern: String, replacement: &str) -> pb::matcher::RegexMatchAndSubstitute {
    pb::matcher::RegexMatchAndSubstitute {
        pattern: Some(pb::regex(&pattern)),
        // RE2 reads `\1` in a replacement as a group.
        substitution: replacement.replace('\\', "\\\\"),
    }
}

/// A text as a regex that matches it alone.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-') || !c.is_ascii();
    text.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

fn redirect(to: &Redirect, prefix: Option<&str>) -> pb::route::RedirectAction {
    let path = to.path.as_ref().map(|path| match path {
        PathRewrite::Full(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
        PathRewrite::Prefix(_) => match new_path(path, prefix) {
            NewPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
            NewPath::Regex(regex) => PathRewriteSpecifier::RegexRewrite(regex),
        },
    });
    let status = match to.status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::Found,
    };
    pb::route::RedirectAction {
        host_redirect: to.host.as_deref().unwrap_or_default().to_owned(),
        port_redirect: to.port.map_or(0, u32::from),
        response_code: status as i32,
        scheme_rewrite_specifier: to.scheme.as_ref().map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_string())),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

fn retry(retry: &Retry) -> pb::route::RetryPolicy {
    let connect = if retry.on_connect_failure { &["connect-failure", "refused-stream", "reset"][..] } else { &[] };
    let statuses = if retry.statuses.is_empty() { &[][..] } else { &["retriable-status-codes"] };
    let grpc = retry.grpc_statuses.iter().map(|status| status.to_ascii_lowercase().replace('_', "-"));
    let conditions: Vec<String> = connect.iter().chain(statuses).map(ToString::to_string).chain(grpc).collect();
    pb::route::RetryPolicy {
        retry_on: conditions.join(","),
        num_retries: pb::number(retry.attempts),
        per_try_timeout: retry.per_try_timeout.and_then(pb::duration),
        retriable_status_codes: retry.statuses.iter().map(|status| u32::from(*status)).collect(),
        retry_back_off: Some(pb::route::retry_policy::RetryBackOff {
            base_interval: pb::positive(retry.backoff),
            max_interval: pb::positive(retry.backoff.saturating_mul(BACKOFF_GROWTH)),
        }),
        // An attempt that failed at one endpoint goes to another, if there is one.
        retry_host_predicate: vec![pb::route::retry_policy::RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(pb::route::retry_policy::retry_host_predicate::ConfigType::TypedConfig(pb::any(
                &pb::previous_hosts::PreviousHostsPredicate {},
            ))),
        }],
        host_selection_retry_max_attempts: HOST_ATTEMPTS,
        ..Default::default()
    }
}

fn mirror(mirror: &Mirror) -> RequestMirrorPolicy {
    use pb::types::fractional_percent::DenominatorType;
    let denominator = match mirror.denominator {
        1_000_000 => DenominatorType::Million,
        10_000 => DenominatorType::TenThousand,
        _ => DenominatorType::Hundred,
    };
    let share = pb::types::FractionalPercent { numerator: mirror.numerator, denominator: denominator as i32 };
    RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(pb::core::RuntimeFractionalPercent { default_value: Some(share), runtime_key: String::new() }),
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    }
}

fn hash(on: &HashOn) -> HashPolicy {
    let specifier = match on {
        HashOn::Header(name) => PolicySpecifier::Header(hash_policy::Header { header_name: name.to_string(), regex_rewrite: None }),
        HashOn::Cookie(name, ttl, path) => PolicySpecifier::Cookie(hash_policy::Cookie {
            name: name.to_string(),
            ttl: pb::duration(*ttl),
            path: path.to_string(),
            attributes: vec![],
        }),
        HashOn::SourceAddress => PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties { source_ip: true }),
    };
    // The first value that is there decides; without this Envoy mixes all of them.
    HashPolicy { terminal: true, policy_specifier: Some(specifier) }
}

fn websocket(passes: bool) -> UpgradeConfig {
    UpgradeConfig { upgrade_type: "websocket".to_owned(), enabled: pb::boolean(passes), connect_config: None }
}
