//! The backends of a route: which references hold, and what each comes to. The same for every parent.

use std::collections::BTreeSet;

use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::route::{Filter, Rule};
use windrose_ir::route::{PathMatch, RouteMatch, ValueMatch, ValuePattern};
use windrose_vocab::{Code, Kind, ObjectRef, Port, Text};

use super::matching::matcher;
use super::{external_auth, pattern, reachable};
use crate::backend::{AppProtocol, BackendId};
use crate::plan::{Condition, ConditionType, Subject};
use crate::policy::{self, PolicyOutcome};
use crate::reference::{Problem, field, key_of, kind_of, missing, permitted, wrong_kind};
use crate::settings::Addresses;
use crate::world::View;

/// The rules of a route, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) rules: Vec<ResolvedRule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvedRule {
    /// Backends in the order declared; none where the reference does not hold.
    pub(crate) backends: Vec<Option<ResolvedBackend>>,
    /// Services of the rule's `ExternalAuth` filters, in the order of the filters.
    pub(crate) auth: Vec<Option<ResolvedBackend>>,
    /// Targets of the mirrors among the rule's filters, in the order of the filters.
    pub(crate) mirrors: Vec<Option<ResolvedBackend>>,
    /// Matches that cannot be made: they match nothing.
    pub(crate) unmatched: BTreeSet<usize>,
}

/// One backend that can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedBackend {
    pub(crate) id: BackendId,
    /// Whether a BackendTLSPolicy or the Backend itself says TLS.
    pub(crate) origin_tls: bool,
}

/// What a route needs a backend to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Http,
    Grpc,
    Bytes,
    Datagrams,
}

/// Resolves all references of a route.
pub(crate) fn resolve(view: &View<'_>, key: &ObjectRef) -> Option<Resolved> {
    let route = view.route(key)?;
    let mut worst = None;
    let rules: Vec<ResolvedRule> =
        route.spec.rules.iter().enumerate().map(|(index, rule)| resolve_rule(view, key, index, rule, &mut worst)).collect();
    if matches!(carries(key.kind), Carries::Bytes | Carries::Datagrams) && rules.len() > 1 {
        let message = "only the first rule holds: nothing tells the connections of another one apart";
        view.error(key, field("spec.rules[1]"), Code::Unsupported, message);
    }
    let partial = rules.iter().any(|rule| !rule.unmatched.is_empty());
    let condition = match worst {
        None => Condition::yes("ResolvedRefs"),
        Some(Problem { reason, message, .. }) => Condition::no(reason, message),
    };
    for parent in &route.spec.parents {
        if is_ours(view, key, &parent.target) {
            let subject = Subject::parent(key.clone(), parent.clone());
            view.condition(&subject, ConditionType::ResolvedRefs, condition.clone());
            if partial {
                let message = "Dropped Rule: matches that cannot be understood match nothing".to_owned();
                let partial = Condition { status: true, reason: "UnsupportedValue", message };
                view.condition(&subject, ConditionType::PartiallyInvalid, partial);
            }
        }
    }
    Some(Resolved { rules })
}

/// Whether a parent is one that we judge: a Gateway of another controller is not.
fn is_ours(view: &View<'_>, route: &ObjectRef, parent: &ObjectReference) -> bool {
    let key = key_of(parent, &route.key.namespace);
    match kind_of(parent) {
        Some(Kind::Gateway) => view.gateway(&key).is_none() || view.frame(&key).is_some(),
        _ => true,
    }
}

