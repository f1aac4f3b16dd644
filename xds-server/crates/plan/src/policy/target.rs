//! Targets: what a policy names, whether it is there, and which of several policies on one target decides (the older one, where they do not
//! add up).

use windrose_api::Meta;
use windrose_api::declared::AnyObject;
use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::{Listener, Protocol};
use windrose_api::declared::route::ParentRef;
use windrose_api::policy::{TargetRef, target_kinds, target_part};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef, Text};

use super::auth::siblings;
use super::{mesh, set_aside};
use crate::backend::BackendId;
use crate::plan::{Condition, ConditionType, Subject};
use crate::reference::{Problem, field, missing};
use crate::world::{View, nearest};

/// The object that a target names, in the policy's namespace; none for a kind that does not exist.
pub(crate) fn of_target(target: &TargetRef, namespace: &Text) -> Option<ObjectRef> {
    let kind = Kind::parse(&target.kind).filter(|kind| kind.group() == target.group)?;
    let namespace = if kind.is_cluster_scoped() { Text::from("") } else { namespace.clone() };
    Some(ObjectRef { kind, key: ObjectKey::new(namespace, target.name.as_str()) })
}

/// The same for a BackendTLSPolicy's target.
pub(crate) fn of_reference(target: &ObjectReference, namespace: &Text) -> Option<ObjectRef> {
    let kind = Kind::parse(&target.kind).filter(|kind| kind.group() == &*target.group)?;
    Some(ObjectRef { kind, key: ObjectKey::new(namespace.clone(), target.name.clone()) })
}

/// The oldest policy of a kind that names exactly this target and section.
pub(crate) fn winner(view: &View<'_>, kind: Kind, target: &ObjectRef, section: Option<&Text>) -> Option<ObjectRef> {
    all_at(view, kind, target, section).into_iter().next()
}

/// The policies of a kind on a backend, the most specific first: of a Service one that names the port, then one for all of it.
pub(crate) fn on_backend(view: &View<'_>, kind: Kind, backend: &BackendId, udp: bool) -> Vec<ObjectRef> {
    let object = backend.object();
    let name = match backend {
        BackendId::Service(key, port) => view.service(key).and_then(|service| {
            let here = service.spec.ports.iter().find(|known| known.port == *port && known.udp == udp);
            here.map(|port| port.name.clone()).filter(|name| !name.is_empty())
        }),
        BackendId::Backend(_) | BackendId::Split(_) => None,
    };
    let own = name.and_then(|name| winner(view, kind, &object, Some(&name)));
    own.into_iter().chain(winner(view, kind, &object, None)).collect()
}

/// The policy for a Service's port: one that names the port, else one for the whole Service.
pub(crate) fn winner_for_port(view: &View<'_>, kind: Kind, service: &ObjectRef, port: &Text) -> Option<ObjectRef> {
    let own = (!port.is_empty()).then(|| winner(view, kind, service, Some(port))).flatten();
    own.or_else(|| winner(view, kind, service, None))
}

/// All policies of a kind that name exactly this target and section, the oldest first.
pub(crate) fn all_at(view: &View<'_>, kind: Kind, target: &ObjectRef, section: Option<&Text>) -> Vec<ObjectRef> {
    by_age(view, kind, target, |part| part == section)
}

/// The policies of a kind that name a part which this target does not have, the oldest first.
pub(crate) fn at_no_part(view: &View<'_>, kind: Kind, target: &ObjectRef) -> Vec<ObjectRef> {
    let known = view.object(target).map(|object| sections(&object)).unwrap_or_default();
    by_age(view, kind, target, |part| part.is_some_and(|part| !known.contains(part)))
}

/// Whether a policy names exactly this target and section.
pub(super) fn names(policy: &AnyObject, target: &ObjectRef, section: Option<&Text>) -> bool {
    targets(policy).into_iter().any(|(known, part)| known.as_ref() == Some(target) && part.as_ref() == section)
}

