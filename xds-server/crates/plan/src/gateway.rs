//! Gateways: which are ours, which of their listeners can be served, and the listeners of their proxies.

mod certificate;
mod edge;
mod fleet;
mod frame;
mod listener;
mod neighbours;

pub(crate) use certificate::{Certificate, certificate, trust};
pub(crate) use edge::edge;
pub use fleet::{FLEET_ANNOTATION, GATEWAY_ANNOTATION, READY_LISTENER};
pub(crate) use fleet::{FleetPorts, GATEWAY_LABEL, Sharing, fleet, own_port, ready};
pub(crate) use frame::{BoundListener, Frame, Spoken, frame, in_namespaces, judge_class};
pub(crate) use listener::{Candidate, conflicts};
pub(crate) use neighbours::neighbours;

use std::fmt;

use windrose_vocab::{Kind, ObjectRef, Text};

use crate::plan::Subject;

/// One listener of a Gateway: who declared it, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListenerId {
    /// The Gateway or a ListenerSet.
    pub(crate) owner: ObjectRef,
    pub(crate) name: Text,
}

impl ListenerId {
    pub(crate) fn subject(&self) -> Subject {
        Subject::section(self.owner.clone(), self.name.clone())
    }

    /// What policies of this listener name besides its Gateway, from the most general on.
    pub(crate) fn targets(&self) -> Vec<(ObjectRef, Option<Text>)> {
        let set = (self.owner.kind == Kind::ListenerSet).then(|| (self.owner.clone(), None));
        set.into_iter().chain([(self.owner.clone(), Some(self.name.clone()))]).collect()
    }
}

impl fmt::Display for ListenerId {
    /// The name within the Gateway; that of a ListenerSet comes with the set's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner.kind {
            Kind::ListenerSet => write!(f, "{}/{}", self.owner.key, self.name),
            _ => f.write_str(&self.name),
        }
    }
}