fn resolve_rule(view: &View<'_>, route: &ObjectRef, index: usize, rule: &Rule, worst: &mut Option<Problem>) -> ResolvedRule {
    let carries = carries(route.kind);
    let mut told = |found: Result<ResolvedBackend, Problem>, path: String| {
        let found = found.map_err(|problem| {
            view.tell(problem.at(route, field(&path)));
            worst.get_or_insert(problem);
        });
        found.ok()
    };
    let resolve = |reference: &ObjectReference, port: Option<Port>| resolve_backend(view, route, reference, port, carries);
    let backends =
        rule.backends.iter().enumerate().map(|(position, backend)| {
            told(resolve(&backend.target, backend.port), format!("spec.rules[{index}].backendRefs[{position}]"))
        });
    let backends = backends.collect();
    let (mut mirrors, mut auth) = (Vec::new(), Vec::new());
    for (position, filter) in rule.filters.iter().enumerate() {
        let path = format!("spec.rules[{index}].filters[{position}]");
        match filter {
            Filter::Mirror(mirror) => {
                mirrors.push(told(resolve(&mirror.target, mirror.port), format!("{path}.requestMirror.backendRef")));
            }
            Filter::ExternalAuth(declared) => {
                auth.push(told(external_auth::resolve(view, route, declared), format!("{path}.externalAuth.backendRef")));
            }
            Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_)
            | Filter::Cors(_)
            | Filter::Extension(_) => {}
        }
    }
    ResolvedRule { backends, auth, mirrors, unmatched: unmatched(view, route, index, rule) }
}

fn unmatched(view: &View<'_>, route: &ObjectRef, index: usize, rule: &Rule) -> BTreeSet<usize> {
    let mut unmatched = BTreeSet::new();
    for (position, declared) in rule.matches.iter().enumerate() {
        for (part, pattern) in patterns(&matcher(declared)) {
            if let Err(why) = pattern::check(&pattern) {
                let path = format!("spec.rules[{index}].matches[{position}]{part}");
                let message = format!("`{}` {why}; the match matches nothing", pattern.escape_debug());
                view.error(route, field(&path), Code::OutOfRange, message);
                unmatched.insert(position);
            }
        }
    }
    unmatched
}

/// The regular expressions of a match, with where they stand.
fn patterns(matcher: &RouteMatch) -> Vec<(String, Text)> {
    let values = |part: &'static str, values: &[ValueMatch]| {
        let pattern = |value: &ValueMatch| match &value.value {
            ValuePattern::Regex(pattern) => Some((part.to_owned(), pattern.clone())),
            ValuePattern::Exact(_) => None,
        };
        values.iter().filter_map(pattern).collect::<Vec<_>>()
    };
    let path = match &matcher.path {
        PathMatch::Regex(pattern) if matcher.grpc => Some((".method".to_owned(), pattern.clone())),
        PathMatch::Regex(pattern) => Some((".path".to_owned(), pattern.clone())),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
    };
    path.into_iter().chain(values(".headers", &matcher.headers)).chain(values(".queryParams", &matcher.query)).collect()
}

fn carries(kind: Kind) -> Carries {
    match kind {
        Kind::HTTPRoute => Carries::Http,
        Kind::GRPCRoute => Carries::Grpc,
        Kind::UDPRoute => Carries::Datagrams,
        _ => Carries::Bytes,
    }
}

/// The backend that `reference` names from `from`.
///
/// # Errors
/// The problem, with the reason for the condition ResolvedRefs.
pub(crate) fn resolve_backend(
    view: &View<'_>,
    from: &ObjectRef,
    reference: &ObjectReference,
    port: Option<Port>,
    carries: Carries,
) -> Result<ResolvedBackend, Problem> {
    let kind = kind_of(reference).filter(|kind| matches!(kind, Kind::Service | Kind::Backend));
    let kind = kind.ok_or_else(|| wrong_kind(reference, "InvalidKind", "a Service, or a Backend of group windrose.dev"))?;
    let target = ObjectRef { kind, key: key_of(reference, &from.key.namespace) };
    permitted(view, from, &target)?;
    if kind == Kind::Service { service(view, &target, port, carries) } else { backend(view, &target, carries) }
}

