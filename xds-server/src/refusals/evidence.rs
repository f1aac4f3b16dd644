//! What blame is decided on: what proxies refuse of what they should have, who contradicts, and who agrees.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use windrose_api::Declared;
use windrose_plan::{Plan, Refused};
use windrose_state::{Accepted, Fault, Rejection, Scope, StreamStatus};
use windrose_vocab::{Fingerprint, ObjectVersion, ProxyKey, ResourceId, ResourceKind};

use super::trial::Answer;
use crate::carried::Carried;

/// Everything at one moment.
pub(crate) struct Evidence<'a> {
    pub(crate) streams: &'a [StreamStatus],
    pub(crate) plan: &'a Plan,
    pub(crate) declared: &'a Declared,
    pub(crate) accepted: &'a Accepted,
    pub(crate) carried: &'a Carried,
    pub(crate) refused: &'a Refused,
    /// The version of a resource that a scope should have now.
    pub(crate) desired: &'a dyn Fn(&Scope, &ResourceId) -> Option<Fingerprint>,
    pub(crate) now: SystemTime,
}

/// A version of a resource that a proxy refuses now.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    pub(super) scope: Scope,
    pub(super) resource: ResourceId,
    pub(super) version: Fingerprint,
    pub(super) reason: String,
    /// When it said so, or came back and was not sent it again.
    pub(super) at: SystemTime,
}

/// How one stream stands to the version that it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Accepted,
    Refused,
    None,
}

