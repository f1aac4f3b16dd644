//! What the watches tell of Namespaces that are not selected: kept so that it counts at once when one is, without a list that might say
//! something older or newer than the watch does. Nothing of it is decoded: an object costs the length of its text. Only what was in
//! effect when its Namespace fell out of the selection stays as it was decoded, until it changes there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use windrose_api::declared::{AnyObject, SetAside};
use windrose_vocab::{Diagnostic, Kind, ObjectRef, Text};

use super::{Seen, Unreadable};

/// Objects outside, by namespace.
#[derive(Debug, Default)]
pub(super) struct Outside(BTreeMap<Text, BTreeMap<ObjectRef, Kept>>);

/// One of them.
pub(super) enum Kept {
    /// As it was told, in JSON.
    Told(Box<str>),
    /// A Secret or ConfigMap, of which a resource version is all that is known before somebody refers to it.
    Value(String),
    /// As it was in effect.
    InEffect(Box<InEffect>),
}

/// What a world has of one object.
pub(super) struct InEffect {
    pub(super) good: Option<AnyObject>,
    pub(super) aside: Option<SetAside>,
    pub(super) seen: Option<Arc<Seen>>,
    pub(super) problems: Option<Arc<[Diagnostic]>>,
    pub(super) unreadable: Option<Arc<Unreadable>>,
}

impl std::fmt::Debug for Kept {
    /// Never the content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Told(_) => "Told",
            Self::Value(_) => "Value",
            Self::InEffect(_) => "InEffect",
        })
    }
}

impl Kept {
    pub(super) fn told(value: &Value) -> Self {
        Self::Told(value.to_string().into())
    }
}

impl Outside {
    /// Keeps an object as it is now; what was kept of it before.
    pub(super) fn put(&mut self, object: ObjectRef, kept: Kept) -> Option<Kept> {
        self.0.entry(object.key.namespace.clone()).or_default().insert(object, kept)
    }

    /// An object is gone; what was kept of it.
    pub(super) fn remove(&mut self, object: &ObjectRef) -> Option<Kept> {
        let all = self.0.get_mut(&object.key.namespace)?;
        let kept = all.remove(object);
        if all.is_empty() {
            self.0.remove(&object.key.namespace);
        }
        kept
    }

    /// Everything of a namespace, which counts from now on.
    pub(super) fn take(&mut self, namespace: &Text) -> BTreeMap<ObjectRef, Kept> {
        self.0.remove(namespace).unwrap_or_default()
    }

    /// Everything of a kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.0.values().flat_map(BTreeMap::keys).filter(move |object| object.kind == kind)
    }
}
