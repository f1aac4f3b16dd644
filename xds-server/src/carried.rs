//! Which versions of which objects former versions of a resource carried: for a proxy that has one of them still, it says
//! what runs there. Persistent, so that a copy costs nothing.

use std::sync::Arc;

use imbl::OrdMap;
use windrose_plan::{Plan, Sources};
use windrose_state::{Change, KindMap};
use windrose_vocab::{Fingerprint, ProxyKey, Resource, ResourceId};

/// Former versions of a resource that are remembered: enough for a proxy that is several changes behind.
const VERSIONS_REMEMBERED: usize = 8;
/// Resources of one proxy that went and are remembered all the same.
const GONE_REMEMBERED: usize = 64;

/// What former versions of one resource carried, newest last.
type Versions = Arc<[(Fingerprint, Sources)]>;

/// What former versions of all resources carried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    versions: OrdMap<ProxyKey, OrdMap<ResourceId, Versions>>,
}

impl Carried {
    /// Takes note of the versions of a kind that are no more; `before` is the plan that they came from.
    pub(crate) fn follow(&mut self, (proxy, before): (&ProxyKey, &Plan), old: &KindMap, new: &KindMap) {
        let sources = before.sources.get(proxy);
        for former in windrose_state::set::changes(old, new).filter_map(Change::before) {
            let of_former = sources.and_then(|sources| sources.get(&former.id));
            self.replaced(proxy, former, of_former.cloned().unwrap_or_default());
        }
    }

    /// Takes note of a version that another one replaces.
    pub(crate) fn replaced(&mut self, proxy: &ProxyKey, former: &Resource, sources: Sources) {
        let of_proxy = self.versions.entry(proxy.clone()).or_default();
        let known = of_proxy.get(&former.id).map_or(&[][..], |known| &**known);
        let others = known.iter().filter(|(version, _)| *version != former.version).cloned();
        let all: Vec<_> = others.chain([(former.version, sources)]).collect();
        let newest = all.len().saturating_sub(VERSIONS_REMEMBERED);
        of_proxy.insert(former.id.clone(), all[newest..].into());
    }

    /// What that version carried, if it is remembered.
    pub(crate) fn by(&self, proxy: &ProxyKey, resource: &ResourceId, version: Fingerprint) -> Option<&Sources> {
        let versions = self.versions.get(proxy)?.get(resource)?;
        versions.iter().find(|(one, _)| *one == version).map(|(_, sources)| sources)
    }

    /// Forgets what is no longer there, when there is more of it than of what is: a trial may still ask for what went last.
    pub(crate) fn tidy(&mut self, proxy: &ProxyKey, there: &OrdMap<ResourceId, Sources>) {
        if let Some(of_proxy) = self.versions.get_mut(proxy)
            && of_proxy.len() > 2 * there.len() + GONE_REMEMBERED
        {
            let kept = of_proxy.iter().filter(|(id, _)| there.contains_key(*id));
            *of_proxy = kept.map(|(id, versions)| (id.clone(), versions.clone())).collect();
        }
    }

    /// Forgets a proxy that is no longer declared.
    pub(crate) fn forget(&mut self, proxy: &ProxyKey) {
        self.versions.remove(proxy);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windrose_vocab::ResourceKind;

    use super::*;

    fn version(number: usize) -> Resource {
        let version = Fingerprint::from_bits(number as u128);
        Resource { id: ResourceId::new(ResourceKind::Routes, "r"), version, bytes: Bytes::new(), refs: Arc::from([]) }
    }

    #[test]
    fn the_newest_versions_are_remembered_each_once() {
        let (mut carried, proxy) = (Carried::default(), ProxyKey::gateway("shop", "edge"));
        for number in 0..=VERSIONS_REMEMBERED {
            carried.replaced(&proxy, &version(number), Sources::default());
            carried.replaced(&proxy, &version(number), Sources::default());
        }
        let knows = |carried: &Carried, number: usize| carried.by(&proxy, &version(0).id, version(number).version).is_some();
        assert!(!knows(&carried, 0) && (1..=VERSIONS_REMEMBERED).all(|number| knows(&carried, number)));
        carried.tidy(&proxy, &OrdMap::new());
        assert!(knows(&carried, 1), "one that went is remembered for a while");
        for number in 0..=GONE_REMEMBERED {
            let gone = Resource { id: ResourceId::new(ResourceKind::Cluster, format!("c{number}")), ..version(1) };
            carried.replaced(&proxy, &gone, Sources::default());
        }
        carried.tidy(&proxy, &OrdMap::new());
        assert!(!knows(&carried, 1));
        carried.forget(&proxy);
        assert!(carried.by(&proxy, &version(0).id, version(1).version).is_none());
    }
}
