//! One scope: its newest view, and the streams that follow it. A publication wakes those whom it concerns and nobody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use windrose_vocab::ResourceKind;

use crate::selection::{Selection, Selections};
use crate::view::View;

/// What a stream wants to be woken for, of one kind.
#[derive(Clone, Debug, Default)]
pub enum Asked {
    /// Any change.
    #[default]
    All,
    /// Changes of these names.
    Names(Arc<Selection>),
    /// No change.
    Nothing,
}

/// What a stream wants to be woken for, by [`ResourceKind::index`].
pub type Asks = [Asked; ResourceKind::ALL.len()];

impl Asked {
    /// Whether both ask for the same, as far as that costs nothing to know.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) | (Self::Nothing, Self::Nothing) => true,
            (Self::Names(a), Self::Names(b)) => Arc::ptr_eq(a, b),
            (Self::All | Self::Names(_) | Self::Nothing, _) => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Slot {
    state: Mutex<State>,
    selections: Arc<Selections>,
}

#[derive(Debug)]
struct State {
    view: Arc<View>,
    /// Counts views.
    views: u64,
    feeds: BTreeMap<u64, Follower>,
    opened: u64,
}

#[derive(Debug)]
struct Follower {
    asks: Asks,
    news: Arc<Notify>,
}

/// The newest view of one scope, for one stream, which is woken for everything until it says what it asks for.
#[derive(Debug)]
pub struct Feed {
    slot: Arc<Slot>,
    id: u64,
    news: Arc<Notify>,
    seen: u64,
    asks: Asks,
}

impl Slot {
    pub(crate) fn new(view: View) -> Arc<Self> {
        let state = State { view: Arc::new(view), views: 0, feeds: BTreeMap::new(), opened: 0 };
        Arc::new(Self { state: Mutex::new(state), selections: Arc::default() })
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.state().view)
    }

    pub(crate) fn has_feeds(&self) -> bool {
        !self.state().feeds.is_empty()
    }

    /// Whether it was another than the view before.
    pub(crate) fn show(&self, view: View) -> bool {
        let mut state = self.state();
        if *state.view == view {
            return false;
        }
        let new = Arc::new(view);
        let old = std::mem::replace(&mut state.view, Arc::clone(&new));
        state.views += 1;
        self.selections.advance(&old.resources, &new.resources);
        // A spare secret concerns those who look at everything, for something of theirs was refused.
        let spare_changed = old.spare != new.spare;
        let changed =
            ResourceKind::ALL.map(|kind| kind == ResourceKind::Secret && spare_changed || !old.of_kind(kind).ptr_eq(new.of_kind(kind)));
        let all = old.ready != new.ready;
        let concerned = state.feeds.values().filter(|one| all || one.is_concerned(changed));
        let concerned: Vec<_> = concerned.map(|one| Arc::clone(&one.news)).collect();
        // Whoever is woken wants the lock.
        drop(state);
        concerned.iter().for_each(|news| news.notify_one());
        true
    }

    pub(crate) fn follow(self: &Arc<Self>) -> Feed {
        let (news, asks) = (Arc::new(Notify::new()), Asks::default());
        let mut state = self.state();
        state.opened += 1;
        let (id, seen) = (state.opened, state.views);
        state.feeds.insert(id, Follower { asks: asks.clone(), news: Arc::clone(&news) });
        drop(state);
        Feed { slot: Arc::clone(self), id, news, seen, asks }
    }

    /// A panic of another thread leaves a scope whose followers at worst were not woken for one view.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    fn is_concerned(&self, changed: [bool; ResourceKind::ALL.len()]) -> bool {
        self.asks.iter().zip(changed).any(|(asked, changed)| {
            changed
                && match asked {
                    Asked::All => true,
                    Asked::Names(selection) => selection.was_touched(),
                    Asked::Nothing => false,
                }
        })
    }
}

impl Feed {
    /// The newest view, which then counts as seen.
    #[must_use]
    pub fn current(&mut self) -> Arc<View> {
        let state = self.slot.state();
        self.seen = state.views;
        Arc::clone(&state.view)
    }

    /// Waits for a view that changes what was asked for; never ends when there is none. Safe to cancel.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Says what to be woken for from now on. A view that was published meanwhile wakes whatever it changed.
    pub fn ask(&mut self, asks: Asks) {
        if self.asks.iter().zip(&asks).all(|(a, b)| a.is_same(b)) {
            return;
        }
        self.asks.clone_from(&asks);
        let mut state = self.slot.state();
        if let Some(follower) = state.feeds.get_mut(&self.id) {
            follower.asks = asks;
        }
        if state.views != self.seen {
            self.news.notify_one();
        }
    }

