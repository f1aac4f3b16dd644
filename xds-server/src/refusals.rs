//! Which object made Envoy refuse a resource. The sessions have repaired the proxies by then; here the object that is to
//! blame is set aside in its refused version, so that the new versions of all others are served.
//!
//! Suspects are the objects that the refused resource carries and its last accepted version did not; a [`Trial`] finds
//! the guilty among them. Nobody is blamed for what the proxy's surroundings did, for a version that another proxy
//! accepted, or on the word of a single sidecar where the object concerns others.

mod evidence;
pub(crate) mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, Changed};
use windrose_files::Kept;
use windrose_plan::{Refusal, Refused, RefusedBy};
use windrose_state::Scope;
use windrose_vocab::{Fingerprint, Kind, ObjectRef, ObjectVersion, ResourceId};

use crate::last_good::Remembered;
pub(crate) use evidence::Evidence;
use evidence::Rejected;
use trial::Trial;

/// A trial that no proxy answers ends. Longer than a session holds a response back for others.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The time that other proxies of the same kind have to contradict a refusal.
const SECOND_OPINION: Duration = Duration::from_secs(1);

/// The memory that blame needs, and the trial under way.
#[derive(Default)]
pub(crate) struct Refusals {
    /// The version of each object before its newest one, if that was not refused.
    previous: BTreeMap<ObjectRef, AnyObject>,
    /// What was in effect before the restart, else the world as it was read first; none while there was no other. What proxies
    /// accepted before that is remembered without what it carried, so only what came later can be suspected then.
    first: Option<BTreeSet<ObjectVersion>>,
    /// What was good before the restart, until the first world is read.
    remembered: Vec<Kept>,
    /// Refused resources that were dealt with; with the number of refusals there were, where one more may change that.
    judged: BTreeMap<(ResourceId, Fingerprint), Option<usize>>,
    case: Option<Case>,
    /// Somebody may still contradict.
    undecided: bool,
}

/// A trial about one resource.
struct Case {
    scope: Scope,
    resource: ResourceId,
    reason: String,
    trial: Trial<ObjectVersion>,
    /// When the question was asked that is open now.
    asked: SystemTime,
    /// The version of the resource that asks it.
    version: Option<Fingerprint>,
}

impl Refusals {
    /// The memory of a former run.
    pub(crate) fn after_restart(Remembered { kept, former, unusable, refused }: Remembered) -> Self {
        let in_place = refused.objects.iter().filter_map(|(version, refusal)| Some((version.object.clone(), refusal.last_good.clone()?)));
        let previous = in_place.collect();
        let first = (!kept.is_empty()).then(|| kept.iter().map(Kept::identity).collect());
        let is_good = |kept: &Kept| !refused.objects.contains_key(&kept.identity()) && !unusable.contains(&kept.identity());
        // In this order: of two the newer one is remembered, unless it is what is declared still.
        let remembered = former.into_iter().chain(kept).filter(is_good).collect();
        Self { previous, first, remembered, ..Self::default() }
    }

    /// Remembers the versions before the restart of what the first world has in another one.
    pub(crate) fn take_up(&mut self, first: &Declared) {
        for kept in std::mem::take(&mut self.remembered) {
            if first.get(&kept.object).is_some()
                && !declares(first, &kept.identity())
                && let Some(former) = kept.decode()
            {
                self.previous.insert(kept.object, former);
            }
        }
    }

    /// Remembers the objects as they were, before a change. One that is deleted has no earlier version any more.
    pub(crate) fn before(&mut self, former: &Declared, declared: &Declared, changed: &Changed, refused: &Refused) {
        if self.first.is_none() && former.iter().next().is_some() {
            self.first = Some(former.iter().map(|object| object.meta().identity()).collect());
        }
        if former.iter().next().is_none() {
            // What was deleted while no server ran has no earlier version either.
            self.previous.retain(|object, _| declared.get(object).is_some());
        }
        for object in &changed.objects {
            if declared.get(object).is_none() {
                self.previous.remove(object);
            } else if let Some(one) = former.get(object).filter(|one| !refused.objects.contains_key(&one.meta().identity())) {
                self.previous.insert(object.clone(), one);
            }
        }
    }

    /// Takes note of what is served after [`Self::look`]: when that changes, somebody else changed it.
    pub(crate) fn asked(&mut self, desired: &dyn Fn(&Scope, &ResourceId) -> Option<Fingerprint>) {
        if let Some(case) = &mut self.case {
            case.version = desired(&case.scope, &case.resource);
        }
    }

