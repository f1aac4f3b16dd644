//! Where the instances of a Service are: its EndpointSlices, and the Workloads that serve it.

mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use windrose_api::declared::backend::SliceEndpoint;
use windrose_ir::EndpointSet;
use windrose_ir::endpoint::{Address, Endpoint, Health, Locality};
use windrose_vocab::{ObjectKey, ObjectRef, Port, Text};

use crate::world::{Index, View};

/// What is known of one address: its zone, whether it takes requests, and whether it has no sidecar where others have.
type Known = (Text, Health, bool);

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
        EndpointsKey::Service { service, port, udp: true } => by_zone(of_slices(view, service, *port, true)),
        EndpointsKey::Service { service, port, udp: false } => {
            let mut found = of_slices(view, service, *port, false);
            found.extend(of_workloads(view, service, *port));
            by_zone(found)
        }
        EndpointsKey::Split(route) => split::endpoints(view, route),
    }
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
                let one = (SocketAddr::new(*address, port.get()), (endpoint.zone.clone(), health, true));
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
        found.extend(all.map(|address| (address, (workload.spec.zone.clone(), Health::Ready, false))));
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
    let meshed = found.values().any(|(_, _, outside)| !outside);
    let mut zones: BTreeMap<Text, Vec<Endpoint>> = BTreeMap::new();
    for (address, (zone, health, outside)) in found {
        let endpoint = Endpoint { address: Address::Socket(address), weight: 1, health, outside: outside && meshed };
        zones.entry(zone).or_default().push(endpoint);
    }
    let localities = zones.into_iter().map(|(zone, endpoints)| Locality { zone, priority: 0, endpoints });
    EndpointSet { localities: localities.collect() }
}
