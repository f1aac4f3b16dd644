//! Envoy's word on what the cases render: every set is accepted, and a set with one broken resource of any kind is
//! refused for that resource, or the check would check nothing.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use windrose_tests::envoy::validate_encoded;
use windrose_vocab::{Resource, ResourceKind};

use crate::case::{self, Set};

/// Sets judged at the same time: an Envoy that validates is one busy thread.
const JUDGES: usize = 2;

#[test]
fn envoy_accepts_every_set_of_every_case() {
    let sets = case::all_sets();
    assert!(!sets.is_empty(), "the cases render nothing");
    let share = sets.len().div_ceil(JUDGES);
    let refusals: Vec<String> = std::thread::scope(|scope| {
        let judges: Vec<_> = sets.chunks(share).map(|share| scope.spawn(|| share.iter().filter_map(refusal).collect::<Vec<_>>())).collect();
        judges.into_iter().flat_map(|judge| judge.join().unwrap()).collect()
    });
    assert!(refusals.is_empty(), "Envoy refused {} of {} sets:\n{}", refusals.len(), sets.len(), refusals.join("\n"));
}

fn refusal(set: &Set) -> Option<String> {
    let words = judged(&set.resources).err()?;
    Some(format!("{} {}: {words}", set.case, set.proxy))
}

fn judged(resources: &[Arc<Resource>]) -> Result<(), String> {
    validate_encoded(&windrose_envoy::inline::bootstrap(resources.iter().map(|resource| &**resource)))
}

#[test]
fn envoy_refuses_a_set_with_one_broken_resource_of_any_kind() {
    let sets = case::all_sets();
    for kind in ResourceKind::ALL {
        let (set, index) = first_with(sets, kind);
        assert_eq!(judged(&set.resources), Ok(()), "{} {} before it is broken", set.case, set.proxy);
        let (bytes, expected) = broken(kind, &set.resources[index]);
        let mut resources = set.resources.clone();
        resources[index] = Arc::new(Resource { bytes: bytes.into(), ..(*resources[index]).clone() });
        let words = judged(&resources).expect_err(&format!("{kind}: Envoy accepts {} {} with it broken", set.case, set.proxy));
        assert!(words.contains(expected), "{kind}: refused for another reason than {expected:?}: {words}");
    }
}

/// The first set with a resource of that kind in use; Envoy looks at no secret that nothing refers to, and at no scope of a table that it
/// takes whole.
fn first_with(sets: &[Set], kind: ResourceKind) -> (&Set, usize) {
    let of_table =
        |scope: &Resource, table: &Resource| scope.id.name.strip_prefix(&*table.id.name).is_some_and(|rest| rest.starts_with('/'));
    let whole = |set: &Set, scope: &Resource| set.resources.iter().any(|one| one.id.kind == ResourceKind::Routes && of_table(scope, one));
    let used = |set: &Set, resource: &Resource| match kind {
        ResourceKind::ScopedRoutes => !whole(set, resource),
        _ => kind.is_wildcard() || set.resources.iter().any(|other| other.refs.contains(&resource.id)),
    };
    let position = |set: &Set| set.resources.iter().position(|resource| resource.id.kind == kind && used(set, resource));
    let found = sets.iter().find_map(|set| Some((set, position(set)?)));
    found.unwrap_or_else(|| panic!("no case renders a {kind} resource that is in use"))
}

/// The resource with one thing wrong in it, and what Envoy says about that.
fn broken(kind: ResourceKind, resource: &Resource) -> (Vec<u8>, &'static str) {
    let bytes = &resource.bytes;
    match kind {
        ResourceKind::Cluster => edited(bytes, "ClusterValidationError.Name", |cluster: &mut cluster::Cluster| cluster.name.clear()),
        ResourceKind::Endpoints => edited(bytes, "PortValue", |assignment: &mut endpoint::ClusterLoadAssignment| {
            assignment.endpoints = vec![unreachable_port()];
        }),
        ResourceKind::Secret => edited(bytes, "certificate", |secret: &mut tls::Secret| {
            let garbage = Some(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString("no PEM at all".to_owned())),
                ..Default::default()
            });
            match secret.r#type.as_mut() {
                Some(tls::secret::Type::TlsCertificate(pair)) => pair.certificate_chain = garbage,
                Some(tls::secret::Type::ValidationContext(context)) => context.trusted_ca = garbage,
                other => panic!("a secret of another type: {}", other.is_some()),
            }
        }),
        ResourceKind::Extension => edited(bytes, "unknown.Type", |extension: &mut core::TypedExtensionConfig| {
            extension.typed_config = Some(Any { type_url: "type.googleapis.com/unknown.Type".to_owned(), value: Vec::new() });
        }),
        ResourceKind::Listener => edited(bytes, "address", |listener: &mut listener::Listener| listener.address = None),
        ResourceKind::ScopedRoutes => edited(bytes, "Key", |scope: &mut route::ScopedRouteConfiguration| scope.key = None),
        ResourceKind::Routes => edited(bytes, "Domains", |routes: &mut route::RouteConfiguration| {
            routes.virtual_hosts = vec![route::VirtualHost { name: "nameless".to_owned(), ..Default::default() }];
        }),
    }
}

fn edited<M: Message + Default>(bytes: &[u8], expected: &'static str, edit: impl FnOnce(&mut M)) -> (Vec<u8>, &'static str) {
    let mut message = M::decode(bytes).unwrap();
    edit(&mut message);
    (message.encode_to_vec(), expected)
}

fn unreachable_port() -> endpoint::LocalityLbEndpoints {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    use endpoint::lb_endpoint::HostIdentifier;
    let socket = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(70_000)),
        ..Default::default()
    };
    let endpoint =
        endpoint::Endpoint { address: Some(core::Address { address: Some(Address::SocketAddress(socket)) }), ..Default::default() };
    let endpoint = endpoint::LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() };
    endpoint::LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() }
}