    /// Ends the trial under way without a verdict: somebody else decides now.
    pub(crate) fn leave_off(&mut self) {
        self.case = None;
        self.undecided = false;
        self.judged.clear();
    }

    /// The version of an object that is remembered as its earlier one.
    pub(crate) fn remembered(&self, version: &ObjectVersion) -> Option<AnyObject> {
        self.previous.get(&version.object).filter(|object| object.meta().version == version.version).cloned()
    }

    /// Whether suspects are set aside that may turn out to be innocent.
    pub(crate) fn is_trying(&self) -> bool {
        self.case.is_some()
    }

    /// Whether time alone can change what [`Self::look`] says.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_trying() || self.undecided
    }

    /// What to plan without, if that changed.
    pub(crate) fn look(&mut self, evidence: &Evidence<'_>) -> Option<(Refused, Changed)> {
        let mut refused = evidence.refused.clone();
        let gone = refused.objects.keys().filter(|version| !declares(evidence.declared, version)).cloned().collect::<Vec<_>>();
        gone.iter().for_each(|version| drop(refused.objects.remove(version)));
        match self.case.take() {
            Some(case) => self.go_on(case, evidence, &mut refused),
            None => self.open(evidence, &mut refused),
        }
        let changed = difference(evidence.refused, &refused);
        (!changed.objects.is_empty()).then_some((refused, changed))
    }

    /// Looks for a refused resource that nobody was blamed for.
    fn open(&mut self, evidence: &Evidence<'_>, refused: &mut Refused) {
        let rejections = evidence.rejections();
        self.judged.retain(|(resource, version), _| rejections.iter().any(|one| one.resource == *resource && one.version == *version));
        self.undecided = false;
        for rejected in &rejections {
            let judged = (rejected.resource.clone(), rejected.version);
            if self.judged.get(&judged).is_some_and(|count| count.is_none_or(|count| count == rejections.len())) {
                continue;
            }
            if evidence.may_be_contradicted(rejected, SECOND_OPINION) {
                self.undecided = true;
                continue;
            }
            let carries_new = self.suspects(&rejected.scope, &rejected.resource, evidence);
            let suspects: BTreeSet<_> = carries_new.into_iter().filter(|one| evidence.may_blame(rejected, one, &rejections)).collect();
            tell(rejected, suspects.len());
            // A sidecar that stands alone is heard again when another one agrees.
            let alone = !rejected.scope.proxy.role.is_edge() && suspects.is_empty();
            self.judged.insert(judged, alone.then_some(rejections.len()));
            if !suspects.is_empty() {
                let Rejected { scope, resource, reason, .. } = rejected;
                let (scope, resource, reason) = (scope.clone(), resource.clone(), reason.clone());
                let accepted_before = evidence.accepted.last(&scope, &resource).is_some();
                let trial = Trial::new(suspects, accepted_before);
                let case = Case { scope, resource, reason, trial, asked: evidence.now, version: None };
                return self.settle(case, evidence, refused);
            }
        }
    }

    fn go_on(&mut self, mut case: Case, evidence: &Evidence<'_>, refused: &mut Refused) {
        if case.version != (evidence.desired)(&case.scope, &case.resource) {
            self.take_in(&mut case, evidence);
        } else if !evidence.is_connected(&case.scope, &case.resource) {
            case.trial.end();
        } else {
            let waited = evidence.now.duration_since(case.asked).unwrap_or_default();
            match evidence.answer(&case.scope, &case.resource, waited) {
                Some(answer) => case.trial.take(answer),
                None if waited >= ANSWER_MAX => case.trial.end(),
                None => {
                    self.case = Some(case);
                    return;
                }
            }
            case.asked = evidence.now;
        }
        self.settle(case, evidence, refused);
    }

    /// What was declared since the last question: new versions are suspects too, and what was answered is in doubt.
    fn take_in(&mut self, case: &mut Case, evidence: &Evidence<'_>) {
        case.asked = evidence.now;
        case.trial.doubt(|suspect| declares(evidence.declared, suspect));
        let now = self.suspects(&case.scope, &case.resource, evidence);
        case.trial.join(now.into_iter().filter(|one| declares(evidence.declared, one)).collect());
    }

    /// Plans without those that are set aside at this stage of the trial.
    fn settle(&mut self, case: Case, evidence: &Evidence<'_>, refused: &mut Refused) {
        let (aside, count) = (case.trial.aside(), case.trial.suspects().len());
        for suspect in case.trial.suspects() {
            if !aside.contains(suspect) {
                refused.objects.remove(suspect);
            } else if declares(evidence.declared, suspect) {
                let proven = case.trial.guilty().contains(suspect);
                let reason = if proven { case.reason.clone() } else { format!("{} (one of {count} suspects, being tried)", case.reason) };
                refused
                    .objects
                    .insert(suspect.clone(), Refusal { by: RefusedBy::Envoy, reason, last_good: self.last_good(suspect).cloned() });
            }
        }
        if case.trial.is_over() {
            tracing::info!(proxy = %case.scope.proxy, resource = %case.resource, guilty = case.trial.guilty().len(), of = count, "trial over");
        } else {
            self.case = Some(case);
        }
    }

    /// What the resource carries now and its last accepted version did not.
    fn suspects(&self, scope: &Scope, resource: &ResourceId, evidence: &Evidence<'_>) -> BTreeSet<ObjectVersion> {
        let good = evidence.accepted.last(scope, resource).map(|last| last.version);
        if good.is_some() && good == (evidence.desired)(scope, resource) {
            return BTreeSet::new();
        }
        // What runs in the place of another version is not declared, and setting it aside would change nothing.
        let replaceable = |version: &&ObjectVersion| {
            declares(evidence.declared, version) && (self.last_good(version).is_some() || can_be_left_out(version.object.kind))
        };
        let all = || evidence.carries(&scope.proxy, resource).filter(replaceable);
        if let Some(innocent) = good.and_then(|version| evidence.carried.by(&scope.proxy, resource, version)) {
            return all().filter(|version| !innocent.contains(version)).cloned().collect();
        }
        let came_later = |version: &&ObjectVersion| self.first.as_ref().is_some_and(|first| !first.contains(*version));
        let later: BTreeSet<ObjectVersion> = all().filter(came_later).cloned().collect();
        if !later.is_empty() || good.is_some() {
            return later;
        }
        // Nothing of it ever ran, so nothing is lost while all are tried, but for what runs in other resources.
        all().filter(|version| !evidence.runs_elsewhere(scope, resource, version)).cloned().collect()
    }

    /// The version of the same object before this one, if that was not refused.
    pub(crate) fn last_good(&self, version: &ObjectVersion) -> Option<&AnyObject> {
        self.previous.get(&version.object).filter(|former| former.meta().version != version.version)
    }
}

