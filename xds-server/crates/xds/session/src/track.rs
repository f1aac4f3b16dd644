//! One kind on one stream: what is subscribed, what the client was sent, what is due, and what is not yet answered.
//! The maps are shared with the view, so a client in sync costs the same for ten resources and for ten thousand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use windrose_state::{KindMap, Missing, Names, Selection};
use windrose_vocab::{Resource, ResourceId, ResourceKind, Text};

use crate::interest::Interest;
use crate::limits;
use crate::message::Moment;
use crate::resources::Resources;

/// The state of one kind.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) kind: ResourceKind,
    /// The client asked for this kind on this stream.
    pub(crate) started: bool,
    pub(crate) interest: Interest,
    /// The names of the interest and what there is of them, shared with other streams.
    pub(crate) selection: Option<Arc<Selection>>,
    /// What the client has when it has read everything: accepted, or in flight. Of names claimed on a reconnect
    /// with an unknown version there is an entry without bytes.
    pub(crate) held: KindMap,
    /// What the client accepted.
    pub(crate) acked: KindMap,
    /// What it may have in a version that is not the newest it was sent: it accepted that, or refused it together with something else.
    former: BTreeSet<Text>,
    /// Names to look at; whatever is not here and subscribed is equal in `held` and in what is wanted.
    pub(crate) due: BTreeMap<Text, Due>,
    /// All that is subscribed became due in that view. It is not in `due`: ten thousand entries for each of a thousand
    /// clients that begin would be the most memory this room ever uses.
    pub(crate) all_due: Option<u64>,
    /// Responses without an answer, oldest first.
    pub(crate) flights: VecDeque<Flight>,
    /// Resources of a refused response that named none, in the groups in which they are tried again.
    pub(crate) suspects: VecDeque<Vec<Arc<Resource>>>,
    /// Suspects whose former versions go out before they are tried: without that the client would not look at them again.
    pub(crate) takes_back: Vec<Arc<Resource>>,
    /// With full state, suspects are on trial: what the client has is compared anew when they are through.
    pub(crate) trying: bool,
    /// Something was not answered: what is on trial goes alone, and waits until all before it was answered.
    pub(crate) careful: bool,
    /// Subscribed by name and not wanted.
    pub(crate) missing: BTreeSet<Text>,
    pub(crate) missing_bytes: usize,
    /// The first wildcard subscription is answered even if there is nothing.
    pub(crate) owes_answer: bool,
    /// The nonce of the newest response.
    pub(crate) last_nonce: Option<Text>,
    /// The version a state-of-the-world client came with, until the first view can be compared.
    pub(crate) claimed_version: Option<Text>,
    /// The names that a state-of-the-world client asked for as it came with a version: it has something of them, and did not say what.
    pub(crate) claimed: Option<Names>,
    /// A state-of-the-world client has exactly what its claimed version says: nothing that it has is unknown.
    pub(crate) trusted: bool,
    pub(crate) renew_at: Option<Moment>,
    pub(crate) renewal_due: bool,
}

/// Why a name is looked at.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Answer even if nothing changed.
    pub(crate) force: bool,
    /// The view in which it became due: removals wait for all that was due before them.
    pub(crate) since: u64,
    /// The view in which it was last marked, which is when a removal became one.
    pub(crate) latest: u64,
    pub(crate) gate: Option<Box<Gate>>,
}

/// What a resource waits for.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) waiting_for: ResourceId,
    pub(crate) since: Moment,
    pub(crate) open: bool,
}

/// A response without an answer.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) nonce: Text,
    /// Counts the responses of the stream.
    pub(crate) number: u64,
    /// What it changed, in order of name.
    pub(crate) resources: Resources,
    pub(crate) removed: Vec<Text>,
    /// With full state, all that it contained: shared with `held`.
    pub(crate) state: KindMap,
    /// It tried suspects of a refused response.
    pub(crate) trial: bool,
    pub(crate) since: u64,
    /// When an answer is missed; none once it counts as refused.
    pub(crate) overdue_at: Option<Moment>,
    /// It was told that no answer came.
    pub(crate) told: bool,
    /// The client accepted it, when a newer one was on its way.
    pub(crate) answered: bool,
}

impl Flight {
    /// What it said of a name.
    pub(crate) fn said_of(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(name).or_else(|| self.state.get(name))
    }
}

impl Track {
    pub(crate) fn new(kind: ResourceKind) -> Self {
        Self {
            kind,
            started: false,
            interest: Interest::default(),
            selection: None,
            held: KindMap::new(),
            acked: KindMap::new(),
            former: BTreeSet::new(),
            due: BTreeMap::new(),
            all_due: None,
            flights: VecDeque::new(),
            suspects: VecDeque::new(),
            takes_back: Vec::new(),
            trying: false,
            careful: false,
            missing: BTreeSet::new(),
            missing_bytes: 0,
            owes_answer: false,
            last_nonce: None,
            claimed_version: None,
            claimed: None,
            trusted: false,
            renew_at: None,
            renewal_due: false,
        }
    }

    /// Looks at a name at the next opportunity, if it is subscribed.
    pub(crate) fn mark(&mut self, name: &Text, force: bool, since: u64) {
        if !self.interest.covers(name) {
            return;
        }
        let due = self.due.entry(name.clone()).or_insert(Due { force, since, latest: since, gate: None });
        due.force |= force;
        due.since = due.since.min(since);
        due.latest = due.latest.max(since);
    }

    /// Looks at all that is subscribed at the next opportunity.
    pub(crate) fn mark_all(&mut self, since: u64) {
        self.all_due = Some(self.all_due.map_or(since, |known| known.min(since)));
    }

