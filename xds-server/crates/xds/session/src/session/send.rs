//! The next response: what is due, may go now and differs from what the client has. Kinds are asked in
//! make-before-break order.

use std::sync::Arc;

use windrose_state::{KindMap, Observation, Protocol, changes};
use windrose_vocab::{Canonical, Fingerprint, Resource, ResourceId, ResourceKind, Text, Writer};

use super::order::may_wait;
use super::{SUPPORTS_WRAPPED, Session};
use crate::effect::Effect;
use crate::limits;
use crate::message::{Moment, Response};
use crate::resources::{Resources, has_name};
use crate::track::{Due, Flight, Gate};

/// What is done about one name.
enum Step {
    Send(Arc<Resource>),
    Remove,
    /// The client has what it should have.
    Settle,
    Wait,
}

/// What goes into one response.
#[derive(Default)]
struct Batch {
    send: Resources,
    remove: Vec<Text>,
    heartbeats: Vec<(Text, Fingerprint)>,
    trial: bool,
    /// The oldest view in which any of it became due.
    since: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.send.is_empty() && self.remove.is_empty() && self.heartbeats.is_empty()
    }

    /// Whether it makes of what the client holds what it should hold, for it brings whatever differs.
    fn completes(&self, held: &KindMap, goal: &KindMap) -> bool {
        if let Resources::All(all) = &self.send
            && held.is_empty()
        {
            return all.ptr_eq(goal);
        }
        changes(held, goal).all(|change| match change.after() {
            Some(new) => self.send.get(change.name()).is_some_and(|sent| sent.version == new.version),
            None => has_name(&self.remove, change.name()),
        })
    }
}

impl Session {
    /// The next response to send, if one is due. Call it only when the transport has taken the one before.
    pub fn poll(&mut self, now: Moment) -> Option<Response> {
        self.view.as_ref()?;
        loop {
            let due = self.count_due();
            let response = ResourceKind::ALL.into_iter().find_map(|kind| self.respond(kind, now));
            // What turned out to need no response may have been all that a removal of an earlier kind waited for.
            if response.is_some() || self.count_due() == due {
                return response;
            }
        }
    }

    fn count_due(&self) -> usize {
        self.tracks.iter().map(|track| track.due.len() + usize::from(track.all_due.is_some())).sum()
    }

    fn respond(&mut self, kind: ResourceKind, now: Moment) -> Option<Response> {
        let track = self.track(kind);
        // What is taken back may be what all others wait for.
        if track.is_idle() || !track.has_window() && track.takes_back.is_empty() {
            return None;
        }
        if let Some(former) = self.take_back(kind) {
            return Some(self.launch(kind, former, now));
        }
        if let Some(trial) = self.next_trial(kind) {
            return Some(self.launch(kind, trial, now));
        }
        let track = self.track_mut(kind);
        if !track.suspects.is_empty() || track.is_busy_with_trial() || !self.end_trials(kind) {
            return None;
        }
        self.track_mut(kind).careful = false;
        let mut batch = self.collect(kind, now);
        let track = self.track_mut(kind);
        let owed = track.owes_answer && !track.has_due();
        if batch.is_empty() && !owed {
            batch = self.heartbeats(kind, now);
        }
        if batch.is_empty() && !owed {
            self.share(kind);
            return None;
        }
        Some(self.launch(kind, batch, now))
    }

    /// What the client had before the suspects: their last accepted versions, or nothing.
    fn take_back(&mut self, kind: ResourceKind) -> Option<Batch> {
        let suspects = std::mem::take(&mut self.track_mut(kind).takes_back);
        if suspects.is_empty() {
            return None;
        }
        let (mut send, mut remove) = (Vec::new(), Vec::new());
        for one in &suspects {
            match self.former(one) {
                Some(former) => send.push(former),
                None => remove.push(one.id.name.clone()),
            }
        }
        send.sort_unstable_by(|a, b| a.id.name.cmp(&b.id.name));
        remove.sort_unstable();
        if self.is_full_state(kind) {
            // It is that of the accepted ones already.
            self.follow_with_endpoints(kind, &send.into());
            return Some(Batch { trial: true, ..Batch::default() });
        }
        Some(Batch { send: send.into(), remove, trial: true, ..Batch::default() })
    }

    /// The next group of suspects that are still wanted as they are. With full state the groups come one by one,
    /// each on top of what was accepted.
    fn next_trial(&mut self, kind: ResourceKind) -> Option<Batch> {
        let full_state = self.is_full_state(kind);
        let (track, wanted) = (&mut self.tracks[kind.index()], self.wants.of_kind(kind));
        if full_state && !track.flights.is_empty() || track.is_busy_with_trial() {
            return None;
        }
        while let Some(mut group) = track.suspects.pop_front() {
            let is_in = |map: &KindMap, one: &Resource| map.get(&*one.id.name).is_some_and(|now| now.version == one.version);
            group.retain(|one| is_in(wanted, one) && !(full_state && is_in(&track.acked, one)) && track.interest.covers(&one.id.name));
            if !group.is_empty() {
                return Some(Batch { send: group.into(), trial: true, ..Batch::default() });
            }
        }
        None
    }

