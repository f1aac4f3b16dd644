//! One kind of unit, memoised: a unit is computed again when something that it read has changed, and those who read it
//! hear of it only when its outcome differs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Dep, Told, ToldIndex};
use crate::plan::Versions;

/// The units of one kind by key. Each key and each thing that was read stands here once, however many mention it.
#[derive(Debug)]
pub(crate) struct Layer<K, V> {
    entries: HashMap<Arc<K>, Entry<V>>,
    readers: HashMap<Arc<Dep>, Readers<K>>,
}

/// Who read one thing. Most is read by one unit.
#[derive(Debug)]
enum Readers<K> {
    One(Arc<K>),
    Many(BTreeSet<Arc<K>>),
}

impl<K: Ord> Readers<K> {
    fn add(&mut self, key: &Arc<K>) {
        match self {
            Self::One(one) if one == key => {}
            Self::One(one) => *self = Self::Many(BTreeSet::from([Arc::clone(one), Arc::clone(key)])),
            Self::Many(many) => drop(many.insert(Arc::clone(key))),
        }
    }

    /// Takes one out; whether anybody is left.
    fn remove(&mut self, key: &K) -> bool {
        match self {
            Self::One(one) => **one != *key,
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
        one.into_iter().chain(many.into_iter().flatten()).map(|key| &**key)
    }
}

impl<K, V> Default for Layer<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), readers: HashMap::new() }
    }
}

#[derive(Debug)]
struct Entry<V> {
    output: Option<Output<V>>,
    /// None where it told nothing.
    told: Option<Box<Told>>,
    reads: Box<[Arc<Dep>]>,
}

/// The outcome of a unit, and the versions of the objects it was made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output<V> {
    pub(crate) value: Arc<V>,
    pub(crate) sources: Versions,
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
    /// None where it told nothing.
    pub(crate) told: Option<Box<Told>>,
    pub(crate) reads: HashSet<Dep>,
}

/// A unit whose outcome differs from before.
#[derive(Debug)]
pub(crate) struct Delta<K, V> {
    pub(crate) key: K,
    pub(crate) old: Option<Output<V>>,
    pub(crate) new: Option<Output<V>>,
}

impl<K, V> Delta<K, V> {
    /// What is to be counted: the new outcome up (true), the old one down.
    pub(crate) fn sides(&self) -> impl Iterator<Item = (&Output<V>, bool)> {
        self.new.iter().map(|new| (new, true)).chain(self.old.iter().map(|old| (old, false)))
    }
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
            let told_before = old.as_ref().and_then(|entry| entry.told.as_ref());
            let told_now = new.as_ref().and_then(|new| new.told.as_ref());
            if told_before != told_now {
                retracted.extend(told_before.cloned());
                asserted.extend(told_now.cloned());
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
        let Computed { output, told, reads } = computed;
        let key = Arc::new(key.clone());
        let reads = reads.into_iter().map(|dep| self.read(dep, &key)).collect();
        self.entries.insert(key, Entry { output: output.clone(), told, reads });
        output
    }

    fn read(&mut self, dep: Dep, key: &Arc<K>) -> Arc<Dep> {
        let dep = self.readers.get_key_value(&dep).map_or_else(|| Arc::new(dep), |(known, _)| Arc::clone(known));
        match self.readers.get_mut(&dep) {
            Some(readers) => readers.add(key),
            None => drop(self.readers.insert(Arc::clone(&dep), Readers::One(Arc::clone(key)))),
        }
        dep
    }

    fn forget(&mut self, key: &K, reads: &[Arc<Dep>]) {
        for dep in reads {
            if self.readers.get_mut(dep).is_some_and(|readers| !readers.remove(key)) {
                self.readers.remove(dep);
            }
        }
    }
}
