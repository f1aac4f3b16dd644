//! Programs: what a proxy's own parts bring, and which shared resources they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_ir::{Discovery, EndpointSet};
use windrose_vocab::{Kind, ObjectVersion, ProxyKey, ResourceId, ResourceKind, Text};

use super::{Assembly, ProxyState, count};
use crate::backend::{ClusterKey, EndpointsKey, Upstream};
use crate::plan::Sources;
use crate::proxy::{PartsKey, ProxyParts, extension_name};
use crate::route::TableKey;
use crate::world::{Delta, Filter, HostSlot, Layer, Output};

impl Assembly {
    /// The parts of a Gateway or Workload changed, came or went, or others run them now. Returns the hosts that became required or no
    /// longer are.
    pub(crate) fn parts_changed(&mut self, delta: &Delta<PartsKey, ProxyParts>) -> BTreeSet<HostSlot> {
        let (old, new) = (delta.old.as_ref(), delta.new.as_ref());
        match [old, new].map(|parts| parts.map(|parts| parts.value.runs_on.clone())) {
            [None, None] => BTreeSet::new(),
            [Some(before), Some(now)] if before != now => {
                let left = self.change_parts(&before, &delta.key, old, None);
                left.into_iter().chain(self.change_parts(&now, &delta.key, None, new)).collect()
            }
            [Some(proxy), _] | [None, Some(proxy)] => self.change_parts(&proxy, &delta.key, old, new),
        }
    }

    fn change_parts(
        &mut self,
        proxy: &ProxyKey,
        of: &PartsKey,
        old: Option<&Output<ProxyParts>>,
        new: Option<&Output<ProxyParts>>,
    ) -> BTreeSet<HostSlot> {
        let (before, after) = (old.map(|old| &*old.value), new.map(|new| &*new.value));
        let all = &mut self.proxies.entry(proxy.clone()).or_default().parts;
        match new {
            Some(new) => drop(all.insert(of.clone(), new.clone())),
            None => drop(all.remove(of)),
        }
        let hosts = self.require(before, after);
        let uses = |parts: Option<&ProxyParts>| parts.map(|parts| parts.uses.clone()).unwrap_or_default();
        let (came, went) = differ(uses(before), uses(after));
        came.iter().for_each(|cluster| self.count_proxy_cluster(proxy, cluster, true));
        went.iter().for_each(|cluster| self.count_proxy_cluster(proxy, cluster, false));
        self.join_tables(proxy, before, after);
        self.join_extensions(proxy, before, after);
        if let Some(state) = self.proxies.get_mut(proxy) {
            state.put_own(before, new);
        }
        self.touched.proxies.insert(proxy.clone());
        hosts
    }

