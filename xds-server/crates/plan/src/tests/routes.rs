use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use windrose_api::declared::backend::{ObjectReference, SliceEndpoint};
use windrose_api::declared::route::{
    BackendRef, Filter, HeaderChanges, Match, PathMatch, PathModifier, Redirect, Retry, Rewrite, Rule, SessionPersistence, ValueMatch,
};
use windrose_api::declared::{AnyObject, Changed};
use windrose_ir::route::{RouteAction, Session};
use windrose_vocab::{Kind, ObjectRef, Text, Weight};

use super::world::*;
use crate::{Planner, Refused, Subject};

const TABLE: &str = "shop/edge/80";

fn edge() -> AnyObject {
    gateway(vec![listener("web", 80, "")])
}

#[test]
fn a_route_reaches_the_endpoints_of_its_service() {
    let plan = plan([
        edge(),
        service("orders", 80),
        slice("orders", &["10.0.0.2", "10.0.0.1"]),
        route("orders", &["shop.example"], vec![rule(vec![prefix("/")], "orders")]),
    ]);
    let program = edge_program(&plan);
    assert_eq!(targets(virtual_host(program, TABLE, "shop.example")), ["shop/orders/80"]);
    let printed = crate::print(&plan);
    assert!(printed.contains("endpoints shop/orders/80: 10.0.0.1:8080, 10.0.0.2:8080"), "{printed}");
    assert_eq!(reasons(&plan, &route_verdict("orders")), ["Accepted=true Accepted", "ResolvedRefs=true ResolvedRefs"]);
    assert_eq!(codes(&plan), [""; 0]);
}

/// The endpoints of a Service, each with the zones that it is meant for, after they were changed.
fn meant(change: impl FnOnce(&mut Vec<SliceEndpoint>), more: Vec<AnyObject>) -> String {
    let AnyObject::EndpointSlice(mut slice) = slice("orders", &["10.0.0.1", "10.0.0.2"]) else { unreachable!() };
    let declared = Arc::make_mut(&mut slice);
    let mut endpoints = std::mem::take(&mut declared.spec.endpoints).into_vec();
    for (endpoint, zone) in endpoints.iter_mut().zip(["a", "b"]) {
        endpoint.for_zones = [Text::from(zone)].into();
    }
    change(&mut endpoints);
    declared.spec.endpoints = endpoints.into();
    let objects =
        [edge(), service("orders", 80), AnyObject::EndpointSlice(slice), route("orders", &[], vec![rule(vec![prefix("/")], "orders")])];
    let printed = crate::print(&plan(objects.into_iter().chain(more)));
    printed.lines().find_map(|line| line.trim().strip_prefix("endpoints shop/orders/80: ")).unwrap().to_owned()
}

#[test]
fn hints_hold_while_each_ready_endpoint_has_one() {
    assert_eq!(meant(|_| {}, vec![]), "10.0.0.1:8080 for a, 10.0.0.2:8080 for b");
    assert_eq!(meant(|all| all[0].for_zones = ["a".into(), "c".into()].into(), vec![]), "10.0.0.1:8080 for a c, 10.0.0.2:8080 for b");
    assert_eq!(meant(|all| all[1].for_zones = [].into(), vec![]), "10.0.0.1:8080, 10.0.0.2:8080");
    let drains = |all: &mut Vec<SliceEndpoint>| {
        (all[1].ready, all[1].terminating, all[1].for_zones) = (false, true, [].into());
    };
    assert_eq!(meant(drains, vec![]), "10.0.0.1:8080 for a, 10.0.0.2:8080 draining", "what takes nothing new needs none");
}

#[test]
fn where_none_is_ready_those_that_end_and_still_serve_take_what_comes() {
    let end = |endpoint: &mut SliceEndpoint, serving| {
        (endpoint.ready, endpoint.serving, endpoint.terminating, endpoint.for_zones) = (false, serving, true, [].into());
    };
    let both = |first, second| {
        move |all: &mut Vec<SliceEndpoint>| {
            end(&mut all[0], first);
            end(&mut all[1], second);
        }
    };
    assert_eq!(meant(both(true, true), vec![]), "10.0.0.1:8080, 10.0.0.2:8080");
    assert_eq!(meant(both(true, false), vec![]), "10.0.0.1:8080");
    assert_eq!(meant(both(false, false), vec![]), "none");
    let beside = meant(both(true, true), vec![workload("w", "10.0.0.9", "orders", None)]);
    assert!(beside.contains("10.0.0.9:15080") && beside.contains("10.0.0.1:8080 draining"), "a Workload is ready: {beside}");
}

