//! The keys of the control plane: one Secret for all replicas, a folder in memory for each. Who starts first makes them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use windrose_kube::Client;
use windrose_kube::keys::{self, Files};
use windrose_pki::{Directory, SystemEntropy};

use crate::args::ServerOptions;
use crate::state_folder::StateFolder;

/// Between two tries to reach the cluster at the start.
const RETRY: Duration = Duration::from_secs(2);
/// Tries before we give up and say why.
const TRIES: usize = 30;

/// Fills the state folder with the keys of the cluster, or the cluster with new ones.
pub(crate) async fn fetch(client: &Client, namespace: &str, options: &ServerOptions) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        match try_fetch(client, namespace, options).await {
            Ok(()) => return Ok(()),
            Err(error) if tries < TRIES => {
                tracing::warn!(error = format!("{error:#}"), "the keys cannot be had yet; trying again");
                tries += 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_fetch(client: &Client, namespace: &str, options: &ServerOptions) -> anyhow::Result<()> {
    let folder = &options.common.state;
    if let Some(files) = keys::read(client, namespace).await.map_err(anyhow::Error::msg)? {
        return put(folder, &files);
    }
    let made = make(options)?;
    if keys::create(client, namespace, &made).await.map_err(anyhow::Error::msg)? {
        tracing::info!("the keys of the control plane were made");
        return Ok(());
    }
    // Another replica was faster: its keys are the ones.
    let files = keys::read(client, namespace).await.map_err(anyhow::Error::msg)?.context("the keys are gone again")?;
    made.keys().for_each(|name| drop(std::fs::remove_file(folder.join(name))));
    put(folder, &files)
}

fn put(folder: &Path, files: &Files) -> anyhow::Result<()> {
    let directory = Directory::open(folder)?;
    for (name, bytes) in files.iter().filter(|(name, _)| is_key(name)) {
        let text = std::str::from_utf8(bytes).with_context(|| format!("{name} of Secret {} is no text", keys::SECRET))?;
        directory.write(name, text, &SystemEntropy)?;
    }
    Ok(())
}

/// Puts keys into the folder that another replica renewed; returns all of them.
pub(crate) async fn follow(client: &Client, namespace: &str, folder: &Path) -> anyhow::Result<Files> {
    let there = keys::read(client, namespace).await.map_err(anyhow::Error::msg)?.unwrap_or_default();
    let ours = files(folder)?;
    put(folder, &there.into_iter().filter(|(name, bytes)| ours.get(name).is_some_and(|known| known != bytes)).collect())?;
    files(folder)
}

/// Makes what a state folder needs, and returns it.
fn make(options: &ServerOptions) -> anyhow::Result<Files> {
    let folder = &options.common.state;
    let state = StateFolder::open(folder)?;
    state.node_authority(&options.common.trust_domain)?;
    state.version_key()?;
    state.authority(&options.common.trust_domain, options.authority.as_ref())?;
    files(folder)
}

/// The keys in a folder.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Files> {
    let mut found = Files::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_key(name)) {
            found.insert(name.to_owned(), std::fs::read(entry.path())?);
        }
    }
    Ok(found)
}

/// Keys and certificates; nothing that names a path.
fn is_key(name: &str) -> bool {
    (name.ends_with(".pem") || name.ends_with(".key")) && !name.starts_with('.') && !name.contains('/')
}
