//! A good version of an object as text that decodes to the same object again, with the files it took values from: what outlives
//! a restart, whatever became of the files since.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windrose_api::declared::AnyObject;
use windrose_api::{Node, Source, ValueFiles, decode};
use windrose_vocab::{Fingerprint, ObjectRef, ObjectVersion};

/// One good version of one object. The text may be secret, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is called.
    pub object: ObjectRef,
    /// Which version of it this is.
    pub version: Fingerprint,
    /// The file that declared it, as an absolute path.
    pub file: Arc<Path>,
    /// Its content, for [`Self::decode`].
    pub text: Arc<str>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    object: Node,
    /// Path as the object names it, content in base64.
    files: BTreeMap<String, String>,
}

impl Kept {
    /// An object that did not come from a file, with what it was decoded from; `file` says where from. Nothing where that is no text.
    #[must_use]
    pub fn of(version: ObjectVersion, file: Arc<Path>, object: Node) -> Option<Self> {
        let content = Content { object, files: BTreeMap::new() };
        let text = serde_json::to_string(&content).ok()?.into();
        Some(Self { object: version.object, version: version.version, file, text })
    }

    /// The object in this version.
    #[must_use]
    pub fn identity(&self) -> ObjectVersion {
        ObjectVersion { object: self.object.clone(), version: self.version }
    }

    /// What it was decoded from, without the files it took values from; nothing where the text is damaged.
    #[must_use]
    pub fn content(&self) -> Option<Node> {
        serde_json::from_str::<Content>(&self.text).ok().map(|content| content.object)
    }

    /// The object again; nothing where the text is damaged, or this version of Windrose no longer takes it for the same.
    #[must_use]
    pub fn decode(&self) -> Option<AnyObject> {
        let content: Content = serde_json::from_str(&self.text).ok()?;
        let object = decode(content.object, Source::Files(&Saved(&content.files))).object?;
        (object.meta().identity() == self.identity()).then_some(object)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} of {}, {} bytes)", self.object, self.file.display(), self.text.len())
    }
}

/// Reads files for one object, and writes down what it read.
pub(crate) struct Recorder<'a> {
    files: &'a dyn ValueFiles,
    read: RefCell<BTreeMap<String, String>>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(files: &'a dyn ValueFiles) -> Self {
        Self { files, read: RefCell::default() }
    }

    /// The text of an object that was decoded with these files.
    pub(crate) fn text(self, object: Node) -> Option<Arc<str>> {
        let content = Content { object, files: self.read.into_inner() };
        serde_json::to_string(&content).ok().map(Arc::from)
    }
}

impl ValueFiles for Recorder<'_> {
    fn read(&self, path: &str) -> Result<Bytes, String> {
        let content = self.files.read(path)?;
        self.read.borrow_mut().insert(path.to_owned(), STANDARD.encode(&content));
        Ok(content)
    }
}

/// The files as they were.
struct Saved<'a>(&'a BTreeMap<String, String>);

impl ValueFiles for Saved<'_> {
    fn read(&self, path: &str) -> Result<Bytes, String> {
        let saved = self.0.get(path).and_then(|content| STANDARD.decode(content).ok());
        saved.map(Bytes::from).ok_or_else(|| format!("`{path}` was not kept"))
    }
}
