//! What proxies accepted last and which versions they rejected: the memory that lets a session repair a rejection,
//! and a restarted proxy start with the last good version. Written and read by sessions only.

mod ledger;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind, Text};

use crate::limits;
use crate::observed::Reason;
use crate::scope::Scope;
use crate::set::{KindMap, ResourceSet};

pub use ledger::{CorruptRecord, Ledger};

/// Last accepted resources per scope, rejected versions per resource. A version contains the class and all that was
/// rendered, so a rejected one is the same for every scope. What is the same in every zone is remembered once for all.
#[derive(Debug)]
pub struct Accepted {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    accepted: BTreeMap<Scope, ResourceSet>,
    rejected: BTreeMap<ResourceId, VecDeque<RejectedVersion>>,
    /// Oldest first, for the limit.
    order: VecDeque<ResourceId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RejectedVersion {
    version: Fingerprint,
    reason: Reason,
    by: BTreeSet<Text>,
    /// Somebody who never rejected it accepted it, so it binds nobody.
    accepted: bool,
}

impl RejectedVersion {
    /// Several instances of one proxy are one witness to all others: whoever runs it could bring any number of them.
    fn binds(&self, identity: &str) -> bool {
        let agree = self.of_proxy(identity) >= limits::REJECTING_INSTANCES || self.proxies() >= limits::REJECTING_PROXIES;
        !self.accepted && (self.by.contains(identity) || agree)
    }

    /// Remembers who refused it, as far as that can decide anything.
    fn note(&mut self, identity: &Text) {
        let (of_proxy, proxies) = (self.of_proxy(identity), self.proxies());
        if of_proxy < limits::REJECTING_INSTANCES && (of_proxy > 0 || proxies < limits::REJECTING_PROXIES) {
            self.by.insert(identity.clone());
        }
    }

    /// How many instances of the same proxy refused it.
    fn of_proxy(&self, identity: &str) -> usize {
        self.by.iter().filter(|one| proxy(one) == proxy(identity)).count()
    }

    fn proxies(&self) -> usize {
        self.by.iter().map(|one| proxy(one)).collect::<BTreeSet<_>>().len()
    }
}

/// The proxy of an identity, which is written `PROXY#CREDENTIAL`.
fn proxy(identity: &str) -> &str {
    identity.split_once('#').map_or(identity, |(proxy, _)| proxy)
}

impl Default for Accepted {
    fn default() -> Self {
        Self::new()
    }
}

impl Accepted {
    /// Without memory.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Remembers that a proxy of `scope` accepted these. One that was rejected by the same identity before proves
    /// nothing: Envoy accepts the same bytes the second time without applying them.
    pub fn acked<'a>(&self, scope: &Scope, identity: &str, resources: impl IntoIterator<Item = &'a Arc<Resource>>) {
        let mut inner = self.inner();
        let mut changed = false;
        for resource in resources {
            changed |= inner.clear(identity, resource) && inner.accept(scope, resource);
        }
        drop(inner);
        if changed {
            self.changed();
        }
    }

    /// The same for all resources of a kind at once, where `all` is what the proxy has of it: costs the difference
    /// from what is remembered.
    pub fn acked_all(&self, scope: &Scope, identity: &str, kind: ResourceKind, all: &KindMap) {
        self.inner().clear_all(identity, kind, all);
        let of_kind = scope.of_kind(kind);
        let known = self.inner().accepted.get(&*of_kind).map(|set| set.of_kind(kind).clone()).unwrap_or_default();
        if known.ptr_eq(all) {
            return;
        }
        let new = crate::set::changes(&known, all).filter_map(crate::set::Change::after);
        self.acked(scope, identity, new);
        let mut inner = self.inner();
        if let Some(set) = inner.accepted.get_mut(&*of_kind) {
            let same = set.of_kind(kind) == all;
            if same {
                set.set_kind(kind, all.clone());
            }
        }
    }

    /// Remembers that a proxy of this identity refused this version.
    pub fn rejected(&self, identity: &Text, resource: &Resource, reason: &Reason) {
        self.inner().reject(identity, resource, reason);
        self.changed();
    }

