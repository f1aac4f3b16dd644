//! The plan: a program for every proxy, and what to tell people about each object. Plain values in persistent maps.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use windrose_api::declared::route::ParentRef;
use windrose_ir::Program;
use windrose_vocab::{
    Diagnostic, Fingerprint, Kind, ObjectKey, ObjectRef, ObjectVersion, Port, ProxyKey, ProxyRole, ResourceId, ResourceKind, SpiffeId, Text,
};

/// Everything that follows from what is declared. Cheap to clone; two plans share what did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What each kind of proxy runs.
    pub programs: OrdMap<ProxyKey, Arc<Program>>,
    /// Who each kind of proxy is.
    pub identities: OrdMap<ProxyKey, SpiffeId>,
    /// What to tell people, sorted, each once.
    pub diagnostics: OrdSet<Arc<Diagnostic>>,
    /// Conditions of objects, of their parents and of their sections.
    pub verdicts: OrdMap<Subject, Verdict>,
    /// Routes that are attached to each listener; the subject is the Gateway or ListenerSet with the listener's name as section.
    pub attached_routes: OrdMap<Subject, u32>,
    /// Which versions of which objects each resource of a program carries.
    pub sources: OrdMap<ProxyKey, OrdMap<ResourceId, Sources>>,
    /// Where each Gateway that is served is.
    pub edges: OrdMap<ObjectKey, Arc<Edge>>,
    /// What protects each route that a listener takes.
    pub coverage: OrdMap<Covered, Coverage>,
}

impl Plan {
    /// The verdicts on an object: as such, towards each parent, and on each of its sections.
    pub fn verdicts_of<'a>(&'a self, object: &'a ObjectRef) -> impl Iterator<Item = (&'a Subject, &'a Verdict)> {
        self.verdicts.range(Subject::object(object.clone())..).take_while(move |(subject, _)| subject.object == *object)
    }

    /// Whether something that an object attaches to takes it. Where nothing does, proxies that have what was read for its verdict run
    /// nothing of it; but for a BackendTLSPolicy that cannot be used, which closes, and an AuthPolicy for a rule that is not there, which
    /// others have.
    #[must_use]
    pub fn takes_effect(&self, object: &ObjectRef) -> bool {
        if object.kind == Kind::BackendTLSPolicy {
            return true;
        }
        if object.kind == Kind::AuthPolicy && self.coverage.values().any(|coverage| coverage.names(object)) {
            return true;
        }
        let towards = self.verdicts_of(object).filter(|(subject, _)| subject.parent.is_some());
        let mut accepted = towards.filter_map(|(_, verdict)| verdict.conditions.get(ConditionType::Accepted)).peekable();
        accepted.peek().is_none() || accepted.any(|condition| condition.status)
    }

    /// The Gateways for which proxies of that kind carry a version of an object: their own, or those that share them and whose listeners
    /// and routes it is in.
    #[must_use]
    pub fn gateways(&self, proxy: &ProxyKey, version: &ObjectVersion) -> BTreeSet<ObjectKey> {
        match proxy.role {
            ProxyRole::Gateway => BTreeSet::from([proxy.object.clone()]),
            ProxyRole::Workload => BTreeSet::new(),
            ProxyRole::Fleet => {
                let resources = self.sources.get(proxy).into_iter().flatten();
                let carry = resources.filter(|(id, sources)| is_of_gateway(id.kind) && sources.contains(version));
                carry.filter_map(|(id, _)| gateway_of(id)).collect()
            }
        }
    }
}

/// Whether resources of the kind are of one Gateway each, and named after it.
fn is_of_gateway(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Listener | ResourceKind::Routes | ResourceKind::ScopedRoutes | ResourceKind::Extension => true,
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Secret => false,
    }
}

fn gateway_of(resource: &ResourceId) -> Option<ObjectKey> {
    let mut parts = resource.name.split('/');
    Some(ObjectKey::new(parts.next()?, parts.next()?))
}

/// Where a Gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The proxies that serve it: its own, or those that it shares.
    pub proxy: ProxyKey,
    /// Its ports.
    pub ports: BTreeSet<OpenPort>,
}

/// One port of a Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenPort {
    /// As it is declared.
    pub declared: Port,
    /// As its proxies open it: another one where they open ports for other Gateways too, or say by this one that they are up.
    pub bound: Port,
    /// Whether it takes datagrams, not connections.
    pub datagrams: bool,
}

/// Versions of objects, sorted, each once.
pub(crate) type Versions = Arc<[ObjectVersion]>;

