//! The directory where keys live: 0700, files 0600, each written whole or not at all.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Entropy, Error, limits};

/// A private directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(PathBuf);

impl Directory {
    /// Opens `path`, creating it (and its parents) when it is absent.
    ///
    /// # Errors
    /// When it cannot be created or read, is not a directory, or is open to others.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let metadata = fs::metadata(&path).map_err(failed("read", &path))?;
        refuse_exposed(&path, metadata.permissions().mode())?;
        Ok(Self(path))
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The text of `name`, or `None` when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, is longer than a key or bundle can be, or is open to others.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>, Error> {
        self.read_at_most(name, limits::PEM_BYTES_MAX)
    }

    /// The same for what is no key, with its own limit in bytes.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, is longer than `bytes_max`, or is open to others.
    pub fn read_at_most(&self, name: &str, bytes_max: usize) -> Result<Option<Zeroizing<String>>, Error> {
        let path = self.path(name);
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::Io { action: "read", path, cause }),
        };
        let metadata = file.metadata().map_err(failed("read", &path))?;
        refuse_exposed(&path, metadata.permissions().mode())?;
        if metadata.len() > bytes_max as u64 {
            return Err(failed("read", &path)(io::Error::other("too large")));
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(failed("read", &path))?;
        Ok(Some(text))
    }

    /// Writes `name`: after a crash or a full disk there is either the former content or all of `text`.
    ///
    /// # Errors
    /// When the file system refuses; nothing is left behind then.
    pub fn write(&self, name: &str, text: &str, entropy: &dyn Entropy) -> Result<(), Error> {
        let path = self.path(name);
        let draft = self.draft(name, text, entropy)?;
        let moved = fs::rename(&draft, &path).map_err(failed("write", &path));
        self.settle(&draft, moved)
    }

    /// Writes `name` unless it is there already. Two processes that start at once agree on the first one's content.
    /// Returns whether this call wrote it.
    ///
    /// # Errors
    /// When the file system refuses; nothing is left behind then.
    pub fn write_first(&self, name: &str, text: &str, entropy: &dyn Entropy) -> Result<bool, Error> {
        let path = self.path(name);
        let draft = self.draft(name, text, entropy)?;
        let linked = match fs::hard_link(&draft, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(cause) => Err(Error::Io { action: "write", path, cause }),
        };
        let _ = fs::remove_file(&draft);
        let written = linked?;
        self.sync()?;
        Ok(written)
    }

    /// Removes `name`, if it is there.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(Error::Io { action: "remove", path, cause }),
        }
    }

    /// Renames `from` to `to`, replacing it in one step.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.path(to);
        fs::rename(self.path(from), &path).map_err(failed("write", &path))?;
        self.sync()
    }

    fn draft(&self, name: &str, text: &str, entropy: &dyn Entropy) -> Result<PathBuf, Error> {
        let mut suffix = [0; 8];
        entropy.fill(&mut suffix)?;
        let draft = self.path(&format!(".{name}.{:016x}", u64::from_le_bytes(suffix)));
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        let written = write().map_err(failed("write", &self.path(name)));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map(|()| draft)
    }

    fn settle(&self, draft: &Path, moved: Result<(), Error>) -> Result<(), Error> {
        if moved.is_err() {
            let _ = fs::remove_file(draft);
        }
        moved?;
        self.sync()
    }

    /// A rename is on the disk only when its directory is.
    fn sync(&self) -> Result<(), Error> {
        fs::File::open(&self.0).and_then(|directory| directory.sync_all()).map_err(failed("write", &self.0))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |cause| Error::Io { action, path, cause }
}

fn refuse_exposed(path: &Path, mode: u32) -> Result<(), Error> {
    let mode = mode & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Error::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemEntropy;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(path: &Path) -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read_back_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("state/pki")).unwrap();
        assert_eq!(directory.read("root.pem").unwrap(), None);
        directory.write("root.pem", "one", &SystemEntropy).unwrap();
        directory.write("root.pem", "two", &SystemEntropy).unwrap();
        assert_eq!(directory.read("root.pem").unwrap().unwrap().as_str(), "two");
        assert_eq!(mode(&directory.0), 0o700);
        assert_eq!(mode(&directory.path("root.pem")), 0o600);
        assert_eq!(names(&directory.0), ["root.pem"]);
    }

    #[test]
    fn the_first_writer_wins() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("pki")).unwrap();
        assert!(directory.write_first("root.pem", "mine", &SystemEntropy).unwrap());
        assert!(!directory.write_first("root.pem", "theirs", &SystemEntropy).unwrap());
        assert_eq!(directory.read("root.pem").unwrap().unwrap().as_str(), "mine");
        assert_eq!(names(&directory.0), ["root.pem"]);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("pki")).unwrap();
        directory.write("root.pem", "key", &SystemEntropy).unwrap();
        fs::set_permissions(directory.path("root.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = directory.read("root.pem").unwrap_err().to_string();
        assert!(error.contains("root.pem can be read or written by others (mode 0644)"), "{error}");
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Directory::open(&directory.0), Err(Error::Exposed { .. })));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("taken");
        fs::write(&file, "").unwrap();
        let error = Directory::open(file.join("pki")).unwrap_err();
        assert!(matches!(&error, Error::Io { action: "create", path, .. } if path.ends_with("taken/pki")), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("pki")).unwrap();
        fs::create_dir(directory.path("root.pem")).unwrap();
        let error = directory.write("root.pem", "key", &SystemEntropy).unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("root.pem"), "{error}");
        assert_eq!(names(&directory.0), ["root.pem"]);
    }
}
