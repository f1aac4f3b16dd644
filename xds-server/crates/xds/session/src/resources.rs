//! The resources of one response, in order of name: a list of some, or all of a map that is shared with the view, which
//! costs the same for ten and for ten thousand.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use windrose_state::KindMap;
use windrose_vocab::{Resource, Text};

/// Resources of one kind, each name once.
#[derive(Clone)]
pub enum Resources {
    /// These, in order of name.
    Some(Arc<[Arc<Resource>]>),
    /// All of the map.
    All(KindMap),
}

impl Resources {
    /// In order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let (some, all) = match self {
            Self::Some(list) => (Some(list.iter()), None),
            Self::All(map) => (None, Some(map.values())),
        };
        some.into_iter().flatten().chain(all.into_iter().flatten())
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Some(list) => list.len(),
            Self::All(map) => map.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        match self {
            Self::Some(list) => list.get(list.binary_search_by(|one| (*one.id.name).cmp(name)).ok()?),
            Self::All(map) => map.get(name),
        }
    }

    /// Those that come after that name, all where there is none: whoever sends them piece by piece keeps a name, and
    /// no list of those that are left.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Resource>> {
        let (some, all) = match self {
            Self::Some(list) => (Some(after_in(list, name).iter()), None),
            Self::All(map) => {
                let from = name.map_or(Bound::Unbounded, Bound::Excluded);
                (None, Some(map.range::<_, str>((from, Bound::Unbounded)).map(|(_, one)| one)))
            }
        };
        some.into_iter().flatten().chain(all.into_iter().flatten())
    }
}

fn after_in<'a>(list: &'a [Arc<Resource>], name: Option<&str>) -> &'a [Arc<Resource>] {
    let start = name.map_or(0, |name| list.partition_point(|one| *one.id.name <= *name));
    list.get(start..).unwrap_or_default()
}

impl Default for Resources {
    fn default() -> Self {
        Self::Some(Arc::from([]))
    }
}

impl From<Vec<Arc<Resource>>> for Resources {
    /// Of a list in order of name.
    fn from(list: Vec<Arc<Resource>>) -> Self {
        debug_assert!(list.is_sorted_by(|a, b| a.id.name < b.id.name), "resources come in order of name, each once");
        Self::Some(list.into())
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Resources {}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The names of what is removed are not in [`Resources`], but ordered like them.
pub(crate) fn has_name(sorted: &[Text], name: &str) -> bool {
    sorted.binary_search_by(|one| (**one).cmp(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windrose_vocab::{Fingerprint, ResourceId, ResourceKind};

    use super::*;

    fn list(names: &[&str]) -> Vec<Arc<Resource>> {
        let one = |name: &&str| Resource {
            id: ResourceId::new(ResourceKind::Cluster, *name),
            version: Fingerprint::default(),
            bytes: Bytes::new(),
            refs: Arc::from([]),
        };
        names.iter().map(|name| Arc::new(one(name))).collect()
    }

    #[test]
    fn a_list_and_a_map_read_the_same() {
        let names = ["a", "b", "d"];
        let map: KindMap = list(&names).into_iter().map(|one| (one.id.name.clone(), one)).collect();
        let (some, all) = (Resources::from(list(&names)), Resources::All(map));
        assert_eq!(some, all);
        for name in ["", "a", "b", "c", "d", "e"] {
            assert_eq!(some.get(name), all.get(name));
            let rest = |of: &Resources| of.after(Some(name)).map(|one| one.id.name.clone()).collect::<Vec<_>>();
            assert_eq!(rest(&some), rest(&all));
            assert_eq!(rest(&some), names.into_iter().filter(|one| *one > name).map(Text::from).collect::<Vec<_>>());
        }
        assert_eq!(all.after(None).count(), 3);
    }
}
