//! From units to programs: who uses which table, cluster and filter configuration, counted, so that one changed unit touches
//! only the programs that use it and only the resources that it is in.

mod by_host;
mod extensions;
mod proxies;
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use imbl::OrdMap;
use windrose_ir::{EndpointSet, Program, Secret};
use windrose_vocab::{ProxyKey, ResourceId, SpiffeId, Text};

use crate::backend::{ClusterKey, EndpointsKey, Upstream};
use crate::plan::{Sources, Versions};
use crate::proxy::{PartsKey, ProxyParts};
use crate::route::TableKey;
use crate::world::{Filter, HostSlot, Layer, Output};

use extensions::ExtensionState;
use tables::TableState;

/// All programs as they are being assembled.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    tables: HashMap<TableKey, TableState>,
    extensions: HashMap<(Text, Filter), ExtensionState>,
    proxies: BTreeMap<ProxyKey, ProxyState>,
    cluster_users: BTreeMap<ClusterKey, BTreeSet<ProxyKey>>,
    by_endpoints: HashMap<EndpointsKey, BTreeSet<ClusterKey>>,
    required: HashMap<HostSlot, u32>,
    touched: Touched,
}

/// What must be built again when all units have run.
#[derive(Debug, Default)]
struct Touched {
    tables: BTreeSet<TableKey>,
    extensions: BTreeSet<(Text, Filter)>,
    clusters: BTreeSet<(ProxyKey, ClusterKey)>,
    proxies: BTreeSet<ProxyKey>,
}

/// One program, with the counts that say what is in it.
#[derive(Debug, Default)]
struct ProxyState {
    /// What it is put together from: one, or those of all Gateways that share it.
    parts: BTreeMap<PartsKey, Output<ProxyParts>>,
    program: Program,
    sources: OrdMap<ResourceId, Sources>,
    clusters: BTreeMap<ClusterKey, u32>,
    /// Tables that its listeners take host by host.
    by_host: BTreeSet<Text>,
    /// Whether its listeners, or the way they take tables, changed.
    listeners_due: bool,
    /// Secrets that clusters bring, with what they are made of.
    secrets: BTreeMap<ClusterKey, BroughtSecrets>,
}

type BroughtSecrets = (BTreeMap<Text, Arc<Secret>>, Versions);

/// A program that changed; none where its proxy is gone.
pub(crate) type Settled = (ProxyKey, Option<(Arc<Program>, OrdMap<ResourceId, Sources>, SpiffeId)>);

impl Assembly {
    /// Whether a host must be there though no route may be attached.
    pub(crate) fn requires(&self, slot: &HostSlot) -> bool {
        self.required.contains_key(slot)
    }

    /// Clusters that some program names now, or named before.
    pub(crate) fn touched_clusters(&self) -> BTreeSet<ClusterKey> {
        self.touched.clusters.iter().map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn uses_cluster(&self, key: &ClusterKey) -> bool {
        self.cluster_users.contains_key(key)
    }

    pub(crate) fn uses_endpoints(&self, key: &EndpointsKey) -> bool {
        self.by_endpoints.contains_key(key)
    }

    /// A cluster has other content than before.
    pub(crate) fn cluster_changed(&mut self, key: &ClusterKey) {
        let users = self.cluster_users.get(key).into_iter().flatten();
        self.touched.clusters.extend(users.map(|proxy| (proxy.clone(), key.clone())));
    }

    /// The endpoints of clusters have other content than before.
    pub(crate) fn endpoints_changed(&mut self, key: &EndpointsKey, endpoints: &Layer<EndpointsKey, EndpointSet>) {
        let Some(new) = endpoints.get(key) else { return };
        for cluster in self.by_endpoints.get(key).into_iter().flatten() {
            let name = cluster.name();
            for proxy in self.cluster_users.get(cluster).into_iter().flatten() {
                if let Some(state) = self.proxies.get_mut(proxy).filter(|state| state.program.endpoints.contains_key(&name)) {
                    state.put_endpoints(&name, new);
                    self.touched.proxies.insert(proxy.clone());
                }
            }
        }
    }

    /// Builds all that was touched; returns the programs that changed.
    pub(crate) fn settle(&mut self, clusters: &Layer<ClusterKey, Upstream>, endpoints: &Layer<EndpointsKey, EndpointSet>) -> Vec<Settled> {
        self.settle_clusters(clusters, endpoints);
        self.settle_tables();
        self.settle_extensions();
        let touched = std::mem::take(&mut self.touched);
        let mut settled = Vec::new();
        for proxy in touched.proxies {
            self.proxies.get_mut(&proxy).into_iter().for_each(ProxyState::put_listeners);
            let state = self.proxies.get(&proxy).and_then(|state| state.parts.values().next().map(|parts| (state, parts)));
            let content =
                state.map(|(state, parts)| (Arc::new(state.program.clone()), state.sources.clone(), parts.value.identity.clone()));
            if content.is_none() {
                self.proxies.remove(&proxy);
            }
            settled.push((proxy, content));
        }
        settled
    }
}

/// Counts up or down; whether the key came or went.
fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K, up: bool) -> bool {
    let count = counts.entry(key.clone()).or_insert(0);
    if up {
        *count += 1;
        return *count == 1;
    }
    *count = count.saturating_sub(1);
    let gone = *count == 0;
    if gone {
        counts.remove(key);
    }
    gone
}
