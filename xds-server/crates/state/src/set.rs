//! A set of resources as a persistent map per kind: a copy costs nothing, and two sets that grew from each other
//! are compared in the size of their difference.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use windrose_vocab::{Resource, ResourceId, ResourceKind, Text};

/// The resources of one kind by name; clones share their nodes.
pub type KindMap = imbl::OrdMap<Text, Arc<Resource>>;

/// All resources of all kinds, by name. `clone` is seven reference counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResourceSet {
    kinds: [KindMap; ResourceKind::ALL.len()],
}

/// One difference between two sets.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Only in the newer set.
    Added(&'a Arc<Resource>),
    /// In both, with different versions or content.
    Updated {
        /// As it was.
        old: &'a Arc<Resource>,
        /// As it is.
        new: &'a Arc<Resource>,
    },
    /// Only in the older set.
    Removed(&'a Arc<Resource>),
}

impl<'a> Change<'a> {
    /// The resource before the change.
    #[must_use]
    pub fn before(self) -> Option<&'a Arc<Resource>> {
        match self {
            Self::Added(_) => None,
            Self::Updated { old, .. } | Self::Removed(old) => Some(old),
        }
    }

    /// The resource after the change.
    #[must_use]
    pub fn after(self) -> Option<&'a Arc<Resource>> {
        match self {
            Self::Added(new) | Self::Updated { new, .. } => Some(new),
            Self::Removed(_) => None,
        }
    }

    /// Whose name changed its meaning.
    #[must_use]
    pub fn name(self) -> &'a Text {
        match self {
            Self::Added(one) | Self::Updated { new: one, .. } | Self::Removed(one) => &one.id.name,
        }
    }
}

/// A reference to a resource that is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dangling {
    /// The resource that refers.
    pub from: ResourceId,
    /// The resource that does not exist.
    pub to: ResourceId,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refers to {}, which is not in the set", self.from, self.to)
    }
}

impl ResourceSet {
    /// The set without resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The resource of that kind and name.
    #[must_use]
    pub fn get(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Resource>> {
        self.of_kind(kind).get(name)
    }

    /// The resource of that id.
    #[must_use]
    pub fn lookup(&self, id: &ResourceId) -> Option<&Arc<Resource>> {
        self.get(id.kind, &id.name)
    }

    /// All resources of a kind, by name.
    #[must_use]
    pub fn of_kind(&self, kind: ResourceKind) -> &KindMap {
        &self.kinds[kind.index()]
    }

    /// Replaces all resources of a kind; every one of them must be of that kind.
    pub fn set_kind(&mut self, kind: ResourceKind, resources: KindMap) {
        debug_assert!(resources.values().all(|one| one.id.kind == kind), "a {kind} map holds only {kind}");
        self.kinds[kind.index()] = resources;
    }

    /// All resources of a kind in order of name.
    pub fn iter_kind(&self, kind: ResourceKind) -> impl Iterator<Item = &Arc<Resource>> {
        self.of_kind(kind).values()
    }

    /// All resources in make-before-break order of kind, then of name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.iter().flat_map(KindMap::values)
    }

    /// How many there are, of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.iter().map(KindMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.iter().all(KindMap::is_empty)
    }

    /// Puts a resource in, in place of the one of the same id, which is returned.
    pub fn insert(&mut self, resource: impl Into<Arc<Resource>>) -> Option<Arc<Resource>> {
        let resource = resource.into();
        self.kinds[resource.id.kind.index()].insert(resource.id.name.clone(), resource)
    }

    /// Takes a resource out.
    pub fn remove(&mut self, kind: ResourceKind, name: &str) -> Option<Arc<Resource>> {
        self.kinds[kind.index()].remove(name)
    }

    /// What changed within `kind` from `old` to `new`, in order of name. Costs the size of the difference where
    /// `new` was made by editing a clone of `old`, and the size of both sets where it was built from nothing.
    pub fn diff<'a>(old: &'a Self, new: &'a Self, kind: ResourceKind) -> impl Iterator<Item = Change<'a>> {
        changes(old.of_kind(kind), new.of_kind(kind))
    }

    /// This set as edits of `base`: equal to `self`, but sharing all that `base` has too. A publisher that builds
    /// its sets from nothing calls it once, so that the streams compare in the size of the change.
    #[must_use]
    pub fn rebased_on(&self, base: &Self) -> Self {
        let mut rebased = base.clone();
        for kind in ResourceKind::ALL {
            for change in Self::diff(base, self, kind) {
                match change {
                    Change::Added(new) | Change::Updated { new, .. } => {
                        rebased.insert(Arc::clone(new));
                    }
                    Change::Removed(old) => {
                        rebased.remove(kind, &old.id.name);
                    }
                }
            }
        }
        rebased
    }

    /// Whether both are the same nodes in memory: true implies equal, and costs nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kinds.iter().zip(&other.kinds).all(|(a, b)| a.ptr_eq(b) || (a.is_empty() && b.is_empty()))
    }

    /// Every reference without a target, sorted. Walks the whole set.
    #[must_use]
    pub fn dangling(&self) -> Vec<Dangling> {
        let absent = |resource: &Arc<Resource>| {
            let from = resource.id.clone();
            let missing: Vec<_> = resource.refs.iter().filter(|to| self.lookup(to).is_none()).cloned().collect();
            missing.into_iter().map(move |to| Dangling { from: from.clone(), to })
        };
        let sorted: BTreeSet<_> = self.iter().flat_map(absent).collect();
        sorted.into_iter().collect()
    }
}

