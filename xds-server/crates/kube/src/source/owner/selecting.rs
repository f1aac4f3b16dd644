//! What comes into the world and goes out of it with a Namespace's labels.

use std::collections::BTreeSet;

use serde_json::Value;
use windrose_vocab::{Kind, ObjectRef, Text};

use super::Owner;
use crate::source::is_value;
use crate::source::outside::{InEffect, Kept};

impl Owner {
    /// A Namespace is so now, or gone: what is in it comes or goes.
    pub(super) fn select(&mut self, namespace: &Text, now: Option<&Value>) {
        let Some(selected) = self.selection.note(namespace, now) else { return };
        if self.world.complete {
            tracing::info!(%namespace, selected, "a Namespace's labels came to say something else of it");
        }
        match selected {
            true => {
                // Values first: who refers to one that is there waits until it is read.
                let (values, others): (Vec<_>, Vec<_>) =
                    self.outside.take(namespace).into_iter().partition(|(_, kept)| matches!(kept, Kept::Value(_)));
                values.into_iter().chain(others).for_each(|(object, kept)| self.enter(object, kept));
            }
            false => self.inside(namespace).into_iter().for_each(|object| self.leave(object)),
        }
    }

    /// Keeps what is not to count now. Of an object that changes outside, what was in effect is forgotten as if it were gone.
    pub(super) fn keep_outside(&mut self, object: ObjectRef, kept: Kept) {
        if let Some(Kept::InEffect(_)) = self.outside.put(object.clone(), kept) {
            self.forget(&object);
        }
    }

    /// Everything of a namespace that counts because of the namespace.
    fn inside(&self, namespace: &Text) -> BTreeSet<ObjectRef> {
        let declared = self.world.declared.iter().map(|object| object.meta().object.clone());
        let seen = self.world.seen.keys().chain(self.world.declared.set_aside.keys());
        let values = Kind::ALL.into_iter().filter(|kind| is_value(*kind)).flat_map(|kind| self.values.known(kind));
        let all = declared.chain(seen.chain(values).cloned());
        all.filter(|object| object.key.namespace == *namespace && !self.selection.takes(object)).collect()
    }

    fn enter(&mut self, object: ObjectRef, kept: Kept) {
        match kept {
            Kept::Value(version) => self.values.there(object, Some(version)),
            Kept::Told(text) => match serde_json::from_str(&text) {
                Ok(value) => self.put(object, value),
                Err(error) => tracing::error!(%object, %error, "what was kept of it cannot be read"),
            },
            Kept::InEffect(kept) => self.put_back(object, *kept),
        }
    }

    fn put_back(&mut self, object: ObjectRef, kept: InEffect) {
        let InEffect { good, aside, seen, problems, unreadable } = kept;
        if let Some(good) = good {
            self.values.refer(&object, Some(&good));
            self.world.declared.insert(good);
        }
        aside.into_iter().for_each(|aside| drop(self.world.declared.set_aside.insert(object.clone(), aside)));
        seen.into_iter().for_each(|seen| drop(self.world.seen.insert(object.clone(), seen)));
        problems.into_iter().for_each(|problems| drop(self.world.problems.insert(object.clone(), problems)));
        unreadable.into_iter().for_each(|unreadable| drop(self.world.unreadable.insert(object.clone(), unreadable)));
        self.changed = true;
    }

    fn leave(&mut self, object: ObjectRef) {
        if is_value(object.kind) {
            let version = self.values.version(&object).cloned();
            self.values.there(object.clone(), None);
            return version.into_iter().for_each(|version| self.keep_outside(object.clone(), Kept::Value(version)));
        }
        let world = &self.world;
        let kept = InEffect {
            good: world.declared.get(&object),
            aside: world.declared.set_aside.get(&object).cloned(),
            seen: world.seen.get(&object).cloned(),
            problems: world.problems.get(&object).cloned(),
            unreadable: world.unreadable.get(&object).cloned(),
        };
        self.take_out(&object);
        self.keep_outside(object, Kept::InEffect(Box::new(kept)));
    }
}