fn by_age(view: &View<'_>, kind: Kind, target: &ObjectRef, is_meant: impl Fn(Option<&Text>) -> bool) -> Vec<ObjectRef> {
    // What cannot attach there is told, and decides nothing.
    if !target_kinds(kind).contains(&target.kind) {
        return Vec::new();
    }
    let with_age = view.policies_on(kind, target).filter_map(|policy| {
        let object = view.object(&policy)?;
        let here = targets(&object).into_iter().any(|(known, part)| known.as_ref() == Some(target) && is_meant(part.as_ref()));
        here.then(|| rank(object.meta()))
    });
    let mut found: Vec<_> = with_age.collect();
    found.sort();
    found.into_iter().map(|(_, _, policy)| policy).collect()
}

/// Of several the first decides: the oldest, and of those of one age (files have none) one that can be read before what stands in for
/// one that cannot.
pub(super) fn rank(meta: &Meta) -> (u64, bool, ObjectRef) {
    (meta.created, set_aside::is_stand_in(meta), meta.object.clone())
}

/// Whether a policy of a kind names a part of this target.
pub(crate) fn is_any_part_named(view: &View<'_>, kind: Kind, target: &ObjectRef) -> bool {
    let named = view.policies_on(kind, target).filter_map(|policy| view.object(&policy));
    named.flat_map(|object| targets(&object)).any(|(known, part)| known.as_ref() == Some(target) && part.is_some())
}

/// Judges the targets of a policy and tells its verdict for each.
pub(crate) fn judge(view: &View<'_>, policy: &AnyObject) {
    let meta = policy.meta();
    let mut held = Vec::new();
    if targets(policy).is_empty() && may_be_general(meta.object.kind) && judge_general(view, &meta.object) {
        held.push(format!("namespace {}", meta.object.key.namespace));
    }
    for (index, (target, section)) in targets(policy).into_iter().enumerate() {
        let Some(parent) = parents(policy).into_iter().nth(index) else { continue };
        let subject = Subject::parent(meta.object.clone(), parent.clone());
        let judged = attached(view, &meta.object, &parent, target.as_ref(), section.as_ref());
        match judged {
            Ok(()) => {
                view.condition(&subject, ConditionType::Accepted, Condition::yes("Accepted"));
                held.extend(target.map(|target| target.to_string()));
            }
            Err(problem) => {
                view.condition(&subject, ConditionType::Accepted, Condition::no(problem.reason, problem.message.clone()));
                let problem = problem.at(&meta.object, field(&format!("spec.targetRefs[{index}]")));
                view.tell(if problem.code == Code::Conflicted { warning(problem) } else { problem });
            }
        }
    }
    if !held.is_empty() && view.is_set_aside(&meta.object) {
        let closes = set_aside::closes_by(meta.object.kind);
        let message = format!("it cannot be read, so until it can {closes} {}", held.join(", "));
        view.warn(&meta.object, field(""), Code::Closed, message);
    }
}

/// Kinds that hold for their namespace where they name no target.
fn may_be_general(kind: Kind) -> bool {
    matches!(kind, Kind::MeshPolicy | Kind::TelemetryPolicy | Kind::AuthorizationPolicy)
}

/// What names no target holds for its namespace, if it is the first or all hold; whether it does.
fn judge_general(view: &View<'_>, policy: &ObjectRef) -> bool {
    let namespace = &policy.key.namespace;
    let target = ObjectReference { group: "".into(), kind: Kind::Namespace.as_str().into(), namespace: None, name: namespace.clone() };
    let subject = Subject::parent(policy.clone(), ParentRef { target, section: None, port: None });
    let first = mesh::oldest_general(view, policy.kind, namespace).filter(|first| first != policy && !adds_up(policy.kind));
    let Some(first) = first else {
        view.condition(&subject, ConditionType::Accepted, Condition::yes("Accepted"));
        return true;
    };
    let message = format!("{} the namespace", precedes(view, &first, policy));
    view.condition(&subject, ConditionType::Accepted, Condition::no("Conflicted", message.clone()));
    view.tell(warning(Problem::new("Conflicted", Code::Conflicted, message).at(policy, field("spec.targetRefs"))));
    false
}

