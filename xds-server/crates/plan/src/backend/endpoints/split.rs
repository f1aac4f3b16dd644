//! Several backends as one set of endpoints, in which each endpoint's weight is its part of its backend's share.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use windrose_ir::EndpointSet;
use windrose_ir::endpoint::{Address, Endpoint, Health, Locality, Zones};
use windrose_vocab::ObjectRef;

use super::of_service;
use crate::backend::BackendId;
use crate::world::View;

/// Where the share of a lost backend goes: what is sent to the port of the discard protocol (RFC 863) is thrown away, and on a proxy's
/// own loopback nobody else gets to see it.
const DISCARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);

/// The share of one backend, and its instances.
type Share = (u32, BTreeMap<SocketAddr, Health>);

/// The endpoints of a route's first rule, sorted; none where all its backends are lost. They are meant for no zone: a share has to come
/// out the same everywhere, and a backend without an endpoint in a zone would lose its own to the others.
pub(super) fn endpoints(view: &View<'_>, route: &ObjectRef) -> EndpointSet {
    let declared = view.route(route).and_then(|route| route.spec.rules.first());
    let resolved = view.resolved(route).and_then(|resolved| resolved.rules.first());
    let both = declared.into_iter().zip(resolved).flat_map(|(rule, resolved)| rule.backends.iter().zip(&resolved.backends));
    let shares = both.filter(|(backend, _)| backend.weight.get() > 0).map(|(backend, resolved)| {
        let found = match resolved.as_ref().map(|resolved| &resolved.id) {
            Some(BackendId::Service(service, port)) => of_service(view, service, *port, true),
            Some(BackendId::Backend(_) | BackendId::Split(_)) | None => BTreeMap::new(),
        };
        (backend.weight.get(), found.into_iter().map(|(address, known)| (address, known.health)).collect())
    });
    let endpoints = weighted(&shares.collect::<Vec<_>>());
    if endpoints.iter().all(|endpoint| endpoint.address == discard()) {
        return EndpointSet::default();
    }
    EndpointSet { localities: vec![Locality { zone: "".into(), priority: 0, endpoints }] }
}

fn discard() -> Address {
    Address::Socket(DISCARD.into())
}

/// Shares in whole numbers: `scale` times the share, in equal parts for all instances that take new sessions.
fn weighted(shares: &[Share]) -> Vec<Endpoint> {
    let ready = |(_, found): &Share| found.values().filter(|health| **health == Health::Ready).count() as u64;
    let total: u64 = shares.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let parts = shares.iter().map(|share| ready(share).max(1)).fold(1, least_common_multiple);
    let scale = parts.min(u64::from(u32::MAX) / total.max(1)).max(1);
    let mut weights: BTreeMap<Address, (u64, Health)> = BTreeMap::new();
    for share in shares {
        let (weight, found) = share;
        let part = (u64::from(*weight) * scale / ready(share).max(1)).max(1);
        let lost = (ready(share) == 0).then(|| (discard(), (part, Health::Ready)));
        let own = found.iter().map(|(address, health)| (Address::Socket(*address), (part, *health)));
        for (address, (part, health)) in own.chain(lost) {
            let known = weights.entry(address).or_insert((0, health));
            // One address of two Services is as ready as the one says that says it most.
            *known = (known.0 + part, if known.1 == Health::Ready { known.1 } else { health });
        }
    }
    let shared = weights.values().map(|(weight, _)| *weight).fold(0, greatest_common_divisor).max(1);
    let endpoint = |(address, (weight, health)): (Address, (u64, Health))| {
        let weight = u32::try_from(weight / shared).unwrap_or(u32::MAX);
        Endpoint { address, weight, health, outside: false, zones: Zones::default() }
    };
    weights.into_iter().map(endpoint).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn least_common_multiple(a: u64, b: u64) -> u64 {
    (a / greatest_common_divisor(a, b)).saturating_mul(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(shares: &[(u32, &[u16])]) -> Vec<(String, u32)> {
        let instances = |ports: &[u16]| ports.iter().map(|port| (SocketAddr::from(([10, 0, 0, 1], *port)), Health::Ready)).collect();
        let shares: Vec<Share> = shares.iter().map(|(weight, ports)| (*weight, instances(ports))).collect();
        let shown = |endpoint: Endpoint| match endpoint.address {
            Address::Socket(address) => (address.to_string(), endpoint.weight),
            other => panic!("{other:?}"),
        };
        weighted(&shares).into_iter().map(shown).collect()
    }

    fn expected(all: &[(&str, u32)]) -> Vec<(String, u32)> {
        all.iter().map(|(address, weight)| ((*address).to_owned(), *weight)).collect()
    }

    #[test]
    fn a_share_does_not_grow_with_the_number_of_instances() {
        assert_eq!(weights(&[(70, &[1]), (30, &[2])]), expected(&[("10.0.0.1:1", 7), ("10.0.0.1:2", 3)]));
        assert_eq!(
            weights(&[(1, &[1, 2, 3]), (1, &[4])]),
            expected(&[("10.0.0.1:1", 1), ("10.0.0.1:2", 1), ("10.0.0.1:3", 1), ("10.0.0.1:4", 3)])
        );
    }

    #[test]
    fn the_share_of_a_backend_without_instances_is_thrown_away() {
        assert_eq!(weights(&[(1, &[1]), (4, &[])]), expected(&[("10.0.0.1:1", 1), ("127.0.0.1:9", 4)]));
    }

    #[test]
    fn an_instance_of_two_backends_has_both_parts() {
        assert_eq!(weights(&[(2, &[1]), (3, &[1])]), expected(&[("10.0.0.1:1", 1)]));
    }

    #[test]
    fn large_shares_of_many_instances_fit() {
        let many: Vec<u16> = (1..=997).collect();
        let more: Vec<u16> = (2000..=2990).collect();
        let all = weights(&[(1_000_000, &many), (999_999, &more), (1, &[9999])]);
        assert!(all.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>() <= u64::from(u32::MAX));
        assert!(all.iter().all(|(_, weight)| *weight > 0));
    }
}
