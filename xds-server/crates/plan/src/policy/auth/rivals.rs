//! Two policies at one Gateway of which one looks for tokens in a header that the other sets from a claim. The filter takes such a header
//! off on every route, so they cannot both hold; the older one does, and the newer one lets nobody pass.

use std::collections::BTreeSet;

use windrose_api::declared::Object;
use windrose_api::policy::AuthPolicy;
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef};

use super::super::headers::is_reserved;
use super::super::target::of_target;
use crate::reference::{field, key_of, kind_of};
use crate::world::{Index, View};

/// Whether an older policy is in the way; told if so.
pub(super) fn judge(view: &View<'_>, policy: &Object<AuthPolicy>) -> bool {
    let own = &policy.meta.object;
    let mut found = false;
    for (path, header, index, does) in wants(policy) {
        let Some(older) = view.index(index).into_iter().find(|other| other != own && comes_before(view, other, policy)) else { continue };
        let message = format!("{older}, which is older and at the same Gateway, {does} `{header}`; nobody passes here");
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
    (rival.meta.created, &rival.meta.object) < (policy.meta.created, &policy.meta.object)
        && !gateways(view, rival).is_disjoint(&gateways(view, policy))
}

/// The Gateways whose requests it concerns.
fn gateways(view: &View<'_>, policy: &Object<AuthPolicy>) -> BTreeSet<ObjectKey> {
    let namespace = &policy.meta.object.key.namespace;
    let targets = policy.spec.target_refs.iter().filter_map(|target| of_target(target, namespace));
    targets.flat_map(|target| above(view, &target)).collect()
}

fn above(view: &View<'_>, target: &ObjectRef) -> Vec<ObjectKey> {
    match target.kind {
        Kind::Gateway => vec![target.key.clone()],
        Kind::ListenerSet => view.listener_set(&target.key).map(|set| set.spec.gateway.clone()).into_iter().collect(),
        Kind::HTTPRoute | Kind::GRPCRoute => {
            let parents = view.route(target).into_iter().flat_map(|route| &route.spec.parents);
            let parents = parents.filter_map(|parent| {
                let kind = kind_of(&parent.target).filter(|kind| matches!(kind, Kind::Gateway | Kind::ListenerSet))?;
                Some(ObjectRef { kind, key: key_of(&parent.target, &target.key.namespace) })
            });
            parents.flat_map(|parent| above(view, &parent)).collect()
        }
        _ => Vec::new(),
    }
}
