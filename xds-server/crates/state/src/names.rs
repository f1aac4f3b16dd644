//! Names as a persistent set: a copy costs nothing, and two sets that grew from each other share what they have in common.

use std::fmt;

use windrose_vocab::{Fingerprint, Text};

/// Names without repetition, in order. Equal sets have equal [`Self::key`]s.
#[derive(Clone, Default)]
pub struct Names {
    set: imbl::OrdSet<Text>,
    key: u128,
}

impl Names {
    /// Whether it was new.
    pub fn insert(&mut self, name: Text) -> bool {
        if self.set.contains(&name) {
            return false;
        }
        self.key = self.key.wrapping_add(part_of_key(&name));
        self.set.insert(name);
        true
    }

    /// Whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let was = self.set.remove(name).is_some();
        if was {
            self.key = self.key.wrapping_sub(part_of_key(name));
        }
        was
    }

    /// Whether it is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Text> {
        self.set.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Stands for the set in a table. Clients choose names, so equal keys are only a reason to compare.
    #[must_use]
    pub fn key(&self) -> u128 {
        self.key
    }

    /// What `newer` has that this set has not.
    pub(crate) fn added<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = &'a Text> {
        self.set.diff(&newer.set).filter_map(|item| match item {
            imbl::ordset::DiffItem::Add(name) => Some(name),
            imbl::ordset::DiffItem::Remove(_) => None,
        })
    }
}

/// A sum does not depend on order, and one name more or less costs one name.
fn part_of_key(name: &str) -> u128 {
    Fingerprint::of("windrose names", name).bits()
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.set == other.set
    }
}

impl Eq for Names {}

impl FromIterator<Text> for Names {
    fn from_iter<I: IntoIterator<Item = Text>>(names: I) -> Self {
        let mut set = Self::default();
        names.into_iter().for_each(|name| {
            set.insert(name);
        });
        set
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_set_does_not_show_in_it() {
        let straight: Names = ["a", "b"].map(Text::from).into_iter().collect();
        let mut devious: Names = ["c", "b", "b", "a"].map(Text::from).into_iter().collect();
        assert_ne!(straight, devious);
        assert!(devious.remove("c") && !devious.remove("c"));
        assert_eq!(straight, devious);
        assert_eq!(straight.key(), devious.key());
    }
}
