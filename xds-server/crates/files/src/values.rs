//! Files that objects name, read relative to the file that declares the object, and remembered so that they can be followed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use windrose_api::ValueFiles;
use windrose_vocab::Fingerprint;

/// What a file held when it was read; nothing where it could not be.
pub(crate) type Seen = BTreeMap<PathBuf, Option<Fingerprint>>;

/// The port that `api` reads files through.
pub(crate) struct Beside<'a> {
    folder: &'a Path,
    seen: RefCell<Seen>,
}

impl<'a> Beside<'a> {
    /// Files beside `declaring`.
    pub(crate) fn new(declaring: &'a Path) -> Self {
        Self { folder: declaring.parent().unwrap_or(Path::new("")), seen: RefCell::default() }
    }

    /// Every file that was asked for.
    pub(crate) fn seen(self) -> Seen {
        self.seen.into_inner()
    }
}

impl ValueFiles for Beside<'_> {
    fn read(&self, path: &str) -> Result<Bytes, String> {
        let path = self.folder.join(path);
        let read = read_regular(&path, windrose_api::limits::VALUE_BYTES_MAX as u64);
        self.seen.borrow_mut().insert(path, read.as_ref().ok().map(fingerprint));
        read
    }
}

/// Whether any of these files holds something else by now.
pub(crate) fn any_changed(seen: &Seen) -> bool {
    seen.iter().any(|(path, before)| {
        let now = read_regular(path, windrose_api::limits::VALUE_BYTES_MAX as u64);
        *before != now.ok().as_ref().map(fingerprint)
    })
}

/// The fingerprint of a file's content.
pub(crate) fn fingerprint(content: &Bytes) -> Fingerprint {
    Fingerprint::of("file", content)
}

/// The content of a regular file of at most `most` bytes. A pipe or device is refused before it can block.
pub(crate) fn read_regular(path: &Path, most: u64) -> Result<Bytes, String> {
    let cannot = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("`{}` is not a file", path.display()));
    }
    if metadata.len() > most {
        return Err(format!("`{}` has {} bytes, at most {most} are allowed", path.display(), metadata.len()));
    }
    fs::read(path).map(Bytes::from).map_err(cannot)
}
