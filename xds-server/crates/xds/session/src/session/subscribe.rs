//! Requests: who sends them, which response they answer, and what they subscribe to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use windrose_state::{KindMap, Names, Observation, Protocol};
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind, Text};

use super::Session;
use crate::effect::{Diagnosis, Effect};
use crate::interest::WILDCARD;
use crate::limits;
use crate::message::{DeltaRequest, Moment, NodeClaim, SotwRequest, StreamError, at_most};

impl Session {
    /// Takes a state-of-the-world request.
    ///
    /// # Errors
    /// The stream ends with that error.
    pub fn on_sotw(&mut self, request: SotwRequest, now: Moment) -> Result<(), StreamError> {
        if self.params.protocol != Protocol::Sotw {
            return Err(StreamError::OtherProtocol);
        }
        request.check()?;
        let Some(kind) = self.admit(request.node, &request.type_url, now)? else { return Ok(()) };
        if kind == ResourceKind::Secret && request.resource_names.iter().any(|name| name == WILDCARD) {
            return Err(StreamError::SecretWildcard);
        }
        let first = !self.track(kind).started;
        if !first && !self.is_current(kind, &request.response_nonce) {
            // A stale request changes nothing: the client will answer the newest response with the same names.
            // What it refused is worth knowing all the same, and what a later refusal cannot be for.
            match request.error_detail {
                Some(failure) => _ = self.on_nack(kind, &request.response_nonce, &failure, now),
                None => self.track_mut(kind).note_answer(&request.response_nonce),
            }
            return Ok(());
        }
        if !first {
            self.on_answer(kind, &request.response_nonce, request.error_detail.as_ref(), now);
        }
        self.track_mut(kind).started = true;
        let claims = first && !request.version_info.is_empty();
        if claims && !std::mem::replace(&mut self.returning, true) {
            self.choose();
        }
        self.replace_names(kind, &request.resource_names);
        if claims {
            let track = self.track_mut(kind);
            track.claimed = Some(track.interest.names().clone());
        }
        if claims && self.track(kind).interest.is_wildcard() {
            self.trust_version(kind, &request.version_info);
        }
        self.check_subscriptions()
    }

    /// Takes an incremental request.
    ///
    /// # Errors
    /// The stream ends with that error.
    pub fn on_delta(&mut self, request: DeltaRequest, now: Moment) -> Result<(), StreamError> {
        if self.params.protocol != Protocol::Delta {
            return Err(StreamError::OtherProtocol);
        }
        request.check()?;
        let Some(kind) = self.admit(request.node, &request.type_url, now)? else { return Ok(()) };
        if kind == ResourceKind::Secret && request.subscribe.iter().any(|name| name == WILDCARD) {
            return Err(StreamError::SecretWildcard);
        }
        let answered = self.on_answer(kind, &request.response_nonce, request.error_detail.as_ref(), now);
        let idle = request.subscribe.is_empty() && request.unsubscribe.is_empty();
        if answered && idle {
            // Also the answer to a response that was sent unasked, which subscribes to nothing.
            return Ok(());
        }
        let first = !std::mem::replace(&mut self.track_mut(kind).started, true);
        self.unsubscribe(kind, &request.unsubscribe);
        let legacy = request.subscribe.is_empty() && kind.is_wildcard() && self.track(kind).interest.allows_legacy_wildcard();
        if first {
            self.returning |= !request.initial_resource_versions.is_empty();
            self.begin_delta(kind, &request.subscribe, legacy, &request.initial_resource_versions)?;
        } else {
            self.subscribe(kind, &request.subscribe);
        }
        self.check_subscriptions()
    }

    /// The kind of an acceptable request; none for a type that is not served, which the stream survives.
    fn admit(&mut self, node: Option<NodeClaim>, type_url: &str, now: Moment) -> Result<Option<ResourceKind>, StreamError> {
        self.begin(now);
        match (&self.node, node) {
            (None, Some(node)) if !node.id.is_empty() => self.node = Some(node),
            (None, _) => return Err(StreamError::NoNode),
            (Some(known), Some(node)) if known.id != node.id || known.cluster != node.cluster => return Err(StreamError::OtherNode),
            (Some(_), _) => {}
        }
        if type_url.is_empty() {
            return Err(StreamError::EmptyType);
        }
        let kind = ResourceKind::from_type_url(type_url);
        if kind.is_none() && !std::mem::replace(&mut self.unknown_type_told, true) {
            self.tell(Effect::Diagnose(Diagnosis::UnknownType));
        }
        Ok(kind)
    }

    /// Before anything was sent there is no nonce that could be stale.
    fn is_current(&self, kind: ResourceKind, nonce: &str) -> bool {
        self.track(kind).last_nonce.as_deref().is_none_or(|last| last == nonce)
    }

