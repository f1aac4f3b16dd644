//! What the proxies of one zone have otherwise than all others of their class: the endpoints that are meant for them come first.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use windrose_ir::Program;

use crate::render::{KindMap, Renderer};

/// The endpoints of a program as one zone sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    all: KindMap,
    own: KindMap,
}

impl Near {
    /// All of them, in one map with those of the class where the zone sees nothing otherwise.
    #[must_use]
    pub fn endpoints(&self) -> &KindMap {
        &self.all
    }

    /// Those that the zone sees otherwise.
    #[must_use]
    pub fn own(&self) -> &KindMap {
        &self.own
    }
}

impl Renderer {
    /// The endpoints of `program` for this renderer's zone, where `before` are those of `old`, and `class` are the endpoints of the
    /// program for the same class anywhere. Costs what changed.
    #[must_use]
    pub fn near(&self, before: &Near, old: &Program, (program, class): (&Program, &KindMap)) -> Near {
        let mut own = before.own.clone();
        let mut touched = Vec::new();
        for change in old.endpoints.diff(&program.endpoints) {
            let (name, set) = match change {
                DiffItem::Add(name, set) | DiffItem::Update { new: (name, set), .. } => (name, Some(set)),
                DiffItem::Remove(name, _) => (name, None),
            };
            match set.and_then(|set| set.seen_from(self.zone()?)) {
                Some(seen) => drop(own.insert(name.clone(), Arc::new(self.endpoints(name, &seen)))),
                None => drop(own.remove(name)),
            }
            touched.push(name);
        }
        let all = match (before.own.is_empty(), own.is_empty()) {
            (_, true) => class.clone(),
            (true, false) => own.clone().union(class.clone()),
            (false, false) => {
                let mut all = before.all.clone();
                for name in touched {
                    match own.get(name).or_else(|| class.get(name)) {
                        Some(resource) => drop(all.insert(name.clone(), Arc::clone(resource))),
                        None => drop(all.remove(name)),
                    }
                }
                all
            }
        };
        Near { all, own }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use windrose_ir::EndpointSet;
    use windrose_ir::endpoint::{Address, Endpoint, Health, Locality};
    use windrose_vocab::{NodeClass, ResourceKind, Text};

    use super::*;
    use crate::{Modules, VersionKey};

    fn renderer(zone: Option<&str>) -> Renderer {
        let class = NodeClass { modules: None, zone: zone.map(Text::from) };
        Renderer::new(class, Modules::default(), VersionKey::new([7; 32]))
    }

    /// Endpoints by the zone that each is in and meant for; an empty one is meant for nobody.
    fn set(zones: &[&str]) -> Arc<EndpointSet> {
        let locality = |(number, zone): (usize, &&str)| {
            let address = Address::Socket(SocketAddr::from(([10, 0, 0, u8::try_from(number).unwrap()], 80)));
            let zones = [Text::from(*zone)].into_iter().filter(|zone| !zone.is_empty()).collect();
            let endpoint = Endpoint { address, weight: 1, health: Health::Ready, outside: false, zones };
            Locality { zone: Text::from(*zone), priority: 0, endpoints: vec![endpoint] }
        };
        Arc::new(EndpointSet { localities: zones.iter().enumerate().map(locality).collect() })
    }

    fn program(sets: &[(&str, &[&str])]) -> Program {
        Program { endpoints: sets.iter().map(|(name, zones)| (Text::from(*name), set(zones))).collect(), ..Program::default() }
    }

    #[test]
    fn by_steps_and_from_nothing_is_the_same_and_shares_what_is_no_other() {
        let steps: [&[(&str, &[&str])]; 7] = [
            &[("one", &["", ""]), ("two", &[""])],
            &[("one", &["a", "b"]), ("two", &[""])],
            &[("one", &["a", "b"]), ("two", &["", ""])],
            &[("one", &["a", "b", "b"]), ("two", &["a", "b"])],
            &[("one", &["b", "b"]), ("three", &["b", "a"])],
            &[("three", &["b", "b"])],
            &[],
        ];
        let (anywhere, a) = (renderer(None), renderer(Some("a")));
        let (mut old, mut rendered, mut near) = (Program::default(), Default::default(), Near::default());
        let mut own = Vec::new();
        for step in steps {
            let new = program(step);
            rendered = anywhere.update(&rendered, &old, &new);
            let class = rendered.of_kind(ResourceKind::Endpoints);
            near = a.near(&near, &old, (&new, class));
            assert_eq!(near, a.near(&Near::default(), &Program::default(), (&new, class)), "{step:?}");
            let shares = |name: &Text| Arc::ptr_eq(&near.all[name], &class[name]);
            assert!(class.keys().all(|name| shares(name) != near.own.contains_key(name)), "{step:?}");
            assert_eq!(near.own.is_empty(), near.all.ptr_eq(class) || class.is_empty(), "{step:?}");
            own.push(near.own.keys().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            old = new;
        }
        assert_eq!(own, ["", "one", "one", "one two", "three", "", ""]);
    }

    #[test]
    fn a_hint_that_changes_nothing_for_a_zone_has_no_version_of_its_own() {
        let near = |zone: &str, zones: &[&str]| {
            let program = program(&[("one", zones)]);
            let rendered = renderer(None).full(&program);
            let near =
                renderer(Some(zone)).near(&Near::default(), &Program::default(), (&program, rendered.of_kind(ResourceKind::Endpoints)));
            near.all["one"].version
        };
        let anywhere = |zones: &[&str]| renderer(None).full(&program(&[("one", zones)])).of_kind(ResourceKind::Endpoints)["one"].version;
        assert_eq!(near("c", &["a", "b"]), anywhere(&["a", "b"]), "none is meant for it");
        assert_eq!(near("a", &["a", "a"]), anywhere(&["a", "a"]), "all are");
        assert_ne!(near("a", &["a", "b"]), anywhere(&["a", "b"]));
        assert_ne!(near("a", &["a", "b"]), near("b", &["a", "b"]));
    }
}