/// Which versions of which objects a resource carries.
#[derive(Clone, Debug)]
pub struct Sources(Carried);

#[derive(Clone, Debug)]
enum Carried {
    /// All that one unit was made of.
    Unit(Versions),
    /// With the number of the resource's parts that each went into.
    Parts(OrdMap<ObjectVersion, u32>),
}

impl Default for Sources {
    fn default() -> Self {
        Self(Carried::Unit(Arc::default()))
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Sources {}

impl Sources {
    pub(crate) fn of_unit(versions: &Versions) -> Self {
        Self(Carried::Unit(Arc::clone(versions)))
    }

    /// The versions, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &ObjectVersion> {
        let (unit, parts) = match &self.0 {
            Carried::Unit(versions) => (Some(versions.iter()), None),
            Carried::Parts(counts) => (None, Some(counts.keys())),
        };
        unit.into_iter().flatten().chain(parts.into_iter().flatten())
    }

    /// Whether the resource carries this version.
    #[must_use]
    pub fn contains(&self, version: &ObjectVersion) -> bool {
        match &self.0 {
            Carried::Unit(versions) => versions.binary_search(version).is_ok(),
            Carried::Parts(counts) => counts.contains_key(version),
        }
    }

    /// Whether the resource carries this object in any version.
    #[must_use]
    pub fn carries(&self, object: &ObjectRef) -> bool {
        match &self.0 {
            Carried::Unit(versions) => versions.binary_search_by(|version| version.object.cmp(object)).is_ok(),
            Carried::Parts(counts) => {
                let first = ObjectVersion { object: object.clone(), version: Fingerprint::from_bits(0) };
                counts.range(first..).next().is_some_and(|(version, _)| version.object == *object)
            }
        }
    }

    /// The versions that `former` does not carry. Costs the difference where one grew from the other.
    pub fn beyond<'a>(&'a self, former: &'a Self) -> impl Iterator<Item = &'a ObjectVersion> {
        let (grown, other) = match (&former.0, &self.0) {
            (Carried::Parts(former), Carried::Parts(now)) => (Some(former.diff(now)), None),
            (Carried::Unit(former), Carried::Unit(now)) if Arc::ptr_eq(former, now) => (None, None),
            _ => (None, Some(self.iter().filter(|version| !former.contains(version)))),
        };
        let grown = grown.into_iter().flatten().filter_map(|item| match item {
            DiffItem::Add(version, _) => Some(version),
            DiffItem::Update { .. } | DiffItem::Remove(..) => None,
        });
        grown.chain(other.into_iter().flatten())
    }

    pub(crate) fn add(&mut self, version: &ObjectVersion) {
        self.edit(|counts| *counts.entry(version.clone()).or_insert(0) += 1);
    }

    pub(crate) fn remove(&mut self, version: &ObjectVersion) {
        self.edit(|counts| match counts.get(version).copied() {
            Some(count) if count > 1 => drop(counts.insert(version.clone(), count - 1)),
            Some(_) => drop(counts.remove(version)),
            None => {}
        });
    }

    fn edit(&mut self, edit: impl FnOnce(&mut OrdMap<ObjectVersion, u32>)) {
        let mut counts = match std::mem::take(self).0 {
            Carried::Parts(counts) => counts,
            Carried::Unit(versions) => versions.iter().map(|version| (version.clone(), 1_u32)).collect(),
        };
        edit(&mut counts);
        self.0 = Carried::Parts(counts);
    }
}

/// What a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The object.
    pub object: ObjectRef,
    /// The parent of a route or the target of a policy, as written; none for verdicts on the object itself.
    pub parent: Option<ParentRef>,
    /// The listener of a Gateway or ListenerSet.
    pub section: Option<Text>,
}

impl Subject {
    /// The object itself.
    #[must_use]
    pub fn object(object: ObjectRef) -> Self {
        Self { object, parent: None, section: None }
    }

    /// The object towards one parent.
    #[must_use]
    pub fn parent(object: ObjectRef, parent: ParentRef) -> Self {
        Self { object, parent: Some(parent), section: None }
    }

    /// One listener of the object.
    #[must_use]
    pub fn section(object: ObjectRef, section: Text) -> Self {
        Self { object, parent: None, section: Some(section) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(parent) = &self.parent {
            write!(f, " -> {}/", parent.target.kind)?;
            parent.target.namespace.iter().try_for_each(|namespace| write!(f, "{namespace}/"))?;
            f.write_str(&parent.target.name)?;
            parent.section.iter().try_for_each(|section| write!(f, "#{section}"))?;
            parent.port.iter().try_for_each(|port| write!(f, ":{port}"))?;
        }
        self.section.iter().try_for_each(|section| write!(f, "#{section}"))
    }
}

/// The conditions of one subject, by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// At most one of each type.
    pub conditions: Conditions,
    /// Kinds of routes that a listener takes.
    pub supported_kinds: Vec<Kind>,
}

