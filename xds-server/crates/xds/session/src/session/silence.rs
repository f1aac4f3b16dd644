//! Responses that nobody answers. Envoy says nothing about clusters while one of them never becomes ready, and a former
//! version or a removal heals it: what was in the air is taken back, and then each is tried alone, so that one bad cluster
//! does not silence the others for good.

use std::sync::Arc;

use windrose_state::{Change, Fault, Observation, Reason, changes};
use windrose_vocab::{Fingerprint, Resource, ResourceKind};

use super::Session;
use super::answer::halves;
use crate::effect::{Diagnosis, Effect};
use crate::limits;
use crate::message::Moment;
use crate::nack::{Blame, Cause};

impl Session {
    /// Tells of responses that were not answered in time, and heals what can be healed.
    pub(super) fn follow_silence(&mut self, now: Moment) {
        for kind in ResourceKind::ALL {
            let flights = &mut self.tracks[kind.index()].flights;
            let overdue = flights.iter_mut().filter(|flight| flight.overdue_at.is_some_and(|at| now >= at));
            let overdue: Vec<_> = overdue.map(|one| (one.number, one.resources.len(), std::mem::replace(&mut one.told, true))).collect();
            let Some((newest, ..)) = overdue.last().copied() else { continue };
            for (_, resources, _) in overdue.into_iter().filter(|(.., told)| !told) {
                self.tell_unanswered(kind, resources);
            }
            let flights = &mut self.tracks[kind.index()].flights;
            if kind != ResourceKind::Cluster {
                flights.iter_mut().filter(|flight| flight.number <= newest).for_each(|flight| flight.overdue_at = None);
            } else if self.heard > newest {
                flights.iter_mut().for_each(|flight| flight.overdue_at = None);
                self.take_clusters_back(now);
            } else {
                // Perhaps it reads nothing at all; then nothing is wrong with what was sent.
                let again = Some(now + limits::ANSWER);
                flights.iter_mut().filter(|flight| flight.number <= newest).for_each(|flight| flight.overdue_at = again);
                self.ask_for_a_sign();
            }
        }
    }

    fn tell_unanswered(&mut self, kind: ResourceKind, resources: usize) {
        let reason = Reason::new("the proxy does not answer: something of it may never become ready");
        self.tell(Effect::Diagnose(Diagnosis::Unanswered { kind, resources }));
        let (version, fault) = (Fingerprint::default(), Fault::Client);
        self.tell(Effect::Observe(Observation::Rejected { kind, name: None, version, fault, reason }));
    }

    /// A listener once more, which every client that reads answers at once.
    fn ask_for_a_sign(&mut self) {
        let track = self.track_mut(ResourceKind::Listener);
        let name = track.held.keys().next().cloned();
        if let Some(name) = name.filter(|_| track.flights.is_empty()) {
            self.mark(ResourceKind::Listener, &name, true);
        }
    }

    /// One that was in the air alone is what keeps the client silent. Of several those come first that replaced another
    /// version: of new ones Envoy says it when they fail, and those may be in use already.
    fn take_clusters_back(&mut self, now: Moment) {
        let suspects = self.silent_suspects();
        if let [only] = &suspects[..] {
            return self.convict_silent(only, now);
        }
        let (replacing, new): (Vec<_>, Vec<_>) = suspects.into_iter().partition(|one| self.former(one).is_some());
        let suspects = if replacing.is_empty() { new } else { replacing };
        if suspects.is_empty() {
            return self.give_up_trials();
        }
        let full_state = self.is_full_state(ResourceKind::Cluster);
        for one in &suspects {
            self.unsend(one);
        }
        let track = self.track_mut(ResourceKind::Cluster);
        track.takes_back.clone_from(&suspects);
        track.careful = true;
        if full_state {
            track.trying = true;
            let [left, right] = halves(&suspects);
            track.suspects.push_front(right);
            track.suspects.push_front(left);
        } else {
            track.suspects.extend(suspects.into_iter().map(|one| vec![one]));
        }
    }

    /// What is in the air and was never accepted; with full state, of what is on trial that alone.
    fn silent_suspects(&self) -> Vec<Arc<Resource>> {
        let track = self.track(ResourceKind::Cluster);
        if !self.is_full_state(ResourceKind::Cluster) {
            return track.unproven();
        }
        let Some(newest) = track.flights.back() else { return Vec::new() };
        if newest.trial && !newest.resources.is_empty() {
            return newest.resources.iter().cloned().collect();
        }
        changes(&track.acked, &newest.state).filter_map(Change::after).cloned().collect()
    }

    fn convict_silent(&mut self, only: &Arc<Resource>, now: Moment) {
        let reason = Reason::new("the proxy does not answer: it never becomes ready");
        self.reject(only, &Blame { reason, cause: Cause::Silence }, now);
        self.choose();
        self.track_mut(ResourceKind::Cluster).takes_back.push(Arc::clone(only));
    }

    /// With full state the next response is all that the client is then known to have.
    fn unsend(&mut self, one: &Resource) {
        let former = self.former(one);
        let full_state = self.is_full_state(ResourceKind::Cluster);
        let track = self.track_mut(ResourceKind::Cluster);
        track.unhold(one);
        if let Some(former) = former.filter(|_| full_state) {
            track.held.insert(former.id.name.clone(), former);
        }
    }

    /// Nothing that was sent can be to blame: what waits for a trial goes like everything else.
    fn give_up_trials(&mut self) {
        let track = self.track_mut(ResourceKind::Cluster);
        let waiting = std::mem::take(&mut track.suspects);
        (track.careful, track.trying) = (false, false);
        waiting.iter().flatten().for_each(|one| self.mark(ResourceKind::Cluster, &one.id.name, true));
        self.mark_all(ResourceKind::Cluster);
    }
}
