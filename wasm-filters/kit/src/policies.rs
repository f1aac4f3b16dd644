//! The policies of a filter's table, and for a while those that the table of before had besides.
//!
//! Routes name policies, and come to Envoy after the filters' tables: until they are there, requests meet routes that name what the new
//! table does not know. They are judged as before. A policy that is closed is closed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::Host;
use crate::limits::{REMEMBERED_MAX, REMEMBERED_NS};

/// Policies by id.
#[derive(Debug)]
pub struct Policies<T> {
    known: BTreeMap<String, Rc<T>>,
    closed: BTreeSet<String>,
    gone: BTreeMap<String, Gone<T>>,
}

#[derive(Debug)]
struct Gone<T> {
    policy: Rc<T>,
    /// On the monotonic clock, in nanoseconds.
    until: u64,
}

/// A policy that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a, T> {
    /// It is in the table.
    Now(&'a Rc<T>),
    /// It was in the table of before.
    Before(&'a Rc<T>),
}

impl<'a, T> Known<'a, T> {
    /// It itself.
    #[must_use]
    pub fn policy(&self) -> &'a Rc<T> {
        match self {
            Self::Now(policy) | Self::Before(policy) => policy,
        }
    }
}

impl<T> Policies<T> {
    /// A table, and the ids under which nobody passes.
    #[must_use]
    pub fn new(known: BTreeMap<String, Rc<T>>, closed: BTreeSet<String>) -> Self {
        Self { known, closed, gone: BTreeMap::new() }
    }

    /// The policy of that id, if a request can be judged by it.
    pub fn get(&self, id: &str, host: &dyn Host) -> Option<Known<'_, T>> {
        if self.closed.contains(id) {
            return None;
        }
        if let Some(policy) = self.known.get(id) {
            return Some(Known::Now(policy));
        }
        let gone = self.gone.get(id)?;
        (host.monotonic_ns() < gone.until).then_some(Known::Before(&gone.policy))
    }

    /// Remembers what the table of before has besides; called once, before any request.
    pub fn succeed(&mut self, former: &Self, host: &dyn Host) {
        let (now, until) = (host.monotonic_ns(), remembered_until(host));
        let still = former.gone.iter().filter(|(_, gone)| now < gone.until).map(|(id, gone)| (id, &gone.policy, gone.until));
        let fresh = former.known.iter().map(|(id, policy)| (id, policy, until));
        let besides = fresh.chain(still).filter(|(id, _, _)| !self.known.contains_key(*id) && !self.closed.contains(*id));
        let besides = besides.map(|(id, policy, until)| (id.clone(), Gone { policy: Rc::clone(policy), until }));
        // What the table of before has was in memory a moment ago.
        self.gone = besides.take(REMEMBERED_MAX.max(former.known.len())).collect();
    }
}

/// Until when, on the monotonic clock in nanoseconds, what a table loses now is remembered.
pub fn remembered_until(host: &dyn Host) -> u64 {
    host.monotonic_ns().saturating_add(REMEMBERED_NS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake::FakeHost;

    fn table(ids: &[(&str, u32)], closed: &[&str]) -> Policies<u32> {
        let known = ids.iter().map(|(id, policy)| ((*id).to_owned(), Rc::new(*policy))).collect();
        Policies::new(known, closed.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn what_an_edit_takes_away_judges_for_a_while_and_what_it_closes_or_changes_does_not() {
        let host = FakeHost::new();
        let mut next = table(&[("kept", 2), ("new", 3)], &["closed"]);
        next.succeed(&table(&[("kept", 1), ("gone", 1), ("closed", 1)], &[]), &host);
        assert_eq!(next.get("kept", &host), Some(Known::Now(&Rc::new(2))));
        assert_eq!(next.get("gone", &host), Some(Known::Before(&Rc::new(1))));
        assert_eq!((next.get("closed", &host), next.get("other", &host)), (None, None));

        let mut last = table(&[("kept", 2)], &[]);
        host.advance(Duration::from_nanos(REMEMBERED_NS / 2));
        last.succeed(&next, &host);
        assert_eq!(last.get("gone", &host), Some(Known::Before(&Rc::new(1))), "also over another edit");
        assert_eq!(last.get("closed", &host), None, "what was closed is not opened by being forgotten");
        host.advance(Duration::from_nanos(REMEMBERED_NS / 2));
        assert_eq!(last.get("gone", &host), None);
        assert_eq!(last.get("new", &host), Some(Known::Before(&Rc::new(3))));
    }

    #[test]
    fn all_of_one_table_are_remembered_and_of_many_only_so_many() {
        let host = FakeHost::new();
        let ids: Vec<String> = (0..=REMEMBERED_MAX).map(|number| format!("{number:05}")).collect();
        let mut next = table(&[("one", 1)], &[]);
        next.succeed(&table(&ids.iter().map(|id| (id.as_str(), 1)).collect::<Vec<_>>(), &[]), &host);
        assert_eq!(next.gone.len(), ids.len());
        let mut last = table(&[], &[]);
        last.succeed(&next, &host);
        assert!(last.gone.len() == REMEMBERED_MAX && last.get("one", &host).is_some(), "the newest first");
    }
}
