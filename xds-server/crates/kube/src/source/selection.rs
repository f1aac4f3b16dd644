//! Which Namespaces are declared from. What is in the others is nobody's here: another control plane's, or none's.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Selector, SelectorExt};
use serde_json::Value;
use windrose_vocab::{Kind, ObjectRef, Text};

/// The Namespaces whose objects count.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    selector: Selector,
    /// The control plane's own: what the platform says for everybody is there, and it counts whatever its labels are.
    own: Text,
    /// Those that match now, without our own.
    selected: BTreeSet<Text>,
}

impl Selection {
    /// What `selector` selects, and the namespace of the control plane.
    #[must_use]
    pub fn new(selector: Selector, own: &str) -> Self {
        Self { selector, own: own.into(), selected: BTreeSet::new() }
    }

    /// Whether an object counts as its Namespace is now. What is in no namespace always does, and so do GatewayParameters: they are
    /// what a GatewayClass says for all its Gateways, and two control planes that read another thing in it would fight about its status.
    pub(super) fn takes(&self, object: &ObjectRef) -> bool {
        object.kind.is_cluster_scoped() || object.kind == Kind::GatewayParameters || self.has(&object.key.namespace)
    }

    /// Whether what is in a namespace counts.
    pub(super) fn has(&self, namespace: &Text) -> bool {
        self.selector.selects_all() || *namespace == self.own || self.selected.contains(namespace)
    }

    /// Takes a Namespace as it is now, none where it is gone; whether what is in it counts from now on, if that is new.
    pub(super) fn note(&mut self, namespace: &Text, now: Option<&Value>) -> Option<bool> {
        let before = self.has(namespace);
        match now.is_some_and(|now| self.selector.matches(&labels(now))) {
            true => self.selected.insert(namespace.clone()),
            false => self.selected.remove(namespace),
        };
        let after = self.has(namespace);
        (before != after).then_some(after)
    }
}

fn labels(namespace: &Value) -> BTreeMap<String, String> {
    let labels = namespace.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
