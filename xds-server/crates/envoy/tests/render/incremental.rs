//! What is rendered after an edit equals what is rendered from nothing, and shares all that the edit did not touch.

use std::sync::Arc;

use crate::fixture::{self, answer, cluster, endpoints, renderer, route, text, to, virtual_host};
use proptest::prelude::*;
use windrose_ir::http::{HttpFilter, HttpHandler, RouteSource};
use windrose_ir::listener::{Handler, Transport};
use windrose_ir::route::{PathMatch, RouteTable};
use windrose_ir::{Discovery, Extension, Program};
use windrose_vocab::ResourceKind;

#[derive(Clone, Copy, Debug)]
enum Edit {
    Cluster(u8, Option<u8>),
    Endpoints(u8, Option<u8>),
    Table(u8, Option<u8>),
    /// Listener, table, and whether it takes scopes of it.
    Listener(u8, Option<(u8, bool)>),
    Extension(u8, bool),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0u8..3, any::<Option<u8>>()).prop_map(|(name, value)| Edit::Cluster(name, value)),
        (0u8..3, any::<Option<u8>>()).prop_map(|(name, value)| Edit::Endpoints(name, value)),
        (0u8..3, prop::option::of(0u8..16)).prop_map(|(name, value)| Edit::Table(name, value)),
        (0u8..3, prop::option::of((0u8..3, any::<bool>()))).prop_map(|(name, value)| Edit::Listener(name, value)),
        (0u8..3, any::<bool>()).prop_map(|(name, there)| Edit::Extension(name, there)),
    ];
    prop::collection::vec(edit, 1..20)
}

fn apply(program: &mut Program, edit: Edit) {
    fn put<V>(map: &mut imbl::OrdMap<windrose_vocab::Text, Arc<V>>, name: u8, value: Option<V>) {
        let name = text(&format!("n{name}"));
        match value {
            Some(value) => _ = map.insert(name, Arc::new(value)),
            None => _ = map.remove(&name),
        }
    }
    match edit {
        Edit::Cluster(name, limit) => {
            let value = limit.map(|limit| {
                let mut value = cluster(Discovery::Eds);
                value.limits.retries = limit.into();
                value
            });
            put(&mut program.clusters, name, value);
        }
        Edit::Endpoints(name, last) => put(&mut program.endpoints, name, last.map(|last| endpoints(&[&format!("10.0.0.{last}:80")]))),
        Edit::Table(name, bits) => put(&mut program.routes, name, bits.map(table)),
        Edit::Listener(name, uses) => {
            let value = uses.map(|(table, scoped)| {
                let table = text(&format!("n{table}"));
                let filters = vec![HttpFilter::Extension(table.clone())];
                let routes = if scoped { RouteSource::Scoped(table) } else { RouteSource::Table(table) };
                let handler = Handler::Http(Box::new(HttpHandler { filters, ..fixture::handler(routes) }));
                fixture::listener("127.0.0.1:1", vec![fixture::chain("http", Transport::Plain, handler)])
            });
            put(&mut program.listeners, name, value);
        }
        Edit::Extension(name, there) => {
            put(&mut program.extensions, name, there.then(|| Extension::JwtAuth(fixture::jwt_table())));
        }
    }
}

/// A table with a host for each of three bits; the fourth says whether they go by themselves.
fn table(bits: u8) -> RouteTable {
    let host = |bit: u8| {
        let name = format!("h{bit}.example");
        let action = if bits & 7 == 7 { answer(503, "") } else { to("n0") };
        virtual_host(&name, &[&name], vec![route("all", PathMatch::Prefix(text("/")), action)])
    };
    RouteTable { by_host: bits & 8 == 8, ..(0..3).filter(|bit| bits >> bit & 1 == 1).map(host).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_update_equals_a_rendering_from_nothing(edits in edits()) {
        let renderer = renderer();
        let (mut program, mut rendered) = (Program::default(), renderer.full(&Program::default()));
        for edit in edits {
            let mut next = program.clone();
            apply(&mut next, edit);
            rendered = renderer.update(&rendered, &program, &next);
            program = next;
            prop_assert_eq!(&rendered, &renderer.full(&program));
            let named = rendered.of_kind(ResourceKind::Listener).values().flat_map(|listener| listener.refs.iter());
            for id in named.filter(|id| matches!(id.kind, ResourceKind::Routes | ResourceKind::Extension)) {
                prop_assert!(rendered.of_kind(id.kind).contains_key(&id.name), "{} is not there", id);
            }
        }
    }
}

#[test]
fn an_edit_of_one_value_makes_one_resource_anew() {
    let renderer = renderer();
    let old = fixture::everything();
    let before = renderer.full(&old);
    let mut new = old.clone();
    new.endpoints.insert(text("orders"), Arc::new(endpoints(&["127.0.0.9:1"])));
    let after = renderer.update(&before, &old, &new);
    let shared = before.iter().filter(|resource| after.iter().any(|other| Arc::ptr_eq(resource, other))).count();
    assert_eq!(shared, before.iter().count() - 1);
    let changed = &after.of_kind(ResourceKind::Endpoints)["orders"];
    assert_ne!(changed.version, before.of_kind(ResourceKind::Endpoints)["orders"].version);
}

#[test]
fn a_host_of_a_scoped_table_changes_alone() {
    let renderer = renderer();
    let old = fixture::everything();
    let before = renderer.full(&old);
    let mut new = old.clone();
    let mut table = RouteTable::clone(&old.routes["scoped"]);
    let host = table.hosts.get_mut("b.example").unwrap();
    Arc::make_mut(host).routes.push(route("more", PathMatch::Exact(text("/x")), answer(404, "")).into());
    new.routes.insert(text("scoped"), Arc::new(table));
    let after = renderer.update(&before, &old, &new);
    let [a, b] = ["scoped/a.example", "scoped/b.example"]
        .map(|name| Arc::ptr_eq(&before.of_kind(ResourceKind::ScopedRoutes)[name], &after.of_kind(ResourceKind::ScopedRoutes)[name]));
    assert!(a && !b);
    assert!(before.of_kind(ResourceKind::Routes).ptr_eq(after.of_kind(ResourceKind::Routes)));
}

#[test]
fn every_reference_names_a_resource_of_the_set() {
    let set = fixture::complete(&renderer().full(&fixture::everything()));
    for resource in &set {
        for id in resource.refs.iter() {
            assert!(set.iter().any(|other| other.id == *id), "{} needs {id}", resource.id);
        }
        assert!(resource.refs.is_sorted());
    }
}
