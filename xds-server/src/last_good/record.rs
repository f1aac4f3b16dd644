//! What stands in the log of last good versions, and how it is written.

use std::path::Path;

use serde::{Deserialize, Serialize};
use windrose_files::Kept;
use windrose_vocab::{Fingerprint, Kind, ObjectRef, ObjectVersion};

/// One record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// What all others are about: the path that is served. Always the first.
    Source(String),
    /// A good version of an object, newer than those before.
    Good { object: Name, version: String, file: String, text: String },
    /// An object that is no longer declared.
    Gone(Name),
    /// All versions that Envoy refuses now.
    Refused(Vec<RefusedVersion>),
}

/// Kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name(String, String, String);

/// A version that Envoy refused, and what runs in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RefusedVersion {
    object: Name,
    version: String,
    pub(super) reason: String,
    /// None where the object is left out.
    last_good: Option<String>,
    /// Nobody refused it: it can be read and not used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unusable: bool,
}

impl Record {
    pub(super) fn good(kept: &Kept) -> Self {
        Self::Good {
            object: Name::from(&kept.object),
            version: kept.version.to_string(),
            file: kept.file.display().to_string(),
            text: kept.text.to_string(),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The version that a record of a good one holds.
    pub(super) fn into_kept(self) -> Option<Kept> {
        let Self::Good { object, version, file, text } = self else { return None };
        Some(Kept { object: object.parse()?, version: Fingerprint::parse(&version)?, file: Path::new(&file).into(), text: text.into() })
    }
}

impl From<&ObjectRef> for Name {
    fn from(object: &ObjectRef) -> Self {
        Self(object.kind.to_string(), object.key.namespace.to_string(), object.key.name.to_string())
    }
}

impl Name {
    pub(super) fn parse(&self) -> Option<ObjectRef> {
        Kind::parse(&self.0).map(|kind| ObjectRef::new(kind, self.1.as_str(), self.2.as_str()))
    }
}

impl RefusedVersion {
    pub(super) fn new(version: &ObjectVersion, reason: &str, last_good: Option<Fingerprint>) -> Self {
        Self {
            object: Name::from(&version.object),
            version: version.version.to_string(),
            reason: reason.to_owned(),
            last_good: last_good.map(|version| version.to_string()),
            unusable: false,
        }
    }

    /// What can be read and not used, and the version that goes on.
    pub(super) fn unusable(version: &ObjectVersion, former: Fingerprint) -> Self {
        Self { unusable: true, ..Self::new(version, "", Some(former)) }
    }

    pub(super) fn identity(&self) -> Option<ObjectVersion> {
        Some(ObjectVersion { object: self.object.parse()?, version: Fingerprint::parse(&self.version)? })
    }

    /// The version that runs in place of the refused one, if any.
    pub(super) fn last_good(&self) -> Option<ObjectVersion> {
        let version = self.last_good.as_ref()?;
        Some(ObjectVersion { object: self.object.parse()?, version: Fingerprint::parse(version)? })
    }
}