fn tell(rejected: &Rejected, suspects: usize) {
    let Rejected { scope, resource, reason, .. } = rejected;
    if suspects == 0 {
        tracing::debug!(proxy = %scope.proxy, %resource, reason, "Envoy refused a resource, and no object can be blamed");
    } else {
        tracing::warn!(proxy = %scope.proxy, %resource, reason, suspects, "Envoy refused a resource");
    }
}

/// Whether the rest of a proxy goes on, and nothing is open, without an object of this kind. Without a Gateway or a Service
/// nothing of it would; without an EdgePolicy whoever it keeps out comes in, and without a BackendTLSPolicy the backend is
/// spoken to in the clear. Those are set aside only where there is an earlier version to go back to.
pub(crate) fn can_be_left_out(kind: Kind) -> bool {
    match kind {
        Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::TLSRoute
        | Kind::TCPRoute
        | Kind::UDPRoute
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ClusterTrustBundle
        | Kind::Backend
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::TranscodingPolicy
        | Kind::TrafficPolicy
        | Kind::MeshPolicy
        | Kind::AuthorizationPolicy
        | Kind::TelemetryPolicy => true,
        Kind::GatewayClass
        | Kind::Gateway
        | Kind::ListenerSet
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Workload
        | Kind::BackendTLSPolicy
        | Kind::EdgePolicy
        | Kind::GatewayParameters => false,
    }
}

fn declares(declared: &Declared, version: &ObjectVersion) -> bool {
    declared.get(&version.object).is_some_and(|object| object.meta().version == version.version)
}

/// The objects whose refusal differs.
pub(crate) fn difference(before: &Refused, after: &Refused) -> Changed {
    let only = |one: &Refused, other: &Refused| -> BTreeSet<ObjectRef> {
        one.objects
            .iter()
            .filter(|(version, refusal)| other.objects.get(*version) != Some(refusal))
            .map(|(version, _)| version.object.clone())
            .collect()
    };
    let mut objects = only(before, after);
    objects.extend(only(after, before));
    Changed { objects }
}

#[cfg(test)]
mod tests;
