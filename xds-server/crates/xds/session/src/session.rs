//! One stream of one client, from its first request to its end.

mod answer;
mod order;
mod send;
mod silence;
mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use windrose_state::{Accepted, Asked, Asks, Change, KindMap, Observation, Protocol, Scope, Selections, View, changes};
use windrose_vocab::{Resource, ResourceId, ResourceKind, Text};

use crate::effect::{Diagnosis, Effect};
use crate::limits;
use crate::message::{Moment, NodeClaim};
use crate::rejected::Rejected;
use crate::retry::Retries;
use crate::track::Track;
use crate::wants::Wants;

/// What a client says that understands lifetimes of resources.
const SUPPORTS_TTL: &str = "xds.config.supports-resource-ttl";
/// What a client says that wants a name and version around each resource of a state-of-the-world response.
const SUPPORTS_WRAPPED: &str = "xds.config.resource-in-sotw";

/// What is known of a stream before its first request is answered.
#[derive(Clone, Debug)]
pub struct Params {
    /// What the client gets.
    pub scope: Scope,
    /// Its authenticated identity.
    pub identity: Text,
    /// Which variant it speaks.
    pub protocol: Protocol,
    /// Whether all kinds share this stream. Order between kinds is kept only then.
    pub ads: bool,
    /// A number that no other stream of this process has: nonces begin with it.
    pub stream: u64,
    /// The lifetime given to resources, renewed at half of it, for clients that say they support it; delta only.
    pub ttl: Option<Duration>,
    /// The memory of rejections and last good versions.
    pub accepted: Arc<Accepted>,
    /// What the streams of the scope ask for by name.
    pub selections: Arc<Selections>,
}

/// The state machine of one stream.
#[derive(Debug)]
pub struct Session {
    params: Params,
    node: Option<NodeClaim>,
    view: Option<Arc<View>>,
    /// Counts views, so that removals know what was due before them.
    views: u64,
    wants: Wants,
    tracks: [Track; ResourceKind::ALL.len()],
    rejected: Rejected,
    retries: Retries,
    /// Clusters that the client did not have and that are not yet known to be warm: routes to them wait.
    fresh: KindMap,
    nonces: u64,
    /// The newest response that was answered, of any kind: what was sent before it was read.
    heard: u64,
    begun: Option<Moment>,
    /// The client was connected before: it has resources that this stream has not seen yet.
    returning: bool,
    /// Of the names that the client said it has and that do not exist.
    claimed_bytes: usize,
    unknown_type_told: bool,
    repaired_unasked: bool,
    grace_over: bool,
    effects: Vec<Effect>,
}

impl Session {
    /// A stream that has said nothing yet. Versions that its identity alone, or others enough, refused and nobody
    /// accepted are not sent on it.
    #[must_use]
    pub fn new(params: Params) -> Self {
        let mut rejected = Rejected::default();
        for (id, version) in params.accepted.quarantine(&params.identity) {
            rejected.insert(&id, version);
        }
        Self {
            params,
            node: None,
            view: None,
            views: 0,
            wants: Wants::default(),
            tracks: ResourceKind::ALL.map(Track::new),
            rejected,
            retries: Retries::default(),
            fresh: KindMap::new(),
            nonces: 0,
            heard: 0,
            begun: None,
            returning: false,
            claimed_bytes: 0,
            unknown_type_told: false,
            repaired_unasked: false,
            grace_over: false,
            effects: Vec::new(),
        }
    }

    /// Takes the newest desired state; costs what changed since the last one. A cold view is no answer and changes
    /// nothing.
    pub fn on_view(&mut self, view: Arc<View>, now: Moment) {
        let known = self.view.as_ref().is_some_and(|known| Arc::ptr_eq(known, &view));
        if known || !view.ready {
            return;
        }
        self.begin(now);
        let first = self.view.replace(view).is_none();
        self.views += 1;
        self.choose();
        if first && self.returning {
            // Requests that came earlier were taken in, not compared.
            ResourceKind::ALL.into_iter().for_each(|kind| self.mark_all(kind));
            self.trust_early_versions();
        }
    }

    /// Does what is due: opens gates that waited long enough, renews lifetimes, repairs unasked, tries again what the
    /// client's surroundings kept out, takes back what is not answered.
    pub fn on_tick(&mut self, now: Moment) {
        self.open_gates(now);
        self.renew(now);
        self.repair_unasked(now);
        self.retry(now);
        self.follow_silence(now);
    }

