//! Opens the gate of each Pod whose Envoy runs all that it should: from then on the Service sends it traffic. A gate that is
//! open stays open: what a proxy has goes on to work, whatever comes later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use windrose_kube::deploy::PodMade;
use windrose_kube::{Client, gate, limits};
use windrose_vocab::ObjectKey;

use super::Sight;
use super::identity::pod;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused a write.
const RETRY: Duration = Duration::from_secs(1);
/// How long a gate that was opened is taken for open although the cluster has not said so.
const UNSEEN: Duration = Duration::from_secs(5);

/// Follows Pods and streams until the end. Every replica does it for the streams that it knows of; a gate that two open is open.
pub(crate) async fn follow(mut sight: Sight, end: CancellationToken) {
    let mut opened: BTreeMap<(ObjectKey, String), tokio::time::Instant> = BTreeMap::new();
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
        opened.retain(|(pod, uid), at| made.pods.get(pod).is_some_and(|there| there.uid == *uid) && at.elapsed() < UNSEEN);
        let closed = made.pods.iter().filter(|(_, pod)| !pod.gate && pod.ending.is_none());
        let closed: Vec<(&ObjectKey, &PodMade)> =
            closed.filter(|(key, pod)| !opened.contains_key(&((*key).clone(), pod.uid.clone()))).collect();
        if !closed.is_empty() {
            let settled: BTreeSet<ObjectKey> = sight.reports.settled().iter().filter_map(|identity| pod(identity)).collect();
            let due = closed.into_iter().filter(|(key, _)| settled.contains(*key));
            let due: Vec<_> = due.map(|(key, pod)| open(sight.client.clone(), (key.clone(), pod.uid.clone()))).collect();
            let mut writes = stream::iter(due).buffer_unordered(limits::APPLIES_AT_ONCE);
            while let Some((pod, done)) = writes.next().await {
                match done {
                    Ok(()) => drop(opened.insert(pod, tokio::time::Instant::now())),
                    Err(error) => {
                        failed = true;
                        tracing::warn!(pod = %pod.0, error, "its readiness cannot be written; trying again");
                    }
                }
            }
        }
        end.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Opens one gate, of a Pod by its name and identity.
async fn open(client: Client, pod: (ObjectKey, String)) -> ((ObjectKey, String), Result<(), String>) {
    let done = gate::set(&client, &pod.0, &pod.1, true, "its Envoy runs what it should", SystemTime::now()).await;
    (pod, done)
}
