//! Whether a set is closed under reference, known from the last set and what changed since: publishing one edit
//! among ten thousand resources costs the edit.

use std::collections::BTreeSet;

use windrose_vocab::{Refs, ResourceId, ResourceKind};

use crate::set::{Dangling, ResourceSet};

/// A set with the count of its references.
#[derive(Clone, Default)]
pub(crate) struct Closure {
    set: ResourceSet,
    referrers: imbl::OrdMap<ResourceId, u32>,
    missing: imbl::OrdSet<ResourceId>,
}

impl Closure {
    /// The set this speaks of.
    pub(crate) fn set(&self) -> &ResourceSet {
        &self.set
    }

    /// What is referred to and not in the set.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &ResourceId> {
        self.missing.iter()
    }

    /// Whether a resource of the set refers to it.
    pub(crate) fn is_referred_to(&self, id: &ResourceId) -> bool {
        self.referrers.contains_key(id)
    }

    /// The same for `new`, in the size of the difference.
    pub(crate) fn advanced_to(&self, new: &ResourceSet) -> Self {
        let mut next = Self { set: new.clone(), ..self.clone() };
        let mut touched = BTreeSet::new();
        for kind in ResourceKind::ALL {
            for change in ResourceSet::diff(&self.set, new, kind) {
                next.recount(change.before().map(|old| &old.refs), change.after().map(|new| &new.refs), &mut touched);
                if change.before().is_none() || change.after().is_none() {
                    touched.insert(ResourceId { kind, name: change.name().clone() });
                }
            }
        }
        for id in touched {
            if new.lookup(&id).is_none() && next.referrers.contains_key(&id) {
                next.missing.insert(id);
            } else {
                next.missing.remove(&id);
            }
        }
        next
    }

    /// Both lists are sorted, so what they share is skipped: a route table of a thousand clusters gains one.
    fn recount(&mut self, old: Option<&Refs>, new: Option<&Refs>, touched: &mut BTreeSet<ResourceId>) {
        let (old, new) = (old.map_or(&[][..], |refs| refs), new.map_or(&[][..], |refs| refs));
        for gone in old.iter().filter(|id| !contains(new, id)) {
            let left = self.referrers.get(gone).copied().unwrap_or(1).saturating_sub(1);
            if left == 0 {
                self.referrers.remove(gone);
            } else {
                self.referrers.insert(gone.clone(), left);
            }
            touched.insert(gone.clone());
        }
        for added in new.iter().filter(|id| !contains(old, id)) {
            let count = self.referrers.get(added).copied().unwrap_or(0).saturating_add(1);
            self.referrers.insert(added.clone(), count);
            touched.insert(added.clone());
        }
    }

    /// Who refers to `to`: walks the set, for the message of a refusal only.
    pub(crate) fn referrer_of(&self, to: &ResourceId) -> Option<Dangling> {
        let from = self.set.iter().find(|resource| contains(&resource.refs, to))?;
        Some(Dangling { from: from.id.clone(), to: to.clone() })
    }
}

fn contains(refs: &[ResourceId], id: &ResourceId) -> bool {
    refs.binary_search(id).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;
    use windrose_vocab::{Fingerprint, Resource};

    use super::*;

    fn cluster(name: u8, version: u128, refs: &BTreeSet<u8>) -> Resource {
        let id = |n: u8| ResourceId::new(ResourceKind::Cluster, format!("c{n}"));
        let refs: BTreeSet<_> = refs.iter().map(|n| id(*n)).collect();
        Resource { id: id(name), version: Fingerprint::from_bits(version), bytes: Bytes::new(), refs: Arc::from_iter(refs) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_missing_is_the_same_by_increments_and_from_nothing(
            edits in prop::collection::vec((0u8..6, any::<bool>(), prop::collection::btree_set(0u8..6, 0..3)), 1..40)
        ) {
            let (mut set, mut closure) = (ResourceSet::new(), Closure::default());
            for (step, (name, keep, refs)) in edits.into_iter().enumerate() {
                if keep {
                    set.insert(cluster(name, step as u128, &refs));
                } else {
                    set.remove(ResourceKind::Cluster, &format!("c{name}"));
                }
                closure = closure.advanced_to(&set);
                let whole: BTreeSet<_> = set.dangling().into_iter().map(|one| one.to).collect();
                prop_assert_eq!(closure.missing().cloned().collect::<BTreeSet<_>>(), whole);
            }
        }
    }
}