#[test]
fn a_workload_beside_hinted_endpoints_is_meant_for_its_own_zone() {
    let at = |zone: &str| {
        let AnyObject::Workload(mut workload) = workload("more", "10.0.0.3", "orders", None) else { unreachable!() };
        Arc::make_mut(&mut workload).spec.zone = zone.into();
        vec![AnyObject::Workload(workload)]
    };
    let without = "10.0.0.1:8080 outside, 10.0.0.2:8080 outside";
    assert_eq!(meant(|_| {}, at("c")), "10.0.0.1:8080 outside for a, 10.0.0.2:8080 outside for b, 10.0.0.3:15080@c for c");
    assert_eq!(meant(|_| {}, at("")), format!("{without}, 10.0.0.3:15080"), "nobody says where it is");
    let nobody = |all: &mut Vec<SliceEndpoint>| all.iter_mut().for_each(|one| one.for_zones = [].into());
    assert_eq!(meant(nobody, at("c")), format!("{without}, 10.0.0.3:15080@c"), "a zone alone is no wish");
}

#[test]
fn matches_are_tried_exact_then_longest_prefix_then_regex_then_everything() {
    let with_header = Match::Http {
        path: PathMatch::Prefix("/v1".into()),
        method: None,
        headers: vec![ValueMatch { name: "X-Beta".into(), regex: false, value: "1".into() }],
        query: Vec::new(),
    };
    let with_method =
        Match::Http { path: PathMatch::Prefix("/v1".into()), method: Some("GET".into()), headers: Vec::new(), query: Vec::new() };
    let regex = Match::Http { path: PathMatch::Regex("/v[0-9]+/x".into()), method: None, headers: Vec::new(), query: Vec::new() };
    let rules = vec![
        rule(vec![prefix("/")], "a:1"),
        rule(vec![regex], "a:2"),
        rule(vec![prefix("/v1")], "a:3"),
        rule(vec![with_header], "a:4"),
        rule(vec![with_method], "a:5"),
        rule(vec![prefix("/v1/long")], "a:6"),
        rule(vec![exact("/v1")], "a:7"),
    ];
    let services = (1..8).map(|_| ());
    let mut a = None;
    for number in services.zip(1..).map(|((), number)| number) {
        let AnyObject::Service(one) = service("a", number) else { unreachable!() };
        let all: &mut windrose_api::declared::Object<windrose_api::declared::Service> = a.get_or_insert_with(|| (*one).clone());
        if number > 1 {
            all.spec.ports.extend(one.spec.ports.clone());
        }
    }
    let plan = plan([edge(), AnyObject::Service(a.unwrap().into()), route("r", &[], rules)]);
    let order = targets(virtual_host(edge_program(&plan), TABLE, "*"));
    assert_eq!(order, ["shop/a/7", "shop/a/6", "shop/a/5", "shop/a/4", "shop/a/3", "shop/a/2", "shop/a/1"]);
}

#[test]
fn the_older_of_two_equal_matches_wins_and_the_other_is_told() {
    let old = aged(&http_route("z", route_spec(&[], vec![rule(vec![prefix("/a")], "old")])), 5);
    let new = aged(&http_route("a", route_spec(&[], vec![rule(vec![prefix("/a/")], "new")])), 9);
    let plan = plan([edge(), service("old", 80), service("new", 80), AnyObject::Route(old), AnyObject::Route(new)]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["shop/old/80"]);
    assert_eq!(codes(&plan), ["Shadowed"]);
}

#[test]
fn reordering_rules_renames_nothing() {
    let rules = || vec![rule(vec![prefix("/a"), prefix("/b")], "orders"), rule(vec![exact("/c")], "orders")];
    let reversed = || rules().into_iter().rev().collect();
    let plan_of = |rules| plan([edge(), service("orders", 80), route("r", &[], rules)]);
    assert_eq!(edge_program(&plan_of(rules())), edge_program(&plan_of(reversed())));
}

