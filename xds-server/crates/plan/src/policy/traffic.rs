//! TrafficPolicy → times, retries and what a cluster does. Field by field: rule, route, port of a Service, Service or Backend.

mod clusters;

pub(crate) use clusters::of_cluster;

use std::time::Duration;

use windrose_api::declared::Object;
use windrose_api::policy::{HashSource, LoadBalancing, LoadBalancingKind, Retries, Timeouts, TrafficPolicy};
use windrose_api::scalar::Duration as Declared;
use windrose_ir::route::{HashOn, Retry};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef, Port, Text};

use super::{on_backend, winner};
use crate::backend::{BackendId, ClusterKey, Flavor, Owner};
use crate::limits;
use crate::reference::field;
use crate::route::RuleParts;
use crate::world::{View, nearest};

/// gRPC statuses that Envoy can try again on.
const GRPC_STATUSES: [&str; 5] = ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

/// What policies say about the requests of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTraffic {
    pub(crate) request: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) hash: Vec<HashOn>,
    /// Whether a policy of the whole route says what only a cluster of its own can do.
    pub(crate) owns_route: bool,
    /// Whether a policy of the rule does.
    pub(crate) owns_rule: bool,
}

/// What holds for a rule. Of several backends the first that has a policy speaks for all.
pub(crate) fn of_rule(view: &View<'_>, parts: &RuleParts<'_>) -> RouteTraffic {
    let rule = parts.rule.name.as_ref().and_then(|name| policy(view, winner(view, Kind::TrafficPolicy, parts.route, Some(name))));
    let route = policy(view, winner(view, Kind::TrafficPolicy, parts.route, None));
    let counted = parts.rule.backends.iter().zip(&parts.resolved.backends).filter(|(backend, _)| backend.weight.get() > 0);
    let mut backends = counted.filter_map(|(_, backend)| backend.as_ref()).map(|backend| of_backend(view, &backend.id, false));
    let behind = backends.find(|found| !found.is_empty()).unwrap_or_default();
    let owns = |policy: Option<&TrafficPolicy>| policy.is_some_and(needs_cluster);
    let (owns_route, owns_rule) = (owns(route), owns(rule));
    let all: Vec<&TrafficPolicy> = rule.into_iter().chain(route).chain(behind).collect();
    RouteTraffic { owns_route, owns_rule, ..requests(&all) }
}

/// What holds for calls to a Service's port that no route speaks of.
pub(crate) fn of_service(view: &View<'_>, service: &ObjectKey, port: Port) -> RouteTraffic {
    requests(&of_backend(view, &BackendId::Service(service.clone(), port), false))
}

/// What holds for sessions of datagrams that go to a cluster.
pub(crate) fn of_sessions(view: &View<'_>, key: &ClusterKey) -> RouteTraffic {
    requests(&around(view, key))
}

/// The route, where its policy says what only a cluster of its own can do; one that is of all its backends is its own anyway.
pub(crate) fn owner_of_sessions(view: &View<'_>, route: &ObjectRef, backend: &BackendId) -> Option<Owner> {
    let said = policy(view, winner(view, Kind::TrafficPolicy, route, None));
    let shared = !matches!(backend, BackendId::Split(_));
    (shared && said.is_some()).then(|| Owner { route: route.clone(), rule: None, sticky: false })
}

fn needs_cluster(policy: &TrafficPolicy) -> bool {
    policy.timeouts.as_ref().is_some_and(|timeouts| timeouts.connect.is_some())
        || policy.retries.as_ref().is_some_and(|retries| retries.budget.is_some())
        || policy.circuit_breaker.is_some()
        || policy.outlier_detection.is_some()
        || policy.health_check.is_some()
        || policy.load_balancing.is_some()
}

/// The policies of a backend, the most specific first.
fn of_backend<'a>(view: &View<'a>, backend: &BackendId, udp: bool) -> Vec<&'a TrafficPolicy> {
    let names = on_backend(view, Kind::TrafficPolicy, backend, udp).into_iter();
    names.filter_map(|name| policy(view, Some(name))).collect()
}

fn policy<'a>(view: &View<'a>, name: Option<ObjectRef>) -> Option<&'a TrafficPolicy> {
    name.and_then(|name| view.traffic_policy(&name.key)).map(|policy| &policy.spec)
}

fn requests(policies: &[&TrafficPolicy]) -> RouteTraffic {
    let times =
        |of: fn(&Timeouts) -> Option<Declared>| policies.iter().find_map(|policy| policy.timeouts.as_ref().and_then(of)).map(|time| time.0);
    let balancing = policies.iter().find_map(|policy| policy.load_balancing.as_ref());
    RouteTraffic {
        request: times(|times| times.request),
        idle: times(|times| times.idle),
        retry: retry(policies),
        hash: balancing.map(hash).unwrap_or_default(),
        owns_route: false,
        owns_rule: false,
    }
}

