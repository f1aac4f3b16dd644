//! Gateways, their classes and listeners, and who may refer to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use windrose_vocab::{Hostname, Kind, Port, Text};

use super::backend::ObjectReference;
use super::route::Filter;

/// The controller name that makes a class ours.
pub const CONTROLLER: &str = "windrose.dev/gateway-controller";

/// A class of Gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayClass {
    /// Who implements it; ours is [`CONTROLLER`].
    pub controller: Text,
    /// What configures its Gateways (`spec.parametersRef`), as written.
    pub parameters_ref: Option<ObjectReference>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Name of its class.
    pub class: Text,
    /// Addresses: what to bind in files, what to ask for in a cluster; all, or any, where empty.
    pub addresses: Vec<GatewayAddress>,
    /// Addresses that say from where they shall be reached.
    pub reach: Vec<Reach>,
    /// Listeners, in order.
    pub listeners: Vec<Listener>,
    /// Our certificate towards backends (`spec.tls.backend.clientCertificateRef`).
    pub backend_client_certificate: Option<ObjectReference>,
    /// How clients' certificates are checked on every HTTPS listener (`spec.tls.frontend.default.validation`).
    pub frontend_validation: Option<FrontendValidation>,
    /// The same for one port (`spec.tls.frontend.perPort`).
    pub frontend_validation_per_port: BTreeMap<Port, Option<FrontendValidation>>,
    /// Which ListenerSets may attach.
    pub allowed_listener_sets: Namespaces,
    /// For whoever deploys its proxies.
    pub infrastructure: Infrastructure,
}

/// What a Gateway says to whoever deploys its proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infrastructure {
    /// Labels for all that is made for it.
    pub labels: BTreeMap<Text, Text>,
    /// Annotations for all that is made for it.
    pub annotations: BTreeMap<Text, Text>,
    /// What configures it (`parametersRef`), as written; it is of the Gateway's namespace.
    pub parameters_ref: Option<ObjectReference>,
}

/// An address of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A host name; cannot be bound.
    Hostname(Text),
    /// Another type.
    Other(Text, Text),
}

/// An address with a word on from where it shall be reached (`routability`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Its position among the addresses.
    pub position: usize,
    /// `IPAddress`, `Hostname` or another type.
    pub kind: Text,
    /// Which one is asked for, if any.
    pub value: Option<Text>,
    /// From where: [`Reach::CLUSTER`], or a word of another implementation.
    pub from: Text,
}

impl Reach {
    /// From within the cluster.
    pub const CLUSTER: &str = "Cluster";
}

/// Checks of clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendValidation {
    /// ConfigMaps or Secrets with CA certificates.
    pub ca_certificates: Vec<ObjectReference>,
    /// Whether a client without a valid certificate is let in all the same (`AllowInsecureFallback`).
    pub insecure_fallback: bool,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name, unique within the Gateway.
    pub name: Text,
    /// Hosts; all where absent.
    pub hostname: Option<Hostname>,
    /// Port.
    pub port: Port,
    /// Protocol.
    pub protocol: Protocol,
    /// TLS, for HTTPS and TLS.
    pub tls: Option<ListenerTls>,
    /// Kinds of routes that may attach; those of the protocol where empty. Kinds we do not know are kept by name.
    pub allowed_kinds: Vec<Result<Kind, Text>>,
    /// Namespaces whose routes may attach.
    pub allowed_namespaces: Namespaces,
    /// What every request passes before a route is chosen, in this order.
    pub filters: Vec<Filter>,
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the protocol of that name")]
pub enum Protocol {
    Http,
    Https,
    Tls,
    Tcp,
    Udp,
    /// One we do not know.
    Other(Text),
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Whether TLS passes through instead of ending here.
    pub passthrough: bool,
    /// Certificates (Secrets), in order.
    pub certificates: Vec<ObjectReference>,
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// None.
    None,
    /// That of the object that says it.
    Same,
    /// All.
    All,
    /// Those whose labels match.
    Selector(Selector),
}

/// A label selector: all parts must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Labels with exactly these values.
    pub labels: BTreeMap<Text, Text>,
    /// Further conditions.
    pub expressions: Vec<SelectorExpression>,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operators of Kubernetes")]
pub enum SelectorExpression {
    In(Text, BTreeSet<Text>),
    NotIn(Text, BTreeSet<Text>),
    Exists(Text),
    DoesNotExist(Text),
}

impl Selector {
    /// Whether these labels match.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<Text, Text>) -> bool {
        let exact = self.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        exact
            && self.expressions.iter().all(|expression| match expression {
                SelectorExpression::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
                SelectorExpression::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
                SelectorExpression::Exists(key) => labels.contains_key(key),
                SelectorExpression::DoesNotExist(key) => !labels.contains_key(key),
            })
    }
}

/// Listeners that somebody else adds to a Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSet {
    /// Namespace and name of the Gateway.
    pub gateway: windrose_vocab::ObjectKey,
    /// Listeners, in order.
    pub listeners: Vec<Listener>,
}

/// A namespace; its labels are in the object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Nothing in it is declared here, because this control plane does not select it (`windrose controller --namespace-selector`).
    pub left_out: bool,
}

/// A ReferenceGrant: who of other namespaces may refer to what of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Group, kind and namespace of those who may refer.
    pub from: Vec<GrantFrom>,
    /// Group, kind and name of what they may refer to; every name where absent.
    pub to: Vec<GrantTo>,
}

/// Who may refer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFrom {
    /// API group.
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Namespace.
    pub namespace: Text,
}

/// What may be referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantTo {
    /// API group.
    pub group: Text,
    /// Kind.
    pub kind: Text,
    /// Name; every one where absent.
    pub name: Option<Text>,
}
