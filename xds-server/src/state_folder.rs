//! The state folder: keys, what proxies accepted, the admin socket. For its owner alone, and for one server at a time.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use windrose_envoy::VersionKey;
use windrose_pki::{Authority, Directory, Given, NodeAuthority, SecretVersions, SystemEntropy};
use windrose_state::Accepted;
use windrose_vocab::TrustDomain;

use crate::accepted_journal::AcceptedJournal;
use crate::client::SOCKET;
use crate::revocations::Revocations;

/// What proxies accepted and refused, over a restart.
const ACCEPTED: &str = "accepted.log";
/// Held while a server runs.
const LOCK: &str = "server.lock";

/// An opened state folder.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    keys: Directory,
}

/// Held by the one server of a folder; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ServerLock(#[expect(dead_code, reason = "held, not read")] File);

impl StateFolder {
    /// Opens the folder, made where it is absent.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let keys = Directory::open(path).with_context(|| format!("state folder {} (--state names another)", path.display()))?;
        refuse_foreign(path)?;
        Ok(Self { path: path.to_owned(), keys })
    }

    /// Makes this process the one server of the folder.
    pub(crate) fn lock(&self) -> anyhow::Result<ServerLock> {
        let path = self.path.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{}: is the state folder yours? (--state names another)", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(ServerLock(file)),
            Err(std::fs::TryLockError::WouldBlock) => {
                bail!("another windrose serves from {} (end it, or name another folder by --state)", self.path.display())
            }
            Err(std::fs::TryLockError::Error(cause)) => Err(cause).with_context(|| path.display().to_string()),
        }
    }

    /// The path of the admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The credentials that were taken back.
    pub(crate) fn revocations(&self) -> anyhow::Result<Revocations> {
        Revocations::open(&self.path)
    }

    /// A folder in it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The mesh's authority: the user's own, if given, else ours.
    pub(crate) fn authority(&self, trust_domain: &str, given: Option<&crate::args::GivenAuthority>) -> anyhow::Result<Authority> {
        let domain = parse(trust_domain)?;
        let now = SystemTime::now();
        Ok(match given {
            Some(files) => Authority::given(&Given::read(&files.roots, &files.chain, &files.key)?, &domain, now)?,
            None => Authority::open(self.keys.clone(), &domain, now, &SystemEntropy)?,
        })
    }

    /// The authority of node credentials.
    pub(crate) fn node_authority(&self, trust_domain: &str) -> anyhow::Result<NodeAuthority> {
        Ok(NodeAuthority::open(&self.keys, &parse(trust_domain)?, SystemTime::now(), &SystemEntropy)?)
    }

    /// The key under which versions of secrets are hidden.
    pub(crate) fn version_key(&self) -> anyhow::Result<VersionKey> {
        let versions = SecretVersions::open(&self.keys, &SystemEntropy)?;
        let mut key = [0; 32];
        let (first, second) = key.split_at_mut(16);
        first.copy_from_slice(&versions.of(&[b"version key", b"1"]).bits().to_le_bytes());
        second.copy_from_slice(&versions.of(&[b"version key", b"2"]).bits().to_le_bytes());
        Ok(VersionKey::new(key))
    }

    /// What proxies accepted before the last stop. Damage costs the memory, never the start.
    pub(crate) fn accepted(&self) -> anyhow::Result<(Accepted, AcceptedJournal)> {
        let path = self.path.join(ACCEPTED);
        AcceptedJournal::open(&path).with_context(|| path.display().to_string())
    }
}

/// Root may read every folder; whoever owns one may put keys of his own into it.
fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    let owner = std::fs::metadata(path).with_context(|| path.display().to_string())?.uid();
    let user = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        owner == user,
        "state folder {} belongs to user {owner}, and this is user {user}: run as that user, chown the folder, or name another by --state",
        path.display()
    );
    Ok(())
}

fn parse(trust_domain: &str) -> anyhow::Result<TrustDomain> {
    TrustDomain::parse(trust_domain).with_context(|| format!("--trust-domain {trust_domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_on_one_folder_is_refused_and_a_third_after_its_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&folder.path().join("state")).unwrap();
        let first = state.lock().unwrap();
        assert!(state.lock().unwrap_err().to_string().contains("another windrose"));
        drop(first);
        state.lock().unwrap();
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        StateFolder::open(&path).unwrap();
        // Only root can give a folder away, and only root could use one that is not his.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            let refused = StateFolder::open(&path).unwrap_err().to_string();
            assert!(refused.contains("belongs to user 65534"), "{refused}");
        }
    }

    #[test]
    fn a_damaged_memory_costs_the_memory_and_not_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateFolder::open(&path).unwrap();
        std::fs::write(path.join(ACCEPTED), b"not a ledger").unwrap();
        let (accepted, journal) = state.accepted().unwrap();
        journal.keep(&accepted).unwrap();
        state.accepted().unwrap();
    }
}
