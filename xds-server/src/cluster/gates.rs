//! Opens the gate of each Pod whose Envoy runs all that it should: from then on the Service sends it traffic. It stays open whatever comes
//! later, since what a proxy has goes on to work, unless none of its listeners is open any more: an Envoy that began anew in its Pod may
//! find their ports taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use windrose_kube::deploy::Made;
use windrose_kube::{Client, gate, limits};
use windrose_vocab::{ObjectKey, Text};

use super::Sight;
use super::identity::pod;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused a write.
const RETRY: Duration = Duration::from_secs(1);
/// How long a gate that was set is taken for set although the cluster has not said so.
const UNSEEN: Duration = Duration::from_secs(5);

/// One Pod's gate: its name and identity, and whether it is to be open.
type Gate = (ObjectKey, String, bool);

/// Follows Pods and streams until the end. Every replica does it for the streams that it knows of; a gate that two open is open.
pub(crate) async fn follow(mut sight: Sight, end: CancellationToken) {
    let mut unseen: BTreeMap<Gate, tokio::time::Instant> = BTreeMap::new();
    let mut failed = false;
    loop {
        let due = async {
            tokio::select! {
                told = sight.changed() => told,
                () = tokio::time::sleep(RETRY), if failed => Ok(()),
            }
        };
        let Some(Ok(())) = end.run_until_cancelled(due).await else { return };
        failed = false;
        let made = sight.made.borrow_and_update().clone();
        unseen.retain(|(pod, uid, _), at| made.pods.get(pod).is_some_and(|there| there.uid == *uid) && at.elapsed() < UNSEEN);
        let due: Vec<Gate> = wrong(&sight, &made).into_iter().filter(|gate| !unseen.contains_key(gate)).collect();
        let sets = due.into_iter().map(|gate| set(sight.client.clone(), gate));
        let mut writes = stream::iter(sets).buffer_unordered(limits::APPLIES_AT_ONCE);
        while let Some((gate, done)) = writes.next().await {
            match done {
                Ok(()) => {
                    unseen.remove(&(gate.0.clone(), gate.1.clone(), !gate.2));
                    unseen.insert(gate, tokio::time::Instant::now());
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(pod = %gate.0, error, "its readiness cannot be written; trying again");
                }
            }
        }
        end.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// The gates that are not as they should be.
fn wrong(sight: &Sight, made: &Made) -> Vec<Gate> {
    let live = || made.pods.iter().filter(|(_, pod)| pod.ending.is_none());
    let pods = |identities: BTreeSet<Text>| identities.iter().filter_map(|identity| pod(identity)).collect::<BTreeSet<ObjectKey>>();
    let mut wrong = Vec::new();
    for open in [true, false] {
        if live().all(|(_, pod)| pod.gate == open) {
            continue;
        }
        let these = pods(if open { sight.reports.settled() } else { sight.reports.shut() });
        let due = live().filter(|(key, pod)| pod.gate != open && these.contains(*key));
        wrong.extend(due.map(|(key, pod)| (key.clone(), pod.uid.clone(), open)));
    }
    wrong
}

/// Sets one gate.
async fn set(client: Client, gate: Gate) -> (Gate, Result<(), String>) {
    let (pod, uid, open) = &gate;
    let why = if *open { "its Envoy runs what it should" } else { "none of its listeners is open" };
    let done = gate::set(&client, pod, uid, *open, why, SystemTime::now()).await;
    (gate, done)
}
