//! Where a rule sends requests on: clusters with their shares, times, retries, mirrors, and what is hashed.

use std::collections::BTreeSet;
use std::time::Duration;

use windrose_api::declared::route::{BackendRef, Filter, PathModifier, Retry as DeclaredRetry, Rule};
use windrose_ir::route::{Forward, HeaderChanges, Mirror, Redirect, Retry, Rewrite, RouteAction, WeightedBackend};
use windrose_vocab::{Code, Kind, ObjectKey, ObjectRef, Text};

use super::filters::{Filters, filters, path as path_rewrite};
use super::{ResolvedBackend, ResolvedRule, Table, TableKey, session};
use crate::backend::{ClusterKey, Flavor, Owner};
use crate::limits;
use crate::policy::traffic::{self, RouteTraffic};
use crate::reference::field;
use crate::world::View;

/// One rule with all that its action is made of.
#[derive(Debug)]
pub(crate) struct RuleParts<'a> {
    pub(crate) route: &'a ObjectRef,
    pub(crate) index: usize,
    pub(crate) rule: &'a Rule,
    pub(crate) resolved: &'a ResolvedRule,
    pub(crate) table: &'a TableKey,
    pub(crate) filters: &'a Filters,
    /// Whether the transcoder speaks gRPC to its backends.
    pub(crate) transcoded: bool,
}

/// What the rule does; the clusters it needs are added to `clusters`.
pub(crate) fn action(view: &View<'_>, parts: &RuleParts<'_>, clusters: &mut BTreeSet<ClusterKey>) -> RouteAction {
    let failed = || RouteAction::Respond { status: if parts.route.kind == Kind::GRPCRoute { 503 } else { 500 }, body: "".into() };
    if parts.filters.unknown {
        return failed();
    }
    if let Some(redirect) = &parts.filters.redirect {
        return RouteAction::Redirect(Redirect { port: port_of(redirect, parts.table), ..redirect.clone() });
    }
    let traffic = traffic::of_rule(view, parts);
    let owner = owner(parts, &traffic);
    let backends = backends(view, parts, owner.as_ref(), clusters);
    if backends.iter().all(|backend| backend.cluster.is_none()) {
        return failed();
    }
    let (timeout, retry) = times(parts, &traffic);
    let (session, hash) = session::session(view, parts).unzip();
    let grpc = parts.route.kind == Kind::GRPCRoute;
    RouteAction::Forward(Box::new(Forward {
        backends,
        rewrite: rewrite(parts),
        timeout,
        idle_timeout: Some(traffic.idle.unwrap_or(limits::IDLE_TIMEOUT)),
        retry,
        mirrors: mirrors(view, parts, owner.as_ref(), clusters),
        hash: hash.filter(|hash| !hash.is_empty()).unwrap_or_else(|| traffic.hash.clone()),
        session,
        websocket: !grpc && !parts.transcoded,
        max_grpc_timeout: (grpc && !timeout.is_zero()).then_some(timeout),
    }))
}

/// The port of a redirect: as declared, else that of the declared scheme, else the listener's. One that the scheme implies is left
/// out, unless the request's own would be kept in its place.
fn port_of(redirect: &Redirect, table: &TableKey) -> Option<u16> {
    let usual = |scheme: &str| if scheme == "https" { 443 } else { 80 };
    let (own, port) = match &**table {
        Table::Edge { port, listener, .. } => (if listener.is_some() { "https" } else { "http" }, port.get()),
        Table::Mesh { port, .. } => ("http", port.get()),
    };
    let scheme = redirect.scheme.as_deref();
    let wanted = redirect.port.unwrap_or_else(|| scheme.map_or(port, usual));
    let implied = wanted == usual(scheme.unwrap_or(own));
    let kept = redirect.host.is_none() && port != usual(own);
    (!implied || kept).then_some(wanted)
}

fn owner(parts: &RuleParts<'_>, traffic: &RouteTraffic) -> Option<Owner> {
    let sticky = session::is_hashed(parts.rule);
    let rule = if traffic.owns_rule || sticky { Some(rule_name(parts)) } else { None };
    (traffic.owns_route || traffic.owns_rule || sticky).then(|| Owner { route: parts.route.clone(), rule, sticky })
}

/// The rule's name, else one made of its matches: never its position.
pub(crate) fn rule_name(parts: &RuleParts<'_>) -> Text {
    super::rules::rule_label(parts.route.kind, parts.rule)
}

fn backends(view: &View<'_>, parts: &RuleParts<'_>, owner: Option<&Owner>, clusters: &mut BTreeSet<ClusterKey>) -> Vec<WeightedBackend> {
    let both = parts.rule.backends.iter().zip(&parts.resolved.backends).enumerate();
    let counted = both.filter(|(_, (declared, _))| declared.weight.get() > 0);
    counted
        .map(|(index, (declared, resolved))| {
            let own = own_filters(view, parts, index, declared);
            let resolved = resolved.as_ref().filter(|_| !own.unknown);
            let key = resolved.map(|resolved| cluster(view, parts, resolved, owner));
            clusters.extend(key.iter().cloned());
            WeightedBackend {
                cluster: key.map(|key| key.name()),
                weight: declared.weight.get(),
                request_headers: own.request_headers,
                response_headers: own.response_headers,
                host: own.rewrite.host,
            }
        })
        .collect()
}

/// What the rule rewrites, and the path that all its backends do.
fn rewrite(parts: &RuleParts<'_>) -> Rewrite {
    let rule = &parts.filters.rewrite;
    Rewrite { host: rule.host.clone(), path: path_of_backends(parts.rule).map(path_rewrite).or_else(|| rule.path.clone()) }
}

