//! Pods that are going away: once nobody sends them anything new, their Envoy's listeners are withdrawn, so that it ends what
//! is in flight in its own time. A `preStop` sleep holds the Pod meanwhile. Whoever goes by endpoints is seen here; of a load balancer
//! that goes by nodes, or addresses Pods itself, the Pod says how long that may take to hear of it. All of it counts from when the Pod's end
//! began, so that a replica that was not there then, or did not see it, withdraws them when the others do. What is gone has no stream any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windrose_kube::deploy::{Ending, Made, TOKEN_SECONDS};
use windrose_kube::source::World;
use windrose_vocab::ObjectKey;

use super::Sight;
use super::identity::{Gone, Shared};
use crate::identities::Nodes;

/// How long after its endpoint is gone a Pod may still be sent something: every node has to hear of it.
const HEARD: Duration = Duration::from_secs(2);
/// An end is told in whole seconds: it may have begun so much later.
const SECOND: Duration = Duration::from_secs(1);
/// Between two looks while a Pod is going away.
const LOOK: Duration = Duration::from_millis(250);

/// Follows Pods until the end; every replica does it for the streams that it has.
pub(crate) async fn follow(mut sight: Sight, nodes: Arc<Nodes>, shared: Shared, end: CancellationToken) {
    let mut pods: BTreeMap<ObjectKey, Leaving> = BTreeMap::new();
    let (mut before, mut gone) = (Arc::<Made>::default(), Gone::new());
    loop {
        let waits = pods.values().any(|pod| !pod.withdrawn);
        let due = async {
            tokio::select! {
                told = sight.changed() => told,
                () = tokio::time::sleep(LOOK), if waits => Ok(()),
            }
        };
        let Some(Ok(())) = end.run_until_cancelled(due).await else { return };
        let (made, world) = (sight.made.borrow().clone(), sight.worlds.borrow().clone());
        // Before endpoints are listed none would be there, and nobody has a stream.
        let ending = made.pods.iter().filter(|_| world.complete).filter_map(|(key, pod)| Some((key, pod, pod.ending?)));
        pods.retain(|key, _| made.pods.get(key).is_some_and(|pod| pod.ending.is_some()));
        for (key, pod, ending) in ending {
            let now = (SystemTime::now(), Instant::now());
            let is_unheard = !is_endpoint(&world, key, &pod.address);
            let state = pods.entry(key.clone()).or_insert_with(|| Leaving::of(ending, is_unheard, now));
            state.unheard = state.unheard.or(is_unheard.then_some(now.1));
            state.withdrawn |= state.is_over(ending, now);
        }
        let now: BTreeSet<ObjectKey> = pods.iter().filter(|(_, pod)| pod.withdrawn).map(|(key, _)| key.clone()).collect();
        if **shared.leaving.load() != now {
            shared.leaving.store(Arc::new(now));
            nodes.ask_again();
        }
        if !Arc::ptr_eq(&before, &made) {
            miss(&mut gone, &before, &made, SystemTime::now());
            before = made;
            if **shared.gone.load() != gone {
                shared.gone.store(Arc::new(gone.clone()));
                nodes.ask_again();
            }
        }
    }
}

/// Takes note of Pods that were there before and are not. One that was never seen is not gone: the watch may be behind.
fn miss(gone: &mut Gone, before: &Made, made: &Made, now: SystemTime) {
    let forgotten = Duration::from_secs(TOKEN_SECONDS.into());
    gone.retain(|pod, since| !made.pods.contains_key(pod) && now.duration_since(*since).is_ok_and(|past| past <= forgotten));
    if made.complete {
        let missed = before.pods.keys().filter(|pod| !made.pods.contains_key(*pod));
        gone.extend(missed.map(|pod| (pod.clone(), now)));
    }
}

struct Leaving {
    since: SystemTime,
    /// Since when no endpoint names it as ready.
    unheard: Option<Instant>,
    withdrawn: bool,
}

impl Leaving {
    /// Of a Pod that is seen to go away now. One that goes only later by its own word is told by a clock that is ahead of ours. Of one
    /// that has been going for a while and has no endpoint, that went at the beginning: listeners that are withdrawn must not come back.
    fn of(ending: Ending, is_unheard: bool, (now, moment): (SystemTime, Instant)) -> Self {
        let since = ending.since.min(now);
        let surely = now.duration_since(since).unwrap_or_default().saturating_sub(SECOND);
        let unheard = is_unheard.then(|| moment.checked_sub(surely).unwrap_or(moment));
        Self { since, unheard, withdrawn: false }
    }

