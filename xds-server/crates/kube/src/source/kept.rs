//! What goes on while something that protects cannot be read: the world as it was, but for what moves by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use windrose_api::declared::Objects;
use windrose_vocab::{Kind, ObjectKey, ObjectRef, Text};

use super::World;

/// Takes into the world that was shown last what may move without what protects. A Secret or ConfigMap that nobody needs any more by the
/// newest word is left as it was while it is there: those who are shown in an older version may need it.
pub(super) fn go_on(shown: &mut World, now: &World, is_there: &impl Fn(&ObjectRef) -> bool) {
    (shown.kept, shown.absent) = (now.kept.clone(), now.absent.clone());
    shown.unread = now.unread.clone();
    let moved = moved(shown, now);
    let (declared, newest) = (&mut shown.declared, &now.declared);
    declared.endpoint_slices = but_of(&moved, &newest.endpoint_slices, &declared.endpoint_slices);
    declared.services = but_of(&moved, &newest.services, &declared.services);
    let is_left = |kind| move |key: &ObjectKey| is_there(&ObjectRef { kind, key: key.clone() });
    let secrets = but_of(&moved, &newest.secrets, &declared.secrets);
    declared.secrets = with_left(secrets, &declared.secrets, is_left(Kind::Secret));
    let config_maps = but_of(&moved, &newest.config_maps, &declared.config_maps);
    declared.config_maps = with_left(config_maps, &declared.config_maps, is_left(Kind::ConfigMap));
    take_away_gateways(shown, now, &moved);
}

/// Namespaces that came into the selection or fell out. That happens to all that is in one together, to Services and Gateways and what
/// protects them, so it waits.
fn moved(shown: &World, now: &World) -> BTreeSet<Text> {
    let then = |name: &ObjectKey| shown.declared.namespaces.get(name).map(|then| then.spec.left_out);
    let moved = now.declared.namespaces.iter().filter(|(name, now)| then(name).is_some_and(|then| then != now.spec.left_out));
    moved.map(|(name, _)| name.name.clone()).collect()
}

/// What there is now, but of the namespaces that moved, of which it is as it was.
fn but_of<T: Clone>(moved: &BTreeSet<Text>, now: &Objects<T>, then: &Objects<T>) -> Objects<T> {
    let mut all = now.clone();
    if !moved.is_empty() {
        let is_moved = |key: &&ObjectKey| moved.contains(&key.namespace);
        now.keys().filter(is_moved).for_each(|key| drop(all.remove(key)));
        all.extend(then.iter().filter(|(key, _)| is_moved(key)).map(|(key, object)| (key.clone(), Arc::clone(object))));
    }
    all
}

/// These, and of those that were there before what is there still.
fn with_left<T: Clone>(mut now: Objects<T>, then: &Objects<T>, is_there: impl Fn(&ObjectKey) -> bool) -> Objects<T> {
    let left = then.iter().filter(|(key, _)| !now.contains_key(*key) && is_there(key));
    let left: Vec<_> = left.map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
    now.extend(left);
    now
}

/// One that is gone protects nothing, and nothing may be made for it again.
fn take_away_gateways(shown: &mut World, now: &World, moved: &BTreeSet<Text>) {
    let is_there = |object: &&ObjectRef| object.kind == Kind::Gateway && !moved.contains(&object.key.namespace);
    let gateways: Vec<ObjectRef> = shown.seen.keys().filter(is_there).cloned().collect();
    for gateway in gateways {
        let now = now.seen.get(&gateway).filter(|now| shown.seen.get(&gateway).is_some_and(|then| then.uid == now.uid));
        match now {
            Some(now) if now.deleting => drop(shown.seen.insert(gateway, now.clone())),
            Some(_) => {}
            None => {
                shown.seen.remove(&gateway);
                shown.declared.gateways.remove(&gateway.key);
            }
        }
    }
}
