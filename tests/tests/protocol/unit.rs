//! A unit is a listener with everything behind it, down to an echo server. Each of its resources tells a word of its own
//! in the answers through it, so that one answer shows which version of each resource the proxy runs.

use std::net::SocketAddr;

use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Reply};
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;
use windrose_vocab::{Resource, ResourceKind};

use crate::parts::{self, cluster, core, hcm, header_mutation, listener, route, tls};
use crate::stage::PATIENCE;

/// Seconds for which a listener waits for routes that never come, so that nobody waits for 15.
const ROUTES_WAIT: i64 = 3;

/// One unit; resources are named after it.
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) listen: SocketAddr,
    pub(crate) backend: SocketAddr,
    shape: Shape,
    authority: TestAuthority,
    words: [&'static str; ResourceKind::ALL.len()],
    /// A certificate is made once for each word: the same word is the same resource.
    identities: Vec<(&'static str, Identity)>,
}

/// What a unit has beside listener, routes, cluster and endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    /// TLS with a certificate by SDS.
    Secured,
    /// A filter by ECDS.
    Extended,
    /// Routes by SRDS, in a scope of the unit's host.
    Scoped,
}

impl Unit {
    /// A unit that has a resource of that kind; all its resources tell `one`.
    pub(crate) fn with(kind: ResourceKind, name: &'static str, listen: SocketAddr, backend: SocketAddr) -> Self {
        let shape = match kind {
            ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Listener | ResourceKind::Routes => Shape::Plain,
            ResourceKind::Secret => Shape::Secured,
            ResourceKind::Extension => Shape::Extended,
            ResourceKind::ScopedRoutes => Shape::Scoped,
        };
        let words = ["one"; ResourceKind::ALL.len()];
        let mut unit = Self { name, listen, backend, shape, authority: TestAuthority::new("test root"), words, identities: Vec::new() };
        unit.tell(ResourceKind::Secret, "one");
        unit
    }

    /// The resource of that kind tells another word from now on.
    pub(crate) fn tell(&mut self, kind: ResourceKind, word: &'static str) {
        self.words[kind.index()] = word;
        if kind == ResourceKind::Secret && !self.identities.iter().any(|(known, _)| *known == word) {
            self.identities.push((word, self.authority.issue(&[&format!("{word}.test")])));
        }
    }

