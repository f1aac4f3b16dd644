//! Listeners that share a port: which can, and which conflict. No one of several that conflict wins, except that
//! a Gateway's own listener wins over a ListenerSet's, and an older set over a newer one.

use std::collections::BTreeMap;

use windrose_api::declared::gateway::{Listener, Protocol};
use windrose_vocab::Port;

use super::ListenerId;

/// A listener as declared, with its identity and position.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: ListenerId,
    pub(crate) index: usize,
    /// 0 for the Gateway's own; a ListenerSet's place by age, from 1.
    pub(crate) rank: usize,
    pub(crate) listener: &'a Listener,
}

/// Gateway API's reason for each listener that cannot be told from another one on its port. `all` is sorted by rank. One that lost
/// against a lower rank is not there for the others.
pub(crate) fn conflicts(all: &[Candidate<'_>]) -> BTreeMap<ListenerId, &'static str> {
    let mut ports: BTreeMap<Port, Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in all {
        ports.entry(candidate.listener.port).or_default().push(candidate);
    }
    let mut found = BTreeMap::new();
    for group in ports.values() {
        let mut there: Vec<&Candidate<'_>> = Vec::new();
        for peers in group.chunk_by(|one, other| one.rank == other.rank) {
            found.extend(peers.iter().filter_map(|one| against(one, &there)));
            let left: Vec<_> = peers.iter().copied().filter(|one| !found.contains_key(&one.id)).collect();
            found.extend(left.iter().filter_map(|one| against(one, &left)));
            there.extend(left.into_iter().filter(|one| !found.contains_key(&one.id)));
        }
    }
    found
}

/// The reason why it cannot be beside one of the others, if there is one.
fn against(one: &Candidate<'_>, others: &[&Candidate<'_>]) -> Option<(ListenerId, &'static str)> {
    let mut others = others.iter().filter(|other| other.id != one.id);
    others.find_map(|other| conflict(one.listener, other.listener)).map(|reason| (one.id.clone(), reason))
}

fn conflict(one: &Listener, other: &Listener) -> Option<&'static str> {
    let sharing = match (&one.protocol, &other.protocol) {
        (Protocol::Udp, Protocol::Udp) => true,
        (Protocol::Udp, _) | (_, Protocol::Udp) => return None,
        (Protocol::Http, Protocol::Http) => true,
        (Protocol::Https | Protocol::Tls, Protocol::Https | Protocol::Tls) => true,
        _ => false,
    };
    if !sharing {
        let reason = if one.protocol == other.protocol { "HostnameConflict" } else { "ProtocolConflict" };
        return Some(reason);
    }
    (one.hostname == other.hostname).then_some("HostnameConflict")
}
