//! What there is of the names that streams ask for one by one. Streams that ask for the same names share one selection,
//! so a fleet of equal proxies costs the memory of one, and a change is looked up once for all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use windrose_vocab::{ResourceKind, Text};

use crate::names::Names;
use crate::set::{Change, KindMap, ResourceSet, changes};

/// The selections of one scope.
#[derive(Debug, Default)]
pub struct Selections {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Names with equal keys need not be equal.
    by_key: BTreeMap<(ResourceKind, u128), Vec<Weak<Selection>>>,
    /// At that size those that nobody has any more are looked for.
    sweep_at: usize,
}

/// Names of one kind, and what there is of them in the newest publication.
#[derive(Debug)]
pub struct Selection {
    names: Names,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    /// All there is.
    whole: KindMap,
    /// Of it what has one of the names.
    part: KindMap,
    /// The last publication changed the part.
    touched: bool,
}

impl Selections {
    /// The selection of `names` out of `whole`, shared with everybody who asked for the same. `former` is what the
    /// asker had: the new one costs the difference from it.
    #[must_use]
    pub fn select(&self, kind: ResourceKind, names: &Names, former: Option<&Selection>, whole: &KindMap) -> Arc<Selection> {
        let mut table = self.table();
        let at = (kind, names.key());
        let known = table.by_key.get(&at).into_iter().flatten().filter_map(Weak::upgrade).find(|one| one.names == *names);
        if let Some(known) = known {
            return known;
        }
        let part = former.and_then(|former| former.grown_to(names, whole)).unwrap_or_else(|| part(names, whole));
        let shown = Shown { whole: whole.clone(), part: or_whole(part, whole), touched: false };
        let new = Arc::new(Selection { names: names.clone(), shown: Mutex::new(shown) });
        table.sweep();
        let same = table.by_key.entry(at).or_default();
        same.retain(|one| one.strong_count() > 0);
        same.push(Arc::downgrade(&new));
        new
    }

    /// Takes every selection from one publication to the next.
    pub fn advance(&self, old: &ResourceSet, new: &ResourceSet) {
        let table = self.table();
        let live = |kind: ResourceKind| {
            let of_kind = table.by_key.range((kind, 0)..=(kind, u128::MAX));
            of_kind.flat_map(|(_, all)| all).filter_map(Weak::upgrade)
        };
        for kind in ResourceKind::ALL {
            let (old, new) = (old.of_kind(kind), new.of_kind(kind));
            let mut changed = None;
            for selection in live(kind) {
                let changed = changed.get_or_insert_with(|| changes(old, new).collect::<Vec<_>>());
                selection.advance(old, new, changed);
            }
        }
    }

    /// A panic of another thread leaves a table that at worst lacks a selection, which is then not shared.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Looks at all when there are twice as many as were alive the last time.
    fn sweep(&mut self) {
        if self.by_key.len() < self.sweep_at.max(SWEEP_LEAST) {
            return;
        }
        self.by_key.retain(|_, all| {
            all.retain(|one| one.strong_count() > 0);
            !all.is_empty()
        });
        self.sweep_at = 2 * self.by_key.len();
    }
}

/// Selections below which nobody looks for forgotten ones.
const SWEEP_LEAST: usize = 16;

impl Selection {
    /// The names.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What there is of the names in `whole`; nothing where that is not the map of the newest publication.
    #[must_use]
    pub fn part_of(&self, whole: &KindMap) -> Option<KindMap> {
        let shown = self.shown();
        shown.whole.ptr_eq(whole).then(|| shown.part.clone())
    }

    /// Whether the last publication changed anything about the names.
    #[must_use]
    pub fn was_touched(&self) -> bool {
        self.shown().touched
    }

