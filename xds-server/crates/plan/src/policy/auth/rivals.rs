//! Two policies at one Gateway of which one looks for tokens in a header that the other sets from a claim. The filter takes such a header
//! off on every route, so they cannot both hold: those of the Gateway's own namespace do before those of guests, then the older one, and
//! the other lets nobody pass. Who is not let in at the Gateway is nobody's rival there.

use std::collections::BTreeSet;

use windrose_api::declared::Object;
use windrose_api::declared::gateway::Listener;
use windrose_api::policy::AuthPolicy;
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef, Text};

use super::super::headers::is_reserved;
use super::super::target::of_target;
use crate::gateway::in_namespaces;
use crate::reference::{field, key_of, kind_of};
use crate::world::{Index, View};

/// Whether an older policy is in the way; told if so.
pub(super) fn judge(view: &View<'_>, policy: &Object<AuthPolicy>) -> bool {
    let own = &policy.meta.object;
    let mut found = false;
    for (path, header, index, does) in wants(policy) {
        let Some(older) = view.index(index).into_iter().find(|other| other != own && comes_before(view, other, policy)) else { continue };
        let message = format!("{older}, which comes first at the same Gateway, {does} `{header}`; nobody passes here");
        let told = Diagnostic::error(own.clone(), field(&path), Code::Conflicted, message);
        view.tell(told.hint("use another header"));
        found = true;
    }
    found
}

/// Each header that it sets or reads: the field, the name, who is in the way, and what those do with it.
fn wants(policy: &Object<AuthPolicy>) -> Vec<(String, String, Index, &'static str)> {
    let set = policy.spec.claims_to_headers.iter().enumerate().map(|(index, mapping)| {
        let header = mapping.header.to_ascii_lowercase();
        (format!("spec.claimsToHeaders[{index}].header"), header.clone(), Index::TokensIn(header.into()), "looks for tokens in header")
    });
    let set = set.filter(|(_, header, _, _)| !is_reserved(header));
    let read = policy.spec.jwt.iter().enumerate().flat_map(|(provider, declared)| {
        let sources = declared.from.iter().enumerate().filter_map(|(index, source)| Some((index, source.header.as_ref()?)));
        sources.map(move |(index, header)| {
            let header = header.to_ascii_lowercase();
            let path = format!("spec.jwt[{provider}].from[{index}].header");
            (path, header.clone(), Index::ClaimsIn(header.into()), "sets header")
        })
    });
    set.chain(read).collect()
}

fn comes_before(view: &View<'_>, other: &ObjectRef, policy: &Object<AuthPolicy>) -> bool {
    let Some(rival) = view.auth_policy(&other.key) else { return false };
    let (theirs, ours) = (gateways(view, rival), gateways(view, policy));
    let common: Vec<&ObjectKey> = theirs.intersection(&ours).collect();
    // One order for the two wherever they meet, or each could be in the other's way.
    let rank = |one: &Object<AuthPolicy>| {
        let guest = common.iter().any(|gateway| gateway.namespace != one.meta.object.key.namespace);
        (guest, one.meta.created, one.meta.object.clone())
    };
    !common.is_empty() && rank(rival) < rank(policy)
}

/// The Gateways whose requests it concerns.
fn gateways(view: &View<'_>, policy: &Object<AuthPolicy>) -> BTreeSet<ObjectKey> {
    let namespace = &policy.meta.object.key.namespace;
    let targets = policy.spec.target_refs.iter().filter_map(|target| of_target(target, namespace));
    targets.flat_map(|target| above(view, &target, namespace)).collect()
}

/// The Gateways that let in what `from` has attached to `target`.
fn above(view: &View<'_>, target: &ObjectRef, from: &Text) -> Vec<ObjectKey> {
    match target.kind {
        Kind::Gateway => vec![target.key.clone()],
        Kind::ListenerSet => set_of(view, &target.key).into_iter().collect(),
        Kind::HTTPRoute | Kind::GRPCRoute => {
            let parents = view.route(target).into_iter().flat_map(|route| &route.spec.parents);
            let parents = parents.filter_map(|parent| {
                let kind = kind_of(&parent.target)?;
                takes(view, kind, &key_of(&parent.target, &target.key.namespace), from)
            });
            parents.collect()
        }
        _ => Vec::new(),
    }
}

/// The Gateway of a ListenerSet that it lets in.
fn set_of(view: &View<'_>, key: &ObjectKey) -> Option<ObjectKey> {
    let gateway = &view.listener_set(key)?.spec.gateway;
    let allowed = &view.gateway(gateway)?.spec.allowed_listener_sets;
    in_namespaces(view, allowed, &gateway.namespace, &key.namespace).then(|| gateway.clone())
}

/// The Gateway that a parent leads to, where one of the parent's listeners takes routes of that namespace.
fn takes(view: &View<'_>, kind: Kind, parent: &ObjectKey, from: &Text) -> Option<ObjectKey> {
    let (gateway, listeners) = match kind {
        Kind::Gateway => (parent.clone(), &view.gateway(parent)?.spec.listeners),
        Kind::ListenerSet => (set_of(view, parent)?, &view.listener_set(parent)?.spec.listeners),
        _ => return None,
    };
    let takes = |listener: &Listener| in_namespaces(view, &listener.allowed_namespaces, &parent.namespace, from);
    listeners.iter().any(takes).then_some(gateway)
}
