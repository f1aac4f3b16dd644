//! Bytes that must never be printed: keys, passwords, tokens.

use std::fmt;

use bytes::Bytes;

use crate::{Canonical, Writer};

/// Secret bytes. `Debug` shows their number only, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sensitive(Bytes);

impl Sensitive {
    /// Takes the secret.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The secret, for the one who encodes or uses it.
    #[must_use]
    pub fn expose(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} secret bytes]", self.0.len())
    }
}

impl Canonical for Sensitive {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }
}
