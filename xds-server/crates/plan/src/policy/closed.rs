//! Places where nobody passes because of what stands in for policies that are not in force: whatever else protects them, that is what
//! people have to be told.

use windrose_vocab::{Kind, ObjectRef, Text};

use super::{Place, all_at, edge, set_aside};
use crate::gateway::ListenerId;
use crate::world::{Index, View};

/// The policies because of which nobody passes at a rule.
pub(crate) fn at_rule(view: &View<'_>, place: &Place<'_>) -> Vec<ObjectRef> {
    let targets = place.targets();
    let mut found = at_targets(view, Kind::RateLimitPolicy, &targets);
    if let Some(gateway) = &place.gateway {
        found.extend(at_listener(view, gateway, place.listener));
    }
    found
}

/// The policies because of which nobody comes in at a listener.
pub(crate) fn at_listener(view: &View<'_>, gateway: &ObjectRef, listener: Option<&ListenerId>) -> Vec<ObjectRef> {
    let own = listener.into_iter().flat_map(ListenerId::targets);
    let targets: Vec<_> = std::iter::once((gateway.clone(), None)).chain(own).collect();
    let mut found = at_targets(view, Kind::AuthorizationPolicy, &targets);
    if targets.iter().any(|(target, _)| stand_ins(view, Kind::EdgePolicy, target).next().is_some()) {
        found.extend(edge::of_addresses(view, gateway, listener).into_iter().filter(|policy| is_stand_in(view, policy)));
    }
    found
}

/// Those of a kind that all hold where they attach.
fn at_targets(view: &View<'_>, kind: Kind, targets: &[(ObjectRef, Option<Text>)]) -> Vec<ObjectRef> {
    let here = targets.iter().filter(|(target, _)| stand_ins(view, kind, target).next().is_some());
    let mut found: Vec<ObjectRef> = here.flat_map(|(target, section)| all_at(view, kind, target, section.as_ref())).collect();
    found.retain(|policy| is_stand_in(view, policy));
    found.dedup();
    found
}

/// Hardly ever any: whoever asks reads no policy, and an edit of one is no reason to ask again.
fn stand_ins(view: &View<'_>, kind: Kind, target: &ObjectRef) -> impl Iterator<Item = ObjectRef> + use<> {
    view.index(Index::StandIns(target.clone())).into_iter().filter(move |policy| policy.kind == kind)
}

fn is_stand_in(view: &View<'_>, policy: &ObjectRef) -> bool {
    view.object(policy).is_some_and(|policy| set_aside::is_stand_in(policy.meta()))
}
