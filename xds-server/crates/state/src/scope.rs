//! Who shares one view: all proxies of one key that are of one class.

use std::borrow::Cow;
use std::fmt;

use windrose_vocab::{NodeClass, ProxyKey, ResourceKind};

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

    /// The proxies of the same key and kind wherever they are.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        Self { proxy: self.proxy.clone(), class: self.class.anywhere() }
    }

    /// The scope whose proxies share its resources of a kind: in all but their endpoints the zones of a class are one.
    pub(crate) fn of_kind(&self, kind: ResourceKind) -> Cow<'_, Self> {
        if self.class.zone.is_none() || kind == ResourceKind::Endpoints { Cow::Borrowed(self) } else { Cow::Owned(self.anywhere()) }
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
        let NodeClass { modules, zone } = &self.class;
        match (modules, zone) {
            (None, None) => write!(f, "{}", self.proxy),
            (Some(folder), None) => write!(f, "{} (modules in {folder})", self.proxy),
            (None, Some(zone)) => write!(f, "{} (in zone {zone})", self.proxy),
            (Some(folder), Some(zone)) => write!(f, "{} (modules in {folder}, in zone {zone})", self.proxy),
        }
    }
}
