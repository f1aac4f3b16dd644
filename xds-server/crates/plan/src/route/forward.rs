//! Where a rule sends requests on: clusters with their shares, times, retries, mirrors, and what is hashed.

use std::collections::BTreeSet;
use std::time::Duration;

use windrose_api::declared::route::{BackendRef, Filter, Retry as DeclaredRetry, Rule};
use windrose_ir::route::{Forward, HeaderChanges, Mirror, PathRewrite, Redirect, Retry, Rewrite, RouteAction, Share, WeightedBackend};
use windrose_vocab::{Code, Kind, ObjectKey, ObjectRef, Text};

use super::filters::{Filters, filters};
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

/// What the rule does, in one route or, where backends rewrite the path in ways of their own, in one for each; the clusters it needs are
/// added to `clusters`.
pub(crate) fn actions(view: &View<'_>, parts: &RuleParts<'_>, clusters: &mut BTreeSet<ClusterKey>) -> Vec<(Option<Share>, RouteAction)> {
    let failed = || RouteAction::Respond { status: if parts.route.kind == Kind::GRPCRoute { 503 } else { 500 }, body: "".into() };
    if parts.filters.unknown {
        return vec![(None, failed())];
    }
    if let Some(redirect) = &parts.filters.redirect {
        return vec![(None, RouteAction::Redirect(Redirect { port: port_of(redirect, parts.table), ..redirect.clone() }))];
    }
    let traffic = traffic::of_rule(view, parts);
    let owner = owner(parts, &traffic);
    let mut backends = backends(view, parts, owner.as_ref(), clusters);
    if parts.transcoded && backends.iter_mut().filter_map(|(_, path)| path.take()).count() > 0 {
        let path = format!("spec.rules[{}]", parts.index);
        let message = "a call that is transcoded goes to the path of its gRPC method: what rewrites the path has no effect";
        view.warn(parts.route, field(&path), Code::Unsupported, message);
    }
    let mut reached = backends.iter().filter(|(backend, _)| backend.cluster.is_some()).map(|(_, path)| path);
    let Some(path) = reached.next() else { return vec![(None, failed())] };
    let alike = reached.all(|other| other == path);
    let forward = forward(view, parts, (&traffic, owner.as_ref()), clusters);
    let to = |backends: Vec<WeightedBackend>, path: Option<PathRewrite>| {
        RouteAction::Forward(Box::new(Forward { backends, rewrite: Rewrite { path, ..forward.rewrite.clone() }, ..forward.clone() }))
    };
    if alike {
        let path = path.clone();
        return vec![(None, to(backends.into_iter().map(|(backend, _)| backend).collect(), path))];
    }
    if forward.session.is_some() {
        let path = format!("spec.rules[{}].sessionPersistence", parts.index);
        let message = "sessions do not stick to one of several backends that rewrite the path in ways of their own";
        view.warn(parts.route, field(&path), Code::Unsupported, message);
    }
    let shares = shares(backends.iter().map(|(backend, _)| backend.weight));
    let one = |(backend, path): (WeightedBackend, _)| if backend.cluster.is_some() { to(vec![backend], path) } else { failed() };
    shares.into_iter().zip(backends.into_iter().map(one)).collect()
}

/// The bound of each weight; the last takes what is left.
fn shares(weights: impl ExactSizeIterator<Item = u32> + Clone) -> Vec<Option<Share>> {
    const WHOLE: u64 = 1_000_000;
    let (last, total) = (weights.len().saturating_sub(1), weights.clone().map(u64::from).sum::<u64>().max(1));
    let mut sum = 0;
    let bounds = weights.enumerate().map(|(index, weight)| {
        sum += u64::from(weight);
        let below = u32::try_from(sum * WHOLE / total).unwrap_or(u32::MAX);
        (index < last).then_some(Share { below_millionths: below })
    });
    bounds.collect()
}

/// All that the routes of a rule have in common, without backends.
fn forward(
    view: &View<'_>,
    parts: &RuleParts<'_>,
    (traffic, owner): (&RouteTraffic, Option<&Owner>),
    clusters: &mut BTreeSet<ClusterKey>,
) -> Forward {
    let (timeout, retry) = times(parts, traffic);
    let (session, hash) = session::session(view, parts).unzip();
    let grpc = parts.route.kind == Kind::GRPCRoute;
    Forward {
        backends: Vec::new(),
        rewrite: Rewrite { host: parts.filters.rewrite.host.clone(), path: None },
        timeout,
        idle_timeout: traffic.idle,
        retry,
        mirrors: mirrors(view, parts, owner, clusters),
        hash: hash.filter(|hash| !hash.is_empty()).unwrap_or_else(|| traffic.hash.clone()),
        session,
        websocket: !grpc && !parts.transcoded,
        max_grpc_timeout: (grpc && !timeout.is_zero()).then_some(timeout),
    }
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

/// Those with a share, each with what it makes of the path.
fn backends(
    view: &View<'_>,
    parts: &RuleParts<'_>,
    owner: Option<&Owner>,
    clusters: &mut BTreeSet<ClusterKey>,
) -> Vec<(WeightedBackend, Option<PathRewrite>)> {
    let both = parts.rule.backends.iter().zip(&parts.resolved.backends).enumerate();
    let counted = both.filter(|(_, (declared, _))| declared.weight.get() > 0);
    let mut all: Vec<_> = counted
        .map(|(index, (declared, resolved))| {
            let own = own_filters(view, parts, index, declared);
            let resolved = resolved.as_ref().filter(|_| !own.unknown);
            let key = resolved.map(|resolved| cluster(view, parts, resolved, owner));
            clusters.extend(key.iter().cloned());
            let backend = WeightedBackend {
                cluster: key.map(|key| key.name()),
                weight: declared.weight.get(),
                request_headers: own.request_headers,
                response_headers: own.response_headers,
                host: own.rewrite.host,
            };
            (backend, own.rewrite.path.or_else(|| parts.filters.rewrite.path.clone()))
        })
        .collect();
    // A proxy does what a share says before what its route says; declared is the other way round.
    if all.iter().any(|(backend, _)| backend.request_headers != HeaderChanges::default()) {
        all.iter_mut().for_each(|(backend, _)| backend.request_headers = parts.filters.request_headers.then(&backend.request_headers));
    }
    all
}

/// The filters of one backend, as far as a share of a rule can have its own.
fn own_filters(view: &View<'_>, parts: &RuleParts<'_>, index: usize, declared: &BackendRef) -> Filters {
    if declared.filters.is_empty() {
        return Filters::default();
    }
    let path = format!("spec.rules[{}].backendRefs[{index}].filters", parts.index);
    let mut own = filters(view, parts.route, &path, &declared.filters);
    let asks = declared.filters.iter().any(|filter| matches!(filter, Filter::ExternalAuth(_)));
    let more = own.redirect.is_some() || own.cors.is_some() || !own.mirrors.is_empty() || asks;
    if more {
        let message = "a single backend can change headers, the host and the path; its share answers 500";
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
