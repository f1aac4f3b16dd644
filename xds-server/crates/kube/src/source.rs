//! What a cluster declares: one watch for each kind, one owner of what they tell, one world for whoever follows.
//! Nothing is answered before every kind has been listed once, and a list that is read again takes nothing away before it is over.

mod kept;
mod outside;
mod owner;
mod selection;
mod unreadable;
mod values;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use serde_json::Value;
use windrose_api::Declared;
use windrose_vocab::{Code, Diagnostic, Fingerprint, Kind, ObjectKey, ObjectRef, ObjectVersion, Text};

pub use owner::follow;
pub use selection::Selection;
pub use unreadable::Unreadable;
pub use watch::Event;

/// What is declared at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The objects in effect.
    pub declared: Declared,
    /// False before everything has been read once.
    pub complete: bool,
    /// What the cluster knows of each object whose status is ours to write, good or not.
    pub seen: OrdMap<ObjectRef, Arc<Seen>>,
    /// What is wrong with an object by itself.
    pub problems: OrdMap<ObjectRef, Arc<[Diagnostic]>>,
    /// Objects whose newest version cannot be read, with what is plain of it.
    pub unreadable: OrdMap<ObjectRef, Arc<Unreadable>>,
    /// Kinds that cannot be watched, with the reason.
    pub unread: BTreeMap<Kind, String>,
    /// Those of them that hold the rest back: before all was read once, every one, then those that protect. While there are some, most of
    /// this is as it was before, and may be older than the cluster.
    pub kept: BTreeSet<Kind>,
    /// Kinds that the cluster does not have.
    pub absent: BTreeSet<Kind>,
}

impl World {
    /// Whether a namespace is known, and what is in it ours to serve.
    #[must_use]
    pub fn counts(&self, namespace: &Text) -> bool {
        self.declared.namespaces.get(&ObjectKey::new("", namespace.clone())).is_some_and(|there| !there.spec.left_out)
    }

    /// Whether what is in a namespace is none of ours to serve, to judge or to take away.
    #[must_use]
    pub fn leaves_out(&self, namespace: &Text) -> bool {
        self.declared.leaves_out(namespace)
    }

    /// The versions in effect of objects whose newest version cannot be decoded.
    #[must_use]
    pub fn held(&self) -> BTreeSet<ObjectVersion> {
        let held = |told: &Arc<[Diagnostic]>| told.iter().any(|one| one.code == Code::LastGood);
        let held = self.problems.iter().filter(|(_, told)| held(told));
        held.filter_map(|(object, _)| Some(self.declared.get(object)?.meta().identity())).collect()
    }
}

/// The newest good version of an object.
#[derive(Clone, PartialEq)]
pub struct Good {
    /// Which object.
    pub object: ObjectRef,
    /// The version and what it was decoded from, without its status; none where the object is gone.
    pub version: Option<(Fingerprint, Value)>,
}

impl std::fmt::Debug for Good {
    /// Never the content: a Secret is an object too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.object, self.version.as_ref().map(|(version, _)| version))
    }
}

/// An object as the cluster knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Tells an object from an earlier one of the same name.
    pub uid: String,
    /// Counts changes of what it declares.
    pub generation: i64,
    /// Changes with each write.
    pub resource_version: String,
    /// The version it was read in, such as `gateway.networking.k8s.io/v1`.
    pub api_version: String,
    /// The class of a Gateway, also of one that cannot be read otherwise.
    pub class: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its status as it stands there, as JSON: kept for every object, looked at for few.
    pub(crate) status: Box<str>,
    /// Labels and annotations, as one number.
    pub(crate) metadata: u64,
}

impl Seen {
    /// The status as it stands there; null where there is none.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.status).unwrap_or_default()
    }
}

/// Kinds whose objects carry a status that we write.
#[must_use]
pub fn has_status(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Namespace
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::ClusterTrustBundle
            | Kind::ReferenceGrant
    )
}

/// Kinds of which only the metadata is watched: names and labels for namespaces; of the others, what is referred to is read.
#[must_use]
pub fn by_metadata(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace) || is_value(kind)
}

/// Kinds that a cluster of Kubernetes itself may not have, which is no mistake of anybody.
pub(crate) fn is_optional(kind: Kind) -> bool {
    kind == Kind::ClusterTrustBundle
}

/// Kinds without which a route may be open that should not be.
pub(crate) fn protects(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AuthPolicy | Kind::AuthorizationPolicy | Kind::EdgePolicy | Kind::RateLimitPolicy | Kind::MeshPolicy | Kind::BackendTLSPolicy
    )
}

/// Kinds of which only what somebody refers to is read.
pub(crate) fn is_value(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}
