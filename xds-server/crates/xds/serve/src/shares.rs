//! What one of many may hold of something that is there for all of them: places, or bytes of memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Something to be shared. Who holds nothing costs nothing.
pub(crate) struct Shares<K: Ord> {
    of_each: usize,
    all: Arc<Semaphore>,
    holders: Mutex<BTreeMap<K, Holder>>,
}

struct Holder {
    room: Arc<Semaphore>,
    /// Those that hold a share or wait for one.
    users: usize,
}

/// What somebody holds, given back when it is dropped.
pub(crate) struct Share<K: Ord + Clone> {
    // Given back before the holder is forgotten: who comes then begins with all of its room.
    _held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    _user: User<K>,
}

struct User<K: Ord + Clone> {
    shares: Arc<Shares<K>>,
    key: K,
    room: Arc<Semaphore>,
    /// How many of the same there were when it came, itself included.
    number: usize,
}

impl<K: Ord + Clone> Shares<K> {
    /// At most so much for each, and for all of them together.
    pub(crate) fn new(of_each: usize, of_all: usize) -> Arc<Self> {
        Arc::new(Self { of_each, all: Arc::new(Semaphore::new(of_all)), holders: Mutex::default() })
    }

    /// One place, or none where it or all of them together have what they may have.
    pub(crate) fn try_take(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let user = self.user(key);
        let held = (user.room.clone().try_acquire_owned().ok()?, self.all.clone().try_acquire_owned().ok()?);
        Some(Share { _held: held, _user: user })
    }

    /// Waits for so much, in the order in which it is asked for; nothing where so many of the same hold or wait already. What is asked
    /// for at once must not be more than one may hold.
    pub(crate) async fn take(self: &Arc<Self>, key: K, amount: u32, users_max: usize) -> Option<Share<K>> {
        let user = self.user(key);
        if user.number > users_max {
            return None;
        }
        let own = user.room.clone().acquire_many_owned(amount).await.ok()?;
        Some(Share { _held: (own, self.all.clone().acquire_many_owned(amount).await.ok()?), _user: user })
    }

    fn user(self: &Arc<Self>, key: K) -> User<K> {
        let mut holders = self.holders();
        let new = || Holder { room: Arc::new(Semaphore::new(self.of_each)), users: 0 };
        let holder = holders.entry(key.clone()).or_insert_with(new);
        holder.users += 1;
        User { shares: self.clone(), key, room: holder.room.clone(), number: holder.users }
    }

    /// A panic of another thread leaves a holder that is at worst never forgotten.
    fn holders(&self) -> MutexGuard<'_, BTreeMap<K, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Drop for User<K> {
    fn drop(&mut self) {
        let mut holders = self.shares.holders();
        if let Some(holder) = holders.get_mut(&self.key) {
            holder.users -= 1;
            if holder.users == 0 {
                holders.remove(&self.key);
            }
        }
    }
}

impl<K: Ord> fmt::Debug for Shares<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("of_each", &self.of_each).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn nobody_has_more_than_its_share_and_all_together_no_more_than_there_is() {
        let shares = Shares::new(2, 3);
        let take = |key: &'static str| shares.try_take(key);
        let (one, two) = (take("a"), take("a"));
        assert!(one.is_some() && two.is_some() && take("a").is_none(), "it has its share");
        let other = take("b");
        assert!(other.is_some() && take("b").is_none() && take("c").is_none(), "nothing is left");
        drop(one);
        assert!(take("c").is_some());
        drop((two, other));
        assert!(shares.holders().is_empty(), "who holds nothing is forgotten");
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back_and_who_gives_up_leaves_nothing_behind() {
        let shares = Shares::new(2, 8);
        let first = shares.take("a", 2, 2).await.unwrap();
        assert!(shares.take("a", 1, 2).now_or_never().is_none(), "it has all of its room, and gives up");
        let mut second = Box::pin(shares.take("a", 2, 2));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(shares.take("a", 1, 2).now_or_never().is_some_and(|share| share.is_none()), "too many wait");
        drop(first);
        drop(second.await.unwrap());
        assert!(shares.holders().is_empty());
    }
}
