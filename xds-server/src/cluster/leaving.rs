//! Pods that are going away: once nobody sends them anything new, their Envoy's listeners are withdrawn, so that it ends what
//! is in flight in its own time. A `preStop` sleep holds the Pod meanwhile. Whoever goes by endpoints is seen here; of a load balancer
//! that goes by nodes, or addresses Pods itself, the Pod says how long that may take to hear of it. What is gone has no stream any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windrose_kube::deploy::{Made, TOKEN_SECONDS};
use windrose_kube::limits;
use windrose_kube::source::World;
use windrose_vocab::ObjectKey;

use super::Sight;
use super::identity::{Gone, Shared};
use crate::identities::Nodes;

/// How long after its endpoint is gone a Pod may still be sent something: every node has to hear of it.
const HEARD: Duration = Duration::from_secs(2);
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
        let terminating = made.pods.iter().filter(|(_, pod)| pod.terminating);
        pods.retain(|key, _| made.pods.get(key).is_some_and(|pod| pod.terminating));
        for (key, pod) in terminating {
            let state = pods.entry(key.clone()).or_insert_with(|| Leaving { since: Instant::now(), unheard: None, withdrawn: false });
            if state.unheard.is_none() && !is_endpoint(&world, key, &pod.address) {
                state.unheard = Some(Instant::now());
            }
            state.withdrawn |= state.is_over(pod.accepts_for, Instant::now());
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
    since: Instant,
    /// Since when no endpoint names it as ready.
    unheard: Option<Instant>,
    withdrawn: bool,
}

impl Leaving {
    /// Whether nothing new is sent to it any more, or may be: an endpoint that stays is not waited for.
    fn is_over(&self, accepts_for: Duration, now: Instant) -> bool {
        let left = now.duration_since(self.since);
        let is_heard = self.unheard.is_some_and(|at| now.duration_since(at) >= HEARD);
        left >= accepts_for && (is_heard || left >= limits::LISTENERS_STAY)
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

    #[test]
    fn a_pod_accepts_as_long_as_it_says_and_until_its_endpoint_is_gone_for_a_moment() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // From when on its listeners are withdrawn, by when its endpoint is gone.
        let over = |accepts_for, gone: Option<u64>| {
            let pod = |second| Leaving { since: start, unheard: gone.filter(|gone| *gone <= second).map(at), withdrawn: false };
            (0..100).find(|second| pod(*second).is_over(Duration::from_secs(accepts_for), at(*second)))
        };
        assert_eq!(over(0, Some(1)), Some(3));
        assert_eq!(over(0, None), Some(8), "an endpoint that stays is not waited for");
        assert_eq!(over(30, Some(1)), Some(30), "a load balancer may not have heard of it");
        assert_eq!(over(30, None), Some(30));
    }
}
