//! Pods that are going away: once nobody sends them anything new, their Envoy's listeners are withdrawn, so that it ends what
//! is in flight in its own time. A `preStop` sleep holds the Pod meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windrose_kube::limits;
use windrose_kube::source::World;
use windrose_vocab::ObjectKey;

use super::Sight;
use super::identity::Shared;
use crate::identities::Nodes;

/// How long after its endpoint is gone a Pod may still be sent something: every node has to hear of it.
const HEARD: Duration = Duration::from_secs(2);
/// Between two looks while a Pod is going away.
const LOOK: Duration = Duration::from_millis(250);

/// Follows Pods until the end; every replica does it for the streams that it has.
pub(crate) async fn follow(mut sight: Sight, nodes: Arc<Nodes>, shared: Shared, end: CancellationToken) {
    let mut pods: BTreeMap<ObjectKey, Leaving> = BTreeMap::new();
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
            state.withdrawn |= state.unheard.is_some_and(|at| at.elapsed() >= HEARD) || state.since.elapsed() >= limits::LISTENERS_STAY;
        }
        let now: BTreeSet<ObjectKey> = pods.iter().filter(|(_, pod)| pod.withdrawn).map(|(key, _)| key.clone()).collect();
        if **shared.leaving.load() != now {
            shared.leaving.store(Arc::new(now));
            nodes.ask_again();
        }
    }
}

struct Leaving {
    since: Instant,
    /// Since when no endpoint names it as ready.
    unheard: Option<Instant>,
    withdrawn: bool,
}

/// Whether some Service of its namespace still sends new connections to that address.
fn is_endpoint(world: &World, pod: &ObjectKey, address: &str) -> bool {
    let first = ObjectKey::new(pod.namespace.clone(), "");
    let slices = world.declared.endpoint_slices.range(first..).take_while(|(key, _)| key.namespace == pod.namespace);
    let mut ready = slices.flat_map(|(_, slice)| &slice.spec.endpoints).filter(|endpoint| endpoint.ready);
    ready.any(|endpoint| endpoint.addresses.iter().any(|known| known.to_string() == address))
}
