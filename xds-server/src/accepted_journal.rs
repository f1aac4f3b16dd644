//! What proxies accepted and refused, over a restart: written at the cost of what changed. Damage costs the memory of what it hits.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use windrose_state::{Accepted, Ledger};

use crate::journal::{Journal, framed_bytes};

/// The first record: what follows are those of [`Accepted`].
const KIND: &[u8] = b"windrose accepted 1";
/// Bytes of what is out of date that are always allowed.
const SLACK: u64 = 1 << 20;

/// The memory on the disk.
#[derive(Debug)]
pub(crate) struct AcceptedJournal {
    path: PathBuf,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    journal: Journal,
    ledger: Ledger,
    /// Bytes that the journal would have, written as a whole; none where what is there is not ours.
    whole: Option<u64>,
}

impl AcceptedJournal {
    /// What was written there.
    pub(crate) fn open(path: &Path) -> std::io::Result<(Accepted, Self)> {
        let accepted = Accepted::new();
        let (mut first, mut is_ours, mut lost) = (true, false, 0_usize);
        let mut replay = |record: &[u8]| {
            if std::mem::take(&mut first) {
                is_ours = record == KIND;
            } else if is_ours && accepted.replay(record).is_err() {
                lost += 1;
            }
        };
        let (journal, damaged) = match Journal::open(path, |_, record| replay(record)) {
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                tracing::warn!(path = %path.display(), %error, "starting without what proxies accepted");
                std::fs::remove_file(path)?;
                Journal::open(path, |_, _| {})?
            }
            opened => opened?,
        };
        if damaged || lost > 0 {
            tracing::warn!(path = %path.display(), "a part of what proxies accepted is damaged; starting with the rest");
        }
        let (records, ledger) = accepted.records(&Ledger::default());
        let whole = is_ours.then(|| framed_bytes(std::iter::once(KIND).chain(records.iter().map(|record| &**record))));
        let written = Written { ledger, whole, journal };
        Ok((accepted, Self { path: path.to_owned(), written: Mutex::new(written) }))
    }

    /// Writes what changed, whole or not at all. Blocks on the disk.
    pub(crate) fn keep(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.keep(accepted).with_context(|| format!("{}: what proxies accepted cannot be kept", self.path.display()))
    }
}

impl Written {
    fn keep(&mut self, accepted: &Accepted) -> std::io::Result<()> {
        let grows = self.whole.is_some_and(|whole| self.journal.end() <= 2 * whole + SLACK);
        if grows {
            let (records, ledger) = accepted.records(&self.ledger);
            self.journal.append(&records)?;
            self.ledger = ledger;
        } else {
            let (records, ledger) = accepted.records(&Ledger::default());
            let all: Vec<&[u8]> = std::iter::once(KIND).chain(records.iter().map(|record| &**record)).collect();
            self.journal.rewrite(&all)?;
            (self.ledger, self.whole) = (ledger, Some(self.journal.end()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use windrose_state::Scope;
    use windrose_vocab::{Fingerprint, ProxyKey, Resource, ResourceId, ResourceKind};

    use super::*;

    fn scope() -> Scope {
        ProxyKey::gateway("shop", "edge").into()
    }

    fn cluster(name: &str, body: &str) -> Arc<Resource> {
        let bytes = Bytes::from(body.repeat(100));
        let version = Fingerprint::of("test", body);
        Arc::new(Resource { id: ResourceId::new(ResourceKind::Cluster, name), version, bytes, refs: Arc::from([]) })
    }

    #[test]
    fn an_edit_of_many_writes_one_and_the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accepted.log");
        let size = || std::fs::metadata(&path).unwrap().len();
        let (accepted, journal) = AcceptedJournal::open(&path).unwrap();
        let all: Vec<_> = (0..1_000).map(|index| cluster(&format!("c{index}"), "one")).collect();
        accepted.acked(&scope(), "a", &all);
        journal.keep(&accepted).unwrap();
        let whole = size();
        accepted.acked(&scope(), "a", [&cluster("c7", "two")]);
        journal.keep(&accepted).unwrap();
        assert!(size() - whole < 1_000, "one edit of {whole} bytes wrote {}", size() - whole);
        let large = |edit: usize| cluster("c8", &format!("{edit}{}", "x".repeat(400)));
        for edit in 0..120 {
            accepted.acked(&scope(), "a", [&large(edit)]);
            journal.keep(&accepted).unwrap();
        }
        assert!(size() < 3 * whole + 2 * SLACK, "{}", size());
        let (after, _) = AcceptedJournal::open(&path).unwrap();
        for expected in [&all[0], &cluster("c7", "two"), &large(119)] {
            assert_eq!(after.last(&scope(), &expected.id).as_ref(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_journal_of_ours_costs_the_memory_and_not_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accepted.log");
        for damage in [&b"not a journal"[..], &[0xff; 4096], &[]] {
            std::fs::write(&path, damage).unwrap();
            let (accepted, journal) = AcceptedJournal::open(&path).unwrap();
            let one = cluster("c", "one");
            accepted.acked(&scope(), "a", [&one]);
            journal.keep(&accepted).unwrap();
            assert_eq!(AcceptedJournal::open(&path).unwrap().0.last(&scope(), &one.id), Some(one));
        }
    }
}
