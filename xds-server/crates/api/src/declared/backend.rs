//! What routes send to, and what it takes to speak to it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use windrose_vocab::{Duration, Hostname, ObjectKey, Port, Sensitive, Text};

/// A reference as written: group, kind and namespace may name anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectReference {
    /// API group; empty for core.
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Namespace; that of the object that refers where absent.
    pub namespace: Option<Text>,
    /// Name.
    pub name: Text,
}

/// A Kubernetes Service, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Virtual addresses; empty for headless ones and in files.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether it is headless (`clusterIP: None`).
    pub headless: bool,
    /// `ExternalName` target.
    pub external_name: Option<Text>,
    /// Whether it has a selector, by which a cluster finds its endpoints.
    pub selects: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty for a single unnamed one.
    pub name: Text,
    /// Port of the Service.
    pub port: Port,
    /// `appProtocol`, such as `kubernetes.io/h2c`.
    pub app_protocol: Option<Text>,
    /// Whether it is UDP.
    pub udp: bool,
    /// The number of `targetPort`; none where it is a name, or the same.
    pub target: Option<Port>,
}

/// Endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service, from the label `kubernetes.io/service-name`; in the slice's namespace.
    pub service: Option<Text>,
    /// Ports by the name of the Service's port.
    pub ports: Vec<(Text, Port)>,
    /// Endpoints, in no more memory than they take: they are the most numerous thing there is.
    pub endpoints: Box<[SliceEndpoint]>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Addresses.
    pub addresses: Box<[IpAddr]>,
    /// Ready for new requests.
    pub ready: bool,
    /// Still serving though it terminates.
    pub serving: bool,
    /// Going away.
    pub terminating: bool,
    /// Zone; empty where unknown.
    pub zone: Text,
    /// Zones whose clients should come here; empty where nobody says.
    pub for_zones: Arc<[Text]>,
    /// The Pod that it is, by name: one with addresses of both families stands in two slices.
    pub pod: Option<Text>,
}

/// Endpoints outside Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where it is.
    pub endpoints: Vec<BackendEndpoint>,
    /// What it speaks.
    pub protocol: BackendProtocol,
    /// TLS to it, if it speaks TLS.
    pub tls: Option<BackendTlsSettings>,
}

/// One endpoint of a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendEndpoint {
    /// IP and port.
    Ip(IpAddr, Port),
    /// Host name and port.
    Host(Text, Port),
    /// Path of a Unix socket.
    Unix(Text),
}

/// What a Backend speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2, gRPC too.
    Http2,
    /// Bytes.
    Tcp,
}

/// TLS to a Backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTlsSettings {
    /// Server name; the endpoint's host name where absent.
    pub hostname: Option<Text>,
    /// Secret or ConfigMap with CA certificates; the system's where absent.
    pub ca: Option<ObjectReference>,
    /// Secret with our certificate.
    pub client_certificate: Option<ObjectReference>,
}

/// A BackendTLSPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Services, with the port's name if only one; or Backends.
    pub targets: Vec<(ObjectReference, Option<Text>)>,
    /// Server name to send and to check.
    pub hostname: Text,
    /// CA certificates, in order.
    pub ca: Vec<ObjectReference>,
    /// Whether the system's CAs are trusted instead (`wellKnownCACertificates: System`).
    pub system_ca: bool,
    /// Names to check instead of the host name.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name to check in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// DNS name.
    Hostname(Hostname),
    /// URI.
    Uri(Text),
}

/// A Secret's data, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `type`, such as `kubernetes.io/tls`.
    pub kind: Text,
    /// Values by key.
    pub data: BTreeMap<Text, Sensitive>,
}

/// A ConfigMap's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    /// Values by key, text and binary.
    pub data: BTreeMap<Text, Bytes>,
}

/// A ClusterTrustBundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTrustBundle {
    /// Certificates in PEM.
    pub certificates: Text,
}

/// A time with its unit, as Gateway API writes it.
pub type Timeout = Duration;

/// Namespace and name of a Service.
pub type ServiceKey = ObjectKey;
