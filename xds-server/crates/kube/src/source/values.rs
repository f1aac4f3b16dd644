//! Secrets and ConfigMaps: which are referred to, which have been read, and in which version.

use std::collections::{BTreeMap, BTreeSet};

use windrose_api::declared::AnyObject;
use windrose_vocab::ObjectRef;

/// Who needs which values.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// What each object refers to.
    needs: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    /// How many refer to it.
    needed: BTreeMap<ObjectRef, usize>,
    /// What is there, in which resource version.
    there: BTreeMap<ObjectRef, String>,
    /// What was read or is being read, in which resource version it was there then.
    read: BTreeMap<ObjectRef, String>,
    /// What is being read.
    open: BTreeSet<ObjectRef>,
    /// What to look at.
    due: BTreeSet<ObjectRef>,
    /// What somebody began to refer to, and is there, and has not been read yet.
    awaited: BTreeSet<ObjectRef>,
    /// What could not be read last time.
    failing: BTreeSet<ObjectRef>,
}

impl Values {
    /// Takes in what `object` refers to now; nothing where it is gone.
    pub(super) fn refer(&mut self, object: &ObjectRef, now: Option<&AnyObject>) {
        let now = now.map(windrose_api::declared::values).unwrap_or_default();
        let before = if now.is_empty() { self.needs.remove(object) } else { self.needs.insert(object.clone(), now.clone()) };
        let before = before.unwrap_or_default();
        for value in now.difference(&before) {
            *self.needed.entry(value.clone()).or_default() += 1;
            if self.there.contains_key(value) && !self.read.contains_key(value) {
                self.awaited.insert(value.clone());
            }
            self.due.insert(value.clone());
        }
        for value in before.difference(&now) {
            if let Some(count) = self.needed.get_mut(value) {
                *count -= 1;
                if *count == 0 {
                    self.needed.remove(value);
                }
            }
            self.due.insert(value.clone());
        }
    }

    /// A value is there in this version, or gone.
    pub(super) fn there(&mut self, value: ObjectRef, version: Option<String>) {
        match version {
            Some(version) => drop(self.there.insert(value.clone(), version)),
            None => drop(self.there.remove(&value)),
        }
        self.due.insert(value);
    }

    /// Values of a kind that are there.
    pub(super) fn known(&self, kind: windrose_vocab::Kind) -> impl Iterator<Item = &ObjectRef> {
        self.there.keys().filter(move |value| value.kind == kind)
    }

    /// Whether everything that is needed has been read, as far as it can be.
    pub(super) fn is_settled(&self) -> bool {
        self.due.iter().chain(&self.open).all(|value| self.failing.contains(value))
    }

    /// Whether something is about to be read that was not there for anybody before: who refers to it should not be seen without.
    pub(super) fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// What is awaited takes too long.
    pub(super) fn await_no_longer(&mut self) {
        self.awaited.clear();
    }

    /// What to do next: what to read, and what to forget.
    pub(super) fn take_due(&mut self, room: usize) -> (Vec<ObjectRef>, Vec<ObjectRef>) {
        let (mut reads, mut forget) = (Vec::new(), Vec::new());
        for value in std::mem::take(&mut self.due) {
            if self.open.contains(&value) {
                self.due.insert(value);
                continue;
            }
            match self.there.get(&value).filter(|_| self.needed.contains_key(&value)) {
                None => {
                    self.read.remove(&value);
                    self.awaited.remove(&value);
                    self.failing.remove(&value);
                    forget.push(value);
                }
                Some(version) if self.read.get(&value) == Some(version) => {}
                Some(_) if reads.len() >= room => drop(self.due.insert(value)),
                Some(version) => {
                    self.read.insert(value.clone(), version.clone());
                    self.open.insert(value.clone());
                    reads.push(value);
                }
            }
        }
        (reads, forget)
    }

    /// A read is over. One that failed is tried again.
    pub(super) fn over(&mut self, value: &ObjectRef, failed: bool) {
        self.open.remove(value);
        self.awaited.remove(value);
        self.failing.remove(value);
        if failed {
            self.failing.insert(value.clone());
            self.read.remove(value);
            self.due.insert(value.clone());
        }
    }

    /// Whether somebody still refers to it.
    pub(super) fn is_needed(&self, value: &ObjectRef) -> bool {
        self.needed.contains_key(value) && self.there.contains_key(value)
    }
}
