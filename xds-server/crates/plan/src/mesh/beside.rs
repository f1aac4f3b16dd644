//! Workloads that are served where somebody else is, too: one address is one machine, on which Envoys share a port without a word
//! (`SO_REUSEPORT`), and then connections go to either, with the identity of either.

use std::net::SocketAddr;

use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef};

use crate::reference::field;
use crate::world::{Index, View};

/// Tells each Workload who else takes connections at this address and port. Gateways among themselves are told elsewhere.
pub(crate) fn beside(view: &View<'_>, at: SocketAddr) {
    let is_served = |object: &ObjectRef| object.kind != Kind::Gateway || view.frame(&object.key).is_some_and(|frame| frame.served);
    let all: Vec<ObjectRef> = view.index(Index::ServedAt(at)).into_iter().filter(is_served).collect();
    for own in all.iter().filter(|object| object.kind == Kind::Workload) {
        let Some(workload) = view.workload(&own.key) else { continue };
        let Some(index) = workload.spec.serves.iter().position(|serves| serves.listen.get() == at.port()) else { continue };
        let Some(other) = all.iter().find(|other| *other != own) else { continue };
        let more = if all.len() > 2 { format!(" and {} more", all.len() - 2) } else { String::new() };
        let message = format!("at {at} listens {other}{more} too: connections go to any of them");
        let told = Diagnostic::warning(own.clone(), field(&format!("spec.serves[{index}].listen")), Code::ListenerConflict, message);
        view.tell(told.hint("give each an address or a port of its own"));
    }
}
