//! One static bootstrap out of a set of resources, for `envoy --mode validate`, which looks at nothing that comes by a
//! path: routes, scopes and extensions move into the listeners, endpoints into the clusters, secrets stand beside.

use std::collections::BTreeMap;

use prost::Message;
use windrose_vocab::{Resource, ResourceKind};

use crate::limits::INLINE_CONNECTIONS;
use crate::pb;
use crate::print;
use crate::route::scoped;
use pb::bootstrap::bootstrap::StaticResources;
use pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use pb::hcm::http_connection_manager::RouteSpecifier;
use pb::hcm::scoped_routes::ConfigSpecifier;
use pb::hcm::{HttpConnectionManager, ScopedRouteConfigurationsList};
use pb::tls::common_tls_context::ValidationContextType;
use pb::tls::{CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext};

/// The bootstrap as an encoded `envoy.config.bootstrap.v3.Bootstrap`: a file that ends in `.pb` is read as one.
/// Bytes that are no message of their kind go in as an empty one, which Envoy refuses.
#[must_use]
pub fn bootstrap<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Vec<u8> {
    message(resources).encode_to_vec()
}

/// The same as YAML, with everything in it: secrets too.
#[must_use]
pub fn bootstrap_yaml<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> String {
    print::exact(&message(resources))
}

fn message<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> pb::bootstrap::Bootstrap {
    let mut set = Set::default();
    resources.into_iter().for_each(|resource| set.take(resource));
    let static_resources = StaticResources {
        listeners: set.listeners.iter().cloned().map(|listener| set.listener(listener)).collect(),
        clusters: set.clusters.iter().cloned().map(|cluster| set.cluster(cluster)).collect(),
        secrets: set.secrets.clone(),
    };
    pb::bootstrap::Bootstrap {
        node: Some(pb::core::Node { id: "validate".to_owned(), cluster: "validate".to_owned(), ..Default::default() }),
        static_resources: Some(static_resources),
        layered_runtime: Some(crate::bootstrap::runtime()),
        overload_manager: Some(crate::bootstrap::overload(INLINE_CONNECTIONS)),
        ..Default::default()
    }
}

#[derive(Default)]
struct Set {
    clusters: Vec<pb::cluster::Cluster>,
    endpoints: BTreeMap<String, pb::endpoint::ClusterLoadAssignment>,
    secrets: Vec<pb::tls::Secret>,
    extensions: BTreeMap<String, pb::core::TypedExtensionConfig>,
    listeners: Vec<pb::listener::Listener>,
    scopes: Vec<pb::route::ScopedRouteConfiguration>,
    routes: BTreeMap<String, pb::route::RouteConfiguration>,
}

impl Set {
    fn take(&mut self, resource: &Resource) {
        let (name, bytes) = (resource.id.name.to_string(), &resource.bytes);
        match resource.id.kind {
            ResourceKind::Cluster => self.clusters.push(decode(bytes)),
            ResourceKind::Endpoints => _ = self.endpoints.insert(name, decode(bytes)),
            ResourceKind::Secret => self.secrets.push(decode(bytes)),
            ResourceKind::Extension => _ = self.extensions.insert(name, decode(bytes)),
            ResourceKind::Listener => self.listeners.push(decode(bytes)),
            ResourceKind::ScopedRoutes => self.scopes.push(decode(bytes)),
            ResourceKind::Routes => _ = self.routes.insert(name, decode(bytes)),
        }
    }

