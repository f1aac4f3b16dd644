//! Make before break: routes wait for new clusters to be warm, removals wait until nothing refers to what goes.
//! Every wait but that of a removal ends after [`limits::GATE`].

use windrose_state::Names;
use windrose_vocab::{Resource, ResourceId, ResourceKind, Text};

use super::Session;
use crate::effect::{Diagnosis, Effect};
use crate::limits;
use crate::message::Moment;
use crate::track::{Due, Track};

/// The kinds that name policies.
const NAMING: [ResourceKind; 2] = [ResourceKind::ScopedRoutes, ResourceKind::Routes];

impl Session {
    /// What `resource` has to wait for, if anything: a cluster that is new to this client, or what that one needs.
    pub(super) fn waits_for(&self, resource: &Resource) -> Option<ResourceId> {
        if !may_wait(resource.id.kind) || self.fresh.is_empty() {
            return None;
        }
        let named = |id: &&ResourceId| id.kind == ResourceKind::Cluster && self.fresh.contains_key(&*id.name);
        if resource.refs.len() < self.fresh.len() {
            return resource.refs.iter().filter(named).find_map(|id| self.cold_part(&id.name));
        }
        self.fresh.keys().filter(|name| refers_to_cluster(resource, name)).find_map(|name| self.cold_part(name))
    }

    /// What is not yet acknowledged of a cluster: itself, its endpoints or its secrets.
    fn cold_part(&self, cluster: &Text) -> Option<ResourceId> {
        let track = self.track(ResourceKind::Cluster);
        let wanted = self.wants.of_kind(ResourceKind::Cluster).get(&**cluster)?;
        if !track.started || !track.interest.covers(cluster) {
            return None;
        }
        if !track.is_settled(cluster) {
            return Some(wanted.id.clone());
        }
        wanted.refs.iter().find(|id| !self.is_served(id)).cloned()
    }

    /// Whether the client acknowledged a dependency of a cluster, or will not ask for it on this stream.
    fn is_served(&self, id: &ResourceId) -> bool {
        let track = self.track(id.kind);
        let tracked = matches!(id.kind, ResourceKind::Endpoints | ResourceKind::Secret) && track.started;
        !tracked || track.is_settled(&id.name) || !self.wants.of_kind(id.kind).contains_key(&*id.name)
    }

    /// Whether routes that the client has still name policies of this configuration, while of those that it should have none does: its
    /// next version knows none of them, and would refuse the requests of the former.
    pub(super) fn is_needed_as_it_was(&self, extension: &Resource) -> bool {
        if extension.id.kind != ResourceKind::Extension || !self.params.ads {
            return false;
        }
        let names = |one: &Resource| one.refs.binary_search(&extension.id).is_ok();
        let wanted = |kind| self.wants.of_kind(kind);
        if NAMING.iter().any(|kind| wanted(*kind).values().any(|one| names(one))) {
            return false;
        }
        // What is gone of a whole table is never taken away: no listener leads to it.
        let goes = |kind, name: &Text| kind == ResourceKind::ScopedRoutes || wanted(kind).contains_key(&**name);
        // What the routes of a client that returns name is not known: it told their versions, or has not told of them yet. By state of the
        // world it told one version for all of a kind, and which it has is known by its answers alone.
        let own = self.track(ResourceKind::Extension);
        let id = &*extension.id.name;
        let had = own.held.contains_key(id) || own.claimed.as_ref().is_some_and(|names| names.contains(id));
        let unknown = self.is_unknown() && had;
        let untold = |track: &Track| {
            let any_left = |names: &Names| names.iter().any(|name| !track.acked.contains_key(name));
            track.claimed.as_ref().is_some_and(|names| if track.interest.is_wildcard() { track.acked.is_empty() } else { any_left(names) })
        };
        let may_name = |one: &Resource| names(one) || unknown && one.bytes.is_empty();
        NAMING.iter().map(|kind| (*kind, self.track(*kind))).any(|(kind, track)| {
            // Accepted, or on its way.
            let mut has = track.acked.iter().chain(track.held.iter());
            unknown && (!track.started || untold(track)) || track.started && has.any(|(name, one)| may_name(one) && goes(kind, name))
        })
    }

    /// Whether the client came from elsewhere a moment ago, and may have what it has not told of.
    pub(super) fn is_unknown(&self) -> bool {
        self.returning && !self.grace_over
    }