    fn replace_names(&mut self, kind: ResourceKind, list: &[String]) {
        let (track, wants) = (&mut self.tracks[kind.index()], &self.wants);
        let turnover = track.interest.replace(list, kind.is_wildcard(), |name| Self::intern(wants, kind, name));
        if turnover.is_empty() {
            return;
        }
        let was_empty = track.missing.is_empty();
        turnover.added.iter().filter(|name| !wants.of_kind(kind).contains_key(&***name)).for_each(|name| {
            track.miss(name);
        });
        for name in &turnover.dropped {
            track.unmiss(name);
            if !track.interest.covers(name) {
                track.forget(name);
            }
        }
        let missing_changed = !(was_empty && track.missing.is_empty());
        self.select(kind);
        self.forget_accepted(kind, &turnover.dropped);
        if missing_changed {
            self.observe_missing(kind);
        }
        if turnover.wildcard_ended {
            self.end_wildcard(kind);
        }
        self.mark_new(kind, &turnover.added);
        if turnover.wildcard_began {
            self.track_mut(kind).owes_answer = true;
            self.mark_all(kind);
        } else if self.is_full_state(kind) {
            // A changed list is answered, also a shorter one.
            self.track_mut(kind).owes_answer = true;
        }
    }

    fn begin_delta(
        &mut self,
        kind: ResourceKind,
        names: &[String],
        legacy: bool,
        claimed: &BTreeMap<String, String>,
    ) -> Result<(), StreamError> {
        let explicit = names.iter().any(|name| name == WILDCARD);
        let track = self.track_mut(kind);
        if legacy || explicit {
            track.interest.begin_wildcard();
            track.owes_answer = claimed.is_empty();
        }
        let names = self.add_names(kind, names);
        self.check_claims(kind, claimed)?;
        self.claim(kind, claimed);
        if self.track(kind).held.is_empty() {
            self.mark_new(kind, &names);
        } else {
            self.mark_claimed(kind, &names);
        }
        if legacy || explicit {
            self.mark_all(kind);
        }
        Ok(())
    }

    /// What the client says it has and we do not is kept until its removal is answered, and nobody shares that memory.
    fn check_claims(&mut self, kind: ResourceKind, claimed: &BTreeMap<String, String>) -> Result<(), StreamError> {
        let (track, wanted) = (self.track(kind), self.wants.of_kind(kind));
        let unknown = claimed.keys().filter(|name| track.interest.covers(name) && !wanted.contains_key(name.as_str()));
        self.claimed_bytes += unknown.map(|name| name.len() + limits::UNKNOWN_NAME_COST).sum::<usize>();
        at_most("bytes of claimed names that do not exist", self.claimed_bytes, limits::UNKNOWN_NAME_BYTES)
    }

    /// Subscribes to names, and returns them as they are shared.
    fn add_names(&mut self, kind: ResourceKind, names: &[String]) -> Vec<Text> {
        let (track, wants) = (&mut self.tracks[kind.index()], &self.wants);
        let names: Vec<Text> = names.iter().filter(|name| *name != WILDCARD).map(|name| Self::intern(wants, kind, name)).collect();
        let mut missing = false;
        for name in &names {
            track.interest.add(name.clone());
            missing |= !wants.of_kind(kind).contains_key(&**name) && track.miss(name);
        }
        self.select(kind);
        if missing {
            self.observe_missing(kind);
        }
        names
    }

    /// Names that the client does not have are sent, and those that are not there told. To a client that has nothing
    /// goes all there is of them, which is not marked name by name.
    fn mark_new(&mut self, kind: ResourceKind, names: &[Text]) {
        let track = self.track(kind);
        let at_once = kind != ResourceKind::Cluster && track.held.is_empty() && track.is_calm();
        for name in names {
            if !at_once || !self.wants.of_kind(kind).contains_key(&**name) {
                self.mark(kind, name, true);
            }
        }
        if at_once && !names.is_empty() {
            self.mark_all(kind);
        }
    }

    /// What the client says it has is sent only if it differs.
    fn mark_claimed(&mut self, kind: ResourceKind, names: &[Text]) {
        let doubtful = self.is_asked_out_of_order(kind);
        for name in names {
            let [held, wanted] = [&self.track(kind).held, self.wants.of_kind(kind)].map(|map| map.get(&**name).map(|one| one.version));
            if doubtful || held.is_none() || held != wanted {
                self.mark(kind, name, held.is_none() || doubtful);
            }
        }
    }

    /// An Envoy that asks for endpoints before clusters is in the middle of warming: it needs them again, whatever
    /// it says it has.
    fn is_asked_out_of_order(&self, kind: ResourceKind) -> bool {
        self.params.ads && kind == ResourceKind::Endpoints && !self.track(ResourceKind::Cluster).started
    }

    /// Subscribing again to a known name is answered again: the client may have forgotten it.
    fn subscribe(&mut self, kind: ResourceKind, names: &[String]) {
        if names.iter().any(|name| name == WILDCARD) && !self.track(kind).interest.is_wildcard() {
            let track = self.track_mut(kind);
            track.interest.begin_wildcard();
            track.owes_answer = true;
            self.mark_all(kind);
        }
        let names = self.add_names(kind, names);
        names.iter().for_each(|name| self.mark(kind, name, true));
    }

