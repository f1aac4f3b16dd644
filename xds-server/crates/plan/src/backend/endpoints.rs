//! Where the instances of a Service are: its EndpointSlices, and the Workloads that serve it.

mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use windrose_api::declared::backend::SliceEndpoint;
use windrose_ir::EndpointSet;
use windrose_ir::endpoint::{Address, Endpoint, Health, Locality, Zones};
use windrose_vocab::{Code, Diagnostic, ObjectKey, ObjectRef, Port, Text};

use crate::reference::field;
use crate::world::{Index, View};

/// What is known of one address.
struct Known {
    /// Where it is; empty where nobody knows.
    zone: Text,
    /// Whether it takes requests.
    health: Health,
    /// It is of a slice, so that nobody knows of a sidecar.
    outside: bool,
    /// The zones that it is meant for; empty where nobody says.
    zones: Zones,
}

/// Endpoints that are pushed to clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum EndpointsKey {
    /// Those of one port of a Service.
    Service { service: ObjectKey, port: Port, udp: bool },
    /// Those of all backends of a route, each with its share.
    Split(ObjectRef),
}

/// The endpoints, sorted, each address once.
pub(crate) fn endpoints(view: &View<'_>, key: &EndpointsKey) -> EndpointSet {
    match key {
        EndpointsKey::Service { service, port, udp } => {
            let found = of_service(view, service, *port, *udp);
            if found.is_empty() {
                tell_absence(view, service, *port, *udp);
            }
            by_zone(found)
        }
        EndpointsKey::Split(route) => split::endpoints(view, route),
    }
}

/// Tells that a Service leads nowhere, where nobody but who writes it could change that: one with a selector is meant for a cluster, which
/// finds its endpoints.
fn tell_absence(view: &View<'_>, key: &ObjectKey, number: Port, udp: bool) {
    let Some(service) = view.service(key).filter(|service| view.settings().is_folder() && !service.spec.selects) else { return };
    let Some(index) = service.spec.ports.iter().position(|port| port.port == number && port.udp == udp) else { return };
    let name = service.spec.ports.get(index).map(|port| &*port.name).filter(|name| !name.is_empty());
    let called = name.map(|name| format!(" that has a port called `{name}`")).unwrap_or_default();
    let message = format!("port {number} has no endpoint, so nobody answers who is sent to it");
    let told = Diagnostic::warning(service.meta.object.clone(), field(&format!("spec.ports[{index}]")), Code::RefNotFound, message);
    let hint =
        format!("declare an EndpointSlice labelled `kubernetes.io/service-name: {}`{called}, or a Workload that serves it", key.name);
    view.tell(told.hint(hint));
}

/// The instances behind one port. Where none is ready, those that end and still serve take what comes, by the rule of Kubernetes' own
/// proxies: nobody else would.
fn of_service(view: &View<'_>, key: &ObjectKey, number: Port, udp: bool) -> BTreeMap<SocketAddr, Known> {
    let mut found = of_slices(view, key, number, udp);
    if !udp {
        found.extend(of_workloads(view, key, number));
    }
    if found.values().all(|known| known.health == Health::Draining) {
        found.values_mut().for_each(|known| known.health = Health::Ready);
    }
    found
}

fn of_slices(view: &View<'_>, key: &ObjectKey, number: Port, udp: bool) -> BTreeMap<SocketAddr, Known> {
    let (mut found, mut doubled) = (BTreeMap::new(), Vec::new());
    let service = view.service(key);
    let named = service.and_then(|service| service.spec.ports.iter().find(|port| port.port == number && port.udp == udp));
    let Some(name) = named.map(|port| &port.name) else { return found };
    let by_v6 = service.and_then(|service| service.spec.cluster_ips.first()).is_some_and(IpAddr::is_ipv6);
    let mut pods: BTreeSet<Text> = BTreeSet::new();
    for slice in view.index(Index::Slices(key.clone())) {
        let Some(slice) = view.endpoint_slice(&slice.key) else { continue };
        let port = slice.spec.ports.iter().find(|(known, _)| known == name).map(|(_, port)| *port);
        let both = slice.spec.endpoints.iter().filter_map(|endpoint| Some((endpoint, port?, health(endpoint)?)));
        for (endpoint, port, health) in both {
            for address in &endpoint.addresses {
                let (zone, zones) = (endpoint.zone.clone(), endpoint.for_zones.clone());
                let one = (SocketAddr::new(*address, port.get()), Known { zone, health, outside: true, zones });
                match &endpoint.pod {
                    Some(pod) if address.is_ipv6() != by_v6 => doubled.push((pod.clone(), one)),
                    pod => {
                        pods.extend(pod.clone());
                        found.extend([one]);
                    }
                }
            }
        }
    }
    // A Pod is one endpoint: at its address of the Service's first family, and of the other where it has no such.
    found.extend(doubled.into_iter().filter(|(pod, _)| !pods.contains(pod)).map(|(_, one)| one));
    found
}

fn of_workloads(view: &View<'_>, key: &ObjectKey, number: Port) -> BTreeMap<SocketAddr, Known> {
    let mut found = BTreeMap::new();
    for workload in view.index(Index::Workloads(key.clone())) {
        let Some(workload) = view.workload(&workload.key) else { continue };
        let served = workload.spec.serves.iter().filter(|serves| serves.service == key.name && serves.port == number);
        let all = served.map(|serves| SocketAddr::new(workload.spec.address, serves.listen.get()));
        // Whoever is outside the cluster has nobody who says it, and is meant for its own.
        let zones: Zones = [&workload.spec.zone].into_iter().filter(|zone| !zone.is_empty()).cloned().collect();
        let known = || Known { zone: workload.spec.zone.clone(), health: Health::Ready, outside: false, zones: zones.clone() };
        found.extend(all.map(|address| (address, known())));
    }
    found
}

/// None for an endpoint that takes nothing, neither new requests nor running ones.
fn health(endpoint: &SliceEndpoint) -> Option<Health> {
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, false) => Some(Health::Ready),
        (_, true, true) => Some(Health::Draining),
        _ => None,
    }
}

fn by_zone(found: BTreeMap<SocketAddr, Known>) -> EndpointSet {
    let (meshed, meant) = (found.values().any(|known| !known.outside), are_meant(&found));
    let mut localities: BTreeMap<Text, Vec<Endpoint>> = BTreeMap::new();
    for (address, Known { zone, health, outside, zones }) in found {
        let zones = if meant { zones } else { Zones::default() };
        let endpoint = Endpoint { address: Address::Socket(address), weight: 1, health, outside: outside && meshed, zones };
        localities.entry(zone).or_default().push(endpoint);
    }
    let localities = localities.into_iter().map(|(zone, endpoints)| Locality { zone, priority: 0, endpoints });
    EndpointSet { localities: localities.collect() }
}

/// Whether hints hold, by the rule of Kubernetes' own proxies: each endpoint that takes requests has one, else some would get nothing.
fn are_meant(found: &BTreeMap<SocketAddr, Known>) -> bool {
    let is_hinted = |known: &Known| !known.zones.is_empty();
    let mut ready = found.values().filter(|known| known.health == Health::Ready);
    found.values().any(|known| known.outside && is_hinted(known)) && ready.all(is_hinted)
}
