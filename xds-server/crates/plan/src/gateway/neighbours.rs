//! Gateways whose proxies would listen at one address and port. They may run on machines of their own, so it is told and no more: on one
//! machine Envoys share a port without a word (`SO_REUSEPORT`), and then connections go to any of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use windrose_api::declared::gateway::Listener;
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectKey, ObjectRef, Port};

use super::{BoundListener, Spoken};
use crate::reference::field;
use crate::world::{Index, View};

/// What one Gateway binds of a port.
struct Bound<'a> {
    gateway: ObjectKey,
    addresses: &'a [IpAddr],
    /// The listener that is named.
    listener: &'a BoundListener,
}

/// Tells each Gateway who else would take connections of this port at its addresses. Meant for where proxies bind what is declared.
pub(crate) fn neighbours(view: &View<'_>, port: Port) {
    let gateways = at_port(view, port);
    for datagrams in [false, true] {
        let bound: Vec<Bound<'_>> = gateways.iter().filter_map(|gateway| bound(view, gateway, port, datagrams)).collect();
        for one in &bound {
            let others: Vec<_> =
                bound.iter().filter(|other| other.gateway != one.gateway && meet(one.addresses, other.addresses)).collect();
            if let Some((first, more)) = others.split_first() {
                tell(view, one, first, more.len());
            }
        }
    }
}

/// The Gateways that have a listener on it, or a ListenerSet with one.
fn at_port(view: &View<'_>, port: Port) -> BTreeSet<ObjectKey> {
    let named = view.index(Index::ListenersAt(port));
    let of = |object: &ObjectRef| match object.kind {
        Kind::ListenerSet => view.listener_set(&object.key).map(|set| set.spec.gateway.clone()),
        _ => Some(object.key.clone()),
    };
    named.iter().filter_map(of).collect()
}

fn bound<'a>(view: &View<'a>, gateway: &ObjectKey, port: Port, datagrams: bool) -> Option<Bound<'a>> {
    let frame = view.frame(gateway).filter(|frame| frame.served)?;
    let mut there = frame.listeners.iter().filter(|one| one.usable && one.port == port && (one.spoken == Spoken::Udp) == datagrams);
    Some(Bound { gateway: gateway.clone(), addresses: &frame.addresses, listener: there.next()? })
}

/// Whether an address is bound by both; all of IPv4 where one names none, and IPv4 too by `::`.
fn meet(one: &[IpAddr], other: &[IpAddr]) -> bool {
    let takes = |all: &[IpAddr], address: IpAddr| match address {
        _ if all.contains(&address) || all.iter().any(|one| one.is_unspecified() && one.is_ipv6()) => true,
        IpAddr::V4(_) => all.is_empty() || all.iter().any(IpAddr::is_unspecified),
        IpAddr::V6(_) => false,
    };
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let within = |some: &[IpAddr], all: &[IpAddr]| {
        let some = if some.is_empty() { &any[..] } else { some };
        some.iter().any(|address| takes(all, *address))
    };
    within(one, other) || within(other, one)
}

fn tell(view: &View<'_>, one: &Bound<'_>, other: &Bound<'_>, more: usize) {
    let port = one.listener.port;
    let other = ObjectRef { kind: Kind::Gateway, key: other.gateway.clone() };
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let message = format!("port {port} at the same address is a port of {other}{more} too: on one machine connections go to any of them");
    let told = Diagnostic::warning(one.listener.id.owner.clone(), place(view, one.listener), Code::ListenerConflict, message);
    view.tell(told.hint("give each Gateway `spec.addresses` of its own, or run their proxies on different machines"));
}

fn place(view: &View<'_>, listener: &BoundListener) -> FieldPath {
    let owner = &listener.id.owner;
    let all: &[Listener] = match owner.kind {
        Kind::ListenerSet => view.listener_set(&owner.key).map_or(&[], |set| &set.spec.listeners),
        _ => view.gateway(&owner.key).map_or(&[], |gateway| &gateway.spec.listeners),
    };
    let at = all.iter().position(|one| one.name == listener.id.name);
    at.map_or_else(|| field("spec.listeners"), |at| field(&format!("spec.listeners[{at}].port")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_meet_where_a_connection_could_go_to_either() {
        let all = |text: &str| text.split_whitespace().map(|one| one.parse().unwrap()).collect::<Vec<IpAddr>>();
        let met = |one: &str, other: &str| (meet(&all(one), &all(other)), meet(&all(other), &all(one)));
        for (one, other) in [("", ""), ("", "10.0.0.1"), ("10.0.0.1 10.0.0.2", "10.0.0.2"), ("::", "10.0.0.1"), ("::", ""), ("0.0.0.0", "")]
        {
            assert_eq!(met(one, other), (true, true), "`{one}` and `{other}`");
        }
        for (one, other) in [("10.0.0.1", "10.0.0.2"), ("", "::1"), ("0.0.0.0", "::1"), ("10.0.0.1", "::1")] {
            assert_eq!(met(one, other), (false, false), "`{one}` and `{other}`");
        }
        assert_eq!(met("::", "::1"), (true, true));
    }
}
