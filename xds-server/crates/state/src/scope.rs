//! Who shares one view: all proxies of one key that are of one class.

use std::fmt;

use windrose_vocab::{NodeClass, ProxyKey};

/// The proxies that get one and the same set of resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Which program they run.
    pub proxy: ProxyKey,
    /// What kind of Envoy they are.
    pub class: NodeClass,
}

impl Scope {
    /// The proxies of that key and class.
    #[must_use]
    pub fn new(proxy: ProxyKey, class: NodeClass) -> Self {
        Self { proxy, class }
    }
}

impl From<ProxyKey> for Scope {
    /// The proxies of that key and the default class.
    fn from(proxy: ProxyKey) -> Self {
        Self { proxy, class: NodeClass::default() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.class.modules {
            Some(folder) => write!(f, "{} (modules in {folder})", self.proxy),
            None => write!(f, "{}", self.proxy),
        }
    }
}
