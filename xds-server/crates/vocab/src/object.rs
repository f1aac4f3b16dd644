//! Names of declared objects: kind, namespace, name, and which version of it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::Text;

/// Every kind of object that people may declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the kind of that name")]
pub enum Kind {
    GatewayClass,
    Gateway,
    ListenerSet,
    HTTPRoute,
    GRPCRoute,
    TLSRoute,
    TCPRoute,
    UDPRoute,
    ReferenceGrant,
    BackendTLSPolicy,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
    ClusterTrustBundle,
    Backend,
    Workload,
    AuthPolicy,
    RateLimitPolicy,
    TranscodingPolicy,
    TrafficPolicy,
    EdgePolicy,
    MeshPolicy,
    AuthorizationPolicy,
    TelemetryPolicy,
    GatewayParameters,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 27] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HTTPRoute,
        Self::GRPCRoute,
        Self::TLSRoute,
        Self::TCPRoute,
        Self::UDPRoute,
        Self::ReferenceGrant,
        Self::BackendTLSPolicy,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
        Self::ClusterTrustBundle,
        Self::Backend,
        Self::Workload,
        Self::AuthPolicy,
        Self::RateLimitPolicy,
        Self::TranscodingPolicy,
        Self::TrafficPolicy,
        Self::EdgePolicy,
        Self::MeshPolicy,
        Self::AuthorizationPolicy,
        Self::TelemetryPolicy,
        Self::GatewayParameters,
    ];

    /// The kind as written in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HTTPRoute => "HTTPRoute",
            Self::GRPCRoute => "GRPCRoute",
            Self::TLSRoute => "TLSRoute",
            Self::TCPRoute => "TCPRoute",
            Self::UDPRoute => "UDPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTLSPolicy => "BackendTLSPolicy",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::ClusterTrustBundle => "ClusterTrustBundle",
            Self::Backend => "Backend",
            Self::Workload => "Workload",
            Self::AuthPolicy => "AuthPolicy",
            Self::RateLimitPolicy => "RateLimitPolicy",
            Self::TranscodingPolicy => "TranscodingPolicy",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::EdgePolicy => "EdgePolicy",
            Self::MeshPolicy => "MeshPolicy",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::TelemetryPolicy => "TelemetryPolicy",
            Self::GatewayParameters => "GatewayParameters",
        }
    }

    /// The API group; empty for Kubernetes' core kinds.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::HTTPRoute
            | Self::GRPCRoute
            | Self::TLSRoute
            | Self::TCPRoute
            | Self::UDPRoute
            | Self::ReferenceGrant
            | Self::BackendTLSPolicy => "gateway.networking.k8s.io",
            Self::Namespace | Self::Service | Self::Secret | Self::ConfigMap => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::ClusterTrustBundle => "certificates.k8s.io",
            Self::Backend
            | Self::Workload
            | Self::AuthPolicy
            | Self::RateLimitPolicy
            | Self::TranscodingPolicy
            | Self::TrafficPolicy
            | Self::EdgePolicy
            | Self::MeshPolicy
            | Self::AuthorizationPolicy
            | Self::TelemetryPolicy
            | Self::GatewayParameters => "windrose.dev",
        }
    }

    /// Whether objects of this kind live outside namespaces.
    #[must_use]
    pub fn is_cluster_scoped(self) -> bool {
        matches!(self, Self::GatewayClass | Self::Namespace | Self::ClusterTrustBundle)
    }

    /// The kind of that name, in any group.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name, shared: a world has many more mentions of its objects than objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<NamespacedName>);

/// What an [`ObjectKey`] says. Cluster-scoped objects have the empty namespace.
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacedName {
    /// The namespace, or empty.
    pub namespace: Text,
    /// The name.
    pub name: Text,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self(Arc::new(NamespacedName { namespace: namespace.into(), name: name.into() }))
    }
}

impl Deref for ObjectKey {
    type Target = NamespacedName;

    fn deref(&self) -> &NamespacedName {
        &self.0
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Debug for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One declared object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl ObjectRef {
    /// The object of that kind, namespace and name.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<Text>, name: impl Into<Text>) -> Self {
        Self { kind, key: ObjectKey::new(namespace, name) }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One version of one object: `version` is its generation in Kubernetes, the fingerprint of its content in files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectVersion {
    /// The object.
    pub object: ObjectRef,
    /// Which version of it.
    pub version: crate::Fingerprint,
}

crate::canonical!(struct NamespacedName { namespace, name });
crate::canonical!(newtype ObjectKey);

impl crate::Canonical for ObjectRef {
    fn write(&self, w: &mut crate::Writer) {
        self.kind.as_str().write(w);
        self.key.write(w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_parses_from_its_own_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn objects_print_as_people_write_them() {
        assert_eq!(ObjectRef::new(Kind::HTTPRoute, "shop", "orders").to_string(), "HTTPRoute/shop/orders");
        assert_eq!(ObjectRef::new(Kind::GatewayClass, "", "windrose").to_string(), "GatewayClass/windrose");
    }
}
