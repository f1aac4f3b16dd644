//! Scoped routes (SRDS): one scope per exact host, so that a change of one host costs that host and not the table.
//!
//! All listeners of a proxy share one SRDS subscription, and a scope's key has to be unique in it. So the key has two
//! parts: the table, which the listener writes into a header before routes are looked up, and the host.

use std::borrow::Cow;
use std::collections::BTreeMap;

use windrose_ir::route::{RouteTable, VirtualHost};
use windrose_vocab::Hostname;

use crate::pb;
use pb::route::scoped_route_configuration::{Key, key};

/// Carries the table's name within the proxy. A client's own is overwritten; it goes no further than the route.
pub(crate) const TABLE_HEADER: &str = "x-windrose-table";

/// The hosts of a table by authority: exact hosts and literal authorities, without port. A wildcard host has no scope.
pub(crate) fn scopes(table: &RouteTable) -> BTreeMap<Cow<'_, str>, &VirtualHost> {
    let mut scopes = BTreeMap::new();
    for host in &table.hosts {
        for authority in authorities(host) {
            scopes.entry(authority).or_insert(host);
        }
    }
    scopes
}

/// The scope of one host.
pub(crate) fn message(table: &str, authority: &str, host: &VirtualHost) -> pb::route::ScopedRouteConfiguration {
    let name = scope_name(table, authority);
    let mut hosts = super::configuration(
        &name,
        super::virtual_host(host, vec!["*".to_owned()]).into_iter().collect(),
        std::slice::from_ref(host),
        false,
    );
    hosts.request_headers_to_remove.push(TABLE_HEADER.to_owned());
    let fragment = |text: &str| key::Fragment { r#type: Some(key::fragment::Type::StringKey(text.to_owned())) };
    pb::route::ScopedRouteConfiguration {
        name,
        route_configuration: Some(hosts),
        key: Some(Key { fragments: vec![fragment(table), fragment(authority)] }),
        ..Default::default()
    }
}

/// Whether a scope of that name is of that table.
pub(crate) fn belongs_to(scope: &str, table: &str) -> bool {
    scope.rsplit_once('/').is_some_and(|(owner, _)| owner == table)
}

/// The name of the scope of that authority.
pub(crate) fn scope_name(table: &str, authority: &str) -> String {
    format!("{table}/{authority}")
}

fn authorities(host: &VirtualHost) -> impl Iterator<Item = Cow<'_, str>> {
    let exact = host.hosts.iter().filter(|host| host.is_exact()).map(Hostname::as_str);
    let literal = host.authorities.iter().map(|authority| super::split_port(authority).0);
    exact
        .chain(literal)
        .map(|text| if text.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) })
}
