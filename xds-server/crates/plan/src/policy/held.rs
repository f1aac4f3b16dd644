//! What a policy that protects holds for while its newest version names what is not there: also for what its former version names and it does
//! not. A misspelt name opens nothing; what the newest version says holds at once, wherever it is attached, unless it would open.

use std::sync::Arc;

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, Object};
use windrose_api::policy::{MeshPolicy, MtlsMode, target_kinds};
use windrose_vocab::{Fingerprint, ObjectRef, Text};

use super::set_aside::protects;
use super::target::{sections, targets};

/// What is planned in the place of the newest version of a policy, and what that protects of which the newest version lets go. None where it
/// lets go of nothing, or names only what is there.
#[must_use]
pub fn held(declared: &Declared, newest: &AnyObject, former: &AnyObject) -> Option<(AnyObject, Vec<String>)> {
    let kind = newest.meta().object.kind;
    let (names, named) = (targets(newest), targets(former));
    let is_there = |(target, section): &(Option<ObjectRef>, Option<Text>)| {
        let target = target.as_ref().filter(|target| target_kinds(kind).contains(&target.kind));
        target.is_some_and(|target| is_there(declared, target, section.as_ref()))
    };
    if !protects(kind) || opens(former) || names.iter().all(is_there) {
        return None;
    }
    // What names nothing holds for its namespace, and nothing can be that and more.
    if named.is_empty() {
        return Some((former.clone(), vec![format!("namespace {}", newest.meta().object.key.namespace)]));
    }
    let goes = |index: &usize| named.get(*index).is_some_and(|target| !names.contains(target));
    let let_go: Vec<usize> = (0..named.len()).filter(goes).collect();
    if let_go.is_empty() {
        return None;
    }
    let stays: Vec<usize> = let_go.into_iter().filter(|index| named.get(*index).is_some_and(is_there)).collect();
    let of = stays.iter().filter_map(|index| named.get(*index)?.0.as_ref().map(ToString::to_string)).collect();
    let former_alone = opens(newest) && !stays.is_empty();
    Some((if former_alone { former.clone() } else { attached_too(newest, former, &stays) }, of))
}

/// Whether what it is attached to may be more open than without it.
fn opens(policy: &AnyObject) -> bool {
    let permits = |spec: &MeshPolicy| {
        let modes = spec.ports.iter().map(|port| port.mtls).chain(spec.mtls);
        modes.into_iter().any(|mode| mode == MtlsMode::Permissive)
    };
    match policy {
        AnyObject::AuthPolicy(policy) => policy.spec.public.is_some(),
        AnyObject::MeshPolicy(policy) => permits(&policy.spec),
        _ => false,
    }
}

/// What cannot be read is there.
fn is_there(declared: &Declared, target: &ObjectRef, section: Option<&Text>) -> bool {
    match declared.get(target) {
        Some(object) => section.is_none_or(|section| sections(&object).contains(section)),
        None => declared.set_aside.contains_key(target),
    }
}

/// A policy with these targets of another one besides its own; itself where there are none.
fn attached_too(policy: &AnyObject, other: &AnyObject, indexes: &[usize]) -> AnyObject {
    let mut all = policy.clone();
    macro_rules! extended {
        ($($kind:ident by $field:ident),*) => {
            match (&mut all, other) {
                _ if indexes.is_empty() => {}
                $((AnyObject::$kind(all), AnyObject::$kind(other)) => add(all, |spec| &mut spec.$field, &other.spec.$field, indexes),)*
                // It protects nothing.
                _ => {}
            }
        };
    }
    extended!(
        AuthPolicy by target_refs,
        RateLimitPolicy by target_refs,
        TranscodingPolicy by target_refs,
        EdgePolicy by target_refs,
        MeshPolicy by target_refs,
        AuthorizationPolicy by target_refs,
        BackendTls by targets
    );
    all
}

/// It is a version of its own: two that hold for other targets differ.
fn add<T: Clone, R: Clone + std::fmt::Debug>(policy: &mut Arc<Object<T>>, of: fn(&mut T) -> &mut Vec<R>, named: &[R], indexes: &[usize]) {
    let policy = Arc::make_mut(policy);
    let more: Vec<R> = indexes.iter().filter_map(|index| named.get(*index).cloned()).collect();
    policy.meta.version = Fingerprint::of("held targets", format!("{} {more:?}", policy.meta.version).as_str());
    of(&mut policy.spec).extend(more);
}
