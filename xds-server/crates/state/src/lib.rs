//! What every proxy should have (`Desired`), what it said it has (`Observed`), and what was ever accepted
//! or rejected (`Accepted`). Maps and channels of shared, encoded resources; no protobuf, no clock, no I/O.

pub mod accepted;
pub mod behind;
mod closure;
pub mod desired;
pub mod limits;
pub mod names;
pub mod observed;
pub mod scope;
pub mod selection;
pub mod set;
pub mod slot;
pub mod view;

pub use accepted::{Accepted, CorruptRecord, Ledger};
pub use behind::{Behind, Lack};
pub use desired::{Desired, DesiredReader, NotClosed, Published, TooManyScopes};
pub use names::Names;
pub use observed::{
    Fault, KindStatus, Missing, Observation, Observed, Opened, Protocol, Reason, Rejection, StreamId, StreamStatus, TooManyStreams,
};
pub use scope::Scope;
pub use selection::{Selection, Selections};
pub use set::{Change, Dangling, KindMap, ResourceSet, changes};
pub use slot::{Asked, Asks, Feed};
pub use view::View;