#[test]
fn a_missing_backend_answers_500_for_its_share_and_names_the_nearest() {
    let mut both = rule(vec![prefix("/")], "orders");
    both.backends.push(BackendRef { weight: Weight::new(3).unwrap(), ..to("oders") });
    let plan = plan([edge(), service("orders", 80), route("r", &[], vec![both, rule(vec![prefix("/x")], "nobody")])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["500", "shop/orders/80+500"]);
    let told = told(&plan).join("\n");
    assert!(told.contains("spec.rules[0].backendRefs[1]: no Service `oders` in namespace `shop` (did you mean `orders`?)"), "{told}");
    assert_eq!(reasons(&plan, &route_verdict("r")), ["Accepted=true Accepted", "ResolvedRefs=false BackendNotFound"]);
}

#[test]
fn a_backend_of_another_namespace_needs_a_grant() {
    let world = |grants: Vec<AnyObject>| {
        let objects =
            vec![edge(), service_speaking("other", "orders", 80, None), route("r", &[], vec![rule(vec![prefix("/")], "other/orders")])];
        plan(objects.into_iter().chain(grants))
    };
    let without = world(Vec::new());
    assert_eq!(targets(virtual_host(edge_program(&without), TABLE, "*")), ["500"]);
    assert_eq!(reasons(&without, &route_verdict("r"))[1], "ResolvedRefs=false RefNotPermitted");
    let wrong = world(vec![grant("other", (Kind::GRPCRoute, NS), Kind::Service)]);
    assert_eq!(targets(virtual_host(edge_program(&wrong), TABLE, "*")), ["500"]);
    let with = world(vec![grant("other", (Kind::HTTPRoute, NS), Kind::Service)]);
    assert_eq!(targets(virtual_host(edge_program(&with), TABLE, "*")), ["other/orders/80"]);
}

#[test]
fn a_reference_into_a_namespace_that_is_left_out_says_so_as_long_as_it_is() {
    let labelled = |left_out: bool| {
        let AnyObject::Namespace(mut namespace) = namespace("other", &[]) else { unreachable!() };
        Arc::make_mut(&mut namespace).spec.left_out = left_out;
        AnyObject::Namespace(namespace)
    };
    let mut world = declared([edge(), route("r", &[], vec![rule(vec![prefix("/")], "other/orders")]), labelled(false)]);
    let mut planner = Planner::new(settings());
    let all = world.iter().map(|object| object.meta().object.clone()).collect();
    planner.update(&world, &Refused::default(), &Changed { objects: all });
    for left_out in [true, false] {
        let changed = labelled(left_out);
        let objects = [changed.meta().object.clone()].into();
        world.insert(changed);
        let followed = planner.update(&world, &Refused::default(), &Changed { objects });
        let told = followed.diagnostics.iter().any(|told| told.message.contains("namespace `other` is not selected"));
        assert_eq!(told, left_out);
        assert_eq!(reasons(&followed, &route_verdict("r"))[1], "ResolvedRefs=false RefNotPermitted");
        assert_eq!(crate::print(&followed), crate::print(&crate::plan(&world, &Refused::default(), &settings())));
    }
}

#[test]
fn a_weight_of_zero_gets_nothing_and_only_zeros_answer_500() {
    let zero = || BackendRef { weight: Weight::new(0).unwrap(), ..to("b") };
    let mut some = rule(vec![prefix("/some")], "a");
    some.backends.push(zero());
    let none = Rule { matches: vec![prefix("/none")], backends: vec![zero()], ..Rule::default() };
    let plan = plan([edge(), service("a", 80), service("b", 80), route("r", &[], vec![some, none])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["shop/a/80", "500"].map(str::to_owned));
    assert!(!edge_program(&plan).clusters.contains_key("shop/b/80"));
}

#[test]
fn an_external_name_is_refused() {
    let AnyObject::Service(orders) = service("orders", 80) else { unreachable!() };
    let mut orders = (*orders).clone();
    orders.spec.external_name = Some("metadata.internal".into());
    let plan = plan([edge(), AnyObject::Service(orders.into()), route("r", &[], vec![rule(vec![prefix("/")], "orders")])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["500"]);
    assert_eq!(codes(&plan), ["Unsupported"]);
}

#[test]
fn an_unknown_filter_never_lets_the_request_through() {
    let unknown = ObjectReference { group: "example.com".into(), kind: "Magic".into(), namespace: None, name: "wand".into() };
    let filtered = Rule { filters: vec![Filter::Extension(unknown)], ..rule(vec![prefix("/")], "orders") };
    let plan = plan([edge(), service("orders", 80), route("r", &[], vec![filtered])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["500"]);
}

#[test]
fn a_redirect_needs_no_backend() {
    let redirect = Redirect { scheme: Some("https".into()), status: Some(301), ..Redirect::default() };
    let rules = vec![Rule { matches: vec![prefix("/")], filters: vec![Filter::Redirect(redirect)], ..Rule::default() }];
    let plan = plan([edge(), route("r", &[], rules)]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["301"]);
}

#[test]
fn times_of_a_route_and_of_one_attempt_are_kept_apart() {
    let seconds = |number| Some(std::time::Duration::from_secs(number));
    let retried = Rule {
        backend_timeout: seconds(2),
        retry: Some(Retry { codes: vec![503], attempts: Some(3), backoff: None }),
        ..rule(vec![prefix("/retried")], "orders")
    };
    let once = Rule { backend_timeout: seconds(2), request_timeout: seconds(10), ..rule(vec![prefix("/once")], "orders") };
    let plan = plan([edge(), service("orders", 80), route("r", &[], vec![retried, once])]);
    let printed = crate::print(&plan);
    assert!(printed.contains("/retried* -> shop/orders/80 1, timeout 8s, 3 retries of 2s on [503] after 25ms"), "{printed}");
    assert!(printed.contains("/once* -> shop/orders/80 1, timeout 2s\n"), "{printed}");
}

#[test]
fn grpc_routes_speak_http2_and_stand_with_http_routes() {
    let by_method = Match::Grpc { regex: false, service: Some("shop.Orders".into()), method: Some("Get".into()), headers: Vec::new() };
    let spec = route_spec(&[], vec![rule(vec![by_method], "orders"), rule(Vec::new(), "orders")]);
    let grpc = AnyObject::Route(object(Kind::GRPCRoute, NS, "g", spec));
    let plan = plan([edge(), service("orders", 80), grpc, route("h", &[], vec![rule(vec![prefix("/")], "orders")])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["shop/orders/80/grpc", "shop/orders/80/grpc", "shop/orders/80"]);
    let names: Vec<_> = virtual_host(edge_program(&plan), TABLE, "*").routes.iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names, ["GRPCRoute/shop/g/=/shop.Orders/Get", "GRPCRoute/shop/g//*", "HTTPRoute/shop/h//*"]);
    assert!(crate::print(&plan).contains("cluster shop/orders/80/grpc: Http2"));
}

#[test]
fn a_port_that_speaks_tls_needs_to_be_trusted_first() {
    let plan = plan([edge(), service_speaking(NS, "orders", 80, Some("https")), route("r", &[], vec![rule(vec![prefix("/")], "orders")])]);
    assert_eq!(reasons(&plan, &route_verdict("r"))[1], "ResolvedRefs=false UnsupportedProtocol");
}

#[test]
fn hosts_of_a_route_are_those_that_the_listener_has_too() {
    let edge = gateway(vec![listener("web", 80, "*.shop.example")]);
    let hosts = ["a.shop.example", "shop.example", "*.b.shop.example"];
    let plan_of = |hosts: &[&str]| plan([edge.clone(), service("o", 80), route("r", hosts, vec![rule(vec![prefix("/")], "o")])]);
    let names: Vec<_> = edge_program(&plan_of(&hosts)).routes[TABLE].hosts.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["*.b.shop.example", "a.shop.example"]);
    let none = plan_of(&["other.example"]);
    assert_eq!(reasons(&none, &route_verdict("r"))[0], "Accepted=false NoMatchingListenerHostname");
}

#[test]
fn requests_meet_only_the_most_specific_listener() {
    let edge = gateway(vec![listener("any", 80, "*.shop.example"), listener("one", 80, "one.shop.example")]);
    let mut spec = route_spec(&["one.shop.example", "two.shop.example"], vec![rule(vec![prefix("/")], "o")]);
    spec.parents[0].section = Some("any".into());
    let plan = plan([edge, service("o", 80), AnyObject::Route(http_route("r", spec))]);
    let program = edge_program(&plan);
    assert_eq!(targets(virtual_host(program, TABLE, "two.shop.example")), ["shop/o/80"]);
    assert_eq!(targets(virtual_host(program, TABLE, "one.shop.example")), [""; 0]);
}

#[test]
fn a_section_that_is_not_there_is_told_with_the_nearest() {
    let mut spec = route_spec(&[], vec![rule(vec![prefix("/")], "o")]);
    spec.parents[0].section = Some("wep".into());
    let subject = Subject::parent(ObjectRef::new(Kind::HTTPRoute, NS, "r"), spec.parents[0].clone());
    let plan = plan([edge(), service("o", 80), AnyObject::Route(http_route("r", spec))]);
    assert_eq!(reasons(&plan, &subject)[0], "Accepted=false NoMatchingParent");
    assert!(told(&plan).join("\n").contains("did you mean `web`?"), "{:?}", told(&plan));
}

#[test]
fn a_session_names_its_endpoint_and_needs_no_cluster_of_its_own() {
    let session = SessionPersistence { name: Some("sid".into()), ..SessionPersistence::default() };
    let rules = vec![Rule { session: Some(session), name: Some("cart".into()), ..rule(vec![prefix("/")], "o") }];
    let plan = plan([edge(), service("o", 80), route("r", &[], rules)]);
    let RouteAction::Forward(forward) = &virtual_host(edge_program(&plan), TABLE, "*").routes[0].action else { panic!("not forwarded") };
    assert_eq!(forward.backends[0].cluster.as_deref(), Some("shop/o/80"));
    let expected = Session::Cookie { name: "sid".into(), lifetime: Duration::ZERO, path: "/".into() };
    assert_eq!(forward.session, Some(expected));
    assert!(forward.hash.is_empty());
}

#[test]
fn a_made_up_name_of_a_session_is_of_one_rule() {
    let session = || Some(SessionPersistence::default());
    let rules =
        vec![Rule { session: session(), ..rule(vec![prefix("/a")], "o") }, Rule { session: session(), ..rule(vec![prefix("/b")], "o") }];
    let plan = plan([edge(), service("o", 80), route("r", &[], rules)]);
    let names: BTreeSet<_> = virtual_host(edge_program(&plan), TABLE, "*")
        .routes
        .iter()
        .map(|route| match &route.action {
            RouteAction::Forward(forward) => match &forward.session {
                Some(Session::Cookie { name, .. }) => name.to_string(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn between_several_backends_a_hash_of_the_session_decides() {
    let session = SessionPersistence { name: Some("sid".into()), ..SessionPersistence::default() };
    let both = vec![to("o"), to("p")];
    let rules = vec![Rule { session: Some(session), name: Some("cart".into()), backends: both, ..rule(vec![prefix("/")], "o") }];
    let plan = plan([edge(), service("o", 80), service("p", 80), route("r", &[], rules)]);
    let RouteAction::Forward(forward) = &virtual_host(edge_program(&plan), TABLE, "*").routes[0].action else { panic!("not forwarded") };
    assert_eq!(forward.backends[0].cluster.as_deref(), Some("shop/o/80@HTTPRoute/shop/r/cart"));
    assert_eq!((forward.session.clone(), forward.hash.len()), (Some(Session::Hashed), 1));
    assert_eq!(codes(&plan), ["Unsupported"]);
}

#[test]
fn backends_that_rewrite_the_path_apart_share_a_match_by_growing_bounds() {
    let at = |name: &str, weight: u32, path: &str| BackendRef {
        weight: Weight::new(i64::from(weight)).unwrap(),
        filters: vec![Filter::Rewrite(Rewrite { hostname: None, path: Some(PathModifier::Full(path.into())) })],
        ..to(name)
    };
    let backends = vec![at("o", 2, "/o"), at("p", 1, "/p"), at("q", 0, "/q"), at("o", 1, "/r")];
    let rules = vec![Rule { backends, ..rule(vec![prefix("/")], "o") }];
    let plan = plan([edge(), service("o", 80), service("p", 80), service("q", 80), route("r", &[], rules)]);
    let routes = &virtual_host(edge_program(&plan), TABLE, "*").routes;
    let bounds: Vec<_> = routes.iter().map(|route| route.share.map(|share| share.below_millionths)).collect();
    assert_eq!(bounds, [Some(500_000), Some(750_000), None]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["shop/o/80", "shop/p/80", "shop/o/80"]);
    assert!(codes(&plan).is_empty(), "{:?}", told(&plan));
}

#[test]
fn a_pattern_that_no_proxy_takes_matches_nothing_and_hides_nothing_else() {
    let bad = Match::Http { path: PathMatch::Regex("/a(".into()), method: None, headers: Vec::new(), query: Vec::new() };
    let plan = plan([edge(), service("o", 80), route("r", &[], vec![rule(vec![bad, prefix("/b")], "o")])]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["shop/o/80"]);
    assert_eq!(codes(&plan), ["OutOfRange"]);
    let expected = ["Accepted=true Accepted", "ResolvedRefs=true ResolvedRefs", "PartiallyInvalid=true UnsupportedValue"];
    assert_eq!(reasons(&plan, &route_verdict("r")), expected);
}

#[test]
fn a_header_that_would_break_a_message_closes_its_rule() {
    let changes = HeaderChanges { set: vec![("x-a".into(), "1\r\nx-b: 2".into())], ..HeaderChanges::default() };
    let rules = vec![Rule { filters: vec![Filter::RequestHeaders(changes)], ..rule(vec![prefix("/")], "o") }];
    let plan = plan([edge(), service("o", 80), route("r", &[], rules)]);
    assert_eq!(targets(virtual_host(edge_program(&plan), TABLE, "*")), ["500"]);
    assert_eq!(codes(&plan), ["OutOfRange"]);
}