/// What changed from one map to another of the same kind, in order of name; see [`ResourceSet::diff`].
pub fn changes<'a>(old: &'a KindMap, new: &'a KindMap) -> impl Iterator<Item = Change<'a>> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(_, new) => Change::Added(new),
        DiffItem::Update { old: (_, old), new: (_, new) } => Change::Updated { old, new },
        DiffItem::Remove(_, old) => Change::Removed(old),
    })
}

impl<R: Into<Arc<Resource>>> FromIterator<R> for ResourceSet {
    fn from_iter<I: IntoIterator<Item = R>>(resources: I) -> Self {
        let mut set = Self::new();
        set.extend(resources);
        set
    }
}

impl<R: Into<Arc<Resource>>> Extend<R> for ResourceSet {
    fn extend<I: IntoIterator<Item = R>>(&mut self, resources: I) {
        for resource in resources {
            self.insert(resource);
        }
    }
}

impl fmt::Debug for ResourceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;
    use windrose_vocab::Fingerprint;

    use super::*;

    fn resource(kind: ResourceKind, name: &str, version: u128, refs: &[(ResourceKind, &str)]) -> Resource {
        Resource {
            id: ResourceId::new(kind, name),
            version: Fingerprint::from_bits(version),
            bytes: Bytes::from(name.to_owned()),
            refs: refs.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect(),
        }
    }

    #[test]
    fn a_difference_names_what_was_added_updated_and_removed() {
        let old: ResourceSet = ["a", "b", "c"].map(|name| resource(ResourceKind::Cluster, name, 1, &[])).into_iter().collect();
        let mut new = old.clone();
        new.insert(resource(ResourceKind::Cluster, "b", 2, &[]));
        new.insert(resource(ResourceKind::Cluster, "d", 1, &[]));
        new.remove(ResourceKind::Cluster, "a");
        let seen: Vec<_> = ResourceSet::diff(&old, &new, ResourceKind::Cluster)
            .map(|change| (&**change.name(), change.before().is_some(), change.after().is_some()))
            .collect();
        assert_eq!(seen, [("a", true, false), ("b", true, true), ("d", false, true)]);
        assert_eq!(ResourceSet::diff(&old, &new, ResourceKind::Routes).count(), 0);
    }

    thread_local! { static COMPARED: Cell<usize> = const { Cell::new(0) }; }

    #[derive(Clone, Debug)]
    struct Counted(u32);
    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    /// The promise of `ResourceSet::diff` stands on this property of the persistent map.
    #[test]
    fn one_change_in_ten_thousand_is_found_without_looking_at_all() {
        let old: imbl::OrdMap<u32, Counted> = (0..10_000).map(|n| (n, Counted(n))).collect();
        let mut new = old.clone();
        new.insert(7_000, Counted(1));
        new.insert(20_000, Counted(1));
        new.remove(&3_000);
        assert_eq!(old.diff(&new).count(), 3);
        assert!(COMPARED.get() < 1_000, "{} entries compared", COMPARED.get());
    }

    #[test]
    fn a_set_built_from_nothing_can_be_rebased_so_that_it_shares() {
        let build = || -> ResourceSet { (0..100).map(|n| resource(ResourceKind::Cluster, &format!("c{n}"), n, &[])).collect() };
        let old = build();
        assert!(build().rebased_on(&old).is_same(&old));
    }

    #[test]
    fn references_without_a_target_are_listed() {
        let mut set = ResourceSet::new();
        set.insert(resource(ResourceKind::Routes, "r", 1, &[(ResourceKind::Cluster, "c"), (ResourceKind::Cluster, "d")]));
        set.insert(resource(ResourceKind::Cluster, "c", 1, &[]));
        let texts: Vec<_> = set.dangling().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["RDS r refers to CDS d, which is not in the set"]);
    }
}
