//! Which proxies get something of which version of an object, kept up from one plan to the next at the cost of the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use windrose_plan::Sources;
use windrose_vocab::{ObjectVersion, ProxyKey, ResourceId};

/// What a plan says of its resources.
type All = OrdMap<ProxyKey, OrdMap<ResourceId, Sources>>;

/// For each version the proxies, with the number of resources that carry it.
#[derive(Default)]
pub(super) struct Concerns {
    versions: BTreeMap<ObjectVersion, BTreeMap<Arc<ProxyKey>, u32>>,
}

/// What a new plan changed.
#[derive(Default)]
pub(super) struct Differences {
    /// Proxies of which a resource carries something else than before.
    pub(super) proxies: BTreeSet<ProxyKey>,
    /// Versions that no resource carried before.
    pub(super) came: BTreeSet<ObjectVersion>,
    /// Versions that no resource carries any more.
    pub(super) went: BTreeSet<ObjectVersion>,
    /// Versions that concern a proxy less than before, and another one still.
    pub(super) left: BTreeSet<ObjectVersion>,
}

impl Concerns {
    /// The proxies that get something of a version.
    pub(super) fn proxies(&self, version: &ObjectVersion) -> impl Iterator<Item = &ProxyKey> {
        self.versions.get(version).into_iter().flat_map(|proxies| proxies.keys().map(|proxy| &**proxy))
    }

    /// Goes from one plan to the next. What is added comes first, so that what only moves is never gone.
    pub(super) fn follow(&mut self, old: &All, new: &All) -> Differences {
        let mut differences = Differences::default();
        self.add(old, new, &mut differences);
        self.remove(old, new, &mut differences);
        differences
    }

    fn add(&mut self, old: &All, new: &All, differences: &mut Differences) {
        each(old, new, |proxy, version| {
            let proxies = self.versions.entry(version.clone()).or_default();
            if proxies.is_empty() {
                differences.came.insert(version.clone());
            }
            *proxies.entry(Arc::clone(proxy)).or_insert(0) += 1;
            if !differences.proxies.contains(&**proxy) {
                differences.proxies.insert((**proxy).clone());
            }
        });
    }

    fn remove(&mut self, old: &All, new: &All, differences: &mut Differences) {
        each(new, old, |proxy, version| {
            let Some(proxies) = self.versions.get_mut(version) else { return };
            let left = proxies.get(proxy).map_or(0, |count| count - 1);
            if left > 0 {
                proxies.insert(Arc::clone(proxy), left);
            } else {
                proxies.remove(proxy);
                differences.left.insert(version.clone());
            }
            if proxies.is_empty() {
                differences.left.remove(version);
                self.versions.remove(version);
                differences.went.insert(version.clone());
            }
            if !differences.proxies.contains(&**proxy) {
                differences.proxies.insert((**proxy).clone());
            }
        });
    }
}

/// Visits what resources of `new` carry beyond those of `old`.
fn each(old: &All, new: &All, mut visit: impl FnMut(&Arc<ProxyKey>, &ObjectVersion)) {
    let nothing = OrdMap::new();
    for change in old.diff(new) {
        let (proxy, before, after) = match change {
            DiffItem::Add(proxy, after) => (proxy, &nothing, after),
            DiffItem::Update { old: (_, before), new: (proxy, after) } => (proxy, before, after),
            DiffItem::Remove(..) => continue,
        };
        let proxy = Arc::new(proxy.clone());
        for change in before.diff(after) {
            match change {
                DiffItem::Add(_, sources) => sources.iter().for_each(|version| visit(&proxy, version)),
                DiffItem::Update { old: (_, former), new: (_, sources) } => {
                    sources.beyond(former).for_each(|version| visit(&proxy, version));
                }
                DiffItem::Remove(..) => {}
            }
        }
    }
}
