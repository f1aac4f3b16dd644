//! Backends: Services and Backends as clusters, and where their instances are.

mod app_protocol;
mod cluster;
mod endpoints;
mod origin_tls;

pub(crate) use app_protocol::AppProtocol;
pub(crate) use cluster::{Upstream, cluster, identity};
pub(crate) use endpoints::{EndpointsKey, endpoints};
pub(crate) use origin_tls::{OriginTls, of_policy, origin_tls};

use std::fmt;

use windrose_vocab::{Kind, ObjectKey, ObjectRef, Port, Text};

/// What requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BackendId {
    /// One port of a Service.
    Service(ObjectKey, Port),
    /// A Backend.
    Backend(ObjectKey),
    /// All backends of a route, each with its share.
    Split(ObjectRef),
}

impl BackendId {
    pub(crate) fn object(&self) -> ObjectRef {
        match self {
            Self::Service(key, _) => ObjectRef { kind: Kind::Service, key: key.clone() },
            Self::Backend(key) => ObjectRef { kind: Kind::Backend, key: key.clone() },
            Self::Split(route) => route.clone(),
        }
    }
}

/// How a backend is used; two uses of one backend that differ in it are two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Flavor {
    /// HTTP from the edge: as the port says, HTTP/1.1 where it says nothing.
    Http,
    /// gRPC: always HTTP/2.
    Grpc,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
    /// HTTP from a sidecar: as the port says, like the caller where it says nothing.
    Mesh,
}

/// A part of a route whose TrafficPolicy makes the cluster its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) route: ObjectRef,
    pub(crate) rule: Option<Text>,
    /// Whether its sessions stick to an endpoint.
    pub(crate) sticky: bool,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterKey {
    pub(crate) backend: BackendId,
    pub(crate) flavor: Flavor,
    pub(crate) owner: Option<Owner>,
    /// The Gateway whose certificate we show, if it declares one and the backend speaks TLS.
    pub(crate) client: Option<ObjectKey>,
}

impl ClusterKey {
    pub(crate) fn new(backend: BackendId, flavor: Flavor) -> Self {
        Self { backend, flavor, owner: None, client: None }
    }

    pub(crate) fn name(&self) -> Text {
        self.to_string().into()
    }

    /// The endpoints that are pushed to it; none for a Backend, whose addresses stand in the cluster.
    pub(crate) fn endpoints(&self) -> Option<EndpointsKey> {
        match &self.backend {
            BackendId::Service(service, port) => {
                Some(EndpointsKey::Service { service: service.clone(), port: *port, udp: self.flavor == Flavor::Udp })
            }
            BackendId::Backend(_) => None,
            BackendId::Split(route) => Some(EndpointsKey::Split(route.clone())),
        }
    }
}

impl fmt::Display for ClusterKey {
    /// The name of the resource. A namespace has no upper case, so that a Backend is never taken for a Service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backend {
            BackendId::Service(service, port) => write!(f, "{service}/{port}")?,
            BackendId::Backend(backend) => write!(f, "Backend/{backend}")?,
            BackendId::Split(route) => write!(f, "{route}")?,
        }
        f.write_str(match self.flavor {
            Flavor::Http => "",
            Flavor::Grpc => "/grpc",
            Flavor::Tcp => "/tcp",
            Flavor::Udp => "/udp",
            Flavor::Mesh => "/mesh",
        })?;
        if let Some(owner) = &self.owner {
            write!(f, "@{}", owner.route)?;
            owner.rule.iter().try_for_each(|rule| write!(f, "/{rule}"))?;
        }
        self.client.iter().try_for_each(|gateway| write!(f, "+Gateway/{gateway}"))
    }
}