    fn cluster(&self, mut cluster: pb::cluster::Cluster) -> pb::cluster::Cluster {
        if cluster.eds_cluster_config.take().is_some() {
            let empty = || pb::endpoint::ClusterLoadAssignment { cluster_name: cluster.name.clone(), ..Default::default() };
            cluster.load_assignment = Some(self.endpoints.get(&cluster.name).cloned().unwrap_or_else(empty));
            cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32));
        }
        let others = cluster.transport_socket_matches.iter_mut().map(|other| &mut other.transport_socket);
        for socket in others.chain([&mut cluster.transport_socket]) {
            if let Some(pb::core::transport_socket::ConfigType::TypedConfig(config)) = socket_config(socket) {
                edit(config, |tls: &mut UpstreamTlsContext| static_secrets(tls.common_tls_context.as_mut()));
            }
        }
        cluster
    }

    fn listener(&self, mut listener: pb::listener::Listener) -> pb::listener::Listener {
        for chain in listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain) {
            if let Some(pb::core::transport_socket::ConfigType::TypedConfig(config)) = socket_config(&mut chain.transport_socket) {
                edit(config, |tls: &mut DownstreamTlsContext| static_secrets(tls.common_tls_context.as_mut()));
            }
            for filter in &mut chain.filters {
                if let Some(pb::listener::filter::ConfigType::TypedConfig(config)) = &mut filter.config_type {
                    edit(config, |manager: &mut HttpConnectionManager| self.manager(manager));
                }
            }
        }
        listener
    }

    fn manager(&self, manager: &mut HttpConnectionManager) {
        for filter in &mut manager.http_filters {
            self.filter(filter);
        }
        manager.route_specifier = match manager.route_specifier.take() {
            Some(RouteSpecifier::Rds(rds)) => {
                let empty = || pb::route::RouteConfiguration { name: rds.route_config_name.clone(), ..Default::default() };
                Some(RouteSpecifier::RouteConfig(self.routes.get(&rds.route_config_name).cloned().unwrap_or_else(empty)))
            }
            Some(RouteSpecifier::ScopedRoutes(mut scopes)) => {
                let own = self.scopes.iter().filter(|scope| scoped::belongs_to(&scope.name, &scopes.name)).cloned();
                let list = ScopedRouteConfigurationsList { scoped_route_configurations: own.collect() };
                // A static list must not be empty, nor are its tables found without a source.
                if list.scoped_route_configurations.is_empty() {
                    Some(RouteSpecifier::RouteConfig(pb::route::RouteConfiguration::default()))
                } else {
                    scopes.rds_config_source = pb::ads();
                    scopes.config_specifier = Some(ConfigSpecifier::ScopedRouteConfigurationsList(list));
                    Some(RouteSpecifier::ScopedRoutes(scopes))
                }
            }
            inlined => inlined,
        };
    }

    fn filter(&self, filter: &mut pb::hcm::HttpFilter) {
        if let Some(pb::hcm::http_filter::ConfigType::ConfigDiscovery(source)) = &filter.config_type {
            let delivered = self.extensions.get(&filter.name).and_then(|extension| extension.typed_config.clone());
            let config = delivered.or_else(|| source.default_config.clone());
            filter.config_type = config.map(pb::hcm::http_filter::ConfigType::TypedConfig);
        }
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap_or_default()
}

fn socket_config(socket: &mut Option<pb::core::TransportSocket>) -> Option<&mut pb::core::transport_socket::ConfigType> {
    socket.as_mut()?.config_type.as_mut()
}

/// Changes what an `Any` holds, if it holds that type.
fn edit<M: Message + prost::Name + Default>(any: &mut pb::google::Any, change: impl FnOnce(&mut M)) {
    if any.type_url == M::type_url()
        && let Ok(mut message) = M::decode(&*any.value)
    {
        change(&mut message);
        any.value = message.encode_to_vec();
    }
}

/// A secret without a source is looked for in the bootstrap.
fn static_secrets(tls: Option<&mut CommonTlsContext>) {
    let Some(tls) = tls else { return };
    for secret in &mut tls.tls_certificate_sds_secret_configs {
        secret.sds_config = None;
    }
    if let Some(ValidationContextType::CombinedValidationContext(combined)) = &mut tls.validation_context_type
        && let Some(secret) = &mut combined.validation_context_sds_secret_config
    {
        secret.sds_config = None;
    }
}
