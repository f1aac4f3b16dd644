//! Nothing is open between two changes: a route comes after the filters that protect it, and they go after the route that needs them.
//! Routes name the configurations of such filters, and so do the listeners that have those filters. These waits have no end of their
//! own: a listener that is refused leaves its routes as they were.

use std::collections::BTreeSet;

use windrose_vocab::{Resource, ResourceId, ResourceKind, Text};

use super::Session;
use super::order::referrers;
use crate::track::Track;

/// The kinds that name what protects them.
const GUARDED: [ResourceKind; 2] = [ResourceKind::ScopedRoutes, ResourceKind::Routes];

impl Session {
    /// The configurations of filters that a listener of the client should have and, as far as it answered, has not. Costs nothing while
    /// the listeners are in sync.
    pub(super) fn unguarded(&self, kind: ResourceKind) -> BTreeSet<Text> {
        let (track, Some(view)) = (self.track(ResourceKind::Listener), &self.view) else { return BTreeSet::new() };
        let all = view.of_kind(ResourceKind::Listener);
        let refused = !all.ptr_eq(self.wants.of_kind(ResourceKind::Listener));
        if !self.params.ads || !GUARDED.contains(&kind) || !track.started || track.is_quiet() && !refused {
            return BTreeSet::new();
        }
        all.values().flat_map(|listener| self.gains(listener)).cloned().collect()
    }

    /// Whether a listener would lose a filter that a route of the client still needs. One that gains another at the same time goes first:
    /// its routes wait for it.
    pub(super) fn would_open(&self, listener: &Resource) -> bool {
        if listener.id.kind != ResourceKind::Listener || !self.params.ads || self.gains(listener).next().is_some() {
            return false;
        }
        let Some(former) = self.track(ResourceKind::Listener).acked.get(&*listener.id.name) else { return false };
        let mut lost = guards(former).filter(|name| !names(listener, name));
        lost.any(|name| self.is_needed(name))
    }

    /// Whether a listener waits until these routes are gone.
    pub(super) fn is_waited_for(&self, routes: &Resource) -> bool {
        let (track, wanted) = (self.track(ResourceKind::Listener), self.wants.of_kind(ResourceKind::Listener));
        let due = track.due.keys().filter_map(|name| Some((track.acked.get(&**name)?, wanted.get(&**name)?)));
        let mut due = due.filter(|(_, new)| self.gains(new).next().is_none());
        guards(routes).next().is_some() && due.any(|(old, new)| guards(routes).any(|name| names(old, name) && !names(new, name)))
    }

    /// Whether something that the client has refers to this, while its next version waits for what protects it.
    pub(super) fn is_kept(&self, id: &ResourceId) -> bool {
        let refers = |held: &Resource| held.refs.binary_search(id).is_ok();
        let waiting = |track: &Track| {
            let guarded = track.due.iter().filter(|(_, due)| due.guarded);
            guarded.filter_map(|(name, _)| track.held.get(&**name)).any(|held| refers(held))
        };
        referrers(id.kind).iter().map(|kind| self.track(*kind)).any(waiting)
    }

    /// Whether a route that the client has, and that is to change or to go, names this configuration.
    fn is_needed(&self, guard: &Text) -> bool {
        GUARDED.into_iter().any(|kind| {
            let (track, wanted) = (self.track(kind), self.wants.of_kind(kind));
            // What is gone of a whole table is never taken away: no listener leads to it.
            let goes = |one: &Resource| kind == ResourceKind::ScopedRoutes || wanted.contains_key(&*one.id.name);
            track.started && track.acked.values().any(|one| names(one, guard) && goes(one))
        })
    }

    /// What protects requests of a listener by its new version, and not by the one that the client has, or is being sent while it has
    /// none. One that is new has no requests yet.
    fn gains<'a>(&'a self, listener: &'a Resource) -> impl Iterator<Item = &'a Text> {
        let track = self.track(ResourceKind::Listener);
        let has = track.acked.get(&*listener.id.name).or_else(|| track.held.get(&*listener.id.name));
        let has = has.filter(|has| has.version != listener.version);
        has.into_iter().flat_map(move |has| guards(listener).filter(move |name| !names(has, name)))
    }
}

fn guards(resource: &Resource) -> impl Iterator<Item = &Text> {
    resource.refs.iter().filter(|id| id.kind == ResourceKind::Extension).map(|id| &id.name)
}

/// Whether a resource needs one of these configurations.
pub(super) fn needs(resource: &Resource, unguarded: &BTreeSet<Text>) -> bool {
    !unguarded.is_empty() && guards(resource).any(|name| unguarded.contains(name))
}

fn names(resource: &Resource, guard: &Text) -> bool {
    resource.refs.binary_search_by(|id: &ResourceId| (id.kind, &*id.name).cmp(&(ResourceKind::Extension, &**guard))).is_ok()
}
