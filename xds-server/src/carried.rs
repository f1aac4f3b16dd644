//! Which versions of which objects former versions of a resource carried: for a proxy that has one of them still, it says
//! what runs there. Persistent, so that a copy costs nothing.

use std::sync::Arc;

use imbl::OrdMap;
use windrose_plan::Sources;
use windrose_vocab::{Fingerprint, ProxyKey, Resource, ResourceId};

/// Former versions of a resource that are remembered: enough for a proxy that is several changes behind.
const VERSIONS_REMEMBERED: usize = 8;

/// What former versions of one resource carried, newest last.
type Versions = Arc<[(Fingerprint, Sources)]>;

/// What former versions of all resources carried.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    versions: OrdMap<ProxyKey, OrdMap<ResourceId, Versions>>,
}

impl Carried {
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
        let knows = |number: usize| carried.by(&proxy, &version(0).id, version(number).version).is_some();
        assert!(!knows(0) && (1..=VERSIONS_REMEMBERED).all(knows));
        carried.forget(&proxy);
        assert!(carried.by(&proxy, &version(0).id, version(1).version).is_none());
    }
}