    /// After the last trial of a full state the rest is compared anew; false while that trial waits for its answer.
    fn end_trials(&mut self, kind: ResourceKind) -> bool {
        let track = self.track_mut(kind);
        if !track.trying {
            return true;
        }
        if !track.flights.is_empty() {
            return false;
        }
        track.trying = false;
        self.mark_all(kind);
        true
    }

    fn collect(&mut self, kind: ResourceKind, now: Moment) -> Batch {
        let whole = self.collect_whole(kind);
        self.spread(kind);
        let mut batch = Batch { since: whole.as_ref().map_or(u64::MAX, |(_, since)| *since), ..Batch::default() };
        let (mut send, mut settled) = (Vec::new(), Vec::new());
        let mut looked_at = std::mem::take(&mut self.track_mut(kind).due);
        // What waits stays where it is: often that is most of it, and every answer is a reason to look.
        looked_at.retain(|name, due| match self.step(kind, name, due, now) {
            Step::Send(resource) => {
                batch.since = batch.since.min(due.since);
                send.push(resource);
                false
            }
            Step::Remove => {
                batch.since = batch.since.min(due.since);
                batch.remove.push(name.clone());
                false
            }
            Step::Settle => {
                settled.push(name.clone());
                false
            }
            Step::Wait => true,
        });
        settled.iter().for_each(|name| self.adopt(kind, name));
        self.track_mut(kind).due = looked_at;
        batch.send = whole.map_or_else(|| send.into(), |(all, _)| Resources::All(all));
        if self.would_delete_unseen(kind) {
            batch.send.iter().for_each(|one| self.mark(kind, &one.id.name, true));
            batch.remove.iter().for_each(|name| self.mark(kind, name, true));
            return Batch::default();
        }
        batch
    }

    /// All there is, for a client that has nothing and need not wait for anything: the very map that others were sent.
    fn collect_whole(&mut self, kind: ResourceKind) -> Option<(KindMap, u64)> {
        let track = self.track(kind);
        let since = track.all_due?;
        // What the client needs as it was is seen by name.
        let waits = may_wait(kind) && !self.fresh.is_empty() || kind == ResourceKind::Extension && self.is_unknown();
        if !track.held.is_empty() || waits || !self.wants.withheld.is_empty() {
            return None;
        }
        let all = self.goal(kind).filter(|goal| !goal.is_empty())?;
        let track = self.track_mut(kind);
        track.all_due = None;
        track.due.retain(|name, _| !all.contains_key(name));
        Some((all, since))
    }

    /// Marks one by one what cannot go as a whole.
    fn spread(&mut self, kind: ResourceKind) {
        let (track, wanted) = (&mut self.tracks[kind.index()], self.wants.of_kind(kind));
        let Some(since) = track.all_due.take() else { return };
        let held = track.held.clone();
        changes(&held, wanted).for_each(|change| track.mark(change.name(), false, since));
    }

    /// The first full state that a returning client gets must not lack what only waits: the client may have it.
    fn would_delete_unseen(&self, kind: ResourceKind) -> bool {
        let track = self.track(kind);
        self.is_full_state(kind) && self.returning && track.is_unseen() && track.has_due()
    }

    fn step(&self, kind: ResourceKind, name: &Text, due: &mut Due, now: Moment) -> Step {
        let track = self.track(kind);
        let withheld = || self.wants.withheld.contains_key(&ResourceId { kind, name: name.clone() });
        if !track.interest.covers(name) || (!self.wants.withheld.is_empty() && withheld()) {
            return Step::Settle;
        }
        let held = track.held.get(&**name);
        let Some(wanted) = self.wants.of_kind(kind).get(&**name) else {
            // What it may have in a former version, and is declared no more, goes in its turn as what it has for sure.
            let delta = self.params.protocol == Protocol::Delta;
            let lingers = delta && due.force && track.has_some(name) && self.is_gone(kind, name);
            return self.step_of_absent(kind, held.is_some() || lingers, due, now);
        };
        if !due.force && held.is_some_and(|held| held.version == wanted.version) {
            return Step::Settle;
        }
        match self.waits_for(wanted) {
            Some(waiting_for) if !due.gate.as_ref().is_some_and(|gate| gate.open) => {
                let since = due.gate.as_ref().map_or(now, |gate| gate.since);
                due.gate = Some(Box::new(Gate { waiting_for, since, open: false }));
                Step::Wait
            }
            _ if self.is_needed_as_it_was(wanted) => Step::Wait,
            Some(_) | None => Step::Send(Arc::clone(wanted)),
        }
    }