fn retry(policies: &[&TrafficPolicy]) -> Option<Retry> {
    let all: Vec<&Retries> = policies.iter().filter_map(|policy| policy.retries.as_ref()).collect();
    let first = all.first()?;
    let attempts = all.iter().find_map(|retries| retries.attempts).unwrap_or(limits::RETRY_ATTEMPTS);
    let statuses = all.iter().find(|retries| !retries.statuses.is_empty()).map_or(&limits::RETRY_STATUSES[..], |retries| &retries.statuses);
    let grpc = all.iter().find(|retries| !retries.grpc_statuses.is_empty()).unwrap_or(first);
    let mut statuses = statuses.to_vec();
    statuses.sort_unstable();
    statuses.dedup();
    let known = grpc.grpc_statuses.iter().filter(|name| GRPC_STATUSES.contains(&name.as_str()));
    let mut grpc_statuses: Vec<Text> = known.map(|name| name.as_str().into()).collect();
    grpc_statuses.sort();
    grpc_statuses.dedup();
    Some(Retry {
        attempts,
        per_try_timeout: all.iter().find_map(|retries| retries.per_try_timeout).map(|time| time.0).filter(|time| !time.is_zero()),
        backoff: all
            .iter()
            .find_map(|retries| retries.backoff)
            .map(|time| time.0)
            .filter(|time| !time.is_zero())
            .unwrap_or(limits::RETRY_BACKOFF),
        statuses,
        grpc_statuses,
        on_connect_failure: true,
    })
}

fn hash(balancing: &LoadBalancing) -> Vec<HashOn> {
    match (balancing.kind, &balancing.consistent_hash) {
        (LoadBalancingKind::ConsistentHash, Some(hash)) => hash.sources.iter().filter_map(hash_on).collect(),
        _ => Vec::new(),
    }
}

fn hash_on(source: &HashSource) -> Option<HashOn> {
    match (&source.header, &source.cookie, source.source_address) {
        (Some(header), None, None) => Some(HashOn::Header(header.to_ascii_lowercase().into())),
        (None, Some(cookie), None) => Some(HashOn::Cookie(cookie.as_str().into(), Duration::ZERO, "/".into())),
        (None, None, Some(true)) => Some(HashOn::SourceAddress),
        _ => None,
    }
}

/// Tells what a policy says that cannot be.
pub(crate) fn judge(view: &View<'_>, policy: &Object<TrafficPolicy>) {
    let own = &policy.meta.object;
    let spec = &policy.spec;
    let names = spec.retries.iter().flat_map(|retries| retries.grpc_statuses.iter().enumerate());
    for (index, name) in names.filter(|(_, name)| !GRPC_STATUSES.contains(&name.as_str())) {
        let path = format!("spec.retries.grpcStatuses[{index}]");
        let told = Diagnostic::error(own.clone(), field(&path), Code::OutOfRange, format!("gRPC status `{name}` cannot be tried again"));
        let hint = nearest(GRPC_STATUSES.into_iter(), name).unwrap_or_else(|| format!("known are {}", GRPC_STATUSES.join(", ")));
        view.tell(told.hint(hint));
    }
    if let Some(balancing) = &spec.load_balancing {
        let hashes = balancing.kind == LoadBalancingKind::ConsistentHash;
        if hashes != balancing.consistent_hash.is_some() {
            let message = "consistentHash and type ConsistentHash need each other; requests are spread by least request";
            view.error(own, field("spec.loadBalancing"), Code::Invalid, message);
        }
        let sources = balancing.consistent_hash.iter().flat_map(|hash| hash.sources.iter().enumerate());
        for (index, _) in sources.filter(|(_, source)| hash_on(source).is_none()) {
            let path = format!("spec.loadBalancing.consistentHash.sources[{index}]");
            view.error(own, field(&path), Code::Invalid, "a source is exactly one of header, cookie and sourceAddress");
        }
    }
    if let Some(check) = &spec.health_check
        && clusters::probe(&check.probe).is_none()
    {
        view.error(
            own,
            field("spec.healthCheck.probe"),
            Code::Invalid,
            "a probe is exactly one of httpPath, grpcService and tcp; nothing is asked",
        );
    }
}

/// The traffic policies of a cluster's owner and backend, the most specific first.
fn around<'a>(view: &View<'a>, key: &ClusterKey) -> Vec<&'a TrafficPolicy> {
    let own = key.owner.iter().flat_map(|owner| {
        let rule = owner.rule.as_ref().and_then(|rule| winner(view, Kind::TrafficPolicy, &owner.route, Some(rule)));
        [rule, winner(view, Kind::TrafficPolicy, &owner.route, None)]
    });
    let own: Vec<_> = own.filter_map(|name| policy(view, name)).collect();
    own.into_iter().chain(of_backend(view, &key.backend, key.flavor == Flavor::Udp)).collect()
}
