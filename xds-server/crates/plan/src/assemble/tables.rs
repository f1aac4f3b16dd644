//! Route tables: hosts come and go one by one, and a change of one costs that host, however many the table has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use windrose_ir::{RouteTable, VirtualHost};
use windrose_vocab::{ProxyKey, ResourceId, ResourceKind, Text};

use super::{Assembly, count};
use crate::backend::ClusterKey;
use crate::plan::Sources;
use crate::proxy::{ComposedHost, ProxyParts};
use crate::route::{Host, Rules, RulesKey, Table, TableKey};
use crate::world::{Delta, HostSlot, Output};

/// One table as it is being put together.
#[derive(Debug)]
pub(super) struct TableState {
    /// What it comes to.
    pub(super) table: RouteTable,
    pub(super) hosts: BTreeMap<Text, Output<Host>>,
    /// Hosts that changed since the programs were last built.
    changed: BTreeSet<Text>,
    /// Hosts that cannot go by themselves.
    shared: usize,
    clusters: BTreeMap<ClusterKey, u32>,
    pub(super) sources: Sources,
    /// Proxies that publish it, or take its routes into a table of their own.
    pub(super) users: BTreeSet<ProxyKey>,
}

impl TableState {
    fn new(key: &TableKey) -> Self {
        let by_host = match **key {
            Table::Edge { .. } => true,
            // A sidecar's tables have one host, or names with ports that a scope could not tell apart.
            Table::Mesh { .. } => false,
        };
        Self {
            table: RouteTable { by_host, ..RouteTable::default() },
            hosts: BTreeMap::new(),
            changed: BTreeSet::new(),
            shared: 0,
            clusters: BTreeMap::new(),
            sources: Sources::default(),
            users: BTreeSet::new(),
        }
    }

    pub(super) fn clusters(&self) -> Vec<ClusterKey> {
        self.clusters.keys().cloned().collect()
    }

    /// Whether listeners take it host by host: every one of its hosts can go by itself.
    pub(super) fn is_by_host(&self) -> bool {
        self.table.by_host && self.shared == 0
    }

    fn put_host(&mut self, name: Text, new: Option<&Output<Host>>) {
        let shared = |output: &Output<Host>| usize::from(output.value.virtual_host.alone().is_none());
        let old = match new {
            Some(new) => {
                self.table.hosts.insert(name.clone(), Arc::clone(&new.value.virtual_host));
                self.hosts.insert(name.clone(), new.clone())
            }
            None => {
                self.table.hosts.remove(&name);
                self.hosts.remove(&name)
            }
        };
        self.shared = self.shared + new.map_or(0, shared) - old.as_ref().map_or(0, shared);
        new.into_iter().flat_map(|new| new.sources.iter()).for_each(|version| self.sources.add(version));
        old.iter().flat_map(|old| old.sources.iter()).for_each(|version| self.sources.remove(version));
        self.changed.insert(name);
    }
}

impl Assembly {
    /// The routes of one declared route in one table changed.
    pub(crate) fn rules_changed(&mut self, delta: &Delta<RulesKey, Rules>) {
        let table = &delta.key.table;
        for (output, up) in delta.sides() {
            output.value.clusters.iter().for_each(|cluster| self.count_cluster(table, cluster, up));
        }
        self.entries_changed(delta);
    }

    /// A host changed.
    pub(crate) fn host_changed(&mut self, delta: &Delta<HostSlot, Host>) {
        let HostSlot { table, host } = &delta.key;
        for (output, up) in delta.sides() {
            output.value.clusters.iter().for_each(|cluster| self.count_cluster(table, cluster, up));
        }
        self.table(table).put_host(host.as_str().into(), delta.new.as_ref());
        self.touched.tables.insert(table.clone());
    }

    fn count_cluster(&mut self, table: &TableKey, cluster: &ClusterKey, up: bool) {
        let state = self.table(table);
        if count(&mut state.clusters, cluster, up) {
            for proxy in state.users.clone() {
                self.count_proxy_cluster(&proxy, cluster, up);
            }
        }
    }

    pub(super) fn table(&mut self, key: &TableKey) -> &mut TableState {
        self.tables.entry(key.clone()).or_insert_with(|| TableState::new(key))
    }

    pub(super) fn settle_tables(&mut self) {
        for key in std::mem::take(&mut self.touched.tables) {
            let Some(state) = self.tables.get_mut(&key) else { continue };
            let changed = std::mem::take(&mut state.changed);
            if state.users.is_empty() && state.hosts.is_empty() && state.clusters.is_empty() {
                self.tables.remove(&key);
                continue;
            }
            let Some(state) = self.tables.get(&key) else { continue };
            let (name, built) = (Text::from(key.to_string()), Arc::new(state.table.clone()));
            for proxy in &state.users {
                let Some(user) = self.proxies.get_mut(proxy) else { continue };
                let parts: Vec<Arc<ProxyParts>> = user.parts.values().map(|parts| Arc::clone(&parts.value)).collect();
                if parts.iter().any(|parts| parts.tables.contains(&key)) {
                    if user.program.routes.get(&name).is_none_or(|known| **known != *built) {
                        user.program.routes.insert(name.clone(), Arc::clone(&built));
                    }
                    user.tell_sources(&name, state, &changed);
                }
                let composed = parts.iter().flat_map(|parts| &parts.composed);
                for (name, hosts) in composed.filter(|(_, hosts)| hosts.iter().any(|host| host.table == key)) {
                    let (built, sources) = compose(&self.tables, hosts);
                    user.program.routes.insert(name.clone(), Arc::new(built));
                    user.sources.insert(ResourceId::new(ResourceKind::Routes, name.clone()), sources);
                }
                self.touched.proxies.insert(proxy.clone());
            }
        }
    }
}

/// A table whose hosts have the routes of shared ones.
fn compose(tables: &HashMap<TableKey, TableState>, hosts: &[ComposedHost]) -> (RouteTable, Sources) {
    let mut all = Vec::new();
    let mut sources = Sources::default();
    for host in hosts {
        let Some(state) = tables.get(&host.table) else { continue };
        let routes = state.table.hosts.values().flat_map(|shared| shared.routes.iter().cloned()).collect();
        all.push(VirtualHost {
            name: host.name.clone(),
            hosts: Vec::new(),
            authorities: host.authorities.clone(),
            external_auth: Vec::new(),
            routes,
            filters: Vec::new(),
        });
        state.sources.iter().for_each(|version| sources.add(version));
    }
    (all.into_iter().collect(), sources)
}
