//! How units see the world: what they read is recorded, so that a change reaches exactly those who read it.

mod index;
mod layer;
mod told;
mod view;

pub(crate) use index::{Index, Indexes};
pub(crate) use layer::{Computed, Delta, Layer, Output};
pub(crate) use told::{Told, ToldIndex};
pub(crate) use view::{Layers, View, nearest};

use windrose_vocab::{Hostname, ObjectKey, ObjectRef};

use crate::gateway::ListenerId;
use crate::route::{RulesKey, TableKey};

/// Something that a unit can read, and that can change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Dep {
    /// An object, present or not.
    Object(ObjectRef),
    /// A bucket of an index.
    Index(Index),
    /// The frame of a Gateway.
    Frame(ObjectKey),
    /// The ports of a shared fleet.
    Fleet(ObjectKey),
    /// What a policy comes to.
    Policy(ObjectRef),
    /// The backends of a route.
    Resolved(ObjectRef),
    /// Which routes are attached to a host of a table.
    Slot(HostSlot),
    /// Which routes are attached to a listener that routes connections.
    Connections(ObjectKey, ListenerId),
    /// Whether an attached route needs a filter on a table.
    Guard(TableKey, Need),
    /// The routes made from one declared route for one table.
    Rules(RulesKey),
}

/// One host of one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostSlot {
    pub(crate) table: TableKey,
    pub(crate) host: Hostname,
}

/// What the listener of a table has to carry for its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A filter of ours, at a sidecar: a Gateway has them all.
    Filter(Filter),
    /// What keeps sessions at their endpoints.
    Sessions,
}

/// A filter of ours, in the order in which requests pass them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Filter {
    JwtAuth,
    RateLimit,
    Transcoder,
}

impl Filter {
    pub(crate) const ALL: [Self; 3] = [Self::JwtAuth, Self::RateLimit, Self::Transcoder];

    /// The key in a route's metadata under which the filter finds its entry.
    pub(crate) fn metadata(self) -> &'static str {
        match self {
            Self::JwtAuth => "policy",
            Self::RateLimit => "ratelimit",
            Self::Transcoder => "transcode",
        }
    }

    /// The last part of its resource's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::JwtAuth => "jwt-auth",
            Self::RateLimit => "rate-limit",
            Self::Transcoder => "grpc-transcoder",
        }
    }
}
