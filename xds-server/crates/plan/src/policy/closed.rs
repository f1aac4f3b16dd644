//! Places where nobody passes because of what stands in for policies that are not in force: whatever else protects them, that is what
//! people have to be told.

use std::collections::BTreeSet;

use windrose_vocab::{Kind, ObjectRef, Text};

use super::{Place, edge, target};
use crate::gateway::ListenerId;
use crate::world::{Index, View};

/// The policies because of which nobody passes at a rule.
pub(crate) fn at_rule(view: &View<'_>, place: &Place<'_>) -> BTreeSet<ObjectRef> {
    let mut found = at_targets(view, Kind::RateLimitPolicy, &place.targets());
    if let Some(gateway) = &place.gateway {
        found.extend(at_listener(view, gateway, place.listener));
    }
    found
}

/// The policies because of which nobody comes in at a listener.
pub(crate) fn at_listener(view: &View<'_>, gateway: &ObjectRef, listener: Option<&ListenerId>) -> BTreeSet<ObjectRef> {
    let own = listener.into_iter().flat_map(ListenerId::targets);
    let targets: Vec<_> = std::iter::once((gateway.clone(), None)).chain(own).collect();
    let mut found = at_targets(view, Kind::AuthorizationPolicy, &targets);
    // Only what stands in somewhere makes it a question of all policies there.
    let of_edge = at_targets(view, Kind::EdgePolicy, &targets);
    if !of_edge.is_empty() {
        found.extend(edge::of_addresses(view, gateway, listener).into_iter().filter(|policy| of_edge.contains(policy)));
    }
    found
}

/// What stands in for policies of a kind. Hardly ever anything: whoever asks reads no other policy, and an edit of one is no reason to ask
/// again.
fn at_targets(view: &View<'_>, kind: Kind, targets: &[(ObjectRef, Option<Text>)]) -> BTreeSet<ObjectRef> {
    targets.iter().flat_map(|(target, section)| on(view, kind, target, section.as_ref())).collect()
}

/// What stands in for policies of a kind that name exactly this target and section, by name.
pub(crate) fn on(view: &View<'_>, kind: Kind, target: &ObjectRef, section: Option<&Text>) -> Vec<ObjectRef> {
    let mut found = view.index(Index::StandIns(target.clone()));
    found.retain(|policy| policy.kind == kind && view.object(policy).is_some_and(|policy| target::names(&policy, target, section)));
    found
}
