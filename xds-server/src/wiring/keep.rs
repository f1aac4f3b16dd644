//! What outlives a restart is written here, off the async threads, and what other processes revoke is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_state::Accepted;

use crate::accepted_journal::AcceptedJournal;
use crate::identities::Nodes;
use crate::last_good::LastGood;
use crate::revocations::Revocations;

/// What is to survive a restart is written at most this often.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries to write what could not be written.
const KEEP_RETRY: Duration = Duration::from_secs(5);
/// Between two looks at revocations, which other processes make.
const REVOCATIONS_INTERVAL: Duration = Duration::from_secs(1);

/// Writes what is to survive a restart.
pub(super) fn keep(
    tasks: &mut JoinSet<()>,
    accepted: (&Arc<Accepted>, &Arc<AcceptedJournal>),
    last_good: &Arc<LastGood>,
    end: &CancellationToken,
) {
    let (changes, accepted, journal) = (accepted.0.changes(), accepted.0.clone(), accepted.1.clone());
    tasks.spawn(keep_one(changes, move || journal.keep(&accepted), end.child_token()));
    let (changes, last_good) = (last_good.changes(), last_good.clone());
    tasks.spawn(keep_one(changes, move || last_good.flush(), end.child_token()));
}

/// Writes after changes, again until it could be written, and once more at the end. The disk is waited for off the async threads.
async fn keep_one<T: Send + Sync>(
    mut changes: watch::Receiver<T>,
    write: impl Fn() -> anyhow::Result<()> + Clone + Send + 'static,
    end: CancellationToken,
) {
    let mut failed = false;
    loop {
        let due = async { if failed { tokio::time::sleep(KEEP_RETRY).await } else { drop(changes.changed().await) } };
        let ended = end.run_until_cancelled(due).await.is_none();
        changes.mark_unchanged();
        let written = tokio::task::spawn_blocking(write.clone()).await.map_err(anyhow::Error::new).flatten();
        let fails = written.is_err();
        match written {
            Err(error) if !failed => tracing::error!(error = format!("{error:#}"), "a restart would not know it; trying again"),
            Ok(()) if failed => tracing::info!("what could not be kept is kept now"),
            Err(_) | Ok(()) => {}
        }
        failed = fails;
        if ended {
            return;
        }
        end.run_until_cancelled(tokio::time::sleep(KEEP_INTERVAL)).await;
    }
}

pub(super) async fn follow_revocations(revocations: Revocations, nodes: Arc<Nodes>, end: CancellationToken) {
    let (revocations, mut known) = (Arc::new(revocations), None);
    loop {
        let changed = revocations.changed();
        if changed != known {
            let reader = revocations.clone();
            match tokio::task::spawn_blocking(move || reader.all()).await.map_err(anyhow::Error::new).flatten() {
                Ok(all) => {
                    known = changed;
                    nodes.revoke(all);
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "trying again; those that were known hold"),
            }
        }
        if end.run_until_cancelled(tokio::time::sleep(REVOCATIONS_INTERVAL)).await.is_none() {
            return;
        }
    }
}