/// Conditions by type, sorted. A route has two for each parent, and there are many routes: a map would keep room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<(ConditionType, Condition)>);

impl Conditions {
    /// The condition of that type.
    #[must_use]
    pub fn get(&self, kind: ConditionType) -> Option<&Condition> {
        self.position(kind).ok().and_then(|at| self.0.get(at)).map(|(_, condition)| condition)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ConditionType, &Condition)> {
        self.0.iter().map(|(kind, condition)| (*kind, condition))
    }

    pub(crate) fn insert(&mut self, kind: ConditionType, condition: Condition) {
        match self.position(kind) {
            Ok(at) => _ = self.0.get_mut(at).map(|known| known.1 = condition),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (kind, condition));
            }
        }
    }

    pub(crate) fn remove(&mut self, kind: ConditionType) {
        self.0.retain(|(known, _)| *known != kind);
    }

    fn position(&self, kind: ConditionType) -> Result<usize, usize> {
        self.0.binary_search_by_key(&kind, |(known, _)| *known)
    }
}

/// The types of conditions that a plan decides; `Programmed` is not one, it needs the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// We understood it and it takes effect.
    Accepted,
    /// All that it refers to was found and may be used.
    ResolvedRefs,
    /// Two listeners cannot share a port; true is bad.
    Conflicted,
    /// Some rules take no effect; only ever true.
    PartiallyInvalid,
    /// Two HTTPS listeners of one port overlap; only ever true.
    OverlappingTlsConfig,
    /// Clients without a valid certificate are let in; only ever true.
    InsecureFrontendValidationMode,
}

impl ConditionType {
    /// The word that Kubernetes has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Conflicted => "Conflicted",
            Self::PartiallyInvalid => "PartiallyInvalid",
            Self::OverlappingTlsConfig => "OverlappingTLSConfig",
            Self::InsecureFrontendValidationMode => "InsecureFrontendValidationMode",
        }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub status: bool,
    /// Gateway API's word for why.
    pub reason: &'static str,
    /// For people; empty where the reason says all.
    pub message: String,
}

impl Condition {
    /// It holds.
    #[must_use]
    pub fn yes(reason: &'static str) -> Self {
        Self { status: true, reason, message: String::new() }
    }

    /// It does not hold, and why.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: message.into() }
    }
}

/// One rule of a route at one listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Covered {
    /// The route.
    pub route: ObjectRef,
    /// The Gateway (or Service) it is attached to.
    pub parent: ObjectRef,
    /// The listener, where there is one.
    pub section: Option<Text>,
    /// The rule: its name, or the matches that it has.
    pub rule: Text,
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.route, self.rule, self.parent)?;
        self.section.iter().try_for_each(|section| write!(f, "#{section}"))
    }
}

/// What protects a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// A token is required by these policies, from the most general to the most specific.
    Protected(Vec<ObjectRef>),
    /// Nobody passes: one of these policies cannot be used, or stands in for one that is not in force.
    Denied(Vec<ObjectRef>),
    /// Somebody signed off that no token is needed.
    Public {
        /// The policy that says so.
        policy: ObjectRef,
        /// Why.
        reason: Text,
        /// By whose word.
        approved_by: Text,
    },
    /// No policy says anything, and nobody reaches a service: every request is sent elsewhere.
    Redirects,
    /// No policy says anything.
    Open,
}

impl Coverage {
    /// The same where nobody passes because of other policies that are not in force.
    pub(crate) fn closed_by(self, closed: BTreeSet<ObjectRef>) -> Self {
        let by_itself = match self {
            Self::Denied(policies) => policies,
            other if closed.is_empty() => return other,
            Self::Protected(_) | Self::Public { .. } | Self::Redirects | Self::Open => Vec::new(),
        };
        let others = closed.into_iter().filter(|policy| !by_itself.contains(policy)).collect::<Vec<_>>();
        Self::Denied(others.into_iter().chain(by_itself).collect())
    }

    /// Whether that policy closes something there.
    #[must_use]
    pub fn names(&self, policy: &ObjectRef) -> bool {
        match self {
            Self::Protected(policies) | Self::Denied(policies) => policies.contains(policy),
            Self::Public { .. } | Self::Redirects | Self::Open => false,
        }
    }
}