impl Evidence<'_> {
    /// What proxies refuse now of what they should have, once for each scope and resource, for a reason that is not their
    /// surroundings and that no other proxy contradicts.
    pub(super) fn rejections(&self) -> Vec<Rejected> {
        let mut all = BTreeMap::new();
        for stream in self.streams {
            for rejected in self.said(stream).chain(self.withheld(stream)) {
                all.entry((rejected.scope.clone(), rejected.resource.clone())).or_insert(rejected);
            }
        }
        all.into_values().collect()
    }

    /// What the stream refused itself.
    fn said<'s>(&'s self, stream: &'s StreamStatus) -> impl Iterator<Item = Rejected> + 's {
        let kinds = ResourceKind::ALL.into_iter().flat_map(|kind| stream.of_kind(kind).rejected.iter().map(move |one| (kind, one)));
        kinds.filter(|(_, (_, rejection))| blames(rejection)).filter_map(|(kind, (name, rejection))| {
            self.rejected(stream, ResourceId::new(kind, name.clone()), rejection.version, rejection.at)
        })
    }

    /// What it was not even sent, because its identity, or others enough, refused it before.
    fn withheld<'s>(&'s self, stream: &'s StreamStatus) -> impl Iterator<Item = Rejected> + 's {
        let versions = self.accepted.quarantine(&stream.opened.identity).into_iter();
        versions.filter_map(|(resource, version)| self.rejected(stream, resource, version, stream.opened.since))
    }

    fn rejected(&self, stream: &StreamStatus, resource: ResourceId, version: Fingerprint, at: SystemTime) -> Option<Rejected> {
        if (self.desired)(&stream.opened.scope, &resource) != Some(version) {
            return None;
        }
        let scope = self.anywhere_if_same(&stream.opened.scope, &resource);
        let reason = self.accepted.reason(&resource, version)?.as_str().to_owned();
        Some(Rejected { scope, resource, version, reason, at })
    }

    /// Proxies in many zones that have one and the same resource speak of one.
    fn anywhere_if_same(&self, scope: &Scope, resource: &ResourceId) -> Scope {
        let anywhere = scope.anywhere();
        let is_same = (self.desired)(&anywhere, resource) == (self.desired)(scope, resource);
        if is_same { anywhere } else { scope.clone() }
    }

    /// The streams of the same kind of proxy that should have the same version of a resource as those of that scope.
    fn sharing<'s>(&'s self, scope: &'s Scope, resource: &'s ResourceId) -> impl Iterator<Item = &'s StreamStatus> + 's {
        let (anywhere, wanted) = (scope.anywhere(), (self.desired)(scope, resource));
        self.streams.iter().filter(move |stream| {
            let other = &stream.opened.scope;
            other == scope || other.anywhere() == anywhere && (self.desired)(other, resource) == wanted
        })
    }

    /// Whether another proxy of the same kind has not answered yet and may say otherwise.
    pub(super) fn may_be_contradicted(&self, rejected: &Rejected, patience: Duration) -> bool {
        let fresh = self.now.duration_since(rejected.at).unwrap_or_default() < patience;
        fresh && self.words(&rejected.scope, &rejected.resource).any(|word| word == Word::None)
    }

    /// Whether an object may be set aside for all on this word. A gateway is run by whoever runs this server; a sidecar
    /// is not, so where the object concerns other proxies, one of another workload has to agree.
    pub(super) fn may_blame(&self, rejected: &Rejected, suspect: &ObjectVersion, all: &[Rejected]) -> bool {
        let own = &rejected.scope.proxy;
        let agrees =
            |other: &Rejected| other.scope.proxy != *own && self.carries(&other.scope.proxy, &other.resource).any(|one| one == suspect);
        own.role.is_edge() || all.iter().any(agrees) || !self.concerns_others(own, suspect)
    }

    /// Looks through the resources of other proxies that are connected: rarely needed, and over at the first that has it.
    fn concerns_others(&self, own: &ProxyKey, suspect: &ObjectVersion) -> bool {
        let others = self.streams.iter().map(|stream| &stream.opened.scope.proxy).filter(|proxy| *proxy != own);
        let others: std::collections::BTreeSet<_> = others.collect();
        let mut resources = others.into_iter().filter_map(|proxy| self.plan.sources.get(proxy)).flat_map(|resources| resources.values());
        resources.any(|sources| sources.contains(suspect))
    }

    /// The versions of objects that a resource carries now.
    pub(super) fn carries(&self, proxy: &ProxyKey, resource: &ResourceId) -> impl Iterator<Item = &ObjectVersion> {
        let sources = self.plan.sources.get(proxy).and_then(|sources| sources.get(resource));
        sources.into_iter().flat_map(|sources| sources.iter())
    }

    /// Whether the proxies of a scope have accepted another resource of the same kind that carries this version.
    pub(super) fn runs_elsewhere(&self, scope: &Scope, resource: &ResourceId, version: &ObjectVersion) -> bool {
        let resources = self.plan.sources.get(&scope.proxy).into_iter().flatten();
        let mut others = resources.filter(|(id, sources)| id.kind == resource.kind && *id != resource && sources.contains(version));
        others.any(|(id, _)| {
            let wanted = (self.desired)(scope, id);
            wanted.is_some() && self.accepted.last(scope, id).map(|last| last.version) == wanted
        })
    }

    /// Whether a proxy is there that should have what those of that scope should.
    pub(super) fn is_connected(&self, scope: &Scope, resource: &ResourceId) -> bool {
        self.sharing(scope, resource).next().is_some()
    }

    /// What the proxies of a scope say to the version that they should have; nothing while they may still say something.
    pub(super) fn answer(&self, scope: &Scope, resource: &ResourceId, waited: Duration) -> Option<Answer> {
        if (self.desired)(scope, resource).is_none() {
            return Some(Answer::Accepted);
        }
        let words: Vec<Word> = self.words(scope, resource).collect();
        if words.contains(&Word::Accepted) {
            return Some(Answer::Accepted);
        }
        let heard = waited >= super::SECOND_OPINION || !words.contains(&Word::None);
        (heard && words.contains(&Word::Refused)).then_some(Answer::Refused)
    }

    fn words<'s>(&'s self, scope: &'s Scope, resource: &'s ResourceId) -> impl Iterator<Item = Word> + 's {
        let wanted = (self.desired)(scope, resource);
        self.sharing(scope, resource).map(move |stream| {
            let status = stream.of_kind(resource.kind);
            let is_wanted = |version: Fingerprint| Some(version) == wanted;
            if status.acked.get(&*resource.name).is_some_and(|acked| is_wanted(acked.version)) {
                Word::Accepted
            } else if status.rejected.get(&*resource.name).is_some_and(|rejection| blames(rejection) && is_wanted(rejection.version))
                || wanted.is_some_and(|version| self.accepted.withheld(&stream.opened.identity, resource, version).is_some())
            {
                Word::Refused
            } else {
                Word::None
            }
        })
    }
}

/// Whether it says anything about what was sent: what one client's surroundings keep out is no answer.
fn blames(rejection: &Rejection) -> bool {
    match rejection.fault {
        Fault::Content => true,
        Fault::Client => false,
    }
}