fn service(view: &View<'_>, target: &ObjectRef, port: Option<Port>, carries: Carries) -> Result<ResolvedBackend, Problem> {
    let service = view.service(&target.key).ok_or_else(|| missing(view, "BackendNotFound", target))?;
    if service.spec.external_name.is_some() {
        let message = format!("{target} is of type ExternalName, which lets whoever edits it send requests anywhere");
        return Err(Problem::new("UnsupportedValue", Code::Unsupported, message).hint(Some("declare a Backend with the host")));
    }
    let udp = carries == Carries::Datagrams;
    let ports = || service.spec.ports.iter().filter(|port| port.udp == udp);
    let known = || {
        let known = ports().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
        if known.is_empty() { "none".to_owned() } else { known }
    };
    let Some(number) = port else {
        let message = format!("{target} needs a port");
        return Err(Problem::new("BackendNotFound", Code::MissingField, message).hint(Some(format!("it has {}", known()))));
    };
    let Some(port) = ports().find(|port| port.port == number) else {
        let message = format!("{target} has no {} port {number}", if udp { "UDP" } else { "TCP" });
        return Err(Problem::new("BackendNotFound", Code::RefNotFound, message).hint(Some(format!("it has {}", known()))));
    };
    let id = BackendId::Service(target.key.clone(), number);
    if udp {
        return Ok(ResolvedBackend { id, origin_tls: false });
    }
    let protocol = AppProtocol::parse(port.app_protocol.as_deref());
    let tls = policy::winner_for_port(view, Kind::BackendTLSPolicy, target, &port.name);
    if let Some(policy) = &tls
        && !matches!(view.policy(policy), Some(PolicyOutcome::BackendTls(Some(_))))
    {
        let message = format!("{policy} of {target} cannot be used, and without it nothing is sent");
        return Err(Problem::new("InvalidBackendTLSPolicy", Code::RefNotFound, message));
    }
    speaks(target, protocol, tls.is_some(), carries)?;
    Ok(ResolvedBackend { id, origin_tls: tls.is_some() })
}

fn speaks(target: &ObjectRef, protocol: AppProtocol, tls: bool, carries: Carries) -> Result<(), Problem> {
    let refused = |message: String, hint: &str| Err(Problem::new("UnsupportedProtocol", Code::Unsupported, message).hint(Some(hint)));
    match (carries, protocol) {
        (Carries::Bytes, _) => Ok(()),
        (Carries::Datagrams, _) => refused(format!("{target} takes no datagrams"), "name a Service with a UDP port"),
        (_, AppProtocol::Opaque) => {
            refused(format!("the port of {target} does not speak HTTP"), "use a TCPRoute, or correct its `appProtocol`")
        }
        (Carries::Grpc, AppProtocol::Http | AppProtocol::WebSocket | AppProtocol::SecureWebSocket) => {
            refused(format!("the port of {target} speaks HTTP/1.1, gRPC needs HTTP/2"), "set `appProtocol: kubernetes.io/h2c`")
        }
        (_, protocol) if protocol.is_tls() && !tls => {
            refused(format!("the port of {target} speaks TLS, and nothing says whom to trust"), "attach a BackendTLSPolicy to it")
        }
        _ => Ok(()),
    }
}

fn backend(view: &View<'_>, target: &ObjectRef, carries: Carries) -> Result<ResolvedBackend, Problem> {
    let backend = view.backend(&target.key).ok_or_else(|| missing(view, "BackendNotFound", target))?;
    if view.settings().addresses == Addresses::Assigned {
        reachable::by_everybody(target, &backend.spec)?;
    }
    let protocol = match backend.spec.protocol {
        windrose_api::declared::backend::BackendProtocol::Http => AppProtocol::Http,
        windrose_api::declared::backend::BackendProtocol::Http2 => AppProtocol::H2c,
        windrose_api::declared::backend::BackendProtocol::Tcp => AppProtocol::Opaque,
    };
    speaks(target, protocol, false, carries)?;
    let by_policy = policy::winner(view, Kind::BackendTLSPolicy, target, None);
    let unusable = match &by_policy {
        Some(policy) => !matches!(view.policy(policy), Some(PolicyOutcome::BackendTls(Some(_)))),
        None => backend.spec.tls.is_some() && !matches!(view.policy(target), Some(PolicyOutcome::BackendTls(Some(_)))),
    };
    if unusable {
        let message = format!("the TLS of {target} cannot be used, and without it nothing is sent");
        return Err(Problem::new("InvalidBackendTLSPolicy", Code::RefNotFound, message));
    }
    let origin_tls = by_policy.is_some() || backend.spec.tls.is_some();
    Ok(ResolvedBackend { id: BackendId::Backend(target.key.clone()), origin_tls })
}
