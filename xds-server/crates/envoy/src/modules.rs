//! The compiled filters as bytes, for nodes that have no folder of modules. Read by whoever does I/O; here they are values.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use windrose_vocab::{Fingerprint, Text};

/// Wasm modules by filter name (`jwt-auth`), each with its fingerprint taken once.
#[derive(Clone, Default)]
pub struct Modules(BTreeMap<Text, (Fingerprint, Bytes)>);

/// Before the fingerprint in the name of a folder of modules.
const FOLDER: &str = "modules-";
/// What it was called before its name said what is in it.
const FORMER: &str = "modules";

impl Modules {
    /// The modules of those names.
    #[must_use]
    pub fn new(code: BTreeMap<Text, Bytes>) -> Self {
        Self(code.into_iter().map(|(name, code)| (name, (Fingerprint::of("module", &code), code))).collect())
    }

    /// What a folder is called that has these very modules: a node whose folder was filled by another version is sent them instead.
    #[must_use]
    pub fn folder_name(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(name, (fingerprint, _))| (name.clone(), *fingerprint)).collect();
        format!("{FOLDER}{}", Fingerprint::of("modules", &all))
    }

    /// Whether they are what lies in that folder, as far as its name says: one that has a name that no version gave it is its owner's affair.
    pub(crate) fn are_in(&self, folder: &str) -> bool {
        let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        name == self.folder_name() || name != FORMER && !name.starts_with(FOLDER)
    }

    pub(crate) fn code(&self, name: &str) -> Option<&Bytes> {
        self.0.get(name).map(|(_, code)| code)
    }

    pub(crate) fn fingerprint(&self, name: &str) -> Option<Fingerprint> {
        self.0.get(name).map(|(fingerprint, _)| *fingerprint)
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, (fingerprint, code))| (name, (fingerprint, code.len())))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_another_version_filled_is_not_believed() {
        let of = |code: &'static [u8]| Modules::new([("jwt-auth".into(), Bytes::from_static(code))].into());
        let (former, now) = (of(b"1"), of(b"2"));
        let folder = |modules: &Modules| format!("/opt/edge/{}", modules.folder_name());
        assert!(now.are_in(&folder(&now)) && now.are_in(&format!("{}/", folder(&now))));
        assert!(!now.are_in(&folder(&former)));
        assert!(!now.are_in("/opt/edge/modules"), "filled before its name said by which version");
        assert!(now.are_in("/usr/share/windrose/filters"), "whoever names it sees to it");
    }
}