/// The path that every backend with a share is sent, if it is the same for all: a proxy rewrites it for a whole rule only.
fn path_of_backends(rule: &Rule) -> Option<&PathModifier> {
    let counted = rule.backends.iter().filter(|backend| backend.weight.get() > 0);
    let mut paths = counted.map(|backend| backend.filters.iter().find_map(path_of));
    let first = paths.next()??;
    paths.all(|path| path == Some(first)).then_some(first)
}

fn path_of(filter: &Filter) -> Option<&PathModifier> {
    match filter {
        Filter::Rewrite(rewrite) => rewrite.path.as_ref(),
        Filter::RequestHeaders(_)
        | Filter::ResponseHeaders(_)
        | Filter::Redirect(_)
        | Filter::Mirror(_)
        | Filter::Cors(_)
        | Filter::ExternalAuth(_)
        | Filter::Extension(_) => None,
    }
}

/// The filters of one backend, as far as a share of a rule can have its own.
fn own_filters(view: &View<'_>, parts: &RuleParts<'_>, index: usize, declared: &BackendRef) -> Filters {
    if declared.filters.is_empty() {
        return Filters::default();
    }
    let path = format!("spec.rules[{}].backendRefs[{index}].filters", parts.index);
    let mut own = filters(view, parts.route, &path, &declared.filters);
    let alone = own.rewrite.path.is_some() && path_of_backends(parts.rule).is_none();
    let asks = declared.filters.iter().any(|filter| matches!(filter, Filter::ExternalAuth(_)));
    let more = own.redirect.is_some() || own.cors.is_some() || alone || !own.mirrors.is_empty() || asks;
    if more {
        let message = "a single backend can change headers and the host, and the path where all do it alike; its share answers 500";
        view.error(parts.route, field(&path), Code::Unsupported, message);
        own.unknown = true;
        own.request_headers = HeaderChanges::default();
    }
    own
}

fn cluster(view: &View<'_>, parts: &RuleParts<'_>, resolved: &ResolvedBackend, owner: Option<&Owner>) -> ClusterKey {
    let flavor = match &**parts.table {
        _ if parts.route.kind == Kind::GRPCRoute || parts.transcoded => Flavor::Grpc,
        Table::Edge { .. } => Flavor::Http,
        Table::Mesh { .. } => Flavor::Mesh,
    };
    let client = match &**parts.table {
        Table::Edge { gateway, .. } => client_of(view, gateway, resolved),
        Table::Mesh { .. } => None,
    };
    ClusterKey { backend: resolved.id.clone(), flavor, owner: owner.cloned(), client }
}

/// The Gateway, where it shows a certificate of its own to this backend.
pub(crate) fn client_of(view: &View<'_>, gateway: &ObjectKey, resolved: &ResolvedBackend) -> Option<ObjectKey> {
    let certificate = view.frame(gateway).and_then(|frame| frame.client_certificate.as_ref());
    (resolved.origin_tls && certificate.is_some()).then(|| gateway.clone())
}

fn mirrors(view: &View<'_>, parts: &RuleParts<'_>, owner: Option<&Owner>, clusters: &mut BTreeSet<ClusterKey>) -> Vec<Mirror> {
    let both = parts.resolved.mirrors.iter().zip(&parts.filters.mirrors);
    let wanted = both.filter_map(|(resolved, share)| resolved.as_ref().map(|resolved| (resolved, share)));
    wanted
        .filter(|(_, (numerator, _))| *numerator > 0)
        .map(|(resolved, (numerator, denominator))| {
            let key = cluster(view, parts, resolved, owner);
            let name = key.name();
            clusters.insert(key);
            Mirror { cluster: name, numerator: *numerator, denominator: *denominator }
        })
        .collect()
}

/// The time for the whole exchange, and retries. The route's own words win over a policy's.
fn times(parts: &RuleParts<'_>, traffic: &RouteTraffic) -> (Duration, Option<Retry>) {
    let backend = parts.rule.backend_timeout.filter(|timeout| !timeout.is_zero());
    let mut retry = match &parts.rule.retry {
        Some(declared) => Some(self::retry(declared, traffic.retry.as_ref())),
        None => traffic.retry.clone(),
    };
    let streams = parts.route.kind == Kind::GRPCRoute;
    let default = if streams { Duration::ZERO } else { limits::REQUEST_TIMEOUT };
    let said = parts.rule.request_timeout.or(traffic.request);
    let attempts = retry.as_ref().map_or(0, |retry| retry.attempts);
    let whole = match (said, backend) {
        (Some(said), _) => said,
        (None, Some(backend)) => backend.saturating_mul(attempts + 1),
        (None, None) => default,
    };
    match (&mut retry, backend) {
        (Some(retry), Some(backend)) => retry.per_try_timeout = Some(backend),
        (None, Some(backend)) if whole.is_zero() || backend < whole => return (backend, None),
        (Some(_) | None, _) => {}
    }
    (whole, retry)
}

fn retry(declared: &DeclaredRetry, policy: Option<&Retry>) -> Retry {
    Retry {
        attempts: declared.attempts.unwrap_or_else(|| policy.map_or(limits::RETRY_ATTEMPTS, |policy| policy.attempts)),
        per_try_timeout: policy.and_then(|policy| policy.per_try_timeout),
        backoff: declared
            .backoff
            .filter(|wait| !wait.is_zero())
            .unwrap_or_else(|| policy.map_or(limits::RETRY_BACKOFF, |policy| policy.backoff)),
        statuses: sorted(declared.codes.clone()),
        grpc_statuses: policy.map(|policy| policy.grpc_statuses.clone()).unwrap_or_default(),
        on_connect_failure: true,
    }
}

fn sorted(mut statuses: Vec<u16>) -> Vec<u16> {
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}
