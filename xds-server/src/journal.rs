//! A file of records that only grows, each whole or not there: a kill in the middle of a write, a full disk and damage cost the
//! records they hit and no other. Knows nothing of what the records say.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use windrose_vocab::{Canonical, Writer};

/// Bytes of a file that are read back; a larger one is not ours.
const BYTES_MAX: u64 = 1 << 30;
/// Length and fingerprint of a record, before it.
const HEAD: usize = 4 + 16;

/// An open journal. One owner writes it.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
}

/// Where the bytes of a record stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    at: u64,
    length: usize,
}

impl Place {
    /// What the record takes of the file.
    pub(crate) fn bytes(self) -> u64 {
        (HEAD + self.length) as u64
    }
}

/// What records take of a file.
pub(crate) fn framed_bytes<'r>(records: impl IntoIterator<Item = &'r [u8]>) -> u64 {
    records.into_iter().map(|record| (HEAD + record.len()) as u64).sum()
}

impl Journal {
    /// Opens the journal, made where it is absent, and shows each whole record in its order. Returns whether anything was damaged.
    pub(crate) fn open(path: &Path, mut each: impl FnMut(Place, &[u8])) -> io::Result<(Self, bool)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {BYTES_MAX} bytes")));
        }
        let bytes = std::fs::read(path)?;
        let (mut at, mut damaged) = (0, false);
        while let Some((place, record, is_whole)) = record(&bytes, at) {
            if is_whole {
                each(place, record)
            } else {
                damaged = true
            }
            at += HEAD + place.length;
        }
        if at != bytes.len() {
            damaged = true;
            // What follows is no record, and must not be taken for one behind those that are written next.
            file.set_len(at as u64)?;
        }
        Ok((Self { path: path.to_owned(), file, end: at as u64 }, damaged))
    }

    /// Its size in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes records behind the others and waits until they are on the disk: all, or none.
    pub(crate) fn append(&mut self, records: &[impl AsRef<[u8]>]) -> io::Result<Vec<Place>> {
        let (bytes, places) = framed(records, self.end);
        let written = self.file.write_all_at(&bytes, self.end).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // Half a record would be found and skipped at the next start; its room may be what somebody else waits for.
            let _ = self.file.set_len(self.end);
            return Err(cause);
        }
        self.end += bytes.len() as u64;
        Ok(places)
    }

    /// The bytes of a record.
    pub(crate) fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.length];
        self.file.read_exact_at(&mut bytes, place.at)?;
        Ok(bytes)
    }

    /// Replaces everything by these records, in one step.
    pub(crate) fn rewrite(&mut self, records: &[impl AsRef<[u8]>]) -> io::Result<Vec<Place>> {
        let fresh = self.path.with_extension("new");
        let (bytes, places) = framed(records, 0);
        let write = || -> io::Result<File> {
            let mut file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)?;
            Ok(file)
        };
        match write() {
            Ok(file) => (self.file, self.end) = (file, bytes.len() as u64),
            Err(cause) => {
                let _ = std::fs::remove_file(&fresh);
                return Err(cause);
            }
        }
        self.sync_folder()?;
        Ok(places)
    }

    /// A rename is on the disk only when its directory is.
    fn sync_folder(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn framed(records: &[impl AsRef<[u8]>], begin: u64) -> (Vec<u8>, Vec<Place>) {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for record in records.iter().map(AsRef::as_ref) {
        bytes.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(checksum(record).to_le_bytes());
        places.push(Place { at: begin + bytes.len() as u64, length: record.len() });
        bytes.extend(record);
    }
    (bytes, places)
}

/// The record at `at`, and whether it is as it was written. Nothing where no record can be.
fn record(bytes: &[u8], at: usize) -> Option<(Place, &[u8], bool)> {
    let head = bytes.get(at..at + HEAD)?;
    let (length, sum) = head.split_at(4);
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    let begin = at + HEAD;
    let record = bytes.get(begin..begin.checked_add(length)?)?;
    Some((Place { at: begin as u64, length }, record, checksum(record).to_le_bytes() == sum))
}

fn checksum(record: &[u8]) -> u128 {
    let mut writer = Writer::default();
    "windrose last good".write(&mut writer);
    writer.length(record.len());
    writer.bytes(record);
    writer.finish().bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (Journal, Vec<String>, bool) {
        let mut records = Vec::new();
        let (log, damaged) = Journal::open(path, |_, record| records.push(String::from_utf8_lossy(record).into_owned())).unwrap();
        (log, records, damaged)
    }

    fn of(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn records_are_read_back_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, ..) = open(&path);
        let places = [log.append(&of(&["one", ""])).unwrap(), log.append(&of(&["three"])).unwrap()].concat();
        assert_eq!(log.read(places[2]).unwrap(), b"three");
        let (log, records, damaged) = open(&path);
        assert_eq!((records, damaged), (vec!["one".to_owned(), String::new(), "three".to_owned()], false));
        assert_eq!(log.end(), places.iter().map(|place| place.bytes()).sum::<u64>());
    }

    #[test]
    fn half_a_record_at_the_end_costs_itself_and_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, ..) = open(&path);
        log.append(&of(&["one", "two"])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..(HEAD + 3) {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut log, records, damaged) = open(&path);
            assert_eq!((records, damaged), (vec!["one".to_owned()], cut != HEAD + 3));
            log.append(&of(&["new"])).unwrap();
            assert_eq!(open(&path).1, ["one", "new"], "{cut}");
        }
    }

    #[test]
    fn what_is_no_record_is_cut_off_and_is_not_found_behind_what_is_written_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, ..) = open(&path);
        log.append(&of(&["one"])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let lost = framed(&of(&["new", "lost"]), 0).0;
        // A length that leads beyond the end, where a record of the same size as the next one stood.
        let torn = [&whole[..], &[0xff, 0xff, 0xff, 0x7f], &lost[4..]].concat();
        std::fs::write(&path, torn).unwrap();
        let (mut log, records, damaged) = open(&path);
        assert_eq!((records, damaged), (vec!["one".to_owned()], true));
        log.append(&of(&["two"])).unwrap();
        assert_eq!((open(&path).1, open(&path).2), (vec!["one".to_owned(), "two".to_owned()], false));
    }

    #[test]
    fn a_damaged_record_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, ..) = open(&path);
        let places = log.append(&of(&["one", "two", "three"])).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(places[1].at).unwrap()] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!((open(&path).1, open(&path).2), (vec!["one".to_owned(), "three".to_owned()], true));
    }

    #[test]
    fn a_rewrite_leaves_only_the_new_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, ..) = open(&path);
        log.append(&of(&["one", "two"])).unwrap();
        log.rewrite(&of(&["three"])).unwrap();
        log.append(&of(&["four"])).unwrap();
        assert_eq!(open(&path).1, ["three", "four"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
