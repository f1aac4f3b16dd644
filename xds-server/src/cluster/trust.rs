//! The leader sees to it that the API server trusts our webhook, that the Secret of keys is there, and that changed keys reach it; the
//! others take them.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windrose_kube::lease::Leadership;
use windrose_kube::{Client, keys as secret, webhook};

use super::{Sight, keys};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// Between two tries after the cluster refused something.
const RETRY: Duration = Duration::from_secs(5);

/// Follows until the end. `known` is what the Secret has: what the folder has besides was renewed before anybody led.
pub(crate) async fn follow(
    mut sight: Sight,
    namespace: String,
    (state, mut known): (PathBuf, secret::Files),
    trust: String,
    end: CancellationToken,
) {
    let mut pause = Duration::ZERO;
    loop {
        let due = async {
            tokio::select! {
                told = sight.leads.changed() => told.is_ok(),
                () = tokio::time::sleep(pause) => true,
            }
        };
        match end.run_until_cancelled(due).await {
            None | Some(false) => return,
            Some(true) => {}
        }
        pause = LOOK;
        let leads = *sight.leads.borrow();
        match leads {
            Leadership::Ours => {}
            // Before anybody leads nobody put into the Secret what had to be renewed: ours may be what will be put there.
            Leadership::Unknown => continue,
            Leadership::Others(_) => {
                match keys::follow(&sight.client, &namespace, &state).await {
                    Ok(now) => known = now,
                    Err(error) => tracing::warn!(error = format!("{error:#}"), "whether a key was renewed cannot be seen"),
                }
                continue;
            }
        }
        if let Err(error) = webhook::trust(&sight.client, &namespace, &trust).await {
            tracing::warn!(error, "the webhook cannot be made trusted; objects are checked when they are served");
            pause = RETRY;
        }
        match keys::files(&state) {
            Ok(now) => {
                // Only what we renewed: the others may have been replaced in the Secret meanwhile.
                let renewed: secret::Files = now.iter().filter(|(name, bytes)| known.get(*name) != Some(bytes)).map(cloned).collect();
                match kept(&sight.client, &namespace, &now, &renewed).await {
                    Ok(()) => known = now,
                    Err(error) => {
                        tracing::warn!(error, "the keys are not all kept in their Secret; trying again");
                        pause = RETRY;
                    }
                }
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the keys cannot be read"),
        }
    }
}

/// Puts renewed keys into the Secret, those that it lacks, and all of them where it is gone.
async fn kept(client: &Client, namespace: &str, all: &secret::Files, renewed: &secret::Files) -> Result<(), String> {
    if secret::restore(client, namespace, all).await? {
        tracing::warn!("Secret {} was gone, and is put back", secret::SECRET);
        return Ok(());
    }
    if !secret::complete(client, namespace, all).await? {
        return Err(format!("Secret {} is being written by another one", secret::SECRET));
    }
    if renewed.is_empty() { Ok(()) } else { secret::update(client, namespace, renewed).await }
}

fn cloned((name, bytes): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), bytes.clone())
}
