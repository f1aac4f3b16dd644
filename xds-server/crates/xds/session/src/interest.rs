//! What a client subscribed to within one kind: everything, some names, or nothing.

use windrose_state::Names;
use windrose_vocab::Text;

/// The name that stands for all resources of a kind.
pub(crate) const WILDCARD: &str = "*";

/// A subscription.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    wildcard: bool,
    names: Names,
    /// An empty list is the legacy wildcard only as long as nothing was ever named.
    named: bool,
}

/// What a full list of names changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turnover {
    pub(crate) wildcard_began: bool,
    pub(crate) wildcard_ended: bool,
    pub(crate) added: Vec<Text>,
    pub(crate) dropped: Vec<Text>,
}

impl Turnover {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Interest {
    /// Whether a resource of that name is wanted.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names asked for one by one.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn allows_legacy_wildcard(&self) -> bool {
        !self.named
    }

    pub(crate) fn begin_wildcard(&mut self) {
        self.wildcard = true;
    }

    /// Whether there was one to end.
    pub(crate) fn end_wildcard(&mut self) -> bool {
        self.named = true;
        std::mem::take(&mut self.wildcard)
    }

    pub(crate) fn add(&mut self, name: Text) {
        self.named = true;
        self.names.insert(name);
    }

    /// Keeps the equal set that other streams keep too.
    pub(crate) fn share(&mut self, names: &Names) {
        debug_assert_eq!(self.names, *names, "equal names are shared");
        self.names = names.clone();
    }

    /// A name that the client did not ask for and needs: no subscription of its own.
    pub(crate) fn add_unasked(&mut self, name: Text) {
        self.names.insert(name);
    }

    /// Whether nothing is subscribed.
    pub(crate) fn is_idle(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }

    /// Whether it was subscribed.
    pub(crate) fn drop(&mut self, name: &str) -> bool {
        self.named = true;
        self.names.remove(name)
    }

    /// Replaces the subscription by a state-of-the-world list; `wildcard_kind` says that an empty one may mean all.
    pub(crate) fn replace(&mut self, list: &[String], wildcard_kind: bool, intern: impl Fn(&str) -> Text) -> Turnover {
        let mut names: Vec<&str> = list.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let stars = names.iter().filter(|name| **name == WILDCARD).count();
        names.retain(|name| *name != WILDCARD);
        let legacy = list.is_empty() && wildcard_kind && self.allows_legacy_wildcard();
        let was = std::mem::replace(&mut self.wildcard, legacy || stars > 0);
        self.named |= !list.is_empty();
        let mut turnover = Turnover { wildcard_began: self.wildcard && !was, wildcard_ended: was && !self.wildcard, ..Turnover::default() };
        if self.names.iter().map(|name| &**name).eq(names.iter().copied()) {
            return turnover;
        }
        turnover.dropped = self.names.iter().filter(|name| names.binary_search(&&***name).is_err()).cloned().collect();
        turnover.added = names.iter().filter(|name| !self.names.contains(name)).map(|name| intern(name)).collect();
        turnover.dropped.iter().for_each(|name| {
            self.names.remove(name);
        });
        turnover.added.iter().for_each(|name| {
            self.names.insert(name.clone());
        });
        turnover
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(interest: &mut Interest, list: &[&str]) -> (bool, Vec<String>) {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        interest.replace(&list, true, |name| name.into());
        (interest.is_wildcard(), interest.names().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rule_13_the_first_empty_list_is_a_wildcard_and_a_later_one_is_nothing() {
        let mut interest = Interest::default();
        assert_eq!(replace(&mut interest, &[]), (true, vec![]));
        assert_eq!(replace(&mut interest, &["*", "A"]), (true, vec!["A".into()]));
        assert_eq!(replace(&mut interest, &["A"]), (false, vec!["A".into()]));
        assert_eq!(replace(&mut interest, &[]), (false, vec![]));
    }

    #[test]
    fn a_list_that_repeats_itself_changes_nothing() {
        let mut interest = Interest::default();
        let list = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        let first = interest.replace(&list, true, |name| name.into());
        assert_eq!(first.added.len(), 2);
        assert!(interest.replace(&list, true, |name| name.into()).is_empty());
    }
}