    /// The selections of the scope's streams.
    #[must_use]
    pub fn selections(&self) -> Arc<Selections> {
        Arc::clone(&self.slot.selections)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.slot.state().feeds.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use windrose_vocab::{Fingerprint, NodeClass, Resource, ResourceId, Text};

    use super::*;
    use crate::names::Names;
    use crate::set::{KindMap, ResourceSet};

    fn endpoints(all: &[(&str, u128)]) -> View {
        let resource = |(name, version): &(&str, u128)| Resource {
            id: ResourceId::new(ResourceKind::Endpoints, *name),
            version: Fingerprint::from_bits(*version),
            bytes: bytes::Bytes::new(),
            refs: Arc::from([]),
        };
        View::ready(NodeClass::default(), all.iter().map(resource).collect::<ResourceSet>())
    }

    fn is_woken(feed: &Feed) -> bool {
        pin!(feed.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn names(feed: &mut Feed, text: &str) -> Asks {
        let names: Names = text.split(' ').map(Text::from).collect();
        let view = feed.current();
        let selection = feed.selections().select(ResourceKind::Endpoints, &names, None, view.of_kind(ResourceKind::Endpoints));
        let mut asks: Asks = std::array::from_fn(|_| Asked::Nothing);
        asks[ResourceKind::Endpoints.index()] = Asked::Names(selection);
        asks
    }

    #[test]
    fn a_change_wakes_only_the_interested() {
        let slot = Slot::new(endpoints(&[("a", 1), ("b", 1)]));
        let (mut of_a, mut of_b, of_all) = (slot.follow(), slot.follow(), slot.follow());
        for (feed, name) in [(&mut of_a, "a"), (&mut of_b, "b")] {
            let asks = names(feed, name);
            feed.ask(asks);
        }
        assert!(slot.show(endpoints(&[("a", 1), ("b", 2)])));
        assert_eq!([&of_a, &of_b, &of_all].map(is_woken), [false, true, true]);
        assert!(!slot.show(endpoints(&[("a", 1), ("b", 2)])), "equal");
        assert_eq!([&of_a, &of_b, &of_all].map(is_woken), [false, false, false]);
    }

    #[test]
    fn a_spare_secret_wakes_only_those_who_look_at_everything() {
        let slot = Slot::new(endpoints(&[("a", 1)]));
        let (mut of_a, of_all) = (slot.follow(), slot.follow());
        let asks = names(&mut of_a, "a");
        of_a.ask(asks);
        let secret = |version| Resource {
            id: ResourceId::new(ResourceKind::Secret, "own"),
            version: Fingerprint::from_bits(version),
            bytes: bytes::Bytes::new(),
            refs: Arc::from([]),
        };
        let spare = |version| endpoints(&[("a", 1)]).with_spare(KindMap::unit("own".into(), Arc::new(secret(version))));
        for version in [1, 2] {
            assert!(slot.show(spare(version)));
            assert_eq!([&of_a, &of_all].map(is_woken), [false, true]);
        }
        assert!(!slot.show(spare(2)), "equal");
    }

    #[test]
    fn who_asks_for_nothing_is_woken_when_a_cold_scope_becomes_ready() {
        let slot = Slot::new(View::cold(NodeClass::default()));
        let mut feed = slot.follow();
        feed.ask(std::array::from_fn(|_| Asked::Nothing));
        slot.show(endpoints(&[]));
        assert!(is_woken(&feed));
    }

    #[test]
    fn a_view_that_came_between_looking_and_asking_is_not_slept_through() {
        let slot = Slot::new(endpoints(&[("a", 1)]));
        let mut feed = slot.follow();
        let asks = names(&mut feed, "a");
        slot.show(endpoints(&[("a", 2)]));
        assert!(is_woken(&feed));
        feed.ask(asks);
        assert!(is_woken(&feed));
    }

    #[test]
    fn a_follower_is_gone_with_its_feed() {
        let slot = Slot::new(endpoints(&[]));
        let feed = slot.follow();
        assert!(slot.has_feeds());
        drop(feed);
        assert!(!slot.has_feeds());
    }
}
