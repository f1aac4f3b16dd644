//! The versions a client refused on its stream, and those its identity refused before: never sent to it again.

use std::collections::{BTreeMap, VecDeque};

use windrose_vocab::{Fingerprint, ResourceId};

use crate::limits;

/// Rejected versions by resource.
#[derive(Debug, Default)]
pub(crate) struct Rejected {
    versions: BTreeMap<ResourceId, VecDeque<Fingerprint>>,
}

impl Rejected {
    pub(crate) fn insert(&mut self, id: &ResourceId, version: Fingerprint) {
        if self.contains(id, version) {
            return;
        }
        let versions = self.versions.entry(id.clone()).or_default();
        versions.push_back(version);
        if versions.len() > limits::REJECTED_VERSIONS {
            versions.pop_front();
        }
        if self.versions.len() > limits::REJECTED_RESOURCES {
            let other = self.versions.keys().find(|known| *known != id).cloned();
            other.map(|other| self.versions.remove(&other));
        }
    }

    /// Lets it be sent once more.
    pub(crate) fn remove(&mut self, id: &ResourceId, version: Fingerprint) {
        let Some(versions) = self.versions.get_mut(id) else { return };
        versions.retain(|one| *one != version);
        if versions.is_empty() {
            self.versions.remove(id);
        }
    }

    pub(crate) fn contains(&self, id: &ResourceId, version: Fingerprint) -> bool {
        self.versions.get(id).is_some_and(|versions| versions.contains(&version))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &ResourceId> {
        self.versions.keys()
    }
}

#[cfg(test)]
mod tests {
    use windrose_vocab::ResourceKind;

    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_is_always_kept() {
        let mut rejected = Rejected::default();
        let id = |n: usize| ResourceId::new(ResourceKind::Cluster, format!("c{n}"));
        for n in 0..=limits::REJECTED_RESOURCES {
            rejected.insert(&id(n), Fingerprint::from_bits(1));
            assert!(rejected.contains(&id(n), Fingerprint::from_bits(1)));
        }
        assert_eq!(rejected.ids().count(), limits::REJECTED_RESOURCES);
        let last = id(limits::REJECTED_RESOURCES);
        (0..20).for_each(|version| rejected.insert(&last, Fingerprint::from_bits(version)));
        assert!(rejected.contains(&last, Fingerprint::from_bits(19)));
        assert!(!rejected.contains(&last, Fingerprint::from_bits(0)));
    }
}
