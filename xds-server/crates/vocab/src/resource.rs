//! The resource as it travels from the renderer to the streams: named, versioned, encoded once, with its references.
//! Whoever holds one needs no protobuf to order it or to see what it depends on.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Fingerprint, Text};

/// The kind of an xDS resource. The order is make-before-break: what comes first may be needed by what comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// CDS: `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoints,
    /// SDS: `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
    /// ECDS: `envoy.config.core.v3.TypedExtensionConfig`.
    Extension,
    /// LDS: `envoy.config.listener.v3.Listener`.
    Listener,
    /// SRDS: `envoy.config.route.v3.ScopedRouteConfiguration`.
    ScopedRoutes,
    /// RDS: `envoy.config.route.v3.RouteConfiguration`.
    Routes,
}

impl ResourceKind {
    /// Every kind, in make-before-break order.
    pub const ALL: [Self; 7] =
        [Self::Cluster, Self::Endpoints, Self::Secret, Self::Extension, Self::Listener, Self::ScopedRoutes, Self::Routes];

    /// The protobuf type URL.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ScopedRoutes => "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
            Self::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The kind of that type URL.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// The usual short name: CDS, EDS and so on.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
            Self::Secret => "SDS",
            Self::Extension => "ECDS",
            Self::Listener => "LDS",
            Self::ScopedRoutes => "SRDS",
            Self::Routes => "RDS",
        }
    }

    /// Whether a state-of-the-world response of this kind is the full state, and an empty first subscription a wildcard.
    /// SRDS subscribes without names too.
    #[must_use]
    pub fn is_wildcard(self) -> bool {
        match self {
            Self::Cluster | Self::Listener | Self::ScopedRoutes => true,
            Self::Endpoints | Self::Secret | Self::Extension | Self::Routes => false,
        }
    }

    /// Position in [`Self::ALL`], for tables by kind.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Kind and name: what a client subscribes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// The kind.
    pub kind: ResourceKind,
    /// The name, unique within the kind.
    pub name: Text,
}

impl ResourceId {
    /// The resource of that kind and name.
    #[must_use]
    pub fn new(kind: ResourceKind, name: impl Into<Text>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What a resource needs to be there: sorted, without repetition.
pub type Refs = Arc<[ResourceId]>;

/// One encoded resource. Two with the same id and version have the same meaning; the bytes are shared by all streams.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Kind and name.
    pub id: ResourceId,
    /// Fingerprint of the value it was rendered from.
    pub version: Fingerprint,
    /// The encoded message (the `value` of the `Any`, without its type URL).
    pub bytes: Bytes,
    /// What it refers to by name.
    pub refs: Refs,
}

impl fmt::Debug for Resource {
    /// Never the bytes: a secret is a resource too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} B)", self.id, self.version, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let resource = Resource {
            id: ResourceId::new(ResourceKind::Secret, "edge"),
            version: Fingerprint::of("t", "x"),
            bytes: Bytes::from_static(b"PRIVATE KEY"),
            refs: Arc::from([]),
        };
        assert!(!format!("{resource:?}").contains("PRIVATE"));
    }

    #[test]
    fn kinds_are_known_by_their_type_url() {
        for kind in ResourceKind::ALL {
            assert_eq!(ResourceKind::from_type_url(kind.type_url()), Some(kind));
            assert_eq!(ResourceKind::ALL[kind.index()], kind);
        }
    }
}