/// Why another policy decides in the place of this one.
fn precedes(view: &View<'_>, other: &ObjectRef, policy: &ObjectRef) -> String {
    let of = |policy: &ObjectRef| view.object(policy).map(|policy| rank(policy.meta()));
    let why = match of(other).zip(of(policy)) {
        Some(((other, _, _), (own, _, _))) if other < own => "is older",
        Some(((_, _, _), (_, true, _))) => "can be read",
        Some(_) | None => "comes first by name",
    };
    format!("{other} {why} and already decides for")
}

fn warning(diagnostic: Diagnostic) -> Diagnostic {
    Diagnostic { severity: windrose_vocab::Severity::Warning, ..diagnostic }
}

fn attached(
    view: &View<'_>,
    policy: &ObjectRef,
    written: &ParentRef,
    target: Option<&ObjectRef>,
    section: Option<&Text>,
) -> Result<(), Problem> {
    const NOT_FOUND: &str = "TargetNotFound";
    let kinds = target_kinds(policy.kind);
    let usable = target.filter(|target| kinds.contains(&target.kind));
    let target = usable.ok_or_else(|| {
        let message = format!("{} cannot attach to {}", policy.kind, written.target.kind);
        let hint = kinds.iter().map(|kind| format!("{kind} (group `{}`)", kind.group())).collect::<Vec<_>>().join(", ");
        Problem::new(NOT_FOUND, Code::TargetNotFound, message).hint(Some(format!("use {hint}")))
    })?;
    let object = view.object(target).ok_or_else(|| Problem { code: Code::TargetNotFound, ..missing(view, NOT_FOUND, target) })?;
    if let Some(section) = section {
        if target_part(policy.kind, target.kind).is_none() {
            let message = format!("a {} holds for a whole {}, not for a part of it", policy.kind, target.kind);
            return Err(Problem::new("Invalid", Code::Unsupported, message).hint(Some("leave `sectionName` out")));
        }
        let known = sections(&object);
        if !known.contains(section) {
            let what = if siblings::holds_meanwhile(view, policy, target) {
                "until it has, this holds for each of its rules that no AuthPolicy names"
            } else {
                "so there is nothing that it holds for"
            };
            let message = format!("{target} has no section `{section}`, {what}");
            let hint = nearest(known.iter().map(|name| &**name), section);
            return Err(Problem::new(NOT_FOUND, Code::TargetNotFound, message).hint(hint));
        }
        if policy.kind != Kind::TrafficPolicy && carries_datagrams(&object, section) {
            let message = format!("port `{section}` of {target} carries datagrams, which no {} judges", policy.kind);
            return Err(Problem::new("Invalid", Code::Unsupported, message).hint(Some("name a port of another protocol")));
        }
    }
    if matches!(policy.kind, Kind::AuthPolicy | Kind::RateLimitPolicy) {
        judge_connections(view, policy, target, &object, section)?;
    }
    if policy.kind == Kind::AuthPolicy {
        siblings::judge(view, policy, target, section)?;
    }
    match winner(view, policy.kind, target, section) {
        Some(older) if older != *policy && !adds_up(policy.kind) => {
            let message = format!("{} {target}", precedes(view, &older, policy));
            Err(Problem::new("Conflicted", Code::Conflicted, message))
        }
        _ => Ok(()),
    }
}

