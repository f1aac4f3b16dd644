//! The whole world of what is declared, as persistent maps: an edit shares everything it did not touch.
//! Lists keep the positions they have in the object, so that a field can be named by its path.

pub mod backend;
pub mod gateway;
pub mod route;
mod values;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use windrose_vocab::{Fingerprint, Kind, ObjectKey, ObjectRef, ObjectVersion, Text};

pub use backend::{Backend, BackendTls, ClusterTrustBundle, ConfigMap, EndpointSlice, Secret, Service};
pub use gateway::{Gateway, GatewayClass, Grant, ListenerSet, Namespace};
pub use route::Route;
pub use values::values;
pub use workload::Workload;

use crate::policy::{
    AuthPolicy, AuthorizationPolicy, EdgePolicy, GatewayParameters, MeshPolicy, RateLimitPolicy, TargetRef, TelemetryPolicy, TrafficPolicy,
    TranscodingPolicy,
};

/// All objects of one kind.
pub type Objects<T> = OrdMap<ObjectKey, Arc<Object<T>>>;

/// One decoded object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<T> {
    /// What it is called, and which version of it this is.
    pub meta: Meta,
    /// What it says.
    pub spec: T,
}

/// The name of an object, its version and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Kind, namespace and name.
    pub object: ObjectRef,
    /// Fingerprint of the content.
    pub version: Fingerprint,
    /// Seconds since 1970 (`metadata.creationTimestamp`); 0 where the source knows none. The older object wins a conflict, then the name.
    pub created: u64,
    /// Labels.
    pub labels: BTreeMap<Text, Text>,
    /// Annotations.
    pub annotations: BTreeMap<Text, Text>,
}

impl Meta {
    /// The object in this version.
    #[must_use]
    pub fn identity(&self) -> ObjectVersion {
        ObjectVersion { object: self.object.clone(), version: self.version }
    }
}

/// Everything that is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field holds the objects of its kind")]
pub struct Declared {
    pub gateway_classes: Objects<GatewayClass>,
    pub gateways: Objects<Gateway>,
    pub listener_sets: Objects<ListenerSet>,
    /// Routes of all kinds, by kind and key.
    pub routes: OrdMap<ObjectRef, Arc<Object<Route>>>,
    pub grants: Objects<Grant>,
    pub backend_tls: Objects<BackendTls>,
    pub namespaces: Objects<Namespace>,
    pub services: Objects<Service>,
    pub endpoint_slices: Objects<EndpointSlice>,
    pub secrets: Objects<Secret>,
    pub config_maps: Objects<ConfigMap>,
    pub trust_bundles: Objects<ClusterTrustBundle>,
    pub backends: Objects<Backend>,
    pub workloads: Objects<Workload>,
    pub auth_policies: Objects<AuthPolicy>,
    pub rate_limit_policies: Objects<RateLimitPolicy>,
    pub transcoding_policies: Objects<TranscodingPolicy>,
    pub traffic_policies: Objects<TrafficPolicy>,
    pub edge_policies: Objects<EdgePolicy>,
    pub mesh_policies: Objects<MeshPolicy>,
    pub authorization_policies: Objects<AuthorizationPolicy>,
    pub telemetry_policies: Objects<TelemetryPolicy>,
    pub gateway_parameters: Objects<GatewayParameters>,
    /// Objects that cannot be decoded and have no earlier good version, with what they attach to as far as that could be read.
    /// They decide nothing, but what a policy was to protect must not be taken for unprotected, a proxy not for deleted, and
    /// what others refer to not for absent.
    pub set_aside: OrdMap<ObjectRef, SetAside>,
    /// Something could not even be named: what is not here may be declared all the same.
    pub incomplete: bool,
}

/// What can be read of an object that cannot be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    /// When it was created, in seconds of Unix time; 0 where nobody says.
    pub created: u64,
    /// What it attaches to.
    pub targets: Arc<[TargetRef]>,
    /// It says more of what it attaches to, which cannot be read.
    pub more: bool,
    /// That much can be read: it would refuse nobody.
    pub harmless: bool,
}

