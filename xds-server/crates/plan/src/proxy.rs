//! What is run for one Gateway or Workload besides what is shared with others: its listeners, and what those need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_ir::http::{Authorization, HttpFilter};
use windrose_ir::{Cluster, DatagramListener, Listener, RouteTable, Secret};
use windrose_vocab::{ObjectRef, ProxyKey, SpiffeId, Text};

use crate::backend::ClusterKey;
use crate::plan::OpenPort;
use crate::route::TableKey;
use crate::world::{Filter, HostSlot};

/// The parts of a program that belong to one Gateway or Workload alone, and the names of those that it shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyParts {
    /// The proxies that run them.
    pub(crate) runs_on: ProxyKey,
    pub(crate) identity: SpiffeId,
    /// The ports of a Gateway.
    pub(crate) ports: BTreeSet<OpenPort>,
    pub(crate) listeners: BTreeMap<Text, Arc<Listener>>,
    pub(crate) datagram_listeners: BTreeMap<Text, Arc<DatagramListener>>,
    /// Route tables of its own.
    pub(crate) routes: BTreeMap<Text, Arc<RouteTable>>,
    /// Clusters of its own.
    pub(crate) clusters: BTreeMap<Text, Arc<Cluster>>,
    pub(crate) secrets: BTreeMap<Text, Arc<Secret>>,
    /// Shared clusters that its listeners name.
    pub(crate) uses: BTreeSet<ClusterKey>,
    /// Shared route tables.
    pub(crate) tables: BTreeSet<TableKey>,
    /// Route tables of its own whose hosts have the routes of shared ones; by name.
    pub(crate) composed: BTreeMap<Text, Vec<ComposedHost>>,
    /// Hosts that must be there though no route may be attached.
    pub(crate) hosts: BTreeSet<HostSlot>,
    /// Filter configurations, by scope.
    pub(crate) extensions: BTreeSet<(Text, Filter)>,
}

/// For what parts are run, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartsKey {
    /// The Gateway or Workload.
    pub(crate) of: ObjectRef,
    pub(crate) runner: Runner,
}

/// Whose proxies run something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Runner {
    /// Those of its own.
    Own,
    /// Those that it shares with others.
    Shared,
}

impl ProxyParts {
    pub(crate) fn new(runs_on: ProxyKey, identity: SpiffeId) -> Self {
        Self {
            runs_on,
            identity,
            ports: BTreeSet::new(),
            listeners: BTreeMap::new(),
            datagram_listeners: BTreeMap::new(),
            routes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            uses: BTreeSet::new(),
            tables: BTreeSet::new(),
            composed: BTreeMap::new(),
            hosts: BTreeSet::new(),
            extensions: BTreeSet::new(),
        }
    }
}

/// A host with the routes that a shared table has for every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComposedHost {
    pub(crate) name: Text,
    pub(crate) authorities: Vec<Text>,
    pub(crate) table: TableKey,
}

/// The name of a filter's configuration.
pub(crate) fn extension_name(scope: &str, filter: Filter) -> Text {
    format!("{scope}/{}", filter.name()).into()
}

/// The filters of a chain in the order that requests pass them: CORS answers preflights without a token; addresses and identities
/// come before tokens, tokens before limits by claim, and transcoding last, so that limits see the request as it was sent. The service that a
/// route asks comes behind tokens; at every edge, whether a route asks one or not: one that comes is never without.
pub(crate) fn chain_of_filters(
    edge: bool,
    authorization: impl IntoIterator<Item = Authorization>,
    extensions: &BTreeSet<(Text, Filter)>,
) -> Vec<HttpFilter> {
    let cors = edge.then_some(HttpFilter::Cors);
    let authorization = authorization.into_iter().map(HttpFilter::Authorization);
    let ours = Filter::ALL.into_iter().flat_map(|filter| {
        let of_kind = extensions.iter().filter(move |(_, known)| *known == filter);
        let of_kind = of_kind.map(|(scope, filter)| HttpFilter::Extension(extension_name(scope, *filter)));
        of_kind.chain((edge && filter == Filter::JwtAuth).then_some(HttpFilter::RouteAuth))
    });
    cors.into_iter().chain(authorization).chain(ours).collect()
}
