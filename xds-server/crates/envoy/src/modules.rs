//! The compiled filters as bytes, for nodes that have no folder of modules. Read by whoever does I/O; here they are values.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use windrose_vocab::{Fingerprint, Text};

/// Wasm modules by filter name (`jwt-auth`), each with its fingerprint taken once.
#[derive(Clone, Default)]
pub struct Modules(BTreeMap<Text, (Fingerprint, Bytes)>);

impl Modules {
    /// The modules of those names.
    #[must_use]
    pub fn new(code: BTreeMap<Text, Bytes>) -> Self {
        Self(code.into_iter().map(|(name, code)| (name, (Fingerprint::of("module", &code), code))).collect())
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
