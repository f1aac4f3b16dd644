//! Which object made Envoy refuse a resource. The sessions have repaired the proxies by then; here the object that is to
//! blame is set aside in its refused version, so that the new versions of all others are served.
//!
//! Suspects are the objects that the refused resource carries and its last accepted version did not. One suspect is
//! guilty. Several are all set aside, and let in again group by group, halving a group that is refused once more:
//! n suspects with one culprit take about 2·log₂ n exchanges with a proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, Changed};
use windrose_files::Kept;
use windrose_plan::{Plan, Refusal, Refused};
use windrose_state::{Accepted, Scope, StreamStatus};
use windrose_vocab::{Fingerprint, Kind, ObjectRef, ObjectVersion, ProxyKey, Resource, ResourceId};

use crate::last_good::Remembered;

/// Former versions of a resource whose objects are remembered: enough for a proxy that is several changes behind.
const VERSIONS_REMEMBERED: usize = 8;
/// A group under test that no proxy answers for is taken as good.
const TEST_MAX: Duration = Duration::from_secs(5);

/// Objects by version of a resource.
type Carried = BTreeSet<ObjectVersion>;

/// The memory that blame needs, and the trial under way.
#[derive(Default)]
pub(crate) struct Refusals {
    /// What former versions of changed resources carried, newest last.
    carried: BTreeMap<(ProxyKey, ResourceId), Vec<(Fingerprint, Carried)>>,
    /// The version of each object before its newest one, if that was not refused.
    previous: BTreeMap<ObjectRef, AnyObject>,
    /// What was in effect before the restart, else the world as it was read first; none while there was no other. What proxies
    /// accepted before that is remembered without what it carried, so only what came later can be suspected then.
    first: Option<BTreeSet<ObjectVersion>>,
    /// What was good before the restart, until the first world is read.
    remembered: Vec<Kept>,
    /// Refused resources that were dealt with.
    judged: BTreeSet<(ResourceId, Fingerprint)>,
    trial: Option<Trial>,
}

/// Suspects of one resource, let in again group by group.
struct Trial {
    scope: Scope,
    resource: ResourceId,
    reason: String,
    waiting: Vec<Vec<ObjectVersion>>,
    testing: Option<(Vec<ObjectVersion>, SystemTime)>,
}

/// What blame is decided on.
pub(crate) struct Evidence<'a> {
    pub(crate) streams: &'a [StreamStatus],
    pub(crate) plan: &'a Plan,
    pub(crate) declared: &'a Declared,
    pub(crate) accepted: &'a Accepted,
    pub(crate) refused: &'a Refused,
    /// The version of a resource that a scope should have now.
    pub(crate) desired: &'a dyn Fn(&Scope, &ResourceId) -> Option<Fingerprint>,
    pub(crate) now: SystemTime,
}

/// A version of a resource that a proxy refuses now.
struct Rejected {
    scope: Scope,
    resource: ResourceId,
    version: Fingerprint,
    reason: String,
}

/// How a resource of the present plan stands with the proxies.
enum Standing {
    Unanswered,
    Accepted,
    Refused,
}

impl Refusals {
    /// The memory of a former run.
    pub(crate) fn after_restart(Remembered { kept, refused }: Remembered) -> Self {
        let in_place = refused.objects.iter().filter_map(|(version, refusal)| Some((version.object.clone(), refusal.last_good.clone()?)));
        let previous = in_place.collect();
        let first = (!kept.is_empty()).then(|| kept.iter().map(Kept::identity).collect());
        let remembered = kept.into_iter().filter(|kept| !refused.objects.contains_key(&kept.identity())).collect();
        Self { previous, first, remembered, ..Self::default() }
    }

    /// Remembers the versions before the restart of what the first world has in another one.
    pub(crate) fn take_up(&mut self, first: &Declared) {
        for kept in std::mem::take(&mut self.remembered) {
            if !declares(first, &kept.identity())
                && let Some(former) = kept.decode()
            {
                self.previous.insert(kept.object, former);
            }
        }
    }

