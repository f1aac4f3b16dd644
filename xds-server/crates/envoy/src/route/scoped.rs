//! Scoped routes (SRDS): one scope per exact host, so that a change of one host costs that host and not the table.
//!
//! All listeners of a proxy share one SRDS subscription, and a scope's key has to be unique in it. So the key has two
//! parts, the table and the host, which the listener writes into headers before routes are looked up: the host comes out
//! of `:authority` without its port, and [`crate::filters::spelling`] writes it in lower case where it was not. In its scope a host is
//! compared as in a whole table, so that both give the same answer to whatever a client writes.

use windrose_ir::route::{RouteTable, VirtualHost};

use crate::pb;
use pb::core::header_value_option::HeaderAppendAction;
use pb::hcm::scoped_routes::scope_key_builder::{FragmentBuilder, fragment_builder};
use pb::hcm::scoped_routes::{ConfigSpecifier, ScopeKeyBuilder};
use pb::hcm::{ScopedRds, ScopedRoutes};
use pb::mutation::header_mutation::Action;
use pb::route::scoped_route_configuration::{Key, key};

/// Carries the table's name within the proxy. A client's own is overwritten; it goes no further than the route.
const TABLE_HEADER: &str = "x-windrose-table";
/// Carries the host in the same way.
pub(crate) const HOST_HEADER: &str = "x-windrose-host";

/// The scope of one host.
pub(crate) fn message(table: &str, host: &VirtualHost) -> pb::route::ScopedRouteConfiguration {
    let name = RouteTable::scope_name(table, &host.name);
    let mut hosts = super::configuration(&name, || std::iter::once(host));
    hosts.request_headers_to_remove = [TABLE_HEADER, HOST_HEADER].map(str::to_owned).to_vec();
    let fragment = |text: &str| key::Fragment { r#type: Some(key::fragment::Type::StringKey(text.to_owned())) };
    pb::route::ScopedRouteConfiguration {
        name: name.to_string(),
        route_configuration: Some(hosts),
        key: Some(Key { fragments: vec![fragment(table), fragment(&host.name)] }),
        ..Default::default()
    }
}

/// Whether a scope of that name is of that table.
pub(crate) fn belongs_to(scope: &str, table: &str) -> bool {
    scope.rsplit_once('/').is_some_and(|(owner, _)| owner == table)
}

/// How a listener finds the scope of a request.
pub(crate) fn source(table: &str) -> ScopedRoutes {
    ScopedRoutes {
        name: table.to_owned(),
        // What follows a colon is a port, or the rest of an address, which no scope has.
        scope_key_builder: Some(ScopeKeyBuilder { fragments: vec![fragment(TABLE_HEADER, ""), fragment(HOST_HEADER, ":")] }),
        rds_config_source: None,
        config_specifier: Some(ConfigSpecifier::ScopedRds(ScopedRds {
            scoped_rds_config_source: pb::ads(),
            srds_resources_locator: String::new(),
        })),
    }
}

/// The first part of a header between separators.
fn fragment(header: &str, separator: &str) -> FragmentBuilder {
    let first = fragment_builder::HeaderValueExtractor {
        name: header.to_owned(),
        element_separator: separator.to_owned(),
        extract_type: Some(fragment_builder::header_value_extractor::ExtractType::Index(0)),
    };
    FragmentBuilder { r#type: Some(fragment_builder::Type::HeaderValueExtractor(first)) }
}

/// Writes table and host over whatever a client sent under these headers, before routes are looked up.
pub(crate) fn headers(table: &str) -> pb::core::TypedExtensionConfig {
    let set = [(TABLE_HEADER, table.replace('%', "%%")), (HOST_HEADER, "%REQ(:authority)%".to_owned())];
    let mutations = set.map(|(name, value)| {
        let header = pb::core::HeaderValueOption {
            header: Some(pb::core::HeaderValue { key: name.to_owned(), value, raw_value: vec![] }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
            // Else an empty host would leave what the client sent.
            keep_empty_value: true,
            ..Default::default()
        };
        pb::mutation::HeaderMutation { action: Some(Action::Append(header)) }
    });
    pb::extension(
        "envoy.http.early_header_mutation.header_mutation",
        &pb::early_header_mutation::HeaderMutation { mutations: mutations.to_vec() },
    )
}
