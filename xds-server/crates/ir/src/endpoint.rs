//! Where the instances of a cluster are.

use std::net::SocketAddr;
use std::sync::Arc;

use windrose_vocab::{Canonical, Text, Writer, canonical};

/// The endpoints of one cluster, sorted and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointSet {
    /// Endpoints by locality; the empty zone where none is known.
    pub localities: Vec<Locality>,
}

/// The endpoints of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// The zone; empty where none is known.
    pub zone: Text,
    /// 0 is preferred.
    pub priority: u32,
    /// Its endpoints, sorted by address.
    pub endpoints: Vec<Endpoint>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share among its neighbours.
    pub weight: u32,
    /// Whether it takes new requests.
    pub health: Health,
    /// Whether it has no sidecar though others of its cluster have one; see [`crate::cluster::UpstreamTls::Mixed`].
    pub outside: bool,
    /// The zones whose proxies it is meant for. Within a set either all that are ready are meant for some, or none is.
    pub zones: Zones,
}

/// Names of zones.
pub type Zones = Arc<[Text]>;

impl EndpointSet {
    /// The same for the proxies of a zone: first what is meant for them, then the rest for when that fails. None where that is no other
    /// order: nothing that takes new requests is meant for them, or all of it is.
    #[must_use]
    pub fn seen_from(&self, zone: &str) -> Option<Self> {
        let mut ready = self.localities.iter().flat_map(|one| &one.endpoints).filter(|one| one.health == Health::Ready);
        let first = ready.next()?.is_near(zone);
        if ready.all(|one| one.is_near(zone) == first) {
            return None;
        }
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for locality in &self.localities {
            let of = |priority, endpoints| Locality { zone: locality.zone.clone(), priority, endpoints };
            // What drains counts as broken, and would send a part of the requests away from its neighbours.
            let is_first = |one: &Endpoint| one.health == Health::Ready && one.is_near(zone);
            let (first, rest) = locality.endpoints.iter().cloned().partition(is_first);
            near.push(of(locality.priority, first));
            far.push(of(locality.priority, rest));
        }
        let beyond = near.iter().map(|one| one.priority).max().map_or(0, |last| last.saturating_add(1));
        far.iter_mut().for_each(|one| one.priority = one.priority.saturating_add(beyond));
        let localities = near.into_iter().chain(far).filter(|one| !one.endpoints.is_empty()).collect();
        Some(Self { localities })
    }
}

impl Endpoint {
    fn is_near(&self, zone: &str) -> bool {
        self.zones.iter().any(|one| **one == *zone)
    }
}

impl Canonical for Endpoint {
    /// For whom it is meant is left out: a set as it is renders to the same, and as a zone sees it that is in the priorities.
    fn write(&self, w: &mut Writer) {
        let Self { address, weight, health, outside, zones: _ } = self;
        address.write(w);
        weight.write(w);
        health.write(w);
        outside.write(w);
    }
}

/// What an instance said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// Ready, or nothing is known.
    Ready,
    /// Serving and terminating: no new requests, running ones finish.
    Draining,
}

/// A transport address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP and port.
    Socket(SocketAddr),
    /// A name to look up, and a port.
    Dns(Text, u16),
    /// A Unix socket's path.
    Unix(Text),
}

canonical!(struct EndpointSet { localities });
canonical!(struct Locality { zone, priority, endpoints });
canonical!(
    enum Health {
        Ready,
        Draining,
    }
);
canonical!(
    enum Address {
        Socket(a),
        Dns(name, port),
        Unix(path),
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Endpoints as `priority zone health meant-for` by number, in localities of one each.
    fn set(all: &[(u32, &str, Health, &[&str])]) -> EndpointSet {
        let locality = |(number, (priority, zone, health, zones)): (usize, &(u32, &str, Health, &[&str]))| {
            let address = Address::Dns(Text::from(number.to_string()), 80);
            let zones = zones.iter().map(|zone| Text::from(*zone)).collect();
            let endpoint = Endpoint { address, weight: 1, health: *health, outside: false, zones };
            Locality { zone: Text::from(*zone), priority: *priority, endpoints: vec![endpoint] }
        };
        EndpointSet { localities: all.iter().enumerate().map(locality).collect() }
    }

    /// The numbers of the endpoints by priority, as that zone sees them.
    fn seen(set: &EndpointSet, zone: &str) -> Option<Vec<(u32, String)>> {
        let number = |endpoint: &Endpoint| match &endpoint.address {
            Address::Dns(name, _) => name.to_string(),
            other => panic!("{other:?}"),
        };
        let one = |locality: &Locality| locality.endpoints.iter().map(|one| (locality.priority, number(one))).collect::<Vec<_>>();
        set.seen_from(zone).map(|set| set.localities.iter().flat_map(one).collect())
    }

    fn order(all: &[(u32, &str)]) -> Option<Vec<(u32, String)>> {
        Some(all.iter().map(|(priority, number)| (*priority, (*number).to_owned())).collect())
    }

    #[test]
    fn what_is_meant_for_a_zone_comes_first_and_what_drains_last() {
        use Health::{Draining, Ready};
        let both = set(&[(0, "a", Ready, &["a"]), (0, "a", Draining, &["a"]), (0, "b", Ready, &["b"]), (0, "b", Ready, &["a", "b"])]);
        assert_eq!(seen(&both, "a"), order(&[(0, "0"), (0, "3"), (1, "1"), (1, "2")]));
        assert_eq!(seen(&both, "b"), order(&[(0, "2"), (0, "3"), (1, "0"), (1, "1")]));
    }

    #[test]
    fn no_other_order_is_none() {
        use Health::{Draining, Ready};
        let both = [(0, "a", Ready, &["a"][..]), (0, "b", Ready, &["b"])];
        assert_eq!(seen(&set(&both), "c"), None, "nothing is meant for it");
        assert_eq!(seen(&set(&[both[0], both[0]]), "a"), None, "all is");
        assert_eq!(seen(&set(&[(0, "a", Draining, &["a"]), both[1]]), "a"), None, "what is meant for it takes nothing new");
        assert_eq!(seen(&set(&[both[0], (0, "b", Draining, &["b"])]), "a"), None, "all that takes something new is");
        assert_eq!(seen(&EndpointSet::default(), "a"), None);
    }

    #[test]
    fn priorities_that_were_there_stay_among_themselves() {
        use Health::Ready;
        let four = set(&[(0, "", Ready, &["a"]), (1, "", Ready, &["a"]), (0, "", Ready, &["b"]), (1, "", Ready, &["b"])]);
        assert_eq!(seen(&four, "a"), order(&[(0, "0"), (1, "1"), (2, "2"), (3, "3")]));
    }

    #[test]
    fn for_whom_an_endpoint_is_meant_is_no_part_of_its_fingerprint() {
        let of = |zones: &[&str]| windrose_vocab::Fingerprint::of("test", &set(&[(0, "a", Health::Ready, zones)]));
        assert_eq!(of(&["a"]), of(&[]));
    }
}