/// Which objects differ between two worlds; what `plan` needs to follow a change at its own cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Added, changed or removed, sorted.
    pub objects: BTreeSet<ObjectRef>,
}

/// One decoded object of any kind, as a source puts it into the world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant holds an object of its kind")]
pub enum AnyObject {
    GatewayClass(Arc<Object<GatewayClass>>),
    Gateway(Arc<Object<Gateway>>),
    ListenerSet(Arc<Object<ListenerSet>>),
    Route(Arc<Object<Route>>),
    Grant(Arc<Object<Grant>>),
    BackendTls(Arc<Object<BackendTls>>),
    Namespace(Arc<Object<Namespace>>),
    Service(Arc<Object<Service>>),
    EndpointSlice(Arc<Object<EndpointSlice>>),
    Secret(Arc<Object<Secret>>),
    ConfigMap(Arc<Object<ConfigMap>>),
    ClusterTrustBundle(Arc<Object<ClusterTrustBundle>>),
    Backend(Arc<Object<Backend>>),
    Workload(Arc<Object<Workload>>),
    AuthPolicy(Arc<Object<AuthPolicy>>),
    RateLimitPolicy(Arc<Object<RateLimitPolicy>>),
    TranscodingPolicy(Arc<Object<TranscodingPolicy>>),
    TrafficPolicy(Arc<Object<TrafficPolicy>>),
    EdgePolicy(Arc<Object<EdgePolicy>>),
    MeshPolicy(Arc<Object<MeshPolicy>>),
    AuthorizationPolicy(Arc<Object<AuthorizationPolicy>>),
    TelemetryPolicy(Arc<Object<TelemetryPolicy>>),
    GatewayParameters(Arc<Object<GatewayParameters>>),
}

macro_rules! kinds {
    ($($variant:ident => $field:ident),* $(,)?) => {
        impl AnyObject {
            /// Name, version and labels.
            #[must_use]
            pub fn meta(&self) -> &Meta {
                match self {
                    Self::Route(object) => &object.meta,
                    $(Self::$variant(object) => &object.meta,)*
                }
            }
        }

        impl Declared {
            /// Puts an object in, in place of an earlier one of the same name.
            pub fn insert(&mut self, object: AnyObject) {
                self.set_aside.remove(&object.meta().object);
                match object {
                    AnyObject::Route(object) => { self.routes.insert(object.meta.object.clone(), object); }
                    $(AnyObject::$variant(object) => { self.$field.insert(object.meta.object.key.clone(), object); })*
                }
            }

            /// What differs from `former`, at the cost of the difference where this world was made by editing that one.
            #[must_use]
            pub fn changed_since(&self, former: &Self) -> Changed {
                let mut objects = BTreeSet::new();
                objects.extend(differences(&former.set_aside, &self.set_aside).cloned());
                objects.extend(differences(&former.routes, &self.routes).cloned());
                $(objects.extend(differences(&former.$field, &self.$field).filter_map(|key| {
                    let object = self.$field.get(key).or_else(|| former.$field.get(key))?;
                    Some(object.meta.object.clone())
                }));)*
                Changed { objects }
            }

            /// Every object, kind by kind.
            pub fn iter(&self) -> impl Iterator<Item = AnyObject> + '_ {
                let routes = self.routes.values().map(|object| AnyObject::Route(Arc::clone(object)));
                routes $(.chain(self.$field.values().map(|object| AnyObject::$variant(Arc::clone(object)))))*
            }
        }
    };
}

