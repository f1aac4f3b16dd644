//! Which routes are attached where, seen from the listeners: the outcome of all attachments, turned around.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use windrose_vocab::{Hostname, ObjectKey, ObjectRef};

use super::TableKey;
use super::{Attachments, RulesKey};
use crate::gateway::ListenerId;
use crate::world::{Dep, HostSlot, Need};

/// One route at one host of one table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attachment {
    pub(crate) slot: HostSlot,
    pub(crate) rules: RulesKey,
    /// The host as the route declares it, before it met the listener's; `*` where it declares none.
    pub(crate) declared: Hostname,
}

/// One route at a listener that routes connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Connection {
    pub(crate) gateway: ObjectKey,
    pub(crate) listener: ListenerId,
    pub(crate) route: ObjectRef,
    pub(crate) host: Hostname,
    pub(crate) declared: Hostname,
}

/// All attachments, by where they are.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    slots: HashMap<HostSlot, BTreeSet<Arc<Attachment>>>,
    connections: HashMap<(ObjectKey, ListenerId), BTreeSet<Arc<Connection>>>,
    guards: HashMap<(TableKey, Need), u32>,
    rules: HashMap<RulesKey, u32>,
}

impl Attached {
    pub(crate) fn slot(&self, slot: &HostSlot) -> impl Iterator<Item = &Attachment> {
        self.slots.get(slot).into_iter().flatten().map(|attachment| &**attachment)
    }

    pub(crate) fn connections(&self, gateway: &ObjectKey, listener: &ListenerId) -> impl Iterator<Item = &Connection> {
        self.connections.get(&(gateway.clone(), listener.clone())).into_iter().flatten().map(|connection| &**connection)
    }

    pub(crate) fn needs(&self, table: &TableKey, need: Need) -> bool {
        self.guards.contains_key(&(table.clone(), need))
    }

    pub(crate) fn has_slot(&self, slot: &HostSlot) -> bool {
        self.slots.contains_key(slot)
    }

    pub(crate) fn has_rules(&self, key: &RulesKey) -> bool {
        self.rules.contains_key(key)
    }

    /// Puts one route's attachments in place of its former ones; returns what changed, rules included.
    pub(crate) fn replace(&mut self, old: Option<&Attachments>, new: Option<&Attachments>) -> BTreeSet<Dep> {
        let mut changed = BTreeSet::new();
        for (attachments, add) in old.map(|old| (old, false)).into_iter().chain(new.map(|new| (new, true))) {
            for attachment in &attachments.http {
                change(&mut self.slots, attachment.slot.clone(), attachment, add);
                changed.insert(Dep::Slot(attachment.slot.clone()));
            }
            for connection in &attachments.connections {
                change(&mut self.connections, (connection.gateway.clone(), connection.listener.clone()), connection, add);
                changed.insert(Dep::Connections(connection.gateway.clone(), connection.listener.clone()));
            }
            for guard in &attachments.guards {
                count(&mut self.guards, guard, add);
                changed.insert(Dep::Guard(guard.0.clone(), guard.1));
            }
            for key in attachments.http.iter().map(|attachment| &attachment.rules).collect::<BTreeSet<_>>() {
                count(&mut self.rules, key, add);
                changed.insert(Dep::Rules(key.clone()));
            }
        }
        changed
    }
}

fn change<K: Hash + Eq + Clone, V: Ord>(all: &mut HashMap<K, BTreeSet<Arc<V>>>, key: K, value: &Arc<V>, add: bool) {
    let set = all.entry(key.clone()).or_default();
    if add {
        set.insert(Arc::clone(value));
    } else {
        set.remove(value);
        if set.is_empty() {
            all.remove(&key);
        }
    }
}

fn count<K: Hash + Eq + Clone>(all: &mut HashMap<K, u32>, key: &K, add: bool) {
    let count = all.entry(key.clone()).or_insert(0);
    *count = if add { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        all.remove(key);
    }
}