    fn step_of_absent(&self, kind: ResourceKind, held: bool, due: &Due, now: Moment) -> Step {
        let delta = self.params.protocol == Protocol::Delta;
        match kind {
            // A removal would keep a port closed for ever, or cut what still drains.
            ResourceKind::Routes | ResourceKind::Extension => Step::Settle,
            // With state of the world there is no way to say it: the client keeps what it has.
            ResourceKind::Endpoints | ResourceKind::Secret if !delta => Step::Settle,
            ResourceKind::Cluster
            | ResourceKind::Endpoints
            | ResourceKind::Secret
            | ResourceKind::Listener
            | ResourceKind::ScopedRoutes => match (held, due.force && delta) {
                (true, _) if !self.may_remove(kind, due, now) => Step::Wait,
                (true, _) | (false, true) => Step::Remove,
                (false, false) => Step::Settle,
            },
        }
    }

    /// The client named this very version when it came back: from now on it is shared like all others.
    fn adopt(&mut self, kind: ResourceKind, name: &Text) {
        let (track, wanted) = (&mut self.tracks[kind.index()], self.wants.of_kind(kind).get(&**name));
        let Some(wanted) = wanted else { return };
        for map in [&mut track.held, &mut track.acked] {
            let same = map.get(&**name).is_some_and(|one| one.version == wanted.version && !Arc::ptr_eq(one, wanted));
            if same {
                map.insert(name.clone(), Arc::clone(wanted));
            }
        }
    }

    fn heartbeats(&mut self, kind: ResourceKind, now: Moment) -> Batch {
        let ttl = self.ttl();
        let track = self.track_mut(kind);
        let (Some(ttl), true) = (ttl, track.renewal_due && track.flights.is_empty()) else { return Batch::default() };
        track.renewal_due = false;
        track.renew_at = Some(now + ttl / 2);
        let heartbeats = track.held.values().map(|one| (one.id.name.clone(), one.version)).collect();
        Batch { heartbeats, ..Batch::default() }
    }

    /// Makes the response, and remembers it until it is answered.
    fn launch(&mut self, kind: ResourceKind, batch: Batch, now: Moment) -> Response {
        self.follow_with_endpoints(kind, &batch.send);
        self.hold(kind, &batch);
        self.nonces += 1;
        let number = self.nonces;
        let nonce: Text = format!("{:x}-{number:x}", self.params.stream).into();
        let ttl = self.ttl();
        let (full_state, delta) = (self.is_full_state(kind), self.params.protocol == Protocol::Delta);
        let track = self.track_mut(kind);
        track.owes_answer = false;
        track.last_nonce = Some(nonce.clone());
        track.renew_at = track.renew_at.or_else(|| Some(now + ttl? / 2));
        let Batch { send, remove, heartbeats, trial, since } = batch;
        let resources = if full_state { Resources::All(track.held.clone()) } else { send.clone() };
        let state = if full_state { track.held.clone() } else { KindMap::new() };
        let flight = Flight {
            nonce: nonce.clone(),
            number,
            resources: send,
            removed: remove.clone(),
            state,
            trial,
            since,
            overdue_at: Some(now + limits::ANSWER),
            told: false,
            answered: false,
        };
        track.flights.push_back(flight);
        let held = track.held.clone();
        self.tell(Effect::Observe(Observation::Sent { kind, held }));
        let version = state_version(resources.iter());
        let removed = if delta { remove } else { Vec::new() };
        let wrapped = !delta && self.supports(SUPPORTS_WRAPPED);
        Response { kind, nonce, version, resources, removed, heartbeats, ttl, wrapped }
    }

    fn hold(&mut self, kind: ResourceKind, batch: &Batch) {
        let goal = self.goal(kind);
        let track = self.track_mut(kind);
        if let Some(goal) = goal.filter(|goal| batch.completes(&track.held, goal)) {
            track.held = goal;
            return;
        }
        for one in batch.send.iter() {
            track.held.insert(one.id.name.clone(), Arc::clone(one));
        }
        for name in &batch.remove {
            track.held.remove(&**name);
        }
    }

    /// A changed cluster warms until its endpoints come again, even if none of them changed.
    fn follow_with_endpoints(&mut self, kind: ResourceKind, clusters: &Resources) {
        if kind != ResourceKind::Cluster || self.track(ResourceKind::Endpoints).interest.is_idle() {
            return;
        }
        let refs = clusters.iter().flat_map(|one| one.refs.iter()).filter(|id| id.kind == ResourceKind::Endpoints);
        let needed: Vec<Text> = refs.map(|id| id.name.clone()).collect();
        needed.iter().filter(|name| self.wants.of_kind(ResourceKind::Endpoints).contains_key(&***name)).for_each(|name| {
            self.tracks[ResourceKind::Endpoints.index()].mark(name, true, self.views);
        });
    }
}

/// A text that is equal where the resources and their versions are, in every process.
pub(super) fn state_version<'a>(resources: impl IntoIterator<Item = &'a Arc<Resource>>) -> Text {
    let mut writer = Writer::default();
    for one in resources {
        one.id.name.write(&mut writer);
        one.version.write(&mut writer);
    }
    writer.finish().to_string().into()
}
