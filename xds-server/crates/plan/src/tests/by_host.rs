//! Tables whose hosts are all exact are taken host by host, and only those.

use std::sync::Arc;

use windrose_api::declared::Changed;
use windrose_ir::http::RouteSource;
use windrose_ir::{Handler, Program, RouteTable};
use windrose_vocab::{Kind, ObjectRef, ProxyKey, ResourceId, ResourceKind};

use super::world::*;
use crate::{Plan, Planner, Refused};

const TABLE: &str = "shop/edge/80";

fn source(program: &Program) -> RouteSource {
    match &program.listeners[TABLE].chains[0].handler {
        Handler::Http(http) => http.routes.clone(),
        other => panic!("{other:?}"),
    }
}

fn edge_with(hosts: &[&str]) -> Plan {
    let routes = hosts.iter().enumerate().map(|(index, host)| route(&format!("r{index}"), &[host], vec![rule(vec![prefix("/")], "o")]));
    plan([gateway(vec![listener("web", 80, "")]), service("o", 80)].into_iter().chain(routes))
}

#[test]
fn a_table_of_exact_hosts_is_taken_by_host_and_one_with_a_wildcard_whole() {
    for (hosts, expected) in [
        (&["a.example", "b.example"][..], RouteSource::Scoped(TABLE.into())),
        (&[], RouteSource::Scoped(TABLE.into())),
        (&["a.example", "*.example"], RouteSource::Table(TABLE.into())),
    ] {
        let plan = edge_with(hosts);
        assert_eq!(source(edge_program(&plan)), expected, "{hosts:?}");
        assert!(edge_program(&plan).routes[TABLE].by_host, "connections from before a wildcard host still look for their host");
    }
    let any = plan([gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], vec![rule(vec![prefix("/")], "o")])]);
    assert_eq!(source(edge_program(&any)), RouteSource::Table(TABLE.into()));
}

#[test]
fn each_host_carries_its_own_routes_versions_and_no_others() {
    let sources = |plan: &Plan, kind, name: &str| -> Option<Vec<String>> {
        let of = plan.sources[&ProxyKey::gateway(NS, "edge")].get(&ResourceId::new(kind, name))?;
        Some(of.iter().map(|version| version.object.to_string()).filter(|name| name.starts_with("HTTPRoute")).collect())
    };
    let by_host = edge_with(&["a.example", "b.example"]);
    let scope = RouteTable::scope_name(TABLE, "b.example");
    assert_eq!(sources(&by_host, ResourceKind::ScopedRoutes, &scope), Some(vec!["HTTPRoute/shop/r1".to_owned()]));
    assert_eq!(sources(&by_host, ResourceKind::Routes, TABLE), None);
    let whole = edge_with(&["a.example", "*.example"]);
    assert_eq!(sources(&whole, ResourceKind::Routes, TABLE).map(|routes| routes.len()), Some(2));
    assert_eq!(sources(&whole, ResourceKind::ScopedRoutes, &RouteTable::scope_name(TABLE, "a.example")), None);
}

#[test]
fn an_edit_of_one_host_shares_all_others() {
    let web = |name: &str, path: &str| route(name, &[&format!("{name}.example")], vec![rule(vec![prefix(path)], "o")]);
    let mut world = declared([gateway(vec![listener("web", 80, "")]), service("o", 80), web("a", "/"), web("b", "/")]);
    let mut planner = Planner::new(settings());
    let all = Changed { objects: world.iter().map(|object| object.meta().object.clone()).collect() };
    let before = planner.update(&world, &Refused::default(), &all);
    world.insert(web("b", "/new"));
    let changed = Changed { objects: [ObjectRef::new(Kind::HTTPRoute, NS, "b")].into() };
    let after = planner.update(&world, &Refused::default(), &changed);
    let hosts = [&before, &after].map(|plan| &edge_program(plan).routes[TABLE].hosts);
    assert!(Arc::ptr_eq(&hosts[0]["a.example"], &hosts[1]["a.example"]));
    assert!(!Arc::ptr_eq(&hosts[0]["b.example"], &hosts[1]["b.example"]));
    assert!(edge_program(&before).listeners.ptr_eq(&edge_program(&after).listeners));
}
