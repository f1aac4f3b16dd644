//! What this one client should have: the view, with every version it refused replaced by the last accepted one or
//! left out, and closed under reference again. Costs the rejections, not the view.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrose_state::{KindMap, ResourceSet, View};
use windrose_vocab::{Resource, ResourceId, ResourceKind};

use crate::rejected::Rejected;

/// The choice for one stream.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub(crate) set: ResourceSet,
    /// Resources that need a secret which is not served: not sent, and not removed where the client has them.
    pub(crate) withheld: BTreeMap<ResourceId, ResourceId>,
}

impl Wants {
    /// Chooses from `view`. `good` gives the last accepted version of a resource that was not refused, `has` what the client
    /// holds; what `keeps` names is never held back.
    pub(crate) fn choose(
        view: &View,
        rejected: &Rejected,
        good: impl Fn(&ResourceId) -> Option<Arc<Resource>>,
        has: impl Fn(&ResourceId) -> Option<Arc<Resource>>,
        keeps: impl Fn(&ResourceId) -> bool,
    ) -> Self {
        let mut wants = Self { set: view.resources.clone(), withheld: BTreeMap::new() };
        let mut replaced = Vec::new();
        let mut absent_secrets = Vec::new();
        let refused = |id: &&ResourceId| view.resources.lookup(id).is_some_and(|one| rejected.contains(id, one.version));
        for id in rejected.ids().filter(refused) {
            match good(id) {
                Some(former) => replaced.push(former),
                None => {
                    wants.set.remove(id.kind, &id.name);
                    if id.kind == ResourceKind::Secret {
                        absent_secrets.push(id.clone());
                    }
                }
            }
        }
        let spare = |id: &ResourceId| (id.kind == ResourceKind::Secret).then(|| view.spare.get(&*id.name).cloned()).flatten();
        let has = |id: &ResourceId| spare(id).or_else(|| has(id).filter(|one| !one.bytes.is_empty()));
        wants.put_back(replaced, &good, &has);
        if !absent_secrets.is_empty() {
            wants.withhold(&absent_secrets, &good, keeps);
        }
        wants
    }

    pub(crate) fn of_kind(&self, kind: ResourceKind) -> &KindMap {
        self.set.of_kind(kind)
    }

    /// A last good route keeps its clusters although no newer route needs them, and a last good listener the newest
    /// certificate of its proxy.
    fn put_back(
        &mut self,
        mut former: Vec<Arc<Resource>>,
        good: &impl Fn(&ResourceId) -> Option<Arc<Resource>>,
        has: &impl Fn(&ResourceId) -> Option<Arc<Resource>>,
    ) {
        while let Some(resource) = former.pop() {
            let needed = resource.refs.iter().filter(|id| self.set.lookup(id).is_none());
            former.extend(needed.filter_map(|id| has(id).or_else(|| good(id))));
            self.set.insert(resource);
        }
    }

    /// Never a listener or cluster that names a secret we do not serve: its last good version where that names none
    /// of them, else silence. Walks the three kinds; happens only while a secret without a good version is refused.
    fn withhold(
        &mut self,
        absent: &[ResourceId],
        good: &impl Fn(&ResourceId) -> Option<Arc<Resource>>,
        keeps: impl Fn(&ResourceId) -> bool,
    ) {
        for kind in [ResourceKind::Cluster, ResourceKind::Extension, ResourceKind::Listener] {
            let needs = |one: &Resource| absent.iter().find(|id| one.refs.binary_search(id).is_ok()).cloned();
            let blocked: Vec<_> = self.set.iter_kind(kind).filter_map(|one| Some((one.id.clone(), needs(one)?))).collect();
            for (id, missing) in blocked {
                let former = good(&id).filter(|one| one.refs.iter().all(|to| self.set.lookup(to).is_some()));
                match former {
                    Some(former) => {
                        self.set.insert(former);
                    }
                    None if keeps(&id) => {}
                    None => {
                        self.set.remove(kind, &id.name);
                        self.withheld.insert(id, missing);
                    }
                }
            }
        }
    }
}