    /// Forgets the last accepted versions of names that the proxies of `scope` no longer have.
    pub fn removed<'a>(&self, scope: &Scope, kind: ResourceKind, names: impl IntoIterator<Item = &'a Text>) {
        let mut inner = self.inner();
        let Some(set) = inner.accepted.get_mut(&*scope.of_kind(kind)) else { return };
        let mut changed = false;
        for name in names {
            changed |= set.remove(kind, name).is_some();
        }
        drop(inner);
        if changed {
            self.changed();
        }
    }

    /// The last accepted version of a resource, as bytes to send again.
    #[must_use]
    pub fn last(&self, scope: &Scope, id: &ResourceId) -> Option<Arc<Resource>> {
        self.inner().accepted.get(&*scope.of_kind(id.kind))?.lookup(id).cloned()
    }

    /// The versions that a new stream of this identity is not sent: those that it, two instances of its proxy or two
    /// proxies rejected, and nobody accepted.
    #[must_use]
    pub fn quarantine(&self, identity: &str) -> Vec<(ResourceId, Fingerprint)> {
        let inner = self.inner();
        let versions = inner.rejected.iter().flat_map(|(id, all)| all.iter().map(move |one| (id, one)));
        versions.filter(|(_, one)| one.binds(identity)).map(|(id, one)| (id.clone(), one.version)).collect()
    }

    /// The reason for which a version was last rejected, if it was and nobody accepted it.
    #[must_use]
    pub fn reason(&self, id: &ResourceId, version: Fingerprint) -> Option<Reason> {
        let inner = self.inner();
        inner.rejected.get(id)?.iter().find(|one| one.version == version && !one.accepted).map(|one| one.reason.clone())
    }

    /// The reason for which a stream of this identity is not sent that version; see [`Self::quarantine`].
    #[must_use]
    pub fn withheld(&self, identity: &str, id: &ResourceId, version: Fingerprint) -> Option<Reason> {
        let inner = self.inner();
        inner.rejected.get(id)?.iter().find(|one| one.version == version && one.binds(identity)).map(|one| one.reason.clone())
    }

    /// Forgets a scope that is no longer declared.
    pub fn forget(&self, scope: &Scope) {
        let forgotten = self.inner().accepted.remove(scope).is_some();
        if forgotten {
            self.changed();
        }
    }

    /// Changes with everything worth persisting.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A panic of another thread leaves a memory that is at worst one answer behind.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// False where the acceptance proves nothing.
    fn clear(&mut self, identity: &str, resource: &Resource) -> bool {
        if self.rejected.is_empty() {
            return true;
        }
        let versions = self.rejected.get_mut(&resource.id);
        let Some(rejected) = versions.and_then(|all| all.iter_mut().find(|one| one.version == resource.version)) else {
            return true;
        };
        let proves = !rejected.by.contains(identity);
        rejected.accepted |= proves;
        proves
    }

    /// The acceptance of much that was accepted before proves what another refused meanwhile.
    fn clear_all(&mut self, identity: &str, kind: ResourceKind, all: &KindMap) {
        for (id, versions) in self.rejected.iter_mut().filter(|(id, _)| id.kind == kind) {
            let Some(version) = all.get(&*id.name).map(|one| one.version) else { continue };
            let proven = versions.iter_mut().filter(|one| one.version == version && !one.by.contains(identity));
            proven.for_each(|one| one.accepted = true);
        }
    }

    fn accept(&mut self, scope: &Scope, resource: &Arc<Resource>) -> bool {
        let scope = &*scope.of_kind(resource.id.kind);
        if !self.accepted.contains_key(scope) {
            if self.accepted.len() >= limits::ACCEPTED_SCOPES {
                self.accepted.pop_first();
            }
            self.accepted.insert(scope.clone(), ResourceSet::new());
        }
        let Some(set) = self.accepted.get_mut(scope) else { return false };
        let known = set.lookup(&resource.id);
        if known.is_some_and(|known| Arc::ptr_eq(known, resource)) {
            return false;
        }
        let changed = known.is_none_or(|known| known.version != resource.version);
        set.insert(Arc::clone(resource));
        changed
    }

    fn reject(&mut self, identity: &Text, resource: &Resource, reason: &Reason) {
        let versions = self.rejected.entry(resource.id.clone()).or_default();
        if versions.is_empty() {
            self.order.push_back(resource.id.clone());
        }
        match versions.iter_mut().find(|one| one.version == resource.version) {
            Some(known) => {
                known.reason = reason.clone();
                known.note(identity);
            }
            None => versions.push_back(RejectedVersion {
                version: resource.version,
                reason: reason.clone(),
                by: BTreeSet::from([identity.clone()]),
                accepted: false,
            }),
        }
        while versions.len() > limits::REJECTED_VERSIONS {
            versions.pop_front();
        }
        while self.order.len() > limits::REJECTED_RESOURCES {
            self.order.pop_front().map(|oldest| self.rejected.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windrose_vocab::{NodeClass, ProxyKey};

    use super::*;

    fn cluster(name: &str, version: u128) -> Arc<Resource> {
        Arc::new(Resource {
            id: ResourceId::new(ResourceKind::Cluster, name),
            version: Fingerprint::from_bits(version),
            bytes: Bytes::from(format!("{name}@{version}")),
            refs: Arc::from([]),
        })
    }

    fn scope() -> Scope {
        ProxyKey::workload("shop", "orders").into()
    }

    fn refuse(accepted: &Accepted, identity: &str, resource: &Resource) {
        accepted.rejected(&identity.into(), resource, &Reason::new("bad"));
    }

    #[test]
    fn the_last_accepted_version_is_there_to_be_sent_again() {
        let accepted = Accepted::new();
        accepted.acked(&scope(), "a", [&cluster("c", 1)]);
        refuse(&accepted, "a", &cluster("c", 2));
        assert_eq!(accepted.last(&scope(), &cluster("c", 2).id), Some(cluster("c", 1)));
    }

    #[test]
    fn two_instances_of_one_proxy_bind_that_proxy_and_no_other() {
        let (accepted, bad) = (Accepted::new(), cluster("c", 2));
        let binds = |identity: &str| accepted.withheld(identity, &bad.id, bad.version).is_some();
        refuse(&accepted, "gateway/shop/edge#pod/shop/edge-1", &bad);
        assert!(binds("gateway/shop/edge#pod/shop/edge-1") && !binds("gateway/shop/edge#pod/shop/edge-2"));
        for pod in 2..10 {
            refuse(&accepted, &format!("gateway/shop/edge#pod/shop/edge-{pod}"), &bad);
        }
        assert!(binds("gateway/shop/edge#pod/shop/edge-99"));
        assert!(!binds("gateway/other/edge#pod/other/edge-1"), "however many there are, it is one proxy's word");
        refuse(&accepted, "workload/shop/orders#1", &bad);
        assert!(binds("gateway/other/edge#pod/other/edge-1"), "a second proxy agrees");
    }

    #[test]
    fn one_rejection_binds_its_own_identity_and_a_second_binds_all() {
        let accepted = Accepted::new();
        let bad = cluster("c", 2);
        refuse(&accepted, "a", &bad);
        assert_eq!(accepted.quarantine("a"), [(bad.id.clone(), bad.version)]);
        assert_eq!(accepted.quarantine("b"), []);
        refuse(&accepted, "b", &bad);
        assert_eq!(accepted.quarantine("c"), [(bad.id.clone(), bad.version)]);
    }

    #[test]
    fn a_version_that_another_accepted_binds_nobody() {
        let accepted = Accepted::new();
        let bad = cluster("c", 2);
        refuse(&accepted, "a", &bad);
        assert!(accepted.withheld("a", &bad.id, bad.version).is_some());
        accepted.acked(&scope(), "b", [&bad]);
        assert_eq!(accepted.quarantine("a"), []);
        assert_eq!(accepted.withheld("a", &bad.id, bad.version), None);
        assert_eq!(accepted.reason(&bad.id, bad.version), None);
    }

    #[test]
    fn rule_05d_an_ack_for_content_equal_to_a_rejected_one_proves_nothing() {
        let accepted = Accepted::new();
        let bad = cluster("c", 2);
        refuse(&accepted, "a", &bad);
        accepted.acked(&scope(), "a", [&bad]);
        assert_eq!(accepted.quarantine("a"), [(bad.id.clone(), bad.version)]);
        assert_eq!(accepted.last(&scope(), &bad.id), None);
    }

    #[test]
    fn accepting_all_of_a_kind_shares_the_map_of_the_stream() {
        let accepted = Accepted::new();
        let all: KindMap = (0..100).map(|n| cluster(&format!("c{n}"), 1)).map(|c| (c.id.name.clone(), c)).collect();
        accepted.acked_all(&scope(), "a", ResourceKind::Cluster, &all);
        assert!(accepted.inner().accepted[&scope()].of_kind(ResourceKind::Cluster).ptr_eq(&all));
        accepted.acked_all(&scope(), "a", ResourceKind::Cluster, &all.without("c1"));
        assert!(accepted.last(&scope(), &cluster("c1", 1).id).is_some(), "absence forgets nothing");
    }

    #[test]
    fn accepting_all_of_a_kind_proves_what_another_refused_meanwhile() {
        let (accepted, bad) = (Accepted::new(), cluster("c", 2));
        let all = KindMap::unit(bad.id.name.clone(), bad.clone());
        accepted.acked_all(&scope(), "b", ResourceKind::Cluster, &all);
        refuse(&accepted, "a", &bad);
        accepted.acked_all(&scope(), "a", ResourceKind::Cluster, &all);
        assert_eq!(accepted.quarantine("a").len(), 1, "its own refusal stands");
        accepted.acked_all(&scope(), "b", ResourceKind::Cluster, &all);
        assert_eq!(accepted.quarantine("a"), []);
    }

    #[test]
    fn what_is_the_same_in_every_zone_is_remembered_once() {
        let accepted = Accepted::new();
        let zone = |name: &str| Scope { class: NodeClass { modules: None, zone: Some(name.into()) }, ..scope() };
        let endpoints =
            |version| Arc::new(Resource { id: ResourceId::new(ResourceKind::Endpoints, "c"), ..(*cluster("c", version)).clone() });
        accepted.acked(&zone("a"), "a", [&cluster("c", 1), &endpoints(1)]);
        accepted.acked(&zone("b"), "b", [&endpoints(2)]);
        let version = |scope: &Scope, id: &ResourceId| accepted.last(scope, id).map(|last| last.version);
        let (common, own) = (cluster("c", 1).id.clone(), endpoints(1).id.clone());
        for scope in [scope(), zone("a"), zone("b")] {
            assert_eq!(version(&scope, &common), Some(Fingerprint::from_bits(1)), "{scope}");
        }
        let versions = [scope(), zone("a"), zone("b")].map(|scope| version(&scope, &own));
        assert_eq!(versions, [None, Some(Fingerprint::from_bits(1)), Some(Fingerprint::from_bits(2))]);
        accepted.removed(&zone("b"), ResourceKind::Cluster, [&common.name]);
        assert_eq!(version(&zone("a"), &common), None);
        accepted.forget(&zone("a"));
        assert_eq!((version(&zone("a"), &own), version(&zone("b"), &own).is_some()), (None, true));
    }

    #[test]
    fn the_memory_is_bounded() {
        let accepted = Accepted::new();
        for n in 0..=limits::REJECTED_RESOURCES {
            refuse(&accepted, "a", &cluster(&format!("c{n}"), 1));
        }
        for version in 0..2 * limits::REJECTED_VERSIONS as u128 {
            refuse(&accepted, "a", &cluster("c9", version));
        }
        assert_eq!(accepted.reason(&cluster("c0", 1).id, Fingerprint::from_bits(1)), None, "the oldest is forgotten");
        let count = limits::REJECTED_RESOURCES - 1 + limits::REJECTED_VERSIONS;
        assert_eq!(accepted.quarantine("a").len(), count);
    }
}