    /// Called when answers came in.
    pub(super) fn forget_warm_clusters(&mut self) {
        let quiet = |kind| self.track(kind).is_quiet();
        let all_quiet = [ResourceKind::Cluster, ResourceKind::Endpoints, ResourceKind::Secret].into_iter().all(quiet);
        if self.fresh.is_empty() || !all_quiet {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        if !self.has_all_clusters() {
            self.fresh =
                fresh.iter().filter(|(name, _)| self.cold_part(name).is_some()).map(|(name, one)| (name.clone(), one.clone())).collect();
        }
    }

    /// Whether the client has every cluster there is with all it needs, as far as that costs nothing to know.
    fn has_all_clusters(&self) -> bool {
        let has_all = |kind| self.track(kind).held.ptr_eq(self.wants.of_kind(kind));
        let has_needed = |kind| !self.track(kind).started || has_all(kind);
        has_all(ResourceKind::Cluster) && has_needed(ResourceKind::Endpoints) && has_needed(ResourceKind::Secret)
    }

    /// Whether `kind` may lose a name that went in that view: whatever could refer to it was sent since and
    /// answered. What a returning client may still have of kinds it has not asked for yet is waited for a while.
    pub(super) fn may_remove(&self, kind: ResourceKind, due: &Due, now: Moment) -> bool {
        if !self.params.ads {
            return true;
        }
        let in_grace = self.returning && self.begun.is_some_and(|begun| now < begun + limits::GATE);
        referrers(kind)
            .iter()
            .map(|kind| self.track(*kind))
            .all(|track| if track.started { track.is_answered_through(due.latest) } else { !in_grace })
    }

    /// When removals stop waiting for kinds that a returning client has not asked for.
    pub(super) fn grace_end(&self) -> Option<Moment> {
        let end = self.begun? + limits::GATE;
        let repair = !self.repaired_unasked && self.may_repair_unasked();
        let waiting = self.returning && !self.grace_over && self.tracks.iter().any(Track::has_due);
        (repair || waiting).then_some(end)
    }

    /// Opens the gates that are due, each with a diagnosis.
    pub(super) fn open_gates(&mut self, now: Moment) {
        self.grace_over |= self.begun.is_some_and(|begun| now >= begun + limits::GATE);
        let mut opened = Vec::new();
        for track in &mut self.tracks {
            let kind = track.kind;
            for (name, due) in &mut track.due {
                let Some(gate) = due.gate.as_mut().filter(|gate| !gate.open && now >= gate.since + limits::GATE) else { continue };
                gate.open = true;
                opened.push((ResourceId { kind, name: name.clone() }, gate.waiting_for.clone()));
            }
        }
        for (resource, waiting_for) in opened {
            // The next version of this resource does not wait for the same clusters again.
            if let Some(wanted) = self.wants.set.lookup(&resource) {
                let needed = wanted.refs.iter().filter(|id| id.kind == ResourceKind::Cluster);
                needed.for_each(|id| {
                    self.fresh.remove(&*id.name);
                });
            }
            self.tell(Effect::Diagnose(Diagnosis::GateOpened { resource, waiting_for }));
        }
    }

    pub(super) fn renew(&mut self, now: Moment) {
        for track in &mut self.tracks {
            if track.renew_at.is_some_and(|at| now >= at) {
                track.renewal_due = !track.held.is_empty();
                track.renew_at = track.renew_at.filter(|_| track.renewal_due);
            }
        }
    }

    /// An Envoy with a cluster that failed late never asks for clusters again, and only a good version or a removal
    /// heals it: it gets one unasked.
    pub(super) fn repair_unasked(&mut self, now: Moment) {
        let late = self.begun.is_some_and(|begun| now >= begun + limits::GATE);
        if !late || self.repaired_unasked || !self.may_repair_unasked() {
            return;
        }
        self.repaired_unasked = true;
        let bad: Vec<Text> = self.rejected_clusters().cloned().collect();
        let track = self.track_mut(ResourceKind::Cluster);
        bad.iter().for_each(|name| track.interest.add_unasked(name.clone()));
        self.select(ResourceKind::Cluster);
        bad.iter().for_each(|name| self.mark(ResourceKind::Cluster, name, true));
        self.tell(Effect::Diagnose(Diagnosis::UnaskedRepair { clusters: bad.len() }));
    }

    fn may_repair_unasked(&self) -> bool {
        let delta = self.params.protocol == windrose_state::Protocol::Delta;
        let others = self.tracks.iter().any(|track| track.started);
        let silent = !self.track(ResourceKind::Cluster).started;
        self.view.is_some() && self.params.ads && delta && others && silent && self.rejected_clusters().next().is_some()
    }

    fn rejected_clusters(&self) -> impl Iterator<Item = &Text> {
        self.rejected.ids().filter(|id| id.kind == ResourceKind::Cluster).map(|id| &id.name)
    }
}

/// Whether resources of `kind` can wait for clusters.
pub(super) fn may_wait(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Secret => false,
        ResourceKind::Extension | ResourceKind::Listener | ResourceKind::ScopedRoutes | ResourceKind::Routes => true,
    }
}

fn refers_to_cluster(resource: &Resource, name: &Text) -> bool {
    resource.refs.binary_search_by(|id| (id.kind, &*id.name).cmp(&(ResourceKind::Cluster, &**name))).is_ok()
}

/// The kinds whose resources can refer to one of `kind`.
fn referrers(kind: ResourceKind) -> &'static [ResourceKind] {
    match kind {
        ResourceKind::Cluster => &[ResourceKind::Extension, ResourceKind::Listener, ResourceKind::ScopedRoutes, ResourceKind::Routes],
        ResourceKind::Endpoints => &[ResourceKind::Cluster],
        ResourceKind::Secret => &[ResourceKind::Cluster, ResourceKind::Extension, ResourceKind::Listener],
        ResourceKind::Extension => &[ResourceKind::Listener, ResourceKind::ScopedRoutes, ResourceKind::Routes],
        ResourceKind::ScopedRoutes => &[ResourceKind::Listener],
        ResourceKind::Routes => &[ResourceKind::Listener, ResourceKind::ScopedRoutes],
        ResourceKind::Listener => &[],
    }
}
