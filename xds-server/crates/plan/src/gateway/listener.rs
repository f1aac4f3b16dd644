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

/// Gateway API's reason for each listener that cannot be told from another one on its port.
pub(crate) fn conflicts(all: &[Candidate<'_>]) -> BTreeMap<ListenerId, &'static str> {
    let mut ports: BTreeMap<Port, Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in all {
        ports.entry(candidate.listener.port).or_default().push(candidate);
    }
    let pairs = ports.values().flat_map(|group| group.iter().flat_map(|one| group.iter().map(move |other| (one, other))));
    let mut found = BTreeMap::new();
    for (one, other) in pairs.filter(|(one, other)| one.id != other.id && other.rank <= one.rank) {
        if let Some(reason) = conflict(one.listener, other.listener) {
            found.entry(one.id.clone()).or_insert(reason);
        }
    }
    found
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