    /// Remembers the objects as they were, before a change.
    pub(crate) fn before(&mut self, declared: &Declared, changed: &Changed, refused: &Refused) {
        if self.first.is_none() && declared.iter().next().is_some() {
            self.first = Some(declared.iter().map(|object| object.meta().identity()).collect());
        }
        for object in &changed.objects {
            if let Some(former) = declared.get(object).filter(|former| !refused.objects.contains_key(&former.meta().identity())) {
                self.previous.insert(object.clone(), former);
            }
        }
    }

    /// Remembers what the former version of a resource carried.
    pub(crate) fn replaced(&mut self, proxy: &ProxyKey, former: &Resource, plan: &Plan) {
        let carried = carried(plan, proxy, &former.id);
        let versions = self.carried.entry((proxy.clone(), former.id.clone())).or_default();
        versions.retain(|(version, _)| *version != former.version);
        versions.push((former.version, carried));
        if versions.len() > VERSIONS_REMEMBERED {
            versions.remove(0);
        }
    }

    /// Forgets a proxy that is no longer declared.
    pub(crate) fn forget(&mut self, proxy: &ProxyKey) {
        self.carried.retain(|(one, _), _| one != proxy);
    }

    /// Whether suspects are set aside that may turn out to be innocent.
    pub(crate) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// What to plan without, if that changed.
    pub(crate) fn look(&mut self, evidence: &Evidence<'_>) -> Option<(Refused, Changed)> {
        let mut refused = evidence.refused.clone();
        let gone = refused.objects.keys().filter(|version| !declares(evidence.declared, version)).cloned().collect::<Vec<_>>();
        gone.iter().for_each(|version| drop(refused.objects.remove(version)));
        match self.trial.take() {
            Some(trial) => self.trial = self.go_on(trial, evidence, &mut refused),
            None => self.open(evidence, &mut refused),
        }
        let changed = difference(evidence.refused, &refused);
        (!changed.objects.is_empty()).then_some((refused, changed))
    }

    /// Looks for a refused resource that nobody was blamed for.
    fn open(&mut self, evidence: &Evidence<'_>, refused: &mut Refused) {
        let rejections = rejections(evidence);
        self.judged.retain(|(resource, version)| rejections.iter().any(|one| one.resource == *resource && one.version == *version));
        for Rejected { scope, resource, version, reason } in rejections {
            let proxy = scope.proxy.clone();
            if !self.judged.insert((resource.clone(), version)) {
                continue;
            }
            let suspects = self.suspects(&scope, &resource, evidence);
            tracing::warn!(%proxy, %resource, reason, suspects = suspects.len(), "Envoy refused a resource");
            for suspect in &suspects {
                self.refuse(suspect, &reason, refused);
            }
            if suspects.len() > 1 {
                self.trial = Some(Trial { scope, resource, reason, waiting: halves(suspects), testing: None });
                return;
            }
        }
    }

    fn go_on(&mut self, mut trial: Trial, evidence: &Evidence<'_>, refused: &mut Refused) -> Option<Trial> {
        if let Some((group, since)) = trial.testing.take() {
            match standing(&trial, evidence) {
                Standing::Unanswered if evidence.now.duration_since(since).unwrap_or_default() < TEST_MAX => {
                    trial.testing = Some((group, since));
                    return Some(trial);
                }
                Standing::Unanswered | Standing::Accepted => {}
                Standing::Refused => {
                    group.iter().for_each(|suspect| self.refuse(suspect, &trial.reason, refused));
                    if group.len() > 1 {
                        trial.waiting.extend(halves(group));
                    }
                }
            }
        }
        let group = trial.waiting.pop()?;
        for suspect in &group {
            refused.objects.remove(suspect);
        }
        trial.testing = Some((group, evidence.now));
        Some(trial)
    }