    /// When [`Self::on_tick`] has something to do at the earliest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let gates = self.tracks.iter().flat_map(|track| track.due.values()).filter_map(|due| due.gate.as_ref());
        let gates = gates.filter(|gate| !gate.open).map(|gate| gate.since + limits::GATE);
        let renewals = self.tracks.iter().filter(|track| !track.renewal_due).filter_map(|track| track.renew_at);
        let overdue = self.tracks.iter().flat_map(|track| &track.flights).filter_map(|flight| flight.overdue_at);
        gates.chain(renewals).chain(overdue).chain(self.grace_end()).chain(self.retries.next()).min()
    }

    /// What changes of the desired state concern this stream: of others the owner need not tell before the next request.
    /// Where something was refused that is everything, for then names matter that nobody subscribed to.
    #[must_use]
    pub fn asks(&self) -> Asks {
        let refused = !self.rejected.is_empty();
        ResourceKind::ALL.map(|kind| match (self.track(kind), &self.track(kind).selection) {
            (track, _) if refused || track.interest.is_wildcard() => Asked::All,
            (_, Some(selection)) => Asked::Names(Arc::clone(selection)),
            (_, None) => Asked::Nothing,
        })
    }

    /// What happened since the last call.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + use<'_> {
        self.effects.drain(..)
    }

    fn track(&self, kind: ResourceKind) -> &Track {
        &self.tracks[kind.index()]
    }

    fn track_mut(&mut self, kind: ResourceKind) -> &mut Track {
        &mut self.tracks[kind.index()]
    }

    fn begin(&mut self, now: Moment) {
        self.begun.get_or_insert(now);
    }

    /// Chooses anew what this client should have and marks what that changes.
    fn choose(&mut self) {
        let Some(view) = &self.view else { return };
        let held = |id: &ResourceId| self.track(id.kind).held.get(&*id.name).cloned();
        let keeps = |id: &ResourceId| self.would_lose(id);
        let new = Wants::choose(view, &self.rejected, |id| self.last_good(id), held, keeps);
        for (resource, missing) in &new.withheld {
            if !self.wants.withheld.contains_key(resource) {
                let (resource, missing) = (resource.clone(), missing.clone());
                tell(&mut self.effects, Effect::Diagnose(Diagnosis::Withheld { resource, missing }));
            }
        }
        let old = std::mem::replace(&mut self.wants, new);
        for kind in ResourceKind::ALL {
            self.mark_changes(kind, &old);
        }
    }

    /// The version that goes in the place of a refused one: what the proxies of the scope accepted last, or this client; where none is
    /// known, what it should have had until now, which it may be about to accept.
    fn last_good(&self, id: &ResourceId) -> Option<Arc<Resource>> {
        let until_now = || self.wants.set.lookup(id).filter(|one| !self.rejected.contains(id, one.version)).cloned();
        self.good_ones(id).next().or_else(until_now)
    }

    /// Whether a resource is declared no more.
    fn is_gone(&self, kind: ResourceKind, name: &str) -> bool {
        is_gone(self.view.as_deref(), kind, name)
    }

    /// The same, but another one than `of`.
    fn former(&self, of: &Resource) -> Option<Arc<Resource>> {
        self.good_ones(&of.id).find(|one| one.version != of.version)
    }

    fn good_ones(&self, id: &ResourceId) -> impl Iterator<Item = Arc<Resource>> {
        let own = self.track(id.kind).acked.get(&*id.name).filter(|own| !own.bytes.is_empty()).cloned();
        let all = self.params.accepted.last(&self.params.scope, id).into_iter().chain(own);
        all.filter(|one| !self.rejected.contains(&one.id, one.version))
    }

    /// A full state without it would delete what a returning client has, or may have as long as nothing was said to it.
    fn would_lose(&self, id: &ResourceId) -> bool {
        let track = self.track(id.kind);
        self.returning && self.is_full_state(id.kind) && (track.is_unseen() || track.held.contains_key(&*id.name))
    }

    fn mark_changes(&mut self, kind: ResourceKind, old: &Wants) {
        let (track, views) = (&mut self.tracks[kind.index()], self.views);
        if track.interest.is_idle() {
            return;
        }
        let view = &self.view;
        let (mut missing_changed, mut changed) = (false, false);
        let from_nothing = track.held.is_empty() && old.of_kind(kind).is_empty();
        for change in changes(old.of_kind(kind), self.wants.of_kind(kind)) {
            let name = change.name();
            if !track.interest.covers(name) {
                continue;
            }
            missing_changed |= if change.after().is_some() { track.unmiss(name) } else { track.miss(name) };
            changed = true;
            if from_nothing {
                continue;
            }
            if let Some(new) = change.after().filter(|_| kind == ResourceKind::Cluster && !track.held.contains_key(&**name)) {
                self.fresh.insert(name.clone(), Arc::clone(new));
            }
            let unknown = change.after().is_none() && !track.held.contains_key(&**name);
            // Asked for by name, gone before it was answered: that has to be said, or the client waits for its timer.
            let unanswered = unknown && track.all_due.is_some() && track.interest.names().contains(name);
            // Declared no more while its newest version was refused: the client may have the former one.
            let former = unknown && track.has_some(name) && is_gone(view.as_deref(), kind, name);
            track.mark(name, unanswered || former, views);
        }
        // What was left out before, because it was refused, was no change just now.
        let lingers = |name: &Text| {
            let on_its_way = track.flights.iter().any(|flight| flight.removed.contains(name));
            !track.held.contains_key(&**name) && track.has_some(name) && !on_its_way && is_gone(view.as_deref(), kind, name)
        };
        let refused = self.rejected.ids().filter(|id| id.kind == kind && track.interest.covers(&id.name));
        let lingering: Vec<Text> = refused.map(|id| id.name.clone()).filter(lingers).collect();
        lingering.iter().for_each(|name| track.mark(name, true, views));
        if from_nothing && changed {
            self.mark_all(kind);
        }
        if missing_changed {
            self.observe_missing(kind);
        }
    }

    fn mark(&mut self, kind: ResourceKind, name: &Text, force: bool) {
        let (track, views) = (&mut self.tracks[kind.index()], self.views);
        let new_cluster = kind == ResourceKind::Cluster && track.interest.covers(name) && !track.held.contains_key(&**name);
        if let Some(new) = self.wants.of_kind(kind).get(&**name).filter(|_| new_cluster) {
            self.fresh.insert(name.clone(), Arc::clone(new));
        }
        track.mark(name, force, views);
    }

    /// Marks whatever differs between what the client has and what it should have.
    fn mark_all(&mut self, kind: ResourceKind) {
        let (track, views) = (&mut self.tracks[kind.index()], self.views);
        if track.interest.is_idle() {
            return;
        }
        track.mark_all(views);
        if kind != ResourceKind::Cluster {
            return;
        }
        let wanted = self.wants.of_kind(kind);
        if track.held.is_empty() && self.fresh.is_empty() && track.interest.is_wildcard() {
            self.fresh = wanted.clone();
            return;
        }
        let new = changes(&track.held, wanted).filter(|change| change.before().is_none()).filter_map(Change::after);
        for one in new.filter(|one| track.interest.covers(&one.id.name)) {
            self.fresh.insert(one.id.name.clone(), Arc::clone(one));
        }
    }

    /// The map that the client holds when nothing is due, shared by all who ask for the same. Where something was
    /// refused, or names are looked at that no publication shows yet, it is nobody's but this client's, and not made.
    fn goal(&self, kind: ResourceKind) -> Option<KindMap> {
        let (track, wanted) = (self.track(kind), self.wants.of_kind(kind));
        if track.interest.is_wildcard() {
            return Some(wanted.clone());
        }
        track.selection.as_ref()?.part_of(wanted)
    }

    /// Goes back to what other streams keep too, where it is equal.
    fn share(&mut self, kind: ResourceKind) {
        let goal = self.goal(kind);
        self.track_mut(kind).share(goal);
    }

    /// After the names of a subscription changed: keeps the set that other streams keep too.
    fn select(&mut self, kind: ResourceKind) {
        let (track, params) = (&mut self.tracks[kind.index()], &self.params);
        let names = track.interest.names();
        if names.is_empty() || track.interest.is_wildcard() {
            track.selection = None;
        } else if track.selection.as_ref().is_none_or(|known| known.names() != names) {
            let whole = self.view.as_ref().map(|view| view.of_kind(kind).clone()).unwrap_or_default();
            let selection = params.selections.select(kind, names, track.selection.as_deref(), &whole);
            track.interest.share(selection.names());
            track.selection = Some(selection);
        }
    }

    /// The wanted resource's own text of a name, which all streams share, or a new one.
    fn intern(wants: &Wants, kind: ResourceKind, name: &str) -> Text {
        wants.of_kind(kind).get(name).map_or_else(|| Text::from(name), |one| one.id.name.clone())
    }

    fn tell(&mut self, effect: Effect) {
        tell(&mut self.effects, effect);
    }

    fn observe_missing(&mut self, kind: ResourceKind) {
        let missing = self.track(kind).missing();
        self.tell(Effect::Observe(Observation::Missing { kind, missing }));
    }

    fn supports(&self, feature: &str) -> bool {
        self.node.as_ref().is_some_and(|node| node.features.contains(feature))
    }

    /// The lifetime of resources, where the client understands it.
    fn ttl(&self) -> Option<Duration> {
        let spoken = self.params.protocol == Protocol::Delta && self.supports(SUPPORTS_TTL);
        self.params.ttl.filter(|_| spoken)
    }

    fn is_full_state(&self, kind: ResourceKind) -> bool {
        self.params.protocol == Protocol::Sotw && kind.is_wildcard()
    }
}

/// Whether a resource is declared no more.
fn is_gone(view: Option<&View>, kind: ResourceKind, name: &str) -> bool {
    view.is_some_and(|view| !view.resources.of_kind(kind).contains_key(name))
}

fn tell(effects: &mut Vec<Effect>, effect: Effect) {
    if effects.len() < limits::EFFECTS {
        effects.push(effect);
    }
}
