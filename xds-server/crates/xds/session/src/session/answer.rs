//! What a client answers: an ACK makes resources accepted, a NACK starts the repair.

use std::sync::Arc;

use windrose_state::{Change, Observation, changes};
use windrose_vocab::{Fingerprint, Resource, ResourceKind, Text};

use super::Session;
use super::subscribe::only;
use crate::effect::{Diagnosis, Effect};
use crate::limits;
use crate::message::{Failure, Moment};
use crate::nack::{self, Blame, Cause};
use crate::resources::Resources;
use crate::track::Flight;

impl Session {
    /// Takes the answer to the response with that nonce; false where there is no such response on this stream that
    /// still waits for one.
    pub(super) fn on_answer(&mut self, kind: ResourceKind, nonce: &str, failure: Option<&Failure>, now: Moment) -> bool {
        match failure {
            Some(failure) => self.on_nack(kind, nonce, failure, now),
            None => self.on_ack(kind, nonce),
        }
    }

    /// A newer ACK covers the older responses: Envoy tells only of the newest when clusters warm.
    fn on_ack(&mut self, kind: ResourceKind, nonce: &str) -> bool {
        let track = self.track_mut(kind);
        let Some(at) = track.flights.iter().position(|flight| &*flight.nonce == nonce) else { return false };
        let landed: Vec<Flight> = track.flights.drain(..=at).collect();
        self.heard = landed.last().map_or(self.heard, |newest| self.heard.max(newest.number));
        if self.is_full_state(kind) {
            self.accept_state(kind, &landed);
        } else {
            self.accept_changes(kind, &landed);
        }
        let acked = self.track(kind).acked.clone();
        let recovered = self.retries.take_accepted(kind, &acked);
        self.tell(Effect::Observe(Observation::Acked { kind, acked }));
        recovered.into_iter().for_each(|name| self.tell(Effect::Observe(Observation::Recovered { kind, name })));
        self.forget_warm_clusters();
        true
    }

    /// All that the newest response contained is accepted, whatever became of the ones before.
    fn accept_state(&mut self, kind: ResourceKind, landed: &[Flight]) {
        let (track, params) = (&mut self.tracks[kind.index()], &self.params);
        let Some(newest) = landed.last() else { return };
        params.accepted.removed(&params.scope, kind, landed.iter().flat_map(|flight| &flight.removed));
        params.accepted.acked_all(&params.scope, &params.identity, kind, &newest.state);
        track.acked = if track.interest.is_wildcard() { newest.state.clone() } else { only(&newest.state, track.interest.names()) };
        if track.trying {
            track.held = track.acked.clone();
        }
        self.share(kind);
    }

    fn accept_changes(&mut self, kind: ResourceKind, landed: &[Flight]) {
        self.share(kind);
        let (track, params) = (&mut self.tracks[kind.index()], &self.params);
        if track.is_quiet() {
            track.accept_all();
        } else {
            landed.iter().for_each(|flight| track.accept(flight));
        }
        for flight in landed {
            params.accepted.removed(&params.scope, kind, &flight.removed);
            match &flight.resources {
                // It was taken back meanwhile, and the answer may only mean that.
                late if flight.overdue_at.is_none() => {
                    let held = late.iter().filter(|one| track.held.get(&*one.id.name).is_some_and(|held| held.version == one.version));
                    params.accepted.acked(&params.scope, &params.identity, held);
                }
                Resources::Some(list) => params.accepted.acked(&params.scope, &params.identity, list.iter()),
                Resources::All(all) => params.accepted.acked_all(&params.scope, &params.identity, kind, all),
            }
        }
        if track.held.ptr_eq(self.wants.of_kind(kind)) && track.is_quiet() {
            // The same map for all streams, and what a returning client said it has.
            params.accepted.acked_all(&params.scope, &params.identity, kind, &track.held);
        }
    }

    /// Takes a NACK; false where the nonce is unknown.
    pub(super) fn on_nack(&mut self, kind: ResourceKind, nonce: &str, failure: &Failure, now: Moment) -> bool {
        let full_state = self.is_full_state(kind);
        let track = self.track_mut(kind);
        let Some(at) = track.flights.iter().position(|flight| &*flight.nonce == nonce) else { return false };
        // With full state nobody answers the older ones any more.
        let mut older: Vec<_> = if full_state { track.flights.drain(..=at) } else { track.flights.drain(at..=at) }.collect();
        let Some(flight) = older.pop() else { return false };
        self.heard = self.heard.max(flight.number);
        let said = |name: &str| self.said_first(kind, &older, name).or_else(|| flight.said_of(name));
        let named = nack::named(kind, &failure.message, |name| said(name).is_some());
        let bad: Vec<_> = named.into_iter().filter_map(|one| Some((Arc::clone(said(one.name)?), one.blame))).collect();
        // What blames a former version says nothing about the newest: that is sent once more.
        let says_nothing = |(one, _): &(Arc<Resource>, _)| flight.said_of(&one.id.name).is_none_or(|newest| newest.version != one.version);
        self.track_mut(kind).owes_answer |= bad.iter().any(says_nothing);
        if bad.is_empty() {
            self.on_unnamed(kind, &flight, nack::blame(kind, &failure.message), now);
        } else {
            self.repair(kind, &flight, &bad, now);
        }
        true
    }