kinds! {
    GatewayClass => gateway_classes,
    Gateway => gateways,
    ListenerSet => listener_sets,
    Grant => grants,
    BackendTls => backend_tls,
    Namespace => namespaces,
    Service => services,
    EndpointSlice => endpoint_slices,
    Secret => secrets,
    ConfigMap => config_maps,
    ClusterTrustBundle => trust_bundles,
    Backend => backends,
    Workload => workloads,
    AuthPolicy => auth_policies,
    RateLimitPolicy => rate_limit_policies,
    TranscodingPolicy => transcoding_policies,
    TrafficPolicy => traffic_policies,
    EdgePolicy => edge_policies,
    MeshPolicy => mesh_policies,
    AuthorizationPolicy => authorization_policies,
    TelemetryPolicy => telemetry_policies,
    GatewayParameters => gateway_parameters,
}

/// The keys whose values differ.
fn differences<'a, K: Ord + Clone, V: PartialEq + Clone>(former: &'a OrdMap<K, V>, now: &'a OrdMap<K, V>) -> impl Iterator<Item = &'a K> {
    former.diff(now).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    })
}

impl Declared {
    /// The object of that kind and name.
    #[must_use]
    pub fn get(&self, object: &ObjectRef) -> Option<AnyObject> {
        let key = &object.key;
        match object.kind {
            Kind::GatewayClass => self.gateway_classes.get(key).cloned().map(AnyObject::GatewayClass),
            Kind::Gateway => self.gateways.get(key).cloned().map(AnyObject::Gateway),
            Kind::ListenerSet => self.listener_sets.get(key).cloned().map(AnyObject::ListenerSet),
            Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => {
                self.routes.get(object).cloned().map(AnyObject::Route)
            }
            Kind::ReferenceGrant => self.grants.get(key).cloned().map(AnyObject::Grant),
            Kind::BackendTLSPolicy => self.backend_tls.get(key).cloned().map(AnyObject::BackendTls),
            Kind::Namespace => self.namespaces.get(key).cloned().map(AnyObject::Namespace),
            Kind::Service => self.services.get(key).cloned().map(AnyObject::Service),
            Kind::EndpointSlice => self.endpoint_slices.get(key).cloned().map(AnyObject::EndpointSlice),
            Kind::Secret => self.secrets.get(key).cloned().map(AnyObject::Secret),
            Kind::ConfigMap => self.config_maps.get(key).cloned().map(AnyObject::ConfigMap),
            Kind::ClusterTrustBundle => self.trust_bundles.get(key).cloned().map(AnyObject::ClusterTrustBundle),
            Kind::Backend => self.backends.get(key).cloned().map(AnyObject::Backend),
            Kind::Workload => self.workloads.get(key).cloned().map(AnyObject::Workload),
            Kind::AuthPolicy => self.auth_policies.get(key).cloned().map(AnyObject::AuthPolicy),
            Kind::RateLimitPolicy => self.rate_limit_policies.get(key).cloned().map(AnyObject::RateLimitPolicy),
            Kind::TranscodingPolicy => self.transcoding_policies.get(key).cloned().map(AnyObject::TranscodingPolicy),
            Kind::TrafficPolicy => self.traffic_policies.get(key).cloned().map(AnyObject::TrafficPolicy),
            Kind::EdgePolicy => self.edge_policies.get(key).cloned().map(AnyObject::EdgePolicy),
            Kind::MeshPolicy => self.mesh_policies.get(key).cloned().map(AnyObject::MeshPolicy),
            Kind::AuthorizationPolicy => self.authorization_policies.get(key).cloned().map(AnyObject::AuthorizationPolicy),
            Kind::TelemetryPolicy => self.telemetry_policies.get(key).cloned().map(AnyObject::TelemetryPolicy),
            Kind::GatewayParameters => self.gateway_parameters.get(key).cloned().map(AnyObject::GatewayParameters),
        }
    }

    /// Whether a namespace is there and nothing in it is declared here: somebody else may serve what is.
    #[must_use]
    pub fn leaves_out(&self, namespace: &Text) -> bool {
        self.namespaces.get(&ObjectKey::new("", namespace.clone())).is_some_and(|namespace| namespace.spec.left_out)
    }