    fn advance(&self, old: &KindMap, new: &KindMap, changed: &[Change<'_>]) {
        let mut shown = self.shown();
        let before = shown.part.clone();
        let strayed = !shown.whole.ptr_eq(old);
        if !strayed {
            changed.iter().filter(|change| self.names.contains(change.name())).for_each(|change| apply(*change, &mut shown.part));
        } else {
            // It was made from another view than the one before.
            let whole = shown.whole.clone();
            changes(&whole, new).filter(|change| self.names.contains(change.name())).for_each(|change| apply(change, &mut shown.part));
        }
        // Where it strayed, its streams have seen a publication that this part never was.
        shown.touched = strayed || !before.ptr_eq(&shown.part);
        shown.part = or_whole(std::mem::take(&mut shown.part), new);
        shown.whole = new.clone();
    }

    /// What there is of `names` by way of what there is of these; nothing where that would be of another publication.
    fn grown_to(&self, names: &Names, whole: &KindMap) -> Option<KindMap> {
        let mut part = self.part_of(whole)?;
        names.added(&self.names).for_each(|dropped| {
            part.remove(dropped);
        });
        self.names.added(names).for_each(|added| put(added, whole, &mut part));
        Some(part)
    }

    /// A panic of another thread leaves a part of no publication, which nobody asks for.
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(change: Change<'_>, part: &mut KindMap) {
    match change.after() {
        Some(new) => part.insert(new.id.name.clone(), Arc::clone(new)),
        None => part.remove(change.name()),
    };
}

fn put(name: &Text, whole: &KindMap, part: &mut KindMap) {
    if let Some(one) = whole.get(name) {
        part.insert(one.id.name.clone(), Arc::clone(one));
    }
}

fn part(names: &Names, whole: &KindMap) -> KindMap {
    let mut part = KindMap::new();
    names.iter().for_each(|name| put(name, whole, &mut part));
    part
}

/// Whoever asks for all names there are has the map of those who ask for everything.
fn or_whole(part: KindMap, whole: &KindMap) -> KindMap {
    if part.len() == whole.len() { whole.clone() } else { part }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use windrose_vocab::{Fingerprint, Resource, ResourceId};

    use super::*;

    const KIND: ResourceKind = ResourceKind::Endpoints;

    fn resource(name: &str, version: u128) -> Resource {
        let version = Fingerprint::from_bits(version);
        Resource { id: ResourceId::new(KIND, name), version, bytes: bytes::Bytes::new(), refs: Arc::from([]) }
    }

    fn set(names: &str) -> ResourceSet {
        names.split(' ').map(|name| resource(name, 1)).collect()
    }

    fn names(text: &str) -> Names {
        text.split(' ').map(Text::from).collect()
    }

    fn shown(selection: &Selection, of: &ResourceSet) -> String {
        let part = selection.part_of(of.of_kind(KIND)).expect("of the newest publication");
        part.keys().map(|name| &**name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn streams_that_ask_for_the_same_names_share_one_map() {
        let (selections, set) = (Selections::default(), set("a b c"));
        let one = selections.select(KIND, &names("a b x"), None, set.of_kind(KIND));
        let two = selections.select(KIND, &names("x b a"), None, set.of_kind(KIND));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(shown(&one, &set), "a b");
    }

    #[test]
    fn whoever_asks_for_all_names_has_the_map_of_all() {
        let (selections, set) = (Selections::default(), set("a b c"));
        let all = selections.select(KIND, &names("a b c d"), None, set.of_kind(KIND));
        assert!(all.part_of(set.of_kind(KIND)).unwrap().ptr_eq(set.of_kind(KIND)));
    }

    #[test]
    fn a_change_touches_those_who_ask_for_its_name_and_nobody_else() {
        let (selections, old) = (Selections::default(), set("a b c"));
        let [ab, c] = ["a b", "c"].map(|one| selections.select(KIND, &names(one), None, old.of_kind(KIND)));
        let mut new = old.clone();
        new.insert(resource("c", 2));
        selections.advance(&old, &new);
        assert!(!ab.was_touched() && c.was_touched());
        let [before, after] = [&old, &new].map(|set| ab.part_of(set.of_kind(KIND)));
        assert!(before.is_none() && after.is_some());
    }

    #[test]
    fn what_was_made_from_an_older_publication_is_touched_by_the_next_whatever_that_says() {
        let (selections, first) = (Selections::default(), set("a"));
        let (mut second, third) = (first.clone(), set("a"));
        second.insert(resource("a", 2));
        selections.advance(&first, &second);
        let late = selections.select(KIND, &names("a"), None, first.of_kind(KIND));
        selections.advance(&second, &third);
        assert!(late.was_touched(), "its stream has the second, and the third is the first again");
    }

    #[test]
    fn selections_that_nobody_has_any_more_are_forgotten() {
        let (selections, set) = (Selections::default(), set("a"));
        for n in 0..100 {
            let _ = selections.select(KIND, &names(&format!("n{n}")), None, set.of_kind(KIND));
        }
        assert!(selections.table().by_key.len() <= SWEEP_LEAST);
        for _ in 0..100 {
            let _ = selections.select(KIND, &names("always the same"), None, set.of_kind(KIND));
        }
        assert!(selections.table().by_key.values().all(|same| same.len() == 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_part_is_the_same_by_increments_and_from_nothing(
            steps in prop::collection::vec((0u8..8, prop::option::of(0u8..4), prop::collection::btree_set(0u8..8, 0..6)), 1..30)
        ) {
            let (selections, mut set, mut former) = (Selections::default(), ResourceSet::new(), None::<Arc<Selection>>);
            let name = |n: u8| format!("e{n}");
            for (changed, version, asked) in steps {
                let old = set.clone();
                match version {
                    Some(version) => { set.insert(resource(&name(changed), u128::from(version))); }
                    None => { set.remove(KIND, &name(changed)); }
                }
                selections.advance(&old, &set);
                let whole = set.of_kind(KIND);
                if let Some(former) = &former {
                    prop_assert_eq!(former.part_of(whole), Some(part(former.names(), whole)));
                }
                let asked: Names = asked.into_iter().map(|n| Text::from(name(n))).collect();
                let next = selections.select(KIND, &asked, former.as_deref(), whole);
                prop_assert_eq!(next.part_of(whole), Some(part(&asked, whole)));
                former = Some(next);
            }
        }
    }
}