    fn require(&mut self, before: Option<&ProxyParts>, after: Option<&ProxyParts>) -> BTreeSet<HostSlot> {
        let hosts = |parts: Option<&ProxyParts>| parts.map(|parts| parts.hosts.clone()).unwrap_or_default();
        let (came, went) = differ(hosts(before), hosts(after));
        for slot in &came {
            *self.required.entry(slot.clone()).or_insert(0) += 1;
        }
        for slot in &went {
            let left = self.required.get(slot).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.required.remove(slot);
            } else {
                self.required.insert(slot.clone(), left);
            }
        }
        came.into_iter().chain(went).collect()
    }

    fn join_tables(&mut self, proxy: &ProxyKey, before: Option<&ProxyParts>, after: Option<&ProxyParts>) {
        let (came, went) = differ(tables(before), tables(after));
        for table in &went {
            let state = self.table(table);
            state.users.remove(proxy);
            for cluster in state.clusters() {
                self.count_proxy_cluster(proxy, &cluster, false);
            }
            self.touched.tables.insert(table.clone());
        }
        for table in &came {
            let state = self.table(table);
            state.users.insert(proxy.clone());
            for cluster in state.clusters() {
                self.count_proxy_cluster(proxy, &cluster, true);
            }
        }
        // Also those that stay: a table may have become published besides being part of a composed one.
        self.touched.tables.extend(tables(after));
        let names = |parts: Option<&ProxyParts>| -> BTreeSet<Text> {
            parts
                .map(|parts| parts.tables.iter().map(|table| Text::from(table.to_string())).chain(parts.composed.keys().cloned()).collect())
                .unwrap_or_default()
        };
        if let Some(state) = self.proxies.get_mut(proxy) {
            for table in &went {
                let hosts = self.tables.get(table).into_iter().flat_map(|table| table.hosts.keys());
                state.take_whole(&table.to_string().into(), hosts);
            }
            for name in names(before).difference(&names(after)) {
                state.program.routes.remove(name);
                state.sources.remove(&ResourceId::new(ResourceKind::Routes, name.clone()));
            }
            // A composed table that has no hosts at all is built by no other.
            for (name, _) in after.iter().flat_map(|parts| &parts.composed).filter(|(_, hosts)| hosts.is_empty()) {
                state.program.routes.insert(name.clone(), Arc::default());
            }
        }
    }

    fn join_extensions(&mut self, proxy: &ProxyKey, before: Option<&ProxyParts>, after: Option<&ProxyParts>) {
        let extensions = |parts: Option<&ProxyParts>| parts.map(|parts| parts.extensions.clone()).unwrap_or_default();
        let (came, went): (BTreeSet<(Text, Filter)>, _) = differ(extensions(before), extensions(after));
        for key in &went {
            self.extensions.entry(key.clone()).or_default().users.remove(proxy);
            if let Some(state) = self.proxies.get_mut(proxy) {
                let name = extension_name(&key.0, key.1);
                state.program.extensions.remove(&name);
                state.sources.remove(&ResourceId::new(ResourceKind::Extension, name));
            }
        }
        for key in &came {
            self.extensions.entry(key.clone()).or_default().users.insert(proxy.clone());
        }
        self.touched.extensions.extend(came);
        self.touched.extensions.extend(went);
    }

    pub(super) fn count_proxy_cluster(&mut self, proxy: &ProxyKey, cluster: &ClusterKey, up: bool) {
        let state = self.proxies.entry(proxy.clone()).or_default();
        if !count(&mut state.clusters, cluster, up) {
            return;
        }
        let users = self.cluster_users.entry(cluster.clone()).or_default();
        if up {
            users.insert(proxy.clone());
        } else {
            users.remove(proxy);
        }
        let unused = users.is_empty();
        if unused {
            self.cluster_users.remove(cluster);
        }
        if let Some(endpoints) = cluster.endpoints() {
            let clusters = self.by_endpoints.entry(endpoints.clone()).or_default();
            if unused {
                clusters.remove(cluster);
            } else {
                clusters.insert(cluster.clone());
            }
            if clusters.is_empty() {
                self.by_endpoints.remove(&endpoints);
            }
        }
        self.touched.clusters.insert((proxy.clone(), cluster.clone()));
    }

    pub(super) fn settle_clusters(&mut self, clusters: &Layer<ClusterKey, Upstream>, endpoints: &Layer<EndpointsKey, EndpointSet>) {
        for (proxy, key) in std::mem::take(&mut self.touched.clusters) {
            let Some(state) = self.proxies.get_mut(&proxy) else { continue };
            let wanted = state.clusters.contains_key(&key);
            match clusters.get(&key).filter(|_| wanted) {
                Some(upstream) => state.put_cluster(&key, upstream, endpoints),
                None => state.drop_cluster(&key),
            }
            self.touched.proxies.insert(proxy);
        }
    }
}

impl ProxyState {
    fn put_own(&mut self, before: Option<&ProxyParts>, new: Option<&Output<ProxyParts>>) {
        let after = new.map(|new| &*new.value);
        let of = new.map(|new| Sources::of_unit(&new.sources)).unwrap_or_default();
        self.listeners_due = true;
        put(&mut self.program.routes, before.map(|parts| &parts.routes), after.map(|parts| &parts.routes));
        put(&mut self.program.clusters, before.map(|parts| &parts.clusters), after.map(|parts| &parts.clusters));
        let [was, is] = [before, after].map(|parts| parts.map(|parts| &parts.datagram_listeners));
        put(&mut self.program.datagram_listeners, was, is);
        let names = |parts: &ProxyParts| {
            let listeners = parts
                .listeners
                .keys()
                .chain(parts.datagram_listeners.keys())
                .map(|name| ResourceId::new(ResourceKind::Listener, name.clone()));
            let routes = parts.routes.keys().map(|name| ResourceId::new(ResourceKind::Routes, name.clone()));
            let clusters = parts.clusters.keys().map(|name| ResourceId::new(ResourceKind::Cluster, name.clone()));
            listeners.chain(routes).chain(clusters).collect::<BTreeSet<_>>()
        };
        for id in before.map(names).unwrap_or_default() {
            self.sources.remove(&id);
        }
        for id in after.map(names).unwrap_or_default() {
            self.sources.insert(id, of.clone());
        }
        self.put_secrets();
    }

