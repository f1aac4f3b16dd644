//! What is done to the headers of a request or response.

use windrose_vocab::{Text, canonical};

/// Changes to headers: remove, then set, then add. Names in lower case, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderChanges {
    /// Replaced.
    pub set: Vec<(Text, Text)>,
    /// Appended.
    pub add: Vec<(Text, Text)>,
    /// Taken off.
    pub remove: Vec<Text>,
}

impl HeaderChanges {
    /// These, and on what comes of them `later`.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let replaced = |name: &Text| later.remove.contains(name) || later.set.iter().any(|(own, _)| own == name);
        let kept = |all: &[(Text, Text)]| all.iter().filter(|(name, _)| !replaced(name)).cloned().collect::<Vec<_>>();
        let (mut set, mut add, mut remove) = (kept(&self.set), kept(&self.add), self.remove.clone());
        set.extend(later.set.iter().cloned());
        add.extend(later.add.iter().cloned());
        remove.extend(later.remove.iter().cloned());
        set.sort();
        // By name only: what is appended comes in order.
        add.sort_by(|a, b| a.0.cmp(&b.0));
        remove.sort();
        remove.dedup();
        Self { set, add, remove }
    }
}

canonical!(struct HeaderChanges { set, add, remove });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_done_to_what_came_before() {
        let pairs = |all: &[(&str, &str)]| all.iter().map(|(name, value)| (Text::from(*name), Text::from(*value))).collect::<Vec<_>>();
        let changes = |set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]| HeaderChanges {
            set: pairs(set),
            add: pairs(add),
            remove: remove.iter().map(|name| Text::from(*name)).collect(),
        };
        let rule = changes(&[("a", "1"), ("b", "1")], &[("c", "1"), ("d", "1")], &["e", "f"]);
        let share = changes(&[("a", "2"), ("e", "2")], &[("c", "2"), ("f", "2")], &["b", "d"]);
        let both = changes(&[("a", "2"), ("e", "2")], &[("c", "1"), ("c", "2"), ("f", "2")], &["b", "d", "e", "f"]);
        assert_eq!(rule.then(&share), both);
        assert_eq!(HeaderChanges::default().then(&share), share);
        assert_eq!(rule.then(&HeaderChanges::default()), rule);
    }
}
