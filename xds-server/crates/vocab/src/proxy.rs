//! Which proxy: the edge fleet of a Gateway or of several, or the sidecar of a Workload, and what kind of Envoy it is.

use std::fmt;

use crate::{Canonical, ObjectKey, Text, Writer};

/// What a proxy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyRole {
    /// The edge fleet of one Gateway.
    Gateway,
    /// The edge fleet that all Gateways of a class share in a namespace.
    Fleet,
    /// The sidecar of one Workload.
    Workload,
}

impl ProxyRole {
    /// Whether strangers reach it, and whoever runs this server runs it.
    #[must_use]
    pub fn is_edge(self) -> bool {
        match self {
            Self::Gateway | Self::Fleet => true,
            Self::Workload => false,
        }
    }
}

/// All proxies that should run one program: `gateway/NS/NAME`, `fleet/NS/CLASS` or `workload/NS/NAME`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyKey {
    /// What it is for.
    pub role: ProxyRole,
    /// The Gateway or Workload; the class that a fleet is of, with the namespace that it is in.
    pub object: ObjectKey,
}

impl ProxyKey {
    /// The edge fleet of that Gateway.
    #[must_use]
    pub fn gateway(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { role: ProxyRole::Gateway, object: ObjectKey::new(namespace, name) }
    }

    /// The edge fleet of all Gateways of that class in that namespace.
    #[must_use]
    pub fn fleet(namespace: impl Into<Text>, class: impl Into<Text>) -> Self {
        Self { role: ProxyRole::Fleet, object: ObjectKey::new(namespace, class) }
    }

    /// The sidecar of that Workload.
    #[must_use]
    pub fn workload(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { role: ProxyRole::Workload, object: ObjectKey::new(namespace, name) }
    }

    /// The key that [`fmt::Display`] wrote; nothing else parses.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (role, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let named = parts.next().is_none() && !namespace.is_empty() && !name.is_empty();
        match role {
            "gateway" if named => Some(Self::gateway(namespace, name)),
            "fleet" if named => Some(Self::fleet(namespace, name)),
            "workload" if named => Some(Self::workload(namespace, name)),
            _ => None,
        }
    }
}

impl fmt::Display for ProxyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            ProxyRole::Gateway => "gateway",
            ProxyRole::Fleet => "fleet",
            ProxyRole::Workload => "workload",
        };
        write!(f, "{role}/{}/{}", self.object.namespace, self.object.name)
    }
}

impl fmt::Debug for ProxyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What kind of Envoy a program is rendered for, and where that is. Two classes share a resource version only where they differ in
/// nothing but their zones, and the resource in nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeClass {
    /// The folder in which the node has the filter modules, named `<name>.wasm`; inline code where absent.
    pub modules: Option<Text>,
    /// The zone that it is in, where that is known: it decides which endpoints come first. No class is before the one without a zone.
    pub zone: Option<Text>,
}

impl NodeClass {
    /// The same kind of Envoy wherever it is.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        Self { modules: self.modules.clone(), zone: None }
    }
}

impl Canonical for NodeClass {
    /// The zone is left out: what it changes is in the endpoints, and all else is the same in each.
    fn write(&self, w: &mut Writer) {
        let Self { modules, zone: _ } = self;
        modules.write(w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_print_and_parse_and_other_texts_do_not() {
        for text in ["gateway/shop/edge", "fleet/shop/shared", "workload/shop/orders"] {
            assert_eq!(ProxyKey::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "gateway/shop", "gateway/shop/edge/x", "Gateway/shop/edge", "gateway//edge", "sidecar/a/b"] {
            assert_eq!(ProxyKey::parse(text), None, "{text:?}");
        }
    }
}