    /// Nothing was said to the client yet, and what it has is not known either.
    pub(crate) fn is_unseen(&self) -> bool {
        self.last_nonce.is_none() && !self.trusted
    }

    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty() || self.all_due.is_some()
    }

    pub(crate) fn has_window(&self) -> bool {
        let window = if self.kind == ResourceKind::Cluster { limits::CLUSTER_WINDOW } else { limits::WINDOW };
        self.flights.len() < window
    }

    /// Whether something is on trial that must not share the blame with anything else.
    pub(crate) fn is_busy_with_trial(&self) -> bool {
        self.careful && !self.flights.is_empty()
    }

    /// What is in the air and was never accepted, as it was sent last.
    pub(crate) fn unproven(&self) -> Vec<Arc<Resource>> {
        let is_in = |map: &KindMap, one: &Resource| map.get(&*one.id.name).is_some_and(|other| other.version == one.version);
        let all = self.flights.iter().flat_map(|flight| flight.resources.iter());
        let unproven = all.filter(|one| is_in(&self.held, one) && !is_in(&self.acked, one));
        unproven.map(|one| (&one.id.name, one)).collect::<BTreeMap<_, _>>().into_values().cloned().collect()
    }

    /// There is nothing to say.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_calm() && !self.owes_answer && !self.renewal_due
    }

    /// Nothing is due and nothing on trial.
    pub(crate) fn is_calm(&self) -> bool {
        !self.has_due() && self.takes_back.is_empty() && self.suspects.is_empty() && !self.trying
    }

    /// Nothing is due and nothing waits for an answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_calm() && self.flights.is_empty()
    }

    /// Whether everything that became due up to that view was sent and answered.
    pub(crate) fn is_answered_through(&self, view: u64) -> bool {
        self.suspects.is_empty()
            && !self.trying
            && self.flights.iter().all(|flight| flight.since > view)
            && self.due.values().map(|due| due.since).chain(self.all_due).all(|since| since > view)
    }

    /// Whether the client has this name and nothing about it is due or in flight.
    pub(crate) fn is_settled(&self, name: &str) -> bool {
        let due = self.all_due.is_some() || self.due.contains_key(name);
        !due && self.held.contains_key(name) && self.flights.iter().all(|flight| flight.resources.get(name).is_none())
    }

    /// Takes note that a subscribed name is not there.
    pub(crate) fn miss(&mut self, name: &Text) -> bool {
        let new = self.interest.names().contains(name) && self.missing.insert(name.clone());
        self.missing_bytes += if new { name.len() + limits::UNKNOWN_NAME_COST } else { 0 };
        new
    }

    /// Takes note that a name is there, or no longer subscribed.
    pub(crate) fn unmiss(&mut self, name: &str) -> bool {
        let known = self.missing.remove(name);
        self.missing_bytes -= if known { name.len() + limits::UNKNOWN_NAME_COST } else { 0 };
        known
    }

    pub(crate) fn missing(&self) -> Missing {
        let first = self.missing.iter().take(windrose_state::limits::MISSING_NAMES).cloned().collect();
        Missing { count: self.missing.len(), first }
    }

    /// The client accepted a response that is not the newest, and with it those before.
    pub(crate) fn note_answer(&mut self, nonce: &str) {
        if let Some(at) = self.flights.iter().position(|flight| &*flight.nonce == nonce) {
            self.flights.iter_mut().take(at + 1).for_each(|flight| flight.answered = true);
        }
    }

    /// The client accepted a response; what was changed again since is not known to be there.
    pub(crate) fn accept(&mut self, flight: &Flight) {
        if let Resources::All(all) = &flight.resources
            && self.acked.is_empty()
            && self.held.ptr_eq(all)
        {
            self.acked = all.clone();
            return;
        }
        for one in flight.resources.iter() {
            if self.held.get(&*one.id.name).is_some_and(|held| held.version == one.version) {
                self.acked.insert(one.id.name.clone(), Arc::clone(one));
            } else {
                self.former.insert(one.id.name.clone());
            }
        }
        for name in &flight.removed {
            self.acked.remove(name);
            self.former.remove(name);
        }
    }

    /// The client has accepted all that it was sent.
    pub(crate) fn accept_all(&mut self) {
        self.acked = self.held.clone();
        self.former.clear();
    }

    /// The client may have taken this, or some of a response with it.
    pub(crate) fn may_have(&mut self, name: &Text) {
        self.former.insert(name.clone());
    }

    /// Whether the client may have some version of a name, and accepted no removal since.
    pub(crate) fn has_some(&self, name: &str) -> bool {
        self.acked.contains_key(name) || self.former.contains(name)
    }

    /// The client may not have this version; false where a newer one was sent since.
    pub(crate) fn unhold(&mut self, resource: &Resource) -> bool {
        let same = self.held.get(&*resource.id.name).is_some_and(|held| held.version == resource.version);
        if same {
            self.held.remove(&*resource.id.name);
        }
        same
    }

    /// The client forgets a name that it no longer subscribes to.
    pub(crate) fn forget(&mut self, name: &str) {
        self.held.remove(name);
        self.acked.remove(name);
        self.former.remove(name);
        self.due.remove(name);
    }

    /// Goes back to the nodes of the map that all clients should have where it is equal.
    pub(crate) fn share(&mut self, goal: Option<KindMap>) {
        let calm = self.is_calm();
        if let Some(goal) = goal.filter(|goal| calm && !self.held.ptr_eq(goal) && self.held == *goal) {
            self.held = goal;
        }
    }
}