    fn put_cluster(&mut self, key: &ClusterKey, upstream: &Output<Upstream>, endpoints: &Layer<EndpointsKey, EndpointSet>) {
        let name = key.name();
        self.program.clusters.insert(name.clone(), Arc::clone(&upstream.value.cluster));
        self.sources.insert(ResourceId::new(ResourceKind::Cluster, name.clone()), Sources::of_unit(&upstream.sources));
        let pushed = key.endpoints().filter(|_| upstream.value.cluster.discovery == Discovery::Eds);
        match pushed.and_then(|key| endpoints.get(&key)) {
            Some(found) => self.put_endpoints(&name, found),
            None => self.drop_endpoints(&name),
        }
        let before = self.secrets.remove(key);
        if !upstream.value.secrets.is_empty() {
            self.secrets.insert(key.clone(), (upstream.value.secrets.clone(), Arc::clone(&upstream.sources)));
        }
        if before.is_some() || !upstream.value.secrets.is_empty() {
            self.put_secrets();
        }
    }

    fn drop_cluster(&mut self, key: &ClusterKey) {
        let name = key.name();
        self.program.clusters.remove(&name);
        self.sources.remove(&ResourceId::new(ResourceKind::Cluster, name.clone()));
        self.drop_endpoints(&name);
        if self.secrets.remove(key).is_some() {
            self.put_secrets();
        }
    }

    pub(super) fn put_endpoints(&mut self, name: &Text, endpoints: &Output<EndpointSet>) {
        self.program.endpoints.insert(name.clone(), Arc::clone(&endpoints.value));
        self.sources.insert(ResourceId::new(ResourceKind::Endpoints, name.clone()), Sources::of_unit(&endpoints.sources));
    }

    fn drop_endpoints(&mut self, name: &Text) {
        self.program.endpoints.remove(name);
        self.sources.remove(&ResourceId::new(ResourceKind::Endpoints, name.clone()));
    }

    /// Secrets are few: all of them are put again.
    fn put_secrets(&mut self) {
        for name in std::mem::take(&mut self.program.secrets).keys() {
            self.sources.remove(&ResourceId::new(ResourceKind::Secret, name.clone()));
        }
        let own = self.parts.values().map(|parts| (&parts.value.secrets, &parts.sources));
        let brought = self.secrets.values().map(|(secrets, sources)| (secrets, sources));
        for (secrets, sources) in own.chain(brought) {
            for (name, secret) in secrets {
                self.program.secrets.insert(name.clone(), Arc::clone(secret));
                self.sources.insert(ResourceId::new(ResourceKind::Secret, name.clone()), of_secret(name, sources));
            }
        }
    }
}

/// A certificate's resource is named like its object; a bundle is made of any that hold certificates.
fn of_secret(name: &Text, sources: &[ObjectVersion]) -> Sources {
    let holds = |version: &&ObjectVersion| matches!(version.object.kind, Kind::Secret | Kind::ConfigMap | Kind::ClusterTrustBundle);
    let exact = |version: &&ObjectVersion| *version.object.to_string() == **name;
    let any = sources.iter().any(|version| exact(&version));
    Sources::of_unit(&sources.iter().filter(|version| if any { exact(version) } else { holds(version) }).cloned().collect())
}

fn tables(parts: Option<&ProxyParts>) -> BTreeSet<TableKey> {
    let Some(parts) = parts else { return BTreeSet::new() };
    let composed = parts.composed.values().flatten().map(|host| host.table.clone());
    parts.tables.iter().cloned().chain(composed).collect()
}

/// What came and what went.
fn differ<T: Ord + Clone>(before: BTreeSet<T>, after: BTreeSet<T>) -> (BTreeSet<T>, BTreeSet<T>) {
    (after.difference(&before).cloned().collect(), before.difference(&after).cloned().collect())
}

fn put<V: PartialEq>(
    program: &mut imbl::OrdMap<Text, Arc<V>>,
    before: Option<&BTreeMap<Text, Arc<V>>>,
    after: Option<&BTreeMap<Text, Arc<V>>>,
) {
    for name in before.into_iter().flat_map(BTreeMap::keys).filter(|name| !after.is_some_and(|after| after.contains_key(*name))) {
        program.remove(name);
    }
    for (name, value) in after.into_iter().flatten() {
        if program.get(name) != Some(value) {
            program.insert(name.clone(), Arc::clone(value));
        }
    }
}
