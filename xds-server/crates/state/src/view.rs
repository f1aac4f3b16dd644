//! What one proxy should have at one moment.

use std::sync::Arc;

use windrose_vocab::{NodeClass, Resource, ResourceKind};

use crate::set::{KindMap, ResourceSet};

/// What one proxy should have at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The class it was rendered for.
    pub class: NodeClass,
    /// All resources, those secrets of the scope's own identity among them that any of them refers to.
    pub resources: ResourceSet,
    /// The other secrets of its identity. Nobody should ask for them, but what is put back in the place of a refused
    /// resource may refer to one.
    pub spare: KindMap,
    /// False before the first complete publication: such a view is not an empty world, it is no answer at all.
    pub ready: bool,
}

impl View {
    /// The view before anything is known.
    #[must_use]
    pub fn cold(class: NodeClass) -> Self {
        Self { class, resources: ResourceSet::new(), spare: KindMap::new(), ready: false }
    }

    /// A complete view of those resources.
    #[must_use]
    pub fn ready(class: NodeClass, resources: ResourceSet) -> Self {
        Self { class, resources, spare: KindMap::new(), ready: true }
    }

    /// The same with these secrets at hand.
    #[must_use]
    pub fn with_spare(self, spare: KindMap) -> Self {
        Self { spare, ..self }
    }

    /// The same without listeners, for a client that is to take nothing new. What they referred to stays for what it still has.
    #[must_use]
    pub fn without_listeners(&self) -> Self {
        let mut view = self.clone();
        view.resources.set_kind(ResourceKind::Listener, KindMap::new());
        view
    }

    /// All resources of a kind.
    #[must_use]
    pub fn of_kind(&self, kind: ResourceKind) -> &KindMap {
        self.resources.of_kind(kind)
    }

    /// The resource of that kind and name.
    #[must_use]
    pub fn get(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Resource>> {
        self.resources.get(kind, name)
    }
}