    /// What the resource carries now and its last accepted version did not.
    fn suspects(&self, scope: &Scope, resource: &ResourceId, evidence: &Evidence<'_>) -> Vec<ObjectVersion> {
        let proxy = &scope.proxy;
        let good = evidence.accepted.last(scope, resource).map(|last| last.version);
        let before = self.carried.get(&(proxy.clone(), resource.clone()));
        let innocent = before.and_then(|versions| versions.iter().find(|(version, _)| Some(*version) == good)).map(|(_, carried)| carried);
        let mut all = carried(evidence.plan, proxy, resource);
        all.retain(|version| self.last_good(version).is_some() || can_be_left_out(version.object.kind));
        let came_later = |version: &&ObjectVersion| self.first.as_ref().is_some_and(|first| !first.contains(*version));
        let later: Vec<ObjectVersion> = match innocent {
            Some(innocent) => all.iter().filter(|version| !innocent.contains(*version)).cloned().collect(),
            None => all.iter().filter(came_later).cloned().collect(),
        };
        // Of what nothing ever ran, nothing is lost while it is tried.
        let never_ran = innocent.is_none() && good.is_none();
        if later.is_empty() && never_ran { all.into_iter().collect() } else { later }
    }

    /// The version of the same object before this one, if that was not refused.
    fn last_good(&self, version: &ObjectVersion) -> Option<&AnyObject> {
        self.previous.get(&version.object).filter(|former| former.meta().version != version.version)
    }

    fn refuse(&self, suspect: &ObjectVersion, reason: &str, refused: &mut Refused) {
        let last_good = self.last_good(suspect).cloned();
        refused.objects.insert(suspect.clone(), Refusal { reason: reason.to_owned(), last_good });
    }
}

/// Whether the rest of a proxy goes on without an object of this kind. Without a Gateway or a Service nothing of it would:
/// they are set aside only where there is an earlier version to go back to.
fn can_be_left_out(kind: Kind) -> bool {
    match kind {
        Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::TLSRoute
        | Kind::TCPRoute
        | Kind::UDPRoute
        | Kind::BackendTLSPolicy
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::Backend
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::TranscodingPolicy
        | Kind::TrafficPolicy
        | Kind::EdgePolicy
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
        | Kind::Workload => false,
    }
}

fn carried(plan: &Plan, proxy: &ProxyKey, resource: &ResourceId) -> Carried {
    let sources = plan.sources.get(proxy).and_then(|sources| sources.get(resource));
    sources.into_iter().flat_map(|sources| sources.iter().cloned()).collect()
}

fn declares(declared: &Declared, version: &ObjectVersion) -> bool {
    declared.get(&version.object).is_some_and(|object| object.meta().version == version.version)
}

fn halves(mut all: Vec<ObjectVersion>) -> Vec<Vec<ObjectVersion>> {
    let second = all.split_off(all.len() / 2);
    [all, second].into_iter().filter(|half| !half.is_empty()).collect()
}

/// What proxies refuse now of what they should have, for a reason that is not their surroundings: those are not
/// remembered in `accepted`.
fn rejections(evidence: &Evidence<'_>) -> Vec<Rejected> {
    let mut all = Vec::new();
    for stream in evidence.streams {
        for kind in windrose_vocab::ResourceKind::ALL {
            for (name, rejection) in &stream.of_kind(kind).rejected {
                let (scope, resource) = (stream.opened.scope.clone(), ResourceId::new(kind, name.clone()));
                let wanted = (evidence.desired)(&scope, &resource) == Some(rejection.version);
                if wanted && evidence.accepted.reason(&resource, rejection.version).is_some() {
                    let reason = rejection.reason.as_str().to_owned();
                    all.push(Rejected { scope, resource, version: rejection.version, reason });
                }
            }
        }
    }
    all
}

/// Decided on the version that is wanted: one that was refused before is not sent again, so nobody answers for it.
fn standing(trial: &Trial, evidence: &Evidence<'_>) -> Standing {
    let Some(wanted) = (evidence.desired)(&trial.scope, &trial.resource) else { return Standing::Accepted };
    let of_scope = evidence.streams.iter().filter(|stream| stream.opened.scope == trial.scope);
    let mut status = of_scope.map(|stream| stream.of_kind(trial.resource.kind));
    if status.any(|status| status.acked.get(&trial.resource.name).is_some_and(|acked| acked.version == wanted)) {
        Standing::Accepted
    } else if evidence.accepted.reason(&trial.resource, wanted).is_some() {
        Standing::Refused
    } else {
        Standing::Unanswered
    }
}

/// The objects whose refusal differs.
fn difference(before: &Refused, after: &Refused) -> Changed {
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
