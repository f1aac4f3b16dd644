//! Who refers to whom: buckets of objects by what they name. An edit touches only the buckets of its old and new content.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use windrose_api::declared::AnyObject;
use windrose_api::declared::gateway::{Gateway, GatewayAddress, Listener, Protocol};
use windrose_api::declared::workload::Serves;
use windrose_api::policy::TargetRef;
use windrose_vocab::{Kind, ObjectKey, ObjectRef, Port, Text};

use crate::gateway::{FLEET_ANNOTATION, GATEWAY_LABEL};
use crate::policy::{set_aside, target};

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Index {
    /// ListenerSets of a Gateway.
    ListenerSets(ObjectKey),
    /// Gateways of a class in a namespace, by those two.
    GatewaysOfClass(ObjectKey),
    /// Gateways and ListenerSets with a listener on a port.
    ListenersAt(Port),
    /// Workloads that are served at an address and port, and Gateways that name both.
    ServedAt(SocketAddr),
    /// Workloads that are served at a port, of a namespace or of all.
    Serving(Option<Text>, u16),
    /// Policies on a target, or on a section of it, of all kinds: a route asks for four, and what was read is kept for each.
    Policies(ObjectRef),
    /// What stands on a target, or on a section of it, for policies that are not in force.
    StandIns(ObjectRef),
    /// Policies of a kind in a namespace that name no target.
    NamespacePolicies(Kind, Text),
    /// AuthPolicies that look for tokens in a header.
    TokensIn(Text),
    /// AuthPolicies that set a header from a claim.
    ClaimsIn(Text),
    /// Services that lead to a shared fleet, by namespace and class.
    ServicesOfFleet(ObjectKey),
    /// Services that say they were made for a Gateway.
    ServicesOfGateway(ObjectKey),
    /// EndpointSlices of a Service.
    Slices(ObjectKey),
    /// Workloads that serve a Service.
    Workloads(ObjectKey),
    /// ReferenceGrants of a namespace.
    Grants(Text),
    /// All objects of a kind, for those who need every one.
    Kind(Kind),
    /// All objects of a kind in a namespace, for hints.
    Names(Kind, Text),
}

/// All buckets.
#[derive(Debug, Default)]
pub(crate) struct Indexes(HashMap<Index, BTreeSet<ObjectRef>>);

impl Indexes {
    /// The objects in a bucket, sorted.
    pub(crate) fn get(&self, index: &Index) -> impl Iterator<Item = &ObjectRef> {
        self.0.get(index).into_iter().flatten()
    }

    /// Replaces the content of one object; returns the buckets that its old or new content is in.
    pub(crate) fn replace(&mut self, object: &ObjectRef, old: Option<&AnyObject>, new: Option<&AnyObject>) -> BTreeSet<Index> {
        let before = old.map(buckets).unwrap_or_default();
        let after = new.map(buckets).unwrap_or_default();
        for index in before.difference(&after) {
            if let Some(bucket) = self.0.get_mut(index) {
                bucket.remove(object);
                if bucket.is_empty() {
                    self.0.remove(index);
                }
            }
        }
        for index in &after {
            self.0.entry(index.clone()).or_default().insert(object.clone());
        }
        // Whoever reads policies on a target, or who listens at a port, reads each of them too, and whoever wants names, or asks whether
        // somebody is there at all, wants nothing of what is.
        let renamed = |index: &Index| {
            let read_each = matches!(index, Index::Policies(_) | Index::StandIns(_) | Index::ListenersAt(_) | Index::ServedAt(_));
            !read_each && !matches!(index, Index::Kind(_) | Index::Names(_, _) | Index::Serving(_, _))
        };
        let stayed = before.intersection(&after).filter(|index| renamed(index));
        before.symmetric_difference(&after).chain(stayed).cloned().collect()
    }
}

