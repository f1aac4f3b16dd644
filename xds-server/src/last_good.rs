//! The last good version of every object, and what Envoy refused, over a restart: in the state folder, for its owner alone, at the
//! cost of what changed. Damage, or another folder that is served, costs the memory and never the start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::sync::watch;
use windrose_api::Declared;
use windrose_files::Kept;
use windrose_plan::{Refusal, Refused, RefusedBy};
use windrose_vocab::{Fingerprint, ObjectRef, ObjectVersion};

mod record;
mod shared;
#[cfg(test)]
mod tests;

use crate::journal::{Journal, Place};
use record::{Name, Record, RefusedVersion};

/// Name of the journal in the state folder.
const FILE: &str = "last-good.log";
/// Bytes of all versions that are remembered: a hundred times the largest world the benchmarks know.
const BYTES_MAX: u64 = 256 << 20;
/// Bytes of what is out of date that are always allowed, so that a small world is not written anew all the time.
const SLACK: u64 = 1 << 20;

/// The memory. Whoever notes something waits for no disk; [`Self::flush`] does.
#[derive(Debug)]
pub(crate) struct LastGood {
    path: PathBuf,
    source: String,
    /// What nobody has judged yet; not to be written before.
    unjudged: Mutex<BTreeMap<ObjectRef, Option<Kept>>>,
    pending: Mutex<Pending>,
    /// The refused versions that were noted last.
    noted: Mutex<Vec<RefusedVersion>>,
    written: Mutex<Written>,
    /// Versions that run in place of refused ones, as they were told or shared: nobody may have seen them but whoever told.
    pinned: Mutex<BTreeMap<ObjectVersion, Kept>>,
    changes: watch::Sender<()>,
}

/// What the last run left behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    /// The newest good version of each object.
    pub(crate) kept: Vec<Kept>,
    /// Versions in whose place former ones go on.
    pub(crate) unusable: BTreeSet<ObjectVersion>,
    /// These former ones.
    pub(crate) former: Vec<Kept>,
    /// What Envoy refused, and what runs in its place.
    pub(crate) refused: Refused,
}

/// What is not on the disk yet, newest only.
#[derive(Debug, Default)]
struct Pending {
    objects: BTreeMap<ObjectRef, Option<Kept>>,
    refused: Option<Vec<RefusedVersion>>,
}

/// What is on the disk, and where. Of each object the newest version, the one before, which may turn out to be the last that Envoy
/// takes, and those that run in place of a refused one.
#[derive(Debug, Default)]
struct Written {
    log: Option<Journal>,
    versions: BTreeMap<ObjectRef, Vec<(Fingerprint, Place)>>,
    /// Bytes of all of them.
    live: u64,
    refused: Vec<RefusedVersion>,
}

