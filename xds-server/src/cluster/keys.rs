//! The keys of the control plane: one Secret for all replicas, a folder in memory for each. Who starts first makes them; while another
//! replica runs, its keys are the ones, also where the Secret is gone.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windrose_kube::Client;
use windrose_kube::keys::{self, Files};
use windrose_pki::{CertificateFacts, Directory, SystemEntropy};

use crate::args::ServerOptions;
use crate::state_folder::StateFolder;

/// Between two tries to reach the cluster at the start.
const RETRY: Duration = Duration::from_secs(2);
/// Tries before we give up and say why.
const TRIES: usize = 30;
/// A Lease that is not renewed for that long is nobody's: its holders renew it every few seconds.
const HOLDS: Duration = Duration::from_secs(20);

/// Fills the state folder with the keys of the cluster, or the cluster with new ones; what the cluster has.
pub(crate) async fn fetch(client: &Client, namespace: &str, options: &ServerOptions) -> anyhow::Result<Files> {
    let (mut tries, mut others) = (0, Others::default());
    loop {
        match try_fetch(client, namespace, options, &mut others).await {
            Ok(files) => return Ok(files),
            Err(error) if tries < TRIES => {
                tracing::warn!(error = format!("{error:#}"), "the keys cannot be had yet; trying again");
                tries += 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_fetch(client: &Client, namespace: &str, options: &ServerOptions, others: &mut Others) -> anyhow::Result<Files> {
    let folder = &options.common.state;
    if let Some(files) = keys::read(client, namespace).await.map_err(anyhow::Error::msg)? {
        put(folder, &files)?;
        return whole(client, namespace, options, (files, others)).await;
    }
    others.allow(keys::holder(client, namespace).await.map_err(anyhow::Error::msg)?, Instant::now())?;
    let made = make(options)?;
    if keys::create(client, namespace, &made).await.map_err(anyhow::Error::msg)? {
        tracing::info!("the keys of the control plane were made");
        return Ok(made);
    }
    // Another replica was faster: its keys are the ones.
    let files = keys::read(client, namespace).await.map_err(anyhow::Error::msg)?.context("the keys are gone again")?;
    made.keys().for_each(|name| drop(std::fs::remove_file(folder.join(name))));
    put(folder, &files)?;
    Ok(files)
}

/// The keys of the Secret, once it has all that a control plane needs: what each replica made for itself, no other would trust.
async fn whole(client: &Client, namespace: &str, options: &ServerOptions, (there, others): (Files, &mut Others)) -> anyhow::Result<Files> {
    let made = make(options).with_context(|| format!("Secret {} is not whole", keys::SECRET))?;
    let lacking = lacking(&made, &there);
    if lacking.is_empty() {
        return Ok(there);
    }
    let names = lacking.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    others.allow(keys::holder(client, namespace).await.map_err(anyhow::Error::msg)?, Instant::now())?;
    let is_whole = keys::complete(client, namespace, &lacking).await.map_err(anyhow::Error::msg)?;
    anyhow::ensure!(is_whole, "Secret {} lacked {names}, and another replica writes it", keys::SECRET);
    tracing::warn!(names, "Secret {} lacked keys, and new ones were put there", keys::SECRET);
    Ok(there.into_iter().chain(lacking).collect())
}

/// Keys that were made because the Secret does not have them.
fn lacking(made: &Files, there: &Files) -> Files {
    made.iter().filter(|(name, _)| !there.contains_key(*name)).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
}

/// Another replica that runs, as far as its Lease tells: two authorities would trust no proxy of each other.
#[derive(Default)]
struct Others {
    /// Who held the Lease in which version, and since when by our own clock: clocks of two machines are not compared.
    seen: Option<((String, String), Instant)>,
}

impl Others {
    /// Errs while somebody else may have keys that the Secret has lost.
    fn allow(&mut self, held: Option<(String, String)>, now: Instant) -> anyhow::Result<()> {
        let Some(held) = held else { return Ok(()) };
        let since = match &self.seen {
            Some((seen, since)) if *seen == held => *since,
            _ => now,
        };
        let holder = held.0.clone();
        self.seen = Some((held, since));
        anyhow::ensure!(
            now.duration_since(since) >= HOLDS,
            "Secret {} is gone, or not whole, while replica {holder} leads, who has its keys and puts them back",
            keys::SECRET
        );
        Ok(())
    }
}

fn put(folder: &Path, files: &Files) -> anyhow::Result<()> {
    let directory = Directory::open(folder)?;
    for (name, bytes) in files.iter().filter(|(name, _)| is_key(name)) {
        let text = std::str::from_utf8(bytes).with_context(|| format!("{name} of Secret {} is no text", keys::SECRET))?;
        directory.write(name, text, &SystemEntropy)?;
    }
    Ok(())
}

/// Puts keys into the folder that another replica renewed or made; returns all of them, as the Secret has them where it has them. A
/// certificate that holds is not given up for one that does not: whoever leads is about to renew that.
pub(crate) async fn follow(client: &Client, namespace: &str, folder: &Path) -> anyhow::Result<Files> {
    let there = keys::read(client, namespace).await.map_err(anyhow::Error::msg)?.unwrap_or_default();
    let ours = files(folder)?;
    let (worse, renewed) = differing(there, &ours, SystemTime::now());
    put(folder, &renewed)?;
    Ok(files(folder)?.into_iter().chain(worse).collect())
}

/// What is there and not ours in the same way: first what is worse than ours.
fn differing(there: Files, ours: &Files, now: SystemTime) -> (Files, Files) {
    let others = there.into_iter().filter(|(name, bytes)| is_key(name) && ours.get(name) != Some(bytes));
    others.partition(|(name, bytes)| ours.get(name).is_some_and(|own| holds(own, now) == Some(true) && holds(bytes, now) == Some(false)))
}

/// Whether a certificate is valid; nothing where there is none.
fn holds(file: &[u8], now: SystemTime) -> Option<bool> {
    let first = CertificateDer::from_pem_slice(file).ok()?;
    CertificateFacts::parse(&first).map(|facts| facts.is_valid_at(now))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keys_are_made_while_another_replica_runs() {
        let (mut others, start) = (Others::default(), Instant::now());
        let held = |version: &str| Some(("windrose-a".to_owned(), version.to_owned()));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(others.allow(None, start).is_ok(), "nobody leads: the first replica of all");
        let refused = others.allow(held("1"), start).unwrap_err().to_string();
        assert!(refused.contains("windrose-keys") && refused.contains("windrose-a"), "{refused}");
        assert!(others.allow(held("2"), after(19)).is_err());
        assert!(others.allow(held("2"), after(38)).is_err(), "it was renewed since");
        assert!(others.allow(held("2"), after(39)).is_ok(), "whoever held it is gone");
    }

    #[test]
    fn a_key_that_the_secret_lacks_is_known_by_its_name() {
        let files = |names: &[&str]| -> Files { names.iter().map(|name| (name.to_string(), name.as_bytes().to_vec())).collect() };
        let mut there = files(&["root.pem", "unknown.pem"]);
        there.insert("intermediate.pem".to_owned(), b"renewed by another one".to_vec());
        let made = files(&["root.pem", "intermediate.pem", "node-root.pem"]);
        assert_eq!(lacking(&made, &there), files(&["node-root.pem"]));
    }

    #[test]
    fn a_key_that_is_new_is_taken_as_one_that_was_renewed() {
        let files =
            |all: &[(&str, &str)]| -> Files { all.iter().map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).collect() };
        let ours = files(&[("a.pem", "1"), ("b.pem", "1"), ("ours.pem", "1")]);
        let there = files(&[("a.pem", "1"), ("b.pem", "2"), ("c.key", "1")]);
        assert_eq!(differing(there, &ours, SystemTime::now()), (Files::new(), files(&[("b.pem", "2"), ("c.key", "1")])));
    }

    #[test]
    fn a_certificate_that_holds_is_not_given_up_for_one_that_does_not() {
        let now = SystemTime::now();
        let made = |at: SystemTime| {
            let (folder, domain) = (tempfile::tempdir().unwrap(), windrose_vocab::TrustDomain::parse("shop.test").unwrap());
            windrose_pki::Authority::open(Directory::open(folder.path().join("state")).unwrap(), &domain, at, &SystemEntropy).unwrap();
            let mut files = files(&folder.path().join("state")).unwrap();
            files.retain(|name, _| name == "intermediate.pem");
            files
        };
        let (fresh, renewed, expired) = (made(now), made(now), made(now - Duration::from_secs(400 * 86_400)));
        assert_eq!(differing(expired.clone(), &fresh, now), (expired.clone(), Files::new()));
        assert_eq!(differing(fresh.clone(), &expired, now), (Files::new(), fresh.clone()));
        assert_eq!(differing(renewed.clone(), &fresh, now), (Files::new(), renewed), "what the leader renewed is taken");
    }
}