    pub(crate) fn word(&self, kind: ResourceKind) -> &'static str {
        self.words[kind.index()]
    }

    /// All its resources.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let table = if self.shape == Shape::Scoped { self.scope() } else { self.routes() };
        let mut all = vec![self.cluster(), self.endpoints(), table, self.listener()];
        all.extend((self.shape == Shape::Secured).then(|| self.secret()));
        all.extend((self.shape == Shape::Extended).then(|| self.extension()));
        all
    }

    /// All its resources, but `bad` in the place of the good one of that kind.
    pub(crate) fn resources_with(&self, bad: Resource) -> Vec<Resource> {
        let mut all = self.resources();
        all.retain(|one| one.id.kind != bad.id.kind);
        all.push(bad);
        all
    }

    pub(crate) fn cluster_message(&self) -> cluster::Cluster {
        let by_eds = cluster::cluster::ClusterDiscoveryType::Type(cluster::cluster::DiscoveryType::Eds.into());
        let eds = cluster::cluster::EdsClusterConfig { eds_config: Some(parts::ads(None)), ..Default::default() };
        cluster::Cluster {
            name: self.name.to_owned(),
            cluster_discovery_type: Some(by_eds),
            eds_cluster_config: Some(eds),
            metadata: Some(parts::metadata(self.word(ResourceKind::Cluster))),
            ..Default::default()
        }
    }

    /// The cluster's resource, of that message.
    pub(crate) fn cluster_of(&self, message: &cluster::Cluster) -> Resource {
        parts::resource(ResourceKind::Cluster, self.name, message, &[(ResourceKind::Endpoints, self.name)])
    }

    fn cluster(&self) -> Resource {
        self.cluster_of(&self.cluster_message())
    }

    fn endpoints(&self) -> Resource {
        let message = parts::endpoints(self.name, self.backend, self.word(ResourceKind::Endpoints));
        parts::resource(ResourceKind::Endpoints, self.name, &message, &[])
    }

    /// The table that tells the words of cluster and endpoints too.
    pub(crate) fn table(&self, own: (&str, ResourceKind)) -> route::RouteConfiguration {
        let headers = vec![
            parts::header(own.0, self.word(own.1)),
            parts::header("x-cluster", "%CLUSTER_METADATA(test:told)%"),
            parts::header("x-endpoints", "%UPSTREAM_METADATA(test:told)%"),
        ];
        parts::table(self.name, self.name, headers)
    }

    fn routes(&self) -> Resource {
        self.routes_of(&self.table(("x-routes", ResourceKind::Routes)))
    }

    pub(crate) fn routes_of(&self, message: &route::RouteConfiguration) -> Resource {
        parts::resource(ResourceKind::Routes, self.name, message, &[(ResourceKind::Cluster, self.name)])
    }

    pub(crate) fn scope_message(&self) -> route::ScopedRouteConfiguration {
        use route::scoped_route_configuration::{Key, key};
        let host = key::fragment::Type::StringKey(self.host());
        route::ScopedRouteConfiguration {
            name: self.name.to_owned(),
            route_configuration: Some(self.table(("x-scope", ResourceKind::ScopedRoutes))),
            key: Some(Key { fragments: vec![key::Fragment { r#type: Some(host) }] }),
            ..Default::default()
        }
    }

    pub(crate) fn scope_of(&self, message: &route::ScopedRouteConfiguration) -> Resource {
        parts::resource(ResourceKind::ScopedRoutes, self.name, message, &[(ResourceKind::Cluster, self.name)])
    }

    fn scope(&self) -> Resource {
        self.scope_of(&self.scope_message())
    }

    fn extension(&self) -> Resource {
        use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation::Action};
        let told = parts::header("x-extension", self.word(ResourceKind::Extension));
        let mutations = header_mutation::Mutations {
            response_mutations: vec![HeaderMutation { action: Some(Action::Append(told)) }],
            ..Default::default()
        };
        let config = header_mutation::HeaderMutation { mutations: Some(mutations), ..Default::default() };
        parts::resource(ResourceKind::Extension, self.name, &parts::extension(self.name, &config), &[])
    }

    /// The certificate that tells the present word.
    pub(crate) fn identity(&self) -> &Identity {
        let word = self.word(ResourceKind::Secret);
        self.identities.iter().find(|(known, _)| *known == word).map(|(_, identity)| identity).unwrap()
    }

    fn secret(&self) -> Resource {
        let Identity { chain_pem, key_pem } = self.identity();
        self.secret_of(tls::TlsCertificate {
            certificate_chain: Some(parts::text(chain_pem)),
            private_key: Some(parts::text(key_pem)),
            ..Default::default()
        })
    }

    pub(crate) fn secret_of(&self, certificate: tls::TlsCertificate) -> Resource {
        let message = tls::Secret { name: self.name.to_owned(), r#type: Some(tls::secret::Type::TlsCertificate(certificate)) };
        parts::resource(ResourceKind::Secret, self.name, &message, &[])
    }

    pub(crate) fn manager(&self) -> hcm::HttpConnectionManager {
        let router = envoy_types::pb::envoy::extensions::filters::http::router::v3::Router::default();
        let discovered = (self.shape == Shape::Extended).then(|| parts::discovered(self.name));
        hcm::HttpConnectionManager {
            stat_prefix: self.name.to_owned(),
            server_name: self.word(ResourceKind::Listener).to_owned(),
            route_specifier: Some(self.route_specifier()),
            http_filters: discovered.into_iter().chain([parts::http_filter("router", &router)]).collect(),
            ..Default::default()
        }
    }

    fn route_specifier(&self) -> hcm::http_connection_manager::RouteSpecifier {
        use hcm::http_connection_manager::RouteSpecifier;
        use hcm::scoped_routes::scope_key_builder::fragment_builder::{HeaderValueExtractor, Type, header_value_extractor::ExtractType};
        use hcm::scoped_routes::{ConfigSpecifier, ScopeKeyBuilder, scope_key_builder::FragmentBuilder};
        if self.shape != Shape::Scoped {
            let name = self.name.to_owned();
            return RouteSpecifier::Rds(hcm::Rds { config_source: Some(parts::ads(Some(ROUTES_WAIT))), route_config_name: name });
        }
        let host = HeaderValueExtractor {
            name: ":authority".to_owned(),
            element_separator: String::new(),
            extract_type: Some(ExtractType::Index(0)),
        };
        let builder = FragmentBuilder { r#type: Some(Type::HeaderValueExtractor(host)) };
        let source =
            hcm::ScopedRds { scoped_rds_config_source: Some(parts::ads(Some(ROUTES_WAIT))), srds_resources_locator: String::new() };
        RouteSpecifier::ScopedRoutes(hcm::ScopedRoutes {
            name: self.name.to_owned(),
            scope_key_builder: Some(ScopeKeyBuilder { fragments: vec![builder] }),
            rds_config_source: None,
            config_specifier: Some(ConfigSpecifier::ScopedRds(source)),
        })
    }

    pub(crate) fn listener_message(&self, filters: Vec<listener::Filter>) -> listener::Listener {
        let transport_socket: Option<core::TransportSocket> = (self.shape == Shape::Secured).then(|| parts::secured_by(self.name));
        let chain = listener::FilterChain { name: "all".to_owned(), filters, transport_socket, ..Default::default() };
        listener::Listener {
            name: self.name.to_owned(),
            address: Some(parts::address(self.listen)),
            filter_chains: vec![chain],
            ..Default::default()
        }
    }

    pub(crate) fn listener_of(&self, message: &listener::Listener) -> Resource {
        let table = if self.shape == Shape::Scoped { ResourceKind::ScopedRoutes } else { ResourceKind::Routes };
        let mut refs = vec![(table, self.name)];
        refs.extend((self.shape == Shape::Secured).then_some((ResourceKind::Secret, self.name)));
        refs.extend((self.shape == Shape::Extended).then_some((ResourceKind::Extension, self.name)));
        parts::resource(ResourceKind::Listener, self.name, message, &refs)
    }

    fn listener(&self) -> Resource {
        self.listener_of(&self.listener_message(vec![parts::filter("http", &self.manager())]))
    }

    fn host(&self) -> String {
        format!("{}.test", self.name)
    }

    /// A request through it.
    pub(crate) fn call(&self) -> Call {
        let call = Call::get(self.listen, "/").host(&self.host());
        if self.shape == Shape::Secured { call.tls(&TlsClient::trusting_anyone(), "unit.test") } else { call }
    }

    /// Waits until answers tell the present word of every kind, but for that kind `word`.
    pub(crate) async fn runs(&self, kind: ResourceKind, word: &str) {
        wait_until(PATIENCE, &format!("{} to run {kind} {word}", self.name), async || {
            let reply = self.call().send().await.map_err(|cause| cause.to_string())?;
            let told = told(kind, &reply);
            if reply.status == 200 && told == word { Ok(()) } else { Err(format!("{} tells {told:?}", reply.status)) }
        })
        .await;
    }
}

/// The word of a resource of that kind in an answer.
fn told(kind: ResourceKind, reply: &Reply) -> String {
    let header = match kind {
        ResourceKind::Cluster => "x-cluster",
        ResourceKind::Endpoints => "x-endpoints",
        ResourceKind::Secret => return certified(reply),
        ResourceKind::Extension => "x-extension",
        ResourceKind::Listener => "server",
        ResourceKind::ScopedRoutes => "x-scope",
        ResourceKind::Routes => "x-routes",
    };
    reply.header(header).to_owned()
}

/// What stands before `.test` in the certificate's name.
fn certified(reply: &Reply) -> String {
    let leaf = reply.peer_certificates.first().map(|leaf| String::from_utf8_lossy(leaf).into_owned()).unwrap_or_default();
    let before = leaf.split(".test").next().unwrap_or_default().to_owned();
    before.chars().rev().take_while(char::is_ascii_lowercase).collect::<String>().chars().rev().collect()
}