impl LastGood {
    /// The memory in `folder` of what `source` declared.
    pub(crate) fn open(folder: &Path, source: &Path) -> (Self, Remembered) {
        let path = folder.join(FILE);
        let source = crate::source::name(source);
        let written = Written::open(&path, &source).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "last good versions cannot be read; starting without them");
            Written::default()
        });
        let remembered = written.remembered();
        let noted = Mutex::new(written.refused.clone());
        let (pending, written, changes) = (Mutex::default(), Mutex::new(written), watch::Sender::new(()));
        (Self { path, source, unjudged: Mutex::default(), pending, noted, written, pinned: Mutex::default(), changes }, remembered)
    }

    /// Takes note of versions, and of objects that are gone, that nobody has judged yet: what is wrong with one is written together with it.
    pub(crate) fn note_unjudged(&self, unkept: Vec<(ObjectRef, Option<Kept>)>) {
        lock(&self.unjudged).extend(unkept);
    }

    /// Takes note of versions, and of objects that are gone.
    pub(crate) fn note(&self, unkept: Vec<(ObjectRef, Option<Kept>)>) {
        if !unkept.is_empty() {
            lock(&self.pending).objects.extend(unkept);
            self.changes.send_replace(());
        }
    }

    /// Takes note of everything that Envoy refuses now, and of what cannot be used as it is, each with the version that goes on, if that
    /// is not known; and of what was noted before and is judged by that: what is declared. A later version may be noted already.
    pub(crate) fn note_refused<'a>(
        &self,
        refused: &Refused,
        unusable: impl Iterator<Item = (&'a ObjectVersion, Fingerprint)>,
        declared: &Declared,
    ) {
        let of = |(version, refusal): (&ObjectVersion, &Refusal)| {
            RefusedVersion::new(version, &refusal.reason, refusal.last_good.as_ref().map(|object| object.meta().version))
        };
        let unusable = unusable.map(|(version, former)| RefusedVersion::unusable(version, former));
        let all: Vec<RefusedVersion> = refused.by_envoy().map(of).chain(unusable).collect();
        let is_declared = |object: &ObjectRef, kept: &Option<Kept>| {
            declared.get(object).map(|now| now.meta().version) == kept.as_ref().map(|kept| kept.version)
        };
        let judged: Vec<_> = lock(&self.unjudged).extract_if(.., |object, kept| is_declared(object, kept)).collect();
        let mut noted = lock(&self.noted);
        if *noted != all || !judged.is_empty() {
            let mut pending = lock(&self.pending);
            pending.objects.extend(judged);
            pending.refused = (*noted != all).then(|| all.clone()).or(pending.refused.take());
            *noted = all;
            drop(pending);
            self.changes.send_replace(());
        }
    }

    /// Changes when there is something to write.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Writes what was noted, whole or not at all; what cannot be written is noted again. Blocks on the disk.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.objects.is_empty() && pending.refused.is_none() {
            return Ok(());
        }
        let written = lock(&self.written).write(&self.path, &self.source, &pending);
        written
            .inspect_err(|_| self.note_again(pending))
            .with_context(|| format!("{}: last good versions cannot be kept", self.path.display()))
    }

    /// That version, if it is remembered.
    fn find(&self, version: &ObjectVersion) -> Option<Kept> {
        let is_it = |kept: &Kept| kept.version == version.version;
        let unjudged = lock(&self.unjudged).get(&version.object).cloned().flatten().filter(is_it);
        let noted = || lock(&self.pending).objects.get(&version.object).cloned().flatten().filter(is_it);
        unjudged.or_else(noted).or_else(|| lock(&self.pinned).get(version).cloned()).or_else(|| lock(&self.written).find(version))
    }

    fn note_again(&self, former: Pending) {
        let mut pending = lock(&self.pending);
        for (object, kept) in former.objects {
            pending.objects.entry(object).or_insert(kept);
        }
        pending.refused = pending.refused.take().or(former.refused);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Written {
    fn open(path: &Path, source: &str) -> std::io::Result<Self> {
        let mut found = Self::default();
        let mut is_ours = false;
        let (log, damaged) = Journal::open(path, |place, bytes| match Record::parse(bytes) {
            Some(Record::Source(of)) => is_ours = of == source,
            Some(record) if is_ours => found.replay(record, place),
            Some(_) | None => {}
        })?;
        if damaged {
            tracing::warn!(path = %path.display(), "a part of the last good versions is damaged; starting with the rest");
        }
        found.log = is_ours.then_some(log);
        Ok(found)
    }

    fn replay(&mut self, record: Record, place: Place) {
        match record {
            Record::Source(_) => {}
            Record::Good { object, version, .. } => {
                if let (Some(object), Some(version)) = (object.parse(), Fingerprint::parse(&version)) {
                    self.add(object, version, place);
                }
            }
            Record::Gone(object) => object.parse().into_iter().for_each(|object| self.remove(&object)),
            Record::Refused(refused) => self.refused = refused,
        }
    }

    fn add(&mut self, object: ObjectRef, version: Fingerprint, place: Place) {
        let pinned: BTreeSet<ObjectVersion> = self.refused.iter().filter_map(RefusedVersion::last_good).collect();
        let versions = self.versions.entry(object.clone()).or_default();
        let before = bytes(versions);
        versions.retain(|(known, _)| *known != version);
        // Mostly there is one.
        versions.reserve_exact(1);
        versions.push((version, place));
        let older = versions.len().saturating_sub(2);
        let mut position = 0;
        versions.retain(|(version, _)| {
            position += 1;
            position > older || pinned.contains(&ObjectVersion { object: object.clone(), version: *version })
        });
        self.live = self.live + bytes(versions) - before;
    }

    fn remove(&mut self, object: &ObjectRef) {
        self.live -= self.versions.remove(object).as_deref().map_or(0, bytes);
    }

    fn remembered(&self) -> Remembered {
        let newest = self.versions.values().filter_map(|versions| versions.last());
        let kept = newest.filter_map(|(_, place)| self.kept(*place)).collect();
        let (marked, refused): (Vec<_>, Vec<_>) = self.refused.iter().partition(|one| one.unusable);
        let unusable = marked.iter().filter_map(|one| one.identity()).collect();
        let former = marked.iter().filter_map(|one| self.find(&one.last_good()?)).collect();
        let refused = refused.into_iter().filter_map(|one| {
            let last_good = match one.last_good() {
                // Without the version that runs in its place, the refused one is tried again.
                Some(version) => Some(self.find(&version)?.decode()?),
                None => None,
            };
            Some((one.identity()?, Refusal { by: RefusedBy::Envoy, reason: one.reason.clone(), last_good }))
        });
        Remembered { kept, former, unusable, refused: Refused { objects: refused.collect() } }
    }

    fn find(&self, wanted: &ObjectVersion) -> Option<Kept> {
        let (_, place) = self.versions.get(&wanted.object)?.iter().find(|(version, _)| *version == wanted.version)?;
        self.kept(*place)
    }

    fn kept(&self, place: Place) -> Option<Kept> {
        Record::parse(&self.log.as_ref()?.read(place).ok()?)?.into_kept()
    }

    fn write(&mut self, path: &Path, source: &str, pending: &Pending) -> std::io::Result<()> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => begun(path, source)?,
        };
        let mut room = BYTES_MAX.saturating_sub(self.live);
        let mut objects = Vec::new();
        let mut records = Vec::new();
        for (object, kept) in &pending.objects {
            let record = kept.as_ref().map_or_else(|| Record::Gone(Name::from(object)), Record::good).to_bytes();
            match room.checked_sub(record.len() as u64) {
                Some(left) => room = left,
                None if kept.is_some() => {
                    tracing::warn!(%object, "there is more than {BYTES_MAX} bytes to remember; its last good version is lost at a restart");
                    continue;
                }
                None => {}
            }
            objects.push((object, kept));
            records.push(record);
        }
        // First, so that what runs in the place of a refused version is none too many when the next one comes.
        let first = usize::from(pending.refused.is_some());
        records.splice(..0, pending.refused.clone().map(|refused| Record::Refused(refused).to_bytes()));
        let appended = log.append(&records);
        self.log = Some(log);
        let appended = appended?;
        if let Some(refused) = &pending.refused {
            self.refused.clone_from(refused);
        }
        for ((object, kept), place) in objects.into_iter().zip(appended.into_iter().skip(first)) {
            match kept {
                Some(kept) => self.add(object.clone(), kept.version, place),
                None => self.remove(object),
            }
        }
        if let Err(error) = self.tidy(source) {
            tracing::warn!(path = %path.display(), %error, "what is out of date stays in the file for now");
        }
        Ok(())
    }

    /// Writes the log anew when more than half of it is out of date.
    fn tidy(&mut self, source: &str) -> std::io::Result<()> {
        debug_assert_eq!(self.live, self.versions.values().map(|versions| bytes(versions)).sum::<u64>());
        let live = self.live;
        let Some(log) = self.log.as_mut().filter(|log| log.end() > 2 * live + SLACK) else { return Ok(()) };
        let mut records = vec![Record::Source(source.to_owned()).to_bytes(), Record::Refused(self.refused.clone()).to_bytes()];
        let first = records.len();
        for (_, place) in self.versions.values().flatten() {
            records.push(log.read(*place)?);
        }
        let places = log.rewrite(&records)?;
        for ((_, place), fresh) in self.versions.values_mut().flatten().zip(places.into_iter().skip(first)) {
            *place = fresh;
        }
        Ok(())
    }
}

fn bytes(versions: &[(Fingerprint, Place)]) -> u64 {
    versions.iter().map(|(_, place)| place.bytes()).sum()
}

/// A new log, in place of whatever is there.
fn begun(path: &Path, source: &str) -> std::io::Result<Journal> {
    let _ = std::fs::remove_file(path);
    let (mut log, _) = Journal::open(path, |_, _| {})?;
    log.append(&[Record::Source(source.to_owned()).to_bytes()])?;
    Ok(log)
}
