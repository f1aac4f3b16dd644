//! `ir::RouteTable` → a route configuration (RDS), or one scope per host (SRDS).

mod action;
mod headers;
mod matching;
pub(crate) mod scoped;

use std::collections::{BTreeSet, HashMap};

use windrose_filter_kit::policy::METADATA_NAMESPACE;
use windrose_ir::route::{Forward, Route, RouteAction, RouteTable, VirtualHost};
use windrose_vocab::{Hostname, ResourceId, ResourceKind};

use crate::filters::external_auth::{self, Phase};
use crate::filters::{cors, give_body, sessions, spelling};
use crate::limits::DIRECT_RESPONSE_BYTES;
use crate::pb;
use crate::render::KindMap;
use headers::Changes;

pub(crate) use matching::header_matcher;

pub(crate) fn message(name: &str, table: &RouteTable) -> pb::route::RouteConfiguration {
    configuration(name, || table.hosts.values().map(|host| &**host))
}

/// The clusters that these hosts and their routes need, and those of `extensions` that have their policies.
pub(crate) fn refs<'a>(hosts: impl IntoIterator<Item = &'a VirtualHost>, extensions: &KindMap) -> BTreeSet<ResourceId> {
    let mut all = BTreeSet::new();
    for host in hosts {
        let asked = host.routes.iter().flat_map(|route| &route.external_auth).chain(&host.external_auth);
        let forwards = host.routes.iter().filter_map(|route| match &route.action {
            RouteAction::Forward(forward) => Some(forward),
            RouteAction::Redirect(_) | RouteAction::Respond { .. } => None,
        });
        let names = forwards.flat_map(|forward| clusters(forward)).chain(asked.filter_map(external_auth::cluster));
        all.extend(names.map(|name| ResourceId::new(ResourceKind::Cluster, name)));
        let filters = host.filters.iter().filter(|name| extensions.contains_key(*name));
        all.extend(filters.map(|name| ResourceId::new(ResourceKind::Extension, name.clone())));
    }
    all
}

fn clusters(forward: &Forward) -> impl Iterator<Item = &str> {
    let backends = forward.backends.iter().filter_map(|backend| backend.cluster.as_deref());
    backends.chain(forward.mirrors.iter().map(|mirror| &*mirror.cluster))
}

fn configuration<'a, I: Iterator<Item = &'a VirtualHost>>(name: &str, hosts: impl Fn() -> I) -> pb::route::RouteConfiguration {
    let mut domains = Domains::of(hosts());
    let longest = hosts().flat_map(|host| &host.routes).filter_map(|route| match &route.action {
        RouteAction::Respond { body, .. } => Some(body.len()),
        RouteAction::Forward(_) | RouteAction::Redirect(_) => None,
    });
    let longest = longest.max().filter(|bytes| *bytes > DIRECT_RESPONSE_BYTES).and_then(|bytes| u32::try_from(bytes).ok());
    pb::route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: hosts().filter_map(|host| virtual_host(host, domains.take(host))).collect(),
        // A share of a split may name no cluster on purpose (`action::NO_CLUSTER`), and a late cluster is no reason to refuse a table.
        validate_clusters: pb::boolean(false),
        ignore_port_in_host_matching: domains.ignore_port,
        max_direct_response_body_size_bytes: longest.map(|value| pb::google::UInt32Value { value }),
        ..Default::default()
    }
}

fn virtual_host(host: &VirtualHost, domains: Vec<String>) -> Option<pb::route::VirtualHost> {
    (!domains.is_empty()).then(|| pb::route::VirtualHost {
        name: host.name.to_string(),
        domains,
        routes: host.routes.iter().map(|one| route(one)).collect(),
        typed_per_filter_config: external_auth::per_host(&host.external_auth),
        ..Default::default()
    })
}

fn route(route: &Route) -> pb::route::Route {
    let mut message = pb::route::Route {
        name: route.name.to_string(),
        r#match: Some(matching::route_match(&route.matcher, route.share)),
        metadata: metadata(route),
        typed_per_filter_config: per_filter(route),
        request_body_buffer_limit: (route.buffer_bytes > 0).then_some(pb::google::UInt64Value { value: route.buffer_bytes }),
        ..Default::default()
    };
    let changes = Changes::of(&route.request_headers, &route.response_headers);
    message.action = Some(action::action(route, changes.host.as_deref()));
    message.request_headers_to_add = changes.request_add;
    message.request_headers_to_remove = changes.request_remove;
    message.response_headers_to_add = changes.response_add;
    message.response_headers_to_remove = changes.response_remove;
    message
}

fn per_filter(route: &Route) -> HashMap<String, pb::google::Any> {
    let mut configs = give_body::per_route(route);
    configs.extend(route.cors.iter().flat_map(|cors| cors::per_route(cors)));
    configs.extend(sessions::per_route(route));
    configs.extend(route.external_auth.iter().map(|asked| external_auth::per_route(Phase::Route, asked)));
    configs
}

fn metadata(route: &Route) -> Option<pb::core::Metadata> {
    let policies = pb::string_struct(route.policies.iter().map(|(filter, entry)| (&**filter, &**entry)));
    let policies = (!route.policies.is_empty()).then(|| (METADATA_NAMESPACE.to_owned(), policies));
    let filter_metadata: HashMap<_, _> = policies.into_iter().chain(spelling::metadata(route)).collect();
    (!filter_metadata.is_empty()).then(|| pb::core::Metadata { filter_metadata, ..Default::default() })
}

/// The domains of a table, each given to the first host that claims it: Envoy refuses a table that has one twice.
///
/// Ports: Envoy ignores them for the whole table or not at all. They are ignored, unless an authority of the table names
/// one; then hosts take any port by a second domain `host:*`, which a wildcard host cannot have.
struct Domains {
    ignore_port: bool,
    taken: BTreeSet<String>,
}

impl Domains {
    fn of<'a>(hosts: impl Iterator<Item = &'a VirtualHost>) -> Self {
        let ignore_port = !hosts.flat_map(|host| &host.authorities).any(|authority| has_port(authority));
        Self { ignore_port, taken: BTreeSet::new() }
    }

    fn take(&mut self, host: &VirtualHost) -> Vec<String> {
        let ignore_port = self.ignore_port;
        let hosts = host.hosts.iter().flat_map(|host| domains_of(host, ignore_port));
        let all = hosts.chain(host.authorities.iter().map(|authority| authority.to_ascii_lowercase()));
        all.filter(|domain| self.taken.insert(domain.clone())).collect()
    }
}

fn domains_of(host: &Hostname, ignore_port: bool) -> Vec<String> {
    let plain = host.as_str().to_owned();
    let with_port = (!ignore_port && host.is_exact()).then(|| format!("{plain}:*"));
    std::iter::once(plain).chain(with_port).collect()
}

fn has_port(authority: &str) -> bool {
    split_port(authority).1.is_some()
}

/// Host and port of an authority; the brackets of an IPv6 address stay.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}
