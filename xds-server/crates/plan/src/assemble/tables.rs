//! Route tables: hosts come and go one by one; a table is put together again only when one of its hosts changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_ir::{RouteTable, VirtualHost};
use windrose_vocab::{ProxyKey, ResourceId, ResourceKind, Text};

use super::{Assembly, count};
use crate::backend::ClusterKey;
use crate::plan::Sources;
use crate::proxy::ComposedHost;
use crate::route::{Host, Rules, RulesKey, TableKey};
use crate::world::{Delta, HostSlot, Output};

/// One table as it is being put together.
#[derive(Debug, Default)]
pub(super) struct TableState {
    hosts: BTreeMap<Text, Output<Host>>,
    clusters: BTreeMap<ClusterKey, u32>,
    sources: Sources,
    /// Proxies that publish it, or take its routes into a table of their own.
    pub(super) users: BTreeSet<ProxyKey>,
}

impl TableState {
    pub(super) fn clusters(&self) -> Vec<ClusterKey> {
        self.clusters.keys().cloned().collect()
    }

    fn build(&self) -> RouteTable {
        RouteTable { hosts: self.hosts.values().map(|host| host.value.virtual_host.clone()).collect() }
    }
}

impl Assembly {
    /// The routes of one declared route in one table changed.
    pub(crate) fn rules_changed(&mut self, delta: &Delta<RulesKey, Rules>) {
        let table = &delta.key.table;
        let clusters = |output: &Option<Output<Rules>>| output.as_ref().map(|output| output.value.clusters.clone()).unwrap_or_default();
        for cluster in clusters(&delta.new) {
            self.count_cluster(table, &cluster, true);
        }
        for cluster in clusters(&delta.old) {
            self.count_cluster(table, &cluster, false);
        }
        self.entries_changed(delta);
    }

    /// A host changed.
    pub(crate) fn host_changed(&mut self, delta: &Delta<HostSlot, Host>) {
        let HostSlot { table, host } = &delta.key;
        let clusters = |output: &Option<Output<Host>>| output.as_ref().map(|output| output.value.clusters.clone()).unwrap_or_default();
        for cluster in clusters(&delta.new) {
            self.count_cluster(table, &cluster, true);
        }
        for cluster in clusters(&delta.old) {
            self.count_cluster(table, &cluster, false);
        }
        let state = self.tables.entry(table.clone()).or_default();
        delta.new.iter().flat_map(|new| new.sources.iter()).for_each(|version| state.sources.add(version));
        delta.old.iter().flat_map(|old| old.sources.iter()).for_each(|version| state.sources.remove(version));
        let name = Text::from(host.as_str());
        match &delta.new {
            Some(new) => drop(state.hosts.insert(name, new.clone())),
            None => drop(state.hosts.remove(&name)),
        }
        self.touched.tables.insert(table.clone());
    }

    fn count_cluster(&mut self, table: &TableKey, cluster: &ClusterKey, up: bool) {
        let state = self.tables.entry(table.clone()).or_default();
        if count(&mut state.clusters, cluster, up) {
            for proxy in state.users.clone() {
                self.count_proxy_cluster(&proxy, cluster, up);
            }
        }
    }

    pub(super) fn settle_tables(&mut self) {
        for table in std::mem::take(&mut self.touched.tables) {
            let Some(state) = self.tables.get(&table) else { continue };
            let built = Arc::new(state.build());
            let name = Text::from(table.to_string());
            for proxy in &state.users {
                let Some(user) = self.proxies.get_mut(proxy) else { continue };
                let parts = user.parts.as_ref().map(|parts| Arc::clone(&parts.value));
                if parts.as_ref().is_some_and(|parts| parts.tables.contains(&table)) {
                    let changed = user.program.routes.get(&name).is_none_or(|known| **known != *built);
                    if changed {
                        user.program.routes.insert(name.clone(), Arc::clone(&built));
                    }
                    user.sources.insert(ResourceId::new(ResourceKind::Routes, name.clone()), state.sources.clone());
                }
                let composed = parts.iter().flat_map(|parts| &parts.composed);
                for (name, hosts) in composed.filter(|(_, hosts)| hosts.iter().any(|host| host.table == table)) {
                    let (built, sources) = compose(&self.tables, hosts);
                    user.program.routes.insert(name.clone(), Arc::new(built));
                    user.sources.insert(ResourceId::new(ResourceKind::Routes, name.clone()), sources);
                }
                self.touched.proxies.insert(proxy.clone());
            }
            if state.users.is_empty() && state.hosts.is_empty() && state.clusters.is_empty() {
                self.tables.remove(&table);
            }
        }
    }
}

/// A table whose hosts have the routes of shared ones.
fn compose(tables: &std::collections::HashMap<TableKey, TableState>, hosts: &[ComposedHost]) -> (RouteTable, Sources) {
    let mut all = Vec::new();
    let mut sources = Sources::default();
    for host in hosts {
        let Some(state) = tables.get(&host.table) else { continue };
        let routes = state.hosts.values().flat_map(|shared| shared.value.virtual_host.routes.iter().cloned()).collect();
        all.push(VirtualHost { name: host.name.clone(), hosts: Vec::new(), authorities: host.authorities.clone(), routes });
        state.sources.iter().for_each(|version| sources.add(version));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    (RouteTable { hosts: all }, sources)
}