    fn unsubscribe(&mut self, kind: ResourceKind, names: &[String]) {
        let mut missing = false;
        for name in names {
            if name == WILDCARD {
                if self.track_mut(kind).interest.end_wildcard() {
                    self.end_wildcard(kind);
                }
                continue;
            }
            let track = self.track_mut(kind);
            if !track.interest.drop(name) {
                continue;
            }
            missing |= track.unmiss(name);
            if track.interest.is_wildcard() {
                // The client cannot know whether the wildcard covers it, so it is told.
                let name = Self::intern(&self.wants, kind, name);
                self.mark(kind, &name, true);
            } else {
                track.forget(name);
                self.forget_accepted(kind, &[Text::from(name.as_str())]);
            }
        }
        self.select(kind);
        if missing {
            self.observe_missing(kind);
        }
    }

    /// What no client subscribes to and nobody wants needs no last good version.
    fn forget_accepted(&self, kind: ResourceKind, names: &[Text]) {
        let gone = names.iter().filter(|name| !self.wants.of_kind(kind).contains_key(&***name));
        self.params.accepted.removed(&self.params.scope, kind, gone);
    }

    fn end_wildcard(&mut self, kind: ResourceKind) {
        let track = self.track_mut(kind);
        let names = track.interest.names();
        track.held = only(&track.held, names);
        track.acked = only(&track.acked, names);
        track.due.retain(|name, _| names.contains(name));
        track.owes_answer = false;
    }

    /// Takes what a reconnecting client says it has. Of a version that is not the wanted one only the name counts.
    fn claim(&mut self, kind: ResourceKind, claimed: &BTreeMap<String, String>) {
        if claimed.is_empty() {
            return;
        }
        let counts = |name: &str| self.track(kind).interest.covers(name);
        let wanted = self.wants.of_kind(kind);
        // Most have most of it, and then it is shared.
        let mut held = self.goal(kind).filter(|goal| claimed.len() * 2 > goal.len()).unwrap_or_default();
        let unclaimed: Vec<_> = held.keys().filter(|name| !(claimed.contains_key(&***name) && counts(name))).cloned().collect();
        unclaimed.iter().for_each(|name| {
            held.remove(name);
        });
        for (name, version) in claimed.iter().filter(|(name, _)| counts(name)) {
            let version = Fingerprint::parse(version).unwrap_or_default();
            match wanted.get(name.as_str()) {
                Some(same) if same.version == version => {
                    if !held.contains_key(name.as_str()) {
                        held.insert(same.id.name.clone(), Arc::clone(same));
                    }
                }
                Some(_) | None => {
                    let unknown = placeholder(kind, Self::intern(&self.wants, kind, name), version);
                    held.insert(unknown.id.name.clone(), unknown);
                }
            }
        }
        let track = self.track_mut(kind);
        track.acked = held.clone();
        track.held = held.clone();
        self.tell(Effect::Observe(Observation::Sent { kind, held: held.clone() }));
        self.tell(Effect::Observe(Observation::Acked { kind, acked: held }));
    }

    /// A state-of-the-world client that accepted exactly this state, in another stream's life, has it.
    fn trust_version(&mut self, kind: ResourceKind, version: &str) {
        if self.view.is_none() {
            self.track_mut(kind).claimed_version = Some(version.into());
            return;
        }
        let wanted = self.wants.of_kind(kind).clone();
        if *super::send::state_version(wanted.values()) != *version {
            return;
        }
        let track = self.track_mut(kind);
        track.due.clear();
        track.all_due = None;
        track.owes_answer = false;
        track.trusted = true;
        (track.held, track.acked) = (wanted.clone(), wanted.clone());
        if kind == ResourceKind::Cluster {
            self.fresh = KindMap::new();
        }
        self.tell(Effect::Observe(Observation::Sent { kind, held: wanted.clone() }));
        self.tell(Effect::Observe(Observation::Acked { kind, acked: wanted }));
    }

    /// A first request that came before the first view is judged when the view is there.
    pub(super) fn trust_early_versions(&mut self) {
        for kind in ResourceKind::ALL {
            if let Some(version) = self.track_mut(kind).claimed_version.take() {
                self.trust_version(kind, &version);
            }
        }
    }

    fn check_subscriptions(&self) -> Result<(), StreamError> {
        let names = self.tracks.iter().map(|track| track.interest.names().len()).sum();
        at_most("names on one stream", names, limits::NAMES_PER_STREAM)?;
        let unknown = self.tracks.iter().map(|track| track.missing_bytes).sum();
        at_most("bytes of names that do not exist", unknown, limits::UNKNOWN_NAME_BYTES)
    }
}

/// The entries of those names.
pub(super) fn only(map: &KindMap, names: &Names) -> KindMap {
    names.iter().filter_map(|name| Some((name.clone(), Arc::clone(map.get(name)?)))).collect()
}

/// Something the client has and we do not: it is never sent, only replaced or removed.
fn placeholder(kind: ResourceKind, name: Text, version: Fingerprint) -> Arc<Resource> {
    Arc::new(Resource { id: ResourceId { kind, name }, version, bytes: Bytes::new(), refs: Arc::from([]) })
}