    /// Whether nothing new is sent to it any more, or may be: an endpoint that stays is not waited for.
    fn is_over(&self, ending: Ending, (now, moment): (SystemTime, Instant)) -> bool {
        // A clock that was set back says nothing.
        let left = now.duration_since(self.since).unwrap_or_default();
        let is_heard = self.unheard.is_some_and(|at| moment.duration_since(at) >= HEARD);
        left >= ending.accepts_for && (is_heard || left >= ending.endpoint_for)
    }
}

/// Whether some Service of its namespace still sends new connections to that address.
fn is_endpoint(world: &World, pod: &ObjectKey, address: &str) -> bool {
    let first = ObjectKey::new(pod.namespace.clone(), "");
    let slices = world.declared.endpoint_slices.range(first..).take_while(|(key, _)| key.namespace == pod.namespace);
    let mut ready = slices.flat_map(|(_, slice)| &slice.spec.endpoints).filter(|endpoint| endpoint.ready);
    ready.any(|endpoint| endpoint.addresses.iter().any(|known| known.to_string() == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pods: &[&str]) -> Made {
        let pods = pods.iter().map(|name| (ObjectKey::new("shop", *name), Default::default())).collect();
        Made { complete: true, pods, ..Made::default() }
    }

    #[test]
    fn only_a_pod_that_was_seen_and_is_not_there_any_more_is_gone() {
        let (mut gone, at) = (Gone::new(), |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let mut after = |before: &Made, now: &Made, seconds| {
            miss(&mut gone, before, now, at(seconds));
            gone.iter().map(|(pod, since)| (pod.name.to_string(), *since)).collect::<Vec<_>>()
        };
        assert_eq!(after(&Made::default(), &made(&["a", "b"]), 1), [], "they were never missed");
        assert_eq!(after(&made(&["a", "b"]), &Made { complete: false, ..made(&[]) }, 2), [], "the list is not over");
        assert_eq!(after(&made(&["a", "b"]), &made(&["b", "c"]), 3), [("a".to_owned(), at(3))]);
        assert_eq!(after(&made(&["b", "c"]), &made(&["a", "b"]), 4), [("c".to_owned(), at(4))], "a is there again");
        assert_eq!(after(&made(&["b"]), &made(&["b"]), 5 + u64::from(TOKEN_SECONDS)), [], "no token is that old");
    }

    /// An end that began then and is waited for so long.
    fn ending(since: SystemTime, accepts_for: u64) -> Ending {
        Ending { since, accepts_for: Duration::from_secs(accepts_for), endpoint_for: Duration::from_secs(8) }
    }

    /// The second after the end began in which its listeners are withdrawn, first seen in that one, by when its endpoint is gone.
    fn over(accepts_for: u64, seen: u64, gone: Option<u64>) -> Option<u64> {
        let (began, start) = (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), Instant::now());
        let at = |second| (began + Duration::from_secs(second), start + Duration::from_secs(second));
        let (ending, is_gone) = (ending(began, accepts_for), |second| gone.is_some_and(|gone| gone <= second));
        let mut pod = Leaving::of(ending, is_gone(seen), at(seen));
        (seen..100).find(|second| {
            pod.unheard = pod.unheard.or(is_gone(*second).then_some(at(*second).1));
            pod.is_over(ending, at(*second))
        })
    }

    #[test]
    fn a_pod_accepts_as_long_as_it_says_and_until_its_endpoint_is_gone_for_a_moment() {
        assert_eq!(over(0, 0, Some(1)), Some(3));
        assert_eq!(over(0, 0, None), Some(8), "an endpoint that stays is not waited for");
        assert_eq!(over(30, 0, Some(1)), Some(30), "a load balancer may not have heard of it");
        assert_eq!(over(30, 0, None), Some(30));
    }

    #[test]
    fn who_sees_a_pod_go_later_withdraws_its_listeners_when_the_others_do() {
        assert_eq!(over(30, 20, Some(1)), Some(30));
        assert_eq!(over(0, 5, None), Some(8));
        assert_eq!(over(0, 5, Some(1)), Some(5), "its endpoint went long ago");
        assert_eq!(over(0, 1, Some(1)), Some(3), "that may have been just now");
        assert_eq!(over(30, 40, Some(1)), Some(40), "and at once where they are withdrawn already");
        let now = SystemTime::UNIX_EPOCH;
        let ahead = Leaving::of(ending(now + Duration::from_secs(60), 0), false, (now, Instant::now()));
        assert_eq!(ahead.since, now, "a clock that is ahead holds nobody up");
    }
}