    /// The version of a name that the first of several responses was refused for: Envoy keeps that refusal while clusters
    /// warm, and then tells it of the newest full state. What it accepted meanwhile is not what it refuses.
    fn said_first<'a>(&self, kind: ResourceKind, older: &'a [Flight], name: &str) -> Option<&'a Arc<Resource>> {
        let accepted = self.track(kind).acked.get(name);
        let mut said = older.iter().filter(|flight| !flight.answered).filter_map(|flight| flight.said_of(name));
        said.find(|one| accepted.is_none_or(|accepted| accepted.version != one.version))
    }

    /// A refusal that names nothing: one resource is to blame, or several are suspects.
    fn on_unnamed(&mut self, kind: ResourceKind, flight: &Flight, blame: Blame, now: Moment) {
        let suspects = self.suspects(kind, flight);
        if let [only] = &suspects[..] {
            return self.repair(kind, flight, &[(Arc::clone(only), blame)], now);
        }
        let (resources, fault, reason) = (suspects.len(), blame.cause.fault(), blame.reason);
        self.tell(Effect::Diagnose(Diagnosis::RejectedUnnamed { kind, resources, reason: reason.clone() }));
        self.tell(Effect::Observe(Observation::Rejected { kind, name: None, version: Fingerprint::default(), fault, reason }));
        if !suspects.is_empty() {
            self.suspect_all(kind, flight, &suspects);
        }
    }

    /// What can have been refused: nothing that the client accepted before, unless there is nothing else. Nothing where only a removal or a
    /// renewal was, which would only be refused again, and where a full state contained what is known to be bad or is on trial already.
    fn suspects(&self, kind: ResourceKind, flight: &Flight) -> Vec<Arc<Resource>> {
        let track = self.track(kind);
        if !self.is_full_state(kind) || flight.trial {
            let is_proven = |one: &&Arc<Resource>| track.acked.get(&*one.id.name).is_some_and(|acked| acked.version == one.version);
            let unproven: Vec<_> = flight.resources.iter().filter(|one| !is_proven(one)).cloned().collect();
            return if unproven.is_empty() { flight.resources.iter().cloned().collect() } else { unproven };
        }
        let unproven: Vec<_> = changes(&track.acked, &flight.state).filter_map(Change::after).cloned().collect();
        let explained = track.trying || unproven.iter().any(|one| self.rejected.contains(&one.id, one.version));
        if explained { Vec::new() } else { unproven }
    }

    fn repair(&mut self, kind: ResourceKind, flight: &Flight, bad: &[(Arc<Resource>, Blame)], now: Moment) {
        let newest: Vec<_> = bad.iter().filter(|(resource, blame)| self.reject(resource, blame, now)).collect();
        self.choose();
        for (resource, _) in newest {
            let name = &resource.id.name;
            if self.track(kind).careful {
                self.track_mut(kind).takes_back.push(Arc::clone(resource));
            } else if self.is_full_state(kind) {
                self.track_mut(kind).owes_answer = true;
                self.mark(kind, name, true);
            } else {
                // One that is declared no more goes also where the client has its former version only.
                let lingers = self.is_gone(kind, name) && self.track(kind).has_some(name);
                let is_there = self.wants.of_kind(kind).contains_key(&**name) || lingers;
                if is_there || is_healed_by_removal(kind) {
                    self.mark(kind, name, true);
                }
            }
        }
        let good = flight.resources.iter().filter(|one| !bad.iter().any(|(other, _)| other.id == one.id));
        self.send_again(kind, flight, good);
    }

    /// Takes note of a refused version; false where a newer one is on its way already.
    pub(super) fn reject(&mut self, resource: &Arc<Resource>, blame: &Blame, now: Moment) -> bool {
        let Blame { reason, cause } = blame;
        self.rejected.insert(&resource.id, resource.version);
        let waits = match cause {
            Cause::Itself => None,
            Cause::Surroundings => Some((limits::RETRY_FIRST, limits::RETRY_LONGEST)),
            Cause::Silence => Some((limits::SILENCE_FIRST, limits::SILENCE_LONGEST)),
        };
        let news = if let Some(waits) = waits {
            let noted = self.retries.refused(&resource.id, resource.version, waits, now);
            noted.displaced.into_iter().for_each(|former| self.rejected.remove(&resource.id, former));
            noted.first
        } else {
            self.retries.forget(&resource.id, resource.version);
            self.params.accepted.rejected(&self.params.identity, resource, reason);
            true
        };
        let (kind, name, version) = (resource.id.kind, resource.id.name.clone(), resource.version);
        let full_state = self.is_full_state(kind);
        let track = self.track_mut(kind);
        let newest = track.unhold(resource);
        if let Some(former) = track.acked.get(&*name).filter(|_| newest && full_state) {
            // It still has this one, and a full state without it would delete it.
            track.held.insert(name.clone(), Arc::clone(former));
        }
        let reason = reason.clone();
        if news {
            self.tell(Effect::Diagnose(Diagnosis::Rejected { resource: resource.id.clone(), version, reason: reason.clone() }));
        }
        self.tell(Effect::Observe(Observation::Rejected { kind, name: Some(name), version, fault: cause.fault(), reason }));
        newest
    }

    /// Sends once more what only the client's surroundings kept out: nobody tells when they change.
    pub(super) fn retry(&mut self, now: Moment) {
        let due = self.retries.take_due(now);
        if !due.is_empty() {
            due.iter().for_each(|(id, version)| self.rejected.remove(id, *version));
            self.choose();
        }
    }

    /// The good ones of a refused response: Envoy applied some, and does not tell which. With full state the next
    /// response contains them anyway.
    fn send_again<'a>(&mut self, kind: ResourceKind, flight: &Flight, good: impl Iterator<Item = &'a Arc<Resource>>) {
        if !self.is_full_state(kind) {
            for one in good {
                let track = self.track_mut(kind);
                track.may_have(&one.id.name);
                if track.unhold(one) {
                    self.mark(kind, &one.id.name, true);
                }
            }
            flight.removed.iter().for_each(|name| self.mark(kind, name, true));
        }
    }

    /// Each is tried once more.
    fn suspect_all(&mut self, kind: ResourceKind, flight: &Flight, suspects: &[Arc<Resource>]) {
        let full_state = self.is_full_state(kind);
        let track = self.track_mut(kind);
        if is_blind_to_repetition(kind) {
            track.takes_back = suspects.to_vec();
        }
        if full_state {
            track.trying = true;
            track.held = track.acked.clone();
            let [left, right] = halves(suspects);
            track.suspects.push_front(right);
            track.suspects.push_front(left);
        } else {
            for one in suspects {
                track.may_have(&one.id.name);
                if track.unhold(one) {
                    track.suspects.push_back(vec![Arc::clone(one)]);
                }
            }
            // One that is declared no more is not tried, and the client may have its former version.
            let gone = suspects.iter().filter(|one| self.is_gone(kind, &one.id.name));
            let gone: Vec<Text> = gone.map(|one| one.id.name.clone()).collect();
            gone.iter().for_each(|name| self.mark(kind, name, true));
        }
        // The rest was accepted before, and may be needed again.
        let rest = flight.resources.iter().filter(|one| !suspects.iter().any(|other| other.id == one.id));
        self.send_again(kind, flight, rest);
    }
}

/// A bad one of these without a good version is removed: a cluster that failed late would block all that follow,
/// and removal ends the warming of who waits for endpoints or a secret.
fn is_healed_by_removal(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Secret => true,
        ResourceKind::Extension | ResourceKind::Listener | ResourceKind::ScopedRoutes | ResourceKind::Routes => false,
    }
}

/// Envoy compares a scope with what it read last, also where it refused the response and applied nothing: the same
/// bytes again are accepted and do nothing, so the former version or a removal has to come between.
fn is_blind_to_repetition(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::ScopedRoutes => true,
        ResourceKind::Cluster
        | ResourceKind::Endpoints
        | ResourceKind::Secret
        | ResourceKind::Extension
        | ResourceKind::Listener
        | ResourceKind::Routes => false,
    }
}

/// One resource cannot be sent alone where a response is the full state, so the culprit is found by halving.
pub(super) fn halves(resources: &[Arc<Resource>]) -> [Vec<Arc<Resource>>; 2] {
    let (left, right) = resources.split_at(resources.len() / 2);
    [left.to_vec(), right.to_vec()]
}
