//! One kind of unit, memoised: a unit is computed again when something that it read has changed, and those who read it
//! hear of it only when its outcome differs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use windrose_vocab::ObjectVersion;

use super::{Dep, Told, ToldIndex};

/// The units of one kind by key.
#[derive(Debug)]
pub(crate) struct Layer<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    readers: HashMap<Dep, Readers<K>>,
}

/// Who read one thing. Most is read by one unit, and a set of one takes as much memory as a set of eleven.
#[derive(Debug)]
enum Readers<K> {
    One(K),
    Many(BTreeSet<K>),
}

impl<K: Ord> Readers<K> {
    fn add(self, key: K) -> Self {
        match self {
            Self::One(one) if one == key => Self::One(one),
            Self::One(one) => Self::Many(BTreeSet::from([one, key])),
            Self::Many(mut many) => {
                many.insert(key);
                Self::Many(many)
            }
        }
    }

    /// Takes one out; whether anybody is left.
    fn remove(&mut self, key: &K) -> bool {
        match self {
            Self::One(one) => one != key,
            Self::Many(many) => {
                many.remove(key);
                !many.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &K> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<K, V> Default for Layer<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), readers: HashMap::new() }
    }
}

#[derive(Debug)]
struct Entry<V> {
    output: Option<Output<V>>,
    told: Told,
    reads: Vec<Dep>,
}

/// The outcome of a unit, and the versions of the objects it was made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output<V> {
    pub(crate) value: Arc<V>,
    pub(crate) sources: Arc<BTreeSet<ObjectVersion>>,
}

impl<V> Clone for Output<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), sources: Arc::clone(&self.sources) }
    }
}

/// All that a computation comes to.
#[derive(Debug)]
pub(crate) struct Computed<V> {
    /// None where there is nothing to make; what was told and read counts all the same.
    pub(crate) output: Option<Output<V>>,
    pub(crate) told: Told,
    pub(crate) reads: Vec<Dep>,
}

/// A unit whose outcome differs from before.
#[derive(Debug)]
pub(crate) struct Delta<K, V> {
    pub(crate) key: K,
    pub(crate) old: Option<Output<V>>,
    pub(crate) new: Option<Output<V>>,
}

impl<K: Clone + Ord + Hash, V: PartialEq> Layer<K, V> {
    /// The outcome of a unit.
    pub(crate) fn get(&self, key: &K) -> Option<&Output<V>> {
        self.entries.get(key).and_then(|entry| entry.output.as_ref())
    }

    /// The units that read something of `changed`.
    pub(crate) fn readers(&self, changed: &HashSet<Dep>) -> BTreeSet<K> {
        changed.iter().filter_map(|dep| self.readers.get(dep)).flat_map(Readers::iter).cloned().collect()
    }

    /// Computes the units of `work` again, forgets those that are no longer wanted, and returns what differs.
    pub(crate) fn run(
        &mut self,
        work: BTreeSet<K>,
        told: &mut ToldIndex,
        wanted: impl Fn(&K) -> bool,
        compute: impl Fn(&K) -> Computed<V>,
    ) -> Vec<Delta<K, V>> {
        let mut deltas = Vec::new();
        let (mut retracted, mut asserted) = (Vec::new(), Vec::new());
        for key in work {
            let new = wanted(&key).then(|| compute(&key));
            let old = self.entries.remove(&key);
            if let Some(entry) = &old {
                self.forget(&key, &entry.reads);
            }
            let (old_told, new_told) = (old.as_ref().map(|entry| &entry.told), new.as_ref().map(|new| &new.told));
            if old_told != new_told {
                retracted.extend(old_told.cloned());
                asserted.extend(new_told.cloned());
            }
            let (old, new) = (old.and_then(|entry| entry.output), new.and_then(|new| self.remember(&key, new)));
            if old != new {
                deltas.push(Delta { key, old, new });
            }
        }
        retracted.iter().for_each(|old| told.retract(old));
        asserted.iter().for_each(|new| told.assert(new));
        deltas
    }

    fn remember(&mut self, key: &K, computed: Computed<V>) -> Option<Output<V>> {
        for dep in &computed.reads {
            let readers = match self.readers.remove(dep) {
                Some(readers) => readers.add(key.clone()),
                None => Readers::One(key.clone()),
            };
            self.readers.insert(dep.clone(), readers);
        }
        let Computed { output, told, reads } = computed;
        self.entries.insert(key.clone(), Entry { output: output.clone(), told, reads });
        output
    }

    fn forget(&mut self, key: &K, reads: &[Dep]) {
        for dep in reads {
            if self.readers.get_mut(dep).is_some_and(|readers| !readers.remove(key)) {
                self.readers.remove(dep);
            }
        }
    }
}
