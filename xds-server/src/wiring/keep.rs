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
    let (revocations, mut known, mut again) = (Arc::new(revocations), None, false);
    loop {
        let changed = revocations.changed();
        if changed != known || again {
            let reader = revocations.clone();
            match tokio::task::spawn_blocking(move || reader.all()).await.map_err(anyhow::Error::new).flatten() {
                Ok(all) => {
                    // One that came since in the same tick of the file system's clock changes no time: the next look sees it.
                    again = changed != known;
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use windrose_pki::{Directory, NodeAuthority, SystemEntropy};
    use windrose_vocab::{ProxyKey, TrustDomain};
    use windrose_xds_serve::Identify;

    use super::*;
    use crate::revocations::Revoked;

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    #[tokio::test]
    async fn a_second_revocation_within_one_tick_of_the_clock_is_seen() {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let directory = Directory::open(folder.path().join("state")).unwrap();
        let domain = TrustDomain::parse("windrose.local").unwrap();
        let authority = Arc::new(NodeAuthority::open(&directory, &domain, now, &SystemEntropy).unwrap());
        let nodes = Arc::new(Nodes::new(authority.clone(), Revoked::default()));
        let proxies = ["one", "two"].map(|name| ProxyKey::workload("shop", name));
        let tokens = proxies.clone().map(|proxy| authority.issue_token(&proxy, MONTH, now, &SystemEntropy).unwrap());
        let refuses = async |at: usize| nodes.by_token(tokens[at].expose(), now).await.is_err();
        // As if both came in the same tick.
        let revoke = |proxy: &ProxyKey| {
            Revocations::open(folder.path()).unwrap().revoke(proxy, now + REVOCATIONS_INTERVAL).unwrap();
            std::fs::File::open(folder.path().join("revoked")).unwrap().set_modified(now).unwrap();
        };
        revoke(&proxies[0]);
        let revocations = Revocations::open(folder.path()).unwrap();
        let follows = tokio::spawn(follow_revocations(revocations, nodes.clone(), CancellationToken::new()));
        while !refuses(0).await {
            tokio::time::sleep(REVOCATIONS_INTERVAL / 100).await;
        }
        revoke(&proxies[1]);
        tokio::time::sleep(2 * REVOCATIONS_INTERVAL).await;
        assert!(refuses(1).await);
        follows.abort();
    }
}
