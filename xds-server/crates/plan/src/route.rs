//! Routes: what they attach to, what their rules come to, and in which order those are tried.

mod attach;
mod attached;
mod backends;
pub(crate) mod external_auth;
mod filters;
mod forward;
mod host;
mod matching;
mod pattern;
mod reachable;
mod rules;
mod session;

pub(crate) use attach::{Attachments, attach};
pub(crate) use attached::{Attached, Attachment, Connection};
pub(crate) use backends::{Carries, Resolved, ResolvedBackend, ResolvedRule, resolve, resolve_backend};
pub(crate) use forward::{RuleParts, client_of};
pub(crate) use host::{Host, host};
pub(crate) use rules::{Rules, rules};

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use windrose_vocab::{ObjectKey, ObjectRef, Port, Text};

use crate::gateway::ListenerId;

/// One route table, shared by all that mention it: every route at every host of it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TableKey(Arc<Table>);

/// Whose table it is. Tables of Gateways belong to a port, or to one HTTPS listener; tables of the mesh to a Service's port.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    Edge {
        gateway: ObjectKey,
        port: Port,
        /// The HTTPS listener; none for the table that all HTTP listeners of the port share.
        listener: Option<ListenerId>,
    },
    Mesh {
        service: ObjectKey,
        port: Port,
        /// The clients' namespace, where it has routes of its own for the Service.
        consumer: Option<Text>,
    },
}

impl From<Table> for TableKey {
    fn from(table: Table) -> Self {
        Self(Arc::new(table))
    }
}

impl Deref for TableKey {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0
    }
}

impl Table {
    /// What the filters' configurations are shared by: the listener's port.
    pub(crate) fn scope(&self) -> String {
        match self {
            Self::Edge { gateway, port, .. } => format!("{gateway}/{port}"),
            Self::Mesh { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Table {
    /// The name of the resource.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge { gateway, port, listener: None } => write!(f, "{gateway}/{port}"),
            Self::Edge { gateway, port, listener: Some(listener) } => write!(f, "{gateway}/{port}/{listener}"),
            Self::Mesh { service, port, consumer: None } => write!(f, "mesh/{service}/{port}"),
            Self::Mesh { service, port, consumer: Some(namespace) } => write!(f, "mesh/{service}/{port}/from/{namespace}"),
        }
    }
}

/// One declared route in one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RulesKey {
    pub(crate) route: ObjectRef,
    pub(crate) table: TableKey,
    /// The listener of a Gateway that took it.
    pub(crate) listener: Option<ListenerId>,
}