/// What judges requests holds for no listener that carries connections or datagrams, and nobody shall think that it does.
///
/// # Errors
/// Where it names such a listener; where it names one among others, that is told.
fn judge_connections(
    view: &View<'_>,
    policy: &ObjectRef,
    target: &ObjectRef,
    object: &AnyObject,
    section: Option<&Text>,
) -> Result<(), Problem> {
    let listeners: &[Listener] = match object {
        AnyObject::Gateway(gateway) => &gateway.spec.listeners,
        AnyObject::ListenerSet(set) => &set.spec.listeners,
        _ => &[],
    };
    let named = listeners.iter().filter(|listener| section.is_none_or(|section| *section == listener.name));
    let blind = named.filter(|listener| matches!(listener.protocol, Protocol::Tls | Protocol::Tcp | Protocol::Udp));
    let blind: Vec<&str> = blind.map(|listener| &*listener.name).collect();
    if blind.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} of {target} carries no HTTP, and a {} judges requests: it protects nothing there", blind.join(", "), policy.kind);
    let hint = "say who may connect by an AuthorizationPolicy, or by `addresses` of an EdgePolicy";
    if section.is_some() {
        return Err(Problem::new("Invalid", Code::Unsupported, message).hint(Some(hint)));
    }
    view.tell(Diagnostic::warning(policy.clone(), field("spec.targetRefs"), Code::Unsupported, message).hint(hint));
    Ok(())
}

/// Kinds of which several on one target all hold.
fn adds_up(kind: Kind) -> bool {
    matches!(kind, Kind::AuthPolicy | Kind::RateLimitPolicy | Kind::AuthorizationPolicy)
}

fn carries_datagrams(object: &AnyObject, port: &Text) -> bool {
    match object {
        AnyObject::Service(service) => service.spec.ports.iter().any(|one| one.udp && one.name == *port),
        _ => false,
    }
}

pub(super) fn sections(object: &AnyObject) -> Vec<Text> {
    match object {
        AnyObject::Gateway(gateway) => gateway.spec.listeners.iter().map(|listener| listener.name.clone()).collect(),
        AnyObject::ListenerSet(set) => set.spec.listeners.iter().map(|listener| listener.name.clone()).collect(),
        AnyObject::Route(route) => route.spec.rules.iter().filter_map(|rule| rule.name.clone()).collect(),
        AnyObject::Service(service) => service.spec.ports.iter().map(|port| port.name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// What a policy names: objects with sections, in its order.
pub(crate) fn targets(policy: &AnyObject) -> Vec<(Option<ObjectRef>, Option<Text>)> {
    let namespace = &policy.meta().object.key.namespace;
    match policy {
        AnyObject::BackendTls(policy) => {
            policy.spec.targets.iter().map(|(reference, section)| (of_reference(reference, namespace), section.clone())).collect()
        }
        _ => {
            let of = |target: &TargetRef| (of_target(target, namespace), target.section_name.as_deref().map(Text::from));
            references(policy).iter().map(of).collect()
        }
    }
}

fn parents(policy: &AnyObject) -> Vec<ParentRef> {
    match policy {
        AnyObject::BackendTls(policy) => {
            let of = |(target, section): &(ObjectReference, Option<Text>)| ParentRef {
                target: target.clone(),
                section: section.clone(),
                port: None,
            };
            policy.spec.targets.iter().map(of).collect()
        }
        _ => references(policy).iter().map(parent).collect(),
    }
}

/// A target in the words of a parent.
pub(super) fn parent(target: &TargetRef) -> ParentRef {
    let reference = ObjectReference {
        group: target.group.as_str().into(),
        kind: target.kind.as_str().into(),
        namespace: None,
        name: target.name.as_str().into(),
    };
    ParentRef { target: reference, section: target.section_name.as_deref().map(Text::from), port: None }
}

fn references(policy: &AnyObject) -> &[TargetRef] {
    match policy {
        AnyObject::AuthPolicy(policy) => &policy.spec.target_refs,
        AnyObject::RateLimitPolicy(policy) => &policy.spec.target_refs,
        AnyObject::TranscodingPolicy(policy) => &policy.spec.target_refs,
        AnyObject::TrafficPolicy(policy) => &policy.spec.target_refs,
        AnyObject::EdgePolicy(policy) => &policy.spec.target_refs,
        AnyObject::MeshPolicy(policy) => &policy.spec.target_refs,
        AnyObject::AuthorizationPolicy(policy) => &policy.spec.target_refs,
        AnyObject::TelemetryPolicy(policy) => &policy.spec.target_refs,
        _ => &[],
    }
}