    /// The names of all objects of a kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> BTreeSet<ObjectRef> {
        fn keys<T>(kind: Kind, of: &OrdMap<ObjectKey, Arc<Object<T>>>) -> BTreeSet<ObjectRef> {
            of.keys().map(|key| ObjectRef { kind, key: key.clone() }).collect()
        }
        match kind {
            Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => {
                let first = ObjectRef::new(kind, "", "");
                self.routes.range(first..).map(|(object, _)| object).take_while(|object| object.kind == kind).cloned().collect()
            }
            Kind::GatewayClass => keys(kind, &self.gateway_classes),
            Kind::Gateway => keys(kind, &self.gateways),
            Kind::ListenerSet => keys(kind, &self.listener_sets),
            Kind::ReferenceGrant => keys(kind, &self.grants),
            Kind::BackendTLSPolicy => keys(kind, &self.backend_tls),
            Kind::Namespace => keys(kind, &self.namespaces),
            Kind::Service => keys(kind, &self.services),
            Kind::EndpointSlice => keys(kind, &self.endpoint_slices),
            Kind::Secret => keys(kind, &self.secrets),
            Kind::ConfigMap => keys(kind, &self.config_maps),
            Kind::ClusterTrustBundle => keys(kind, &self.trust_bundles),
            Kind::Backend => keys(kind, &self.backends),
            Kind::Workload => keys(kind, &self.workloads),
            Kind::AuthPolicy => keys(kind, &self.auth_policies),
            Kind::RateLimitPolicy => keys(kind, &self.rate_limit_policies),
            Kind::TranscodingPolicy => keys(kind, &self.transcoding_policies),
            Kind::TrafficPolicy => keys(kind, &self.traffic_policies),
            Kind::EdgePolicy => keys(kind, &self.edge_policies),
            Kind::MeshPolicy => keys(kind, &self.mesh_policies),
            Kind::AuthorizationPolicy => keys(kind, &self.authorization_policies),
            Kind::TelemetryPolicy => keys(kind, &self.telemetry_policies),
            Kind::GatewayParameters => keys(kind, &self.gateway_parameters),
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, object: &ObjectRef) {
        self.set_aside.remove(object);
        let key = &object.key;
        match object.kind {
            Kind::GatewayClass => drop(self.gateway_classes.remove(key)),
            Kind::Gateway => drop(self.gateways.remove(key)),
            Kind::ListenerSet => drop(self.listener_sets.remove(key)),
            Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => drop(self.routes.remove(object)),
            Kind::ReferenceGrant => drop(self.grants.remove(key)),
            Kind::BackendTLSPolicy => drop(self.backend_tls.remove(key)),
            Kind::Namespace => drop(self.namespaces.remove(key)),
            Kind::Service => drop(self.services.remove(key)),
            Kind::EndpointSlice => drop(self.endpoint_slices.remove(key)),
            Kind::Secret => drop(self.secrets.remove(key)),
            Kind::ConfigMap => drop(self.config_maps.remove(key)),
            Kind::ClusterTrustBundle => drop(self.trust_bundles.remove(key)),
            Kind::Backend => drop(self.backends.remove(key)),
            Kind::Workload => drop(self.workloads.remove(key)),
            Kind::AuthPolicy => drop(self.auth_policies.remove(key)),
            Kind::RateLimitPolicy => drop(self.rate_limit_policies.remove(key)),
            Kind::TranscodingPolicy => drop(self.transcoding_policies.remove(key)),
            Kind::TrafficPolicy => drop(self.traffic_policies.remove(key)),
            Kind::EdgePolicy => drop(self.edge_policies.remove(key)),
            Kind::MeshPolicy => drop(self.mesh_policies.remove(key)),
            Kind::AuthorizationPolicy => drop(self.authorization_policies.remove(key)),
            Kind::TelemetryPolicy => drop(self.telemetry_policies.remove(key)),
            Kind::GatewayParameters => drop(self.gateway_parameters.remove(key)),
        }
    }
}