fn buckets(object: &AnyObject) -> BTreeSet<Index> {
    let meta = object.meta();
    let namespace = &meta.object.key.namespace;
    let mut all = BTreeSet::from([Index::Kind(meta.object.kind), Index::Names(meta.object.kind, namespace.clone())]);
    match object {
        AnyObject::Gateway(gateway) => {
            all.insert(Index::GatewaysOfClass(ObjectKey::new(namespace.clone(), gateway.spec.class.clone())));
            all.extend(ports(&gateway.spec.listeners));
            all.extend(sockets(&gateway.spec));
        }
        AnyObject::Service(_) => {
            let class = meta.annotations.get(FLEET_ANNOTATION);
            all.extend(class.map(|class| Index::ServicesOfFleet(ObjectKey::new(namespace.clone(), class.clone()))));
            let gateway = meta.labels.get(GATEWAY_LABEL);
            all.extend(gateway.map(|gateway| Index::ServicesOfGateway(ObjectKey::new(namespace.clone(), gateway.clone()))));
        }
        AnyObject::ListenerSet(set) => {
            all.insert(Index::ListenerSets(set.spec.gateway.clone()));
            all.extend(ports(&set.spec.listeners));
        }
        AnyObject::Grant(_) => drop(all.insert(Index::Grants(namespace.clone()))),
        AnyObject::EndpointSlice(slice) => {
            all.extend(slice.spec.service.iter().map(|name| Index::Slices(ObjectKey::new(namespace.clone(), name.clone()))));
        }
        AnyObject::Workload(workload) => {
            let service = |name: &Text| Index::Workloads(ObjectKey::new(namespace.clone(), name.clone()));
            all.extend(workload.spec.serves.iter().map(|serves| service(&serves.service)));
            let at = |serves: &Serves| Index::ServedAt(SocketAddr::new(workload.spec.address, serves.listen.get()));
            all.extend(workload.spec.serves.iter().map(at));
            for of in [Some(namespace.clone()), None] {
                all.extend(workload.spec.serves.iter().map(|serves| Index::Serving(of.clone(), serves.listen.get())));
            }
        }
        AnyObject::BackendTls(policy) => {
            let targets = policy.spec.targets.iter().filter_map(|(reference, _)| target::of_reference(reference, namespace));
            all.extend(targets.map(Index::Policies));
        }
        AnyObject::AuthPolicy(policy) => {
            policies(&mut all, &meta.object, &policy.spec.target_refs);
            let sources = policy.spec.jwt.iter().flat_map(|provider| &provider.from).filter_map(|source| source.header.as_ref());
            all.extend(sources.map(|header| Index::TokensIn(header.to_ascii_lowercase().into())));
            let set = policy.spec.claims_to_headers.iter().map(|mapping| &mapping.header);
            all.extend(set.map(|header| Index::ClaimsIn(header.to_ascii_lowercase().into())));
        }
        AnyObject::RateLimitPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::TranscodingPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::TrafficPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::EdgePolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::MeshPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::AuthorizationPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::TelemetryPolicy(policy) => policies(&mut all, &meta.object, &policy.spec.target_refs),
        AnyObject::GatewayClass(_)
        | AnyObject::Route(_)
        | AnyObject::Namespace(_)
        | AnyObject::Secret(_)
        | AnyObject::ConfigMap(_)
        | AnyObject::ClusterTrustBundle(_)
        | AnyObject::Backend(_)
        | AnyObject::GatewayParameters(_) => {}
    }
    if set_aside::is_stand_in(meta) {
        let targets = target::targets(object).into_iter().filter_map(|(target, _)| target);
        all.extend(targets.map(Index::StandIns));
    }
    all
}

fn ports(listeners: &[Listener]) -> impl Iterator<Item = Index> {
    listeners.iter().map(|listener| Index::ListenersAt(listener.port))
}

fn sockets(gateway: &Gateway) -> impl Iterator<Item = Index> {
    // What comes as datagrams has ports of its own.
    let listeners = gateway.listeners.iter().filter(|listener| listener.protocol != Protocol::Udp);
    let addresses = || {
        gateway.addresses.iter().filter_map(|address| match address {
            GatewayAddress::Ip(ip) => Some(*ip),
            GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => None,
        })
    };
    listeners.flat_map(move |listener| addresses().map(|ip| Index::ServedAt(SocketAddr::new(ip, listener.port.get()))))
}

fn policies(all: &mut BTreeSet<Index>, policy: &ObjectRef, targets: &[TargetRef]) {
    if targets.is_empty() {
        all.insert(Index::NamespacePolicies(policy.kind, policy.key.namespace.clone()));
    }
    let named = targets.iter().filter_map(|reference| target::of_target(reference, &policy.key.namespace));
    all.extend(named.map(Index::Policies));
}
