use std::time::Duration;

use windrose_api::declared::gateway::{Listener, Namespaces, Protocol};
use windrose_api::declared::route::{Filter, PathModifier, Redirect, Rewrite};
use windrose_api::declared::{AnyObject, ListenerSet, Route, SetAside};
use windrose_api::policy::{
    Action, AddressRules, AuthorizationPolicy, AuthorizationRule, CircuitBreaker, DescriptorSource, EdgePolicy, EscapedSlashes,
    HeaderLimits, JsonOptions, KeyPart, Limit, Paths, Plan as BillingPlan, Plans, Provider, Quota, RateLimitPolicy, Source,
    TelemetryPolicy, Timeouts, Tracing, TrafficPolicy, TranscodingPolicy,
};
use windrose_api::scalar;
use windrose_ir::Extension;
use windrose_vocab::{Kind, ObjectKey, ObjectRef};

use super::world::*;
use crate::Plan;

fn world(policies: impl IntoIterator<Item = AnyObject>) -> Plan {
    let mut named = rule(vec![prefix("/a")], "o");
    named.name = Some("a".into());
    let objects = [gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], vec![named, rule(vec![prefix("/b")], "o")])];
    plan(objects.into_iter().chain(policies))
}

fn seconds(number: u64) -> scalar::Duration {
    scalar::Duration(Duration::from_secs(number))
}

fn quota(requests: u32) -> Quota {
    Quota { requests, window: seconds(60), burst: None }
}

fn limit_policy(name: &str, targets: Vec<windrose_api::policy::TargetRef>, key: KeyPart) -> AnyObject {
    let plans = Plans { claim: "plan".to_owned(), quotas: vec![BillingPlan { name: "gold".to_owned(), quota: quota(100) }] };
    let limits = vec![Limit { name: "l".to_owned(), key: vec![key], quota: quota(10), plans: Some(plans) }];
    let spec = RateLimitPolicy { target_refs: targets, limits, shadow: false, headers: None };
    AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, name, spec))
}

fn by_claim() -> KeyPart {
    KeyPart { claim: Some("sub".to_owned()), client_address: None, header: None, route: None }
}

#[test]
fn what_judges_requests_is_not_accepted_where_connections_are() {
    let tcp = Listener { protocol: Protocol::Tcp, ..listener("db", 5432, "") };
    let on = |section| limit_policy("limits", vec![target(Kind::Gateway, "edge", section)], by_claim());
    let told_of = |policy| codes(&plan([gateway(vec![listener("web", 80, ""), tcp.clone()]), policy]));
    assert_eq!(told_of(on(Some("db"))), ["Unsupported"]);
    assert_eq!(told_of(on(None)), ["Unsupported"], "and a warning where it holds for others");
    assert_eq!(told_of(on(Some("web"))), [] as [&str; 0]);
}

#[test]
fn limits_of_a_gateway_and_of_its_routes_add_up_and_count_under_one_name() {
    let edge = limit_policy("edge", vec![target(Kind::Gateway, "edge", None)], by_claim());
    let own = limit_policy("own", vec![target(Kind::HTTPRoute, "r", Some("a"))], by_claim());
    let plan = world([edge, own]);
    let printed = crate::print(&plan);
    assert!(printed.contains("ratelimit shop/edge+shop/own\n"), "{printed}");
    assert!(printed.contains("shop/edge: shop/edge/l 10 per 60s burst 10 by claim sub, gold 100 per 60s burst 100\n"), "{printed}");
    let Extension::RateLimit(table) = &*edge_program(&plan).extensions["shop/edge/80/rate-limit"] else { panic!("not limits") };
    assert_eq!(
        table.policies["shop/edge+shop/own"].iter().map(|limit| limit.name.to_string()).collect::<Vec<_>>(),
        ["shop/edge/l", "shop/own/l"]
    );
}

#[test]
fn a_limit_that_cannot_be_understood_lets_nobody_through() {
    let plan =
        world([limit_policy("p", vec![target(Kind::Gateway, "edge", None)], KeyPart { header: Some("x".to_owned()), ..by_claim() })]);
    let Extension::RateLimit(table) = &*edge_program(&plan).extensions["shop/edge/80/rate-limit"] else { panic!("not limits") };
    let limit = &table.policies["shop/p"][0];
    assert_eq!((limit.default.requests, limit.plans.is_none()), (0, true));
    assert_eq!(codes(&plan), ["Invalid"]);
}

#[test]
fn a_burst_that_nobody_could_count_lets_nobody_through() {
    let wide = Quota { requests: 1, window: seconds(86_400), burst: Some(36_501) };
    let limits = vec![Limit { name: "l".to_owned(), key: Vec::new(), quota: wide, plans: None }];
    let spec = RateLimitPolicy { target_refs: vec![target(Kind::Gateway, "edge", None)], limits, shadow: false, headers: None };
    let plan = world([AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, "p", spec))]);
    let Extension::RateLimit(table) = &*edge_program(&plan).extensions["shop/edge/80/rate-limit"] else { panic!("not limits") };
    assert_eq!(table.policies["shop/p"][0].default.requests, 0);
    assert_eq!(codes(&plan), ["OutOfRange"]);
}

fn traffic(target: windrose_api::policy::TargetRef) -> TrafficPolicy {
    TrafficPolicy {
        target_refs: vec![target],
        timeouts: None,
        retries: None,
        circuit_breaker: None,
        outlier_detection: None,
        health_check: None,
        load_balancing: None,
    }
}

#[test]
fn traffic_of_a_rule_wins_field_by_field_and_gets_a_cluster_of_its_own_only_where_it_must() {
    let on_service = TrafficPolicy {
        timeouts: Some(Timeouts { request: Some(seconds(7)), idle: Some(seconds(30)), connect: None }),
        circuit_breaker: Some(CircuitBreaker { max_requests: Some(5), ..CircuitBreaker::default() }),
        ..traffic(target(Kind::Service, "o", None))
    };
    let on_rule = TrafficPolicy {
        timeouts: Some(Timeouts { request: Some(seconds(3)), ..Timeouts::default() }),
        circuit_breaker: Some(CircuitBreaker { max_connections: Some(9), ..CircuitBreaker::default() }),
        ..traffic(target(Kind::HTTPRoute, "r", Some("a")))
    };
    let policy = |name: &str, spec: TrafficPolicy| AnyObject::TrafficPolicy(object(Kind::TrafficPolicy, NS, name, spec));
    let printed = crate::print(&world([policy("service", on_service), policy("rule", on_rule)]));
    assert!(printed.contains("/a* -> shop/o/80@HTTPRoute/shop/r/a 1, timeout 3s, idle 30s\n"), "{printed}");
    assert!(printed.contains("/b* -> shop/o/80 1, timeout 7s, idle 30s\n"), "{printed}");
    assert!(printed.contains("cluster shop/o/80: Http1, limits 1024/1024/5\n"), "{printed}");
    assert!(printed.contains("cluster shop/o/80@HTTPRoute/shop/r/a: Http1, limits 9/1024/5\n"), "{printed}");
    assert!(printed.contains("endpoints shop/o/80@HTTPRoute/shop/r/a: none"), "{printed}");
}

fn transcoding(inline: &str) -> AnyObject {
    let spec = TranscodingPolicy {
        target_refs: vec![target(Kind::HTTPRoute, "r", Some("a"))],
        descriptors: DescriptorSource { file: None, config_map: None, inline: Some(inline.to_owned()) },
        services: vec!["shop.Orders".to_owned()],
        json: JsonOptions::default(),
        max_request_bytes: None,
        max_response_bytes: None,
    };
    AnyObject::TranscodingPolicy(object(Kind::TranscodingPolicy, NS, "t", spec))
}

/// The policies that the routes of `r` name, and the ids that the transcoder knows.
fn transcoded(plan: &Plan) -> (Vec<Vec<(String, String)>>, Vec<String>) {
    let program = edge_program(plan);
    let Extension::Transcoder(table) = &*program.extensions["shop/edge/80/grpc-transcoder"] else { panic!("not a transcoder") };
    let host = virtual_host(program, "shop/edge/80", "*");
    let named = |policies: &[(windrose_vocab::Text, windrose_vocab::Text)]| {
        policies.iter().map(|(filter, id)| (filter.to_string(), id.to_string())).collect()
    };
    let known = |(id, rule): (&windrose_vocab::Text, &Option<_>)| if rule.is_some() { id.to_string() } else { format!("{id}: deny") };
    (host.routes.iter().map(|route| named(&route.policies)).collect(), table.policies.iter().map(known).collect())
}

#[test]
fn what_a_transcoding_policy_that_cannot_be_used_is_about_is_denied() {
    let open = || ("policy".to_owned(), "open".to_owned());
    let named = || vec![vec![open(), ("transcode".to_owned(), "shop/t".to_owned())], vec![open()]];
    assert_eq!(transcoded(&world([transcoding("CgA=")])), (named(), vec!["shop/t".to_owned()]));
    assert_eq!(transcoded(&world([transcoding("!")])), (named(), vec!["shop/t: deny".to_owned()]));
}

#[test]
fn a_rule_that_answers_by_itself_is_not_transcoded() {
    let redirect = Filter::Redirect(Redirect { scheme: None, hostname: None, path: None, port: None, status: None });
    let mut answering = rule(vec![prefix("/a")], "o");
    (answering.name, answering.filters, answering.backends) = (Some("a".into()), vec![redirect], Vec::new());
    let mut failing = rule(vec![prefix("/b")], "gone");
    failing.name = Some("b".into());
    let plan = world([transcoding("CgA="), route("r", &[], vec![answering, failing])]);
    let open = || vec![("policy".to_owned(), "open".to_owned())];
    assert_eq!(transcoded(&plan), (vec![open(), open()], vec![]));
}

#[test]
fn a_transcoded_route_speaks_grpc_and_lost_descriptors_are_told() {
    let policy = transcoding;
    let printed = crate::print(&world([policy("CgA=")]));
    assert!(printed.contains("/a* -> shop/o/80/grpc 1\n"), "{printed}");
    assert!(printed.contains("transcode shop/t\n"), "{printed}");
    assert!(printed.contains("filter shop/edge/80/grpc-transcoder\n    shop/t: shop.Orders of "), "{printed}");
    assert_eq!(codes(&world([policy("!")])), ["Invalid"]);

    let path = Some(PathModifier::Full("/elsewhere".into()));
    let mut rewriting = rule(vec![prefix("/a")], "o");
    (rewriting.name, rewriting.filters) = (Some("a".into()), vec![Filter::Rewrite(Rewrite { hostname: None, path })]);
    let plan = world([policy("CgA="), route("r", &[], vec![rewriting])]);
    assert!(crate::print(&plan).contains("/a* -> shop/o/80/grpc 1\n"), "the path is that of the method: {}", crate::print(&plan));
    assert_eq!(codes(&plan), ["Unsupported"]);
}

fn edge_spec() -> EdgePolicy {
    EdgePolicy {
        target_refs: vec![target(Kind::Gateway, "edge", None)],
        tls: None,
        connections: None,
        headers: None,
        body: None,
        http2: None,
        timeouts: None,
        paths: None,
        trusted_hops: Some(2),
        addresses: None,
    }
}

#[test]
fn networks_that_cannot_be_read_let_nobody_in() {
    let with = |addresses: AddressRules| {
        let spec = EdgePolicy { addresses: Some(addresses), ..edge_spec() };
        crate::print(&world([AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, "e", spec))]))
    };
    let good = with(AddressRules { allow: vec!["10.0.0.0/8".to_owned()], deny: vec!["10.1.0.0/16".to_owned()] });
    assert!(good.contains("deny 10.1.0.0/16\n      allow 10.0.0.0/8\n      trusts 2 hops\n"), "{good}");
    let bad = with(AddressRules { allow: vec!["10.0.0.0/33".to_owned()], deny: Vec::new() });
    assert!(bad.contains("allow nobody"), "{bad}");
}

#[test]
fn traces_go_to_the_collector_of_the_mesh() {
    let tracing = Tracing { provider: Provider::Zipkin, backend: "zipkin".to_owned(), port: Some(9411), sampling_per_ten_thousand: None };
    let spec = TelemetryPolicy { target_refs: Vec::new(), tracing: Some(tracing), access_log: None, metrics: None };
    let policy = |namespace: &str| AnyObject::TelemetryPolicy(object(Kind::TelemetryPolicy, namespace, "t", spec.clone()));
    let collector = service_speaking("windrose-system", "zipkin", 9411, None);
    let printed = crate::print(&world([policy("windrose-system"), collector.clone()]));
    assert!(printed.contains("traces 100 of 10000 as edge.shop to zipkin windrose-system/zipkin/9411/api/v2/spans"), "{printed}");
    assert!(printed.contains("cluster windrose-system/zipkin/9411: Http1"), "{printed}");
    let lost = world([policy(NS), collector]);
    assert_eq!(codes(&lost), ["RefNotFound"]);
    assert!(!crate::print(&lost).contains("traces"));
}

/// An edge of several listeners on one port, and these policies.
fn shared(listeners: &[(&str, &str)], policies: impl IntoIterator<Item = AnyObject>) -> Plan {
    let listeners = listeners.iter().map(|(name, host)| listener(name, 80, host)).collect();
    let objects = [gateway(listeners), service("o", 80), route("r", &[], vec![rule(vec![prefix("/")], "o")])];
    plan(objects.into_iter().chain(policies))
}

fn edge_policy(name: &str, section: Option<&str>, spec: EdgePolicy) -> AnyObject {
    let spec = EdgePolicy { target_refs: vec![target(Kind::Gateway, "edge", section)], ..spec };
    AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, name, spec))
}

fn allowing(network: &str) -> EdgePolicy {
    let addresses = AddressRules { allow: vec![network.to_owned()], deny: Vec::new() };
    EdgePolicy { addresses: Some(addresses), ..EdgePolicy::default() }
}

fn authorization(name: &str, section: Option<&str>, network: &str) -> AnyObject {
    let from =
        vec![Source { identity: None, namespace: None, service_account: None, authenticated: None, network: Some(network.to_owned()) }];
    let rules = vec![AuthorizationRule { from, ..AuthorizationRule::default() }];
    let spec =
        AuthorizationPolicy { target_refs: vec![target(Kind::Gateway, "edge", section)], action: Action::Allow, rules, audit: false };
    AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, NS, name, spec))
}

#[test]
fn listeners_of_one_port_have_each_their_own_rules_and_those_of_the_gateway() {
    let listeners = [("admin", "admin.example"), ("any", ""), ("wild", "*.example")];
    let own = [authorization("admin", Some("admin"), "10.0.0.0/8"), authorization("wild", Some("wild"), "10.2.0.0/16")];
    let printed = crate::print(&shared(&listeners, own));
    assert!(printed.contains("      of admin.example\n      allow 10.0.0.0/8\n"), "{printed}");
    assert!(printed.contains("      of *.example but admin.example\n      allow 10.2.0.0/16\n"), "{printed}");
    let all = authorization("all", None, "10.1.0.0/16");
    let printed = crate::print(&shared(&listeners, [all, authorization("admin", Some("admin"), "10.0.0.0/8")]));
    assert!(printed.contains("      of every host but admin.example\n      allow 10.1.0.0/16\n"), "{printed}");
    assert!(printed.contains("      of admin.example\n      allow 10.0.0.0/8\n      allow 10.1.0.0/16\n"), "{printed}");
}

#[test]
fn addresses_are_of_each_listener_and_what_a_port_has_but_once_is_told() {
    let headers = |kib: u32| EdgePolicy { headers: Some(HeaderLimits { max_kib: Some(kib), max_count: None }), ..EdgePolicy::default() };
    let listeners = [("a", "a.example"), ("b", "b.example")];
    let plan = shared(&listeners, [edge_policy("a", Some("a"), headers(8)), edge_policy("b", Some("b"), allowing("10.0.0.0/8"))]);
    let printed = crate::print(&plan);
    assert!(printed.contains("      of b.example\n      allow 10.0.0.0/8\n"), "{printed}");
    assert!(
        told(&plan).iter().any(|told| told.contains("EdgePolicy/shop/b") && told.contains("headers at listener `b`")),
        "{:?}",
        told(&plan)
    );
    let plan = shared(&listeners, [edge_policy("a", Some("a"), headers(8)), edge_policy("b", Some("b"), headers(8))]);
    assert_eq!(codes(&plan), [] as [&str; 0], "nothing differs");
    // The listener's word on addresses stands in place of the Gateway's.
    let plan = shared(&listeners, [edge_policy("all", None, allowing("10.1.0.0/16")), edge_policy("b", Some("b"), allowing("10.0.0.0/8"))]);
    let printed = crate::print(&plan);
    assert!(printed.contains("      of every host but b.example\n      allow 10.1.0.0/16\n"), "{printed}");
}

#[test]
fn an_edge_policy_that_cannot_be_read_closes_its_own_listener() {
    let listeners = vec![listener("a", 80, "a.example"), listener("b", 80, "b.example")];
    let mut world = declared([gateway(listeners), edge_policy("a", Some("a"), allowing("10.0.0.0/8"))]);
    let targets = [target(Kind::Gateway, "edge", Some("b"))];
    world.set_aside.insert(ObjectRef::new(Kind::EdgePolicy, NS, "b"), SetAside { targets: targets.into(), ..SetAside::default() });
    let printed = crate::print(&crate::plan(&world, &crate::Refused::default(), &settings()));
    assert!(printed.contains("      of b.example\n      deny 0.0.0.0/0 ::/0\n"), "{printed}");
    assert!(printed.contains("      of a.example\n      allow 10.0.0.0/8\n"), "{printed}");
}

#[test]
fn of_what_stands_in_for_a_policy_that_cannot_be_read_no_mistake_is_told() {
    for kind in [Kind::AuthPolicy, Kind::RateLimitPolicy, Kind::TranscodingPolicy] {
        let mut world =
            declared([gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], vec![rule(vec![prefix("/")], "o")])]);
        let targets = [target(Kind::HTTPRoute, "r", None)];
        world.set_aside.insert(ObjectRef::new(kind, NS, "p"), SetAside { targets: targets.into(), ..SetAside::default() });
        let plan = crate::plan(&world, &crate::Refused::default(), &settings());
        assert!(!codes(&plan).contains(&"Invalid"), "{kind}: {:?}", codes(&plan));
    }
}

#[test]
fn a_limit_that_cannot_be_read_refuses_everybody() {
    let spec = RateLimitPolicy { target_refs: vec![target(Kind::HTTPRoute, "r", None)], limits: Vec::new(), shadow: false, headers: None };
    let plan = world([AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, "p", spec))]);
    let Extension::RateLimit(table) = &*edge_program(&plan).extensions["shop/edge/80/rate-limit"] else { panic!("not limits") };
    assert_eq!(table.policies["shop/p"].iter().map(|limit| limit.default.requests).collect::<Vec<_>>(), [0]);
    assert_eq!(codes(&plan), ["Invalid"]);
}

#[test]
fn a_listener_set_of_others_decides_nothing_for_the_port_and_lends_no_route_of_a_listener_that_lost() {
    let mut spec = gateway_spec(vec![listener("web", 80, "a.example")]);
    spec.allowed_listener_sets = Namespaces::All;
    let set = |host: &str| ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners: vec![listener("one", 80, host)] };
    let route_of =
        |path: &str| Route { parents: vec![parent(Kind::ListenerSet, "set")], ..route_spec(&[], vec![rule(vec![prefix(path)], "o")]) };
    let policy = EdgePolicy { target_refs: vec![target(Kind::ListenerSet, "set", None)], ..edge_spec() };
    let plan = plan([
        AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)),
        service("o", 80),
        AnyObject::ListenerSet(object(Kind::ListenerSet, "team", "set", set("b.example"))),
        AnyObject::EdgePolicy(object(Kind::EdgePolicy, "team", "lax", policy)),
        // Its only listener has the host of the Gateway's own.
        AnyObject::ListenerSet(object(Kind::ListenerSet, NS, "set", set("a.example"))),
        AnyObject::Route(http_route("thief", route_of("/login"))),
        route("r", &[], vec![rule(vec![prefix("/")], "o")]),
    ]);
    let printed = crate::print(&plan);
    assert!(!printed.contains("trusts"), "the Gateway trusts nobody in front of it: {printed}");
    assert!(
        told(&plan).iter().any(|told| told.contains("who stands in front of Gateway/shop/edge is for its own namespace to say")),
        "{:?}",
        told(&plan)
    );
    assert_eq!(virtual_host(edge_program(&plan), "shop/edge/80", "a.example").routes.len(), 1, "{printed}");
}

#[test]
fn policies_of_a_listener_set_hold_at_its_listeners_and_at_no_others() {
    let mut spec = gateway_spec(vec![listener("web", 80, "a.example")]);
    spec.allowed_listener_sets = Namespaces::Same;
    let set = ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners: vec![listener("one", 80, "b.example")] };
    let on = |section: Option<&str>| vec![target(Kind::ListenerSet, "set", section)];
    let allow = EdgePolicy { target_refs: on(Some("one")), ..allowing("10.0.0.0/8") };
    let of_set = route_spec(&[], vec![rule(vec![prefix("/")], "o")]);
    let of_set = Route { parents: vec![parent(Kind::ListenerSet, "set")], ..of_set };
    let plan = plan([
        AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)),
        AnyObject::ListenerSet(object(Kind::ListenerSet, NS, "set", set)),
        service("o", 80),
        route("r", &[], vec![rule(vec![prefix("/")], "o")]),
        AnyObject::Route(http_route("s", of_set)),
        limit_policy("whole", on(None), by_claim()),
        AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, "one", allow)),
    ]);
    assert_eq!(codes(&plan), ["Unsafe"], "a claim of nobody's token: {:?}", told(&plan));
    let of = |host: &str| virtual_host(edge_program(&plan), "shop/edge/80", host).routes[0].policies.clone();
    let open = ("policy".into(), "open".into());
    assert_eq!((of("a.example"), of("b.example")), (vec![open.clone()], vec![open, ("ratelimit".into(), "shop/whole".into())]));
    let printed = crate::print(&plan);
    assert!(printed.contains("      of b.example\n      allow 10.0.0.0/8\n"), "{printed}");
    assert!(printed.contains("filter shop/edge/80/rate-limit"), "{printed}");
}

/// The edge with a listener of its own at `a.example`, and one at `b.example` of a set in this namespace.
fn with_set(namespace: &str, of_set: Listener, policies: impl IntoIterator<Item = AnyObject>) -> Plan {
    let mut spec = gateway_spec(vec![listener("web", 80, "a.example")]);
    spec.allowed_listener_sets = Namespaces::All;
    let set = ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners: vec![of_set] };
    let objects = [
        AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)),
        AnyObject::ListenerSet(object(Kind::ListenerSet, namespace, "set", set)),
    ];
    plan(objects.into_iter().chain(policies))
}

fn on_set(namespace: &str, policy: AnyObject) -> AnyObject {
    let targets = vec![target(Kind::ListenerSet, "set", None)];
    match policy {
        AnyObject::AuthorizationPolicy(policy) => {
            let spec = AuthorizationPolicy { target_refs: targets, ..policy.spec.clone() };
            AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, namespace, "set", spec))
        }
        AnyObject::EdgePolicy(policy) => {
            let spec = EdgePolicy { target_refs: targets, ..policy.spec.clone() };
            AnyObject::EdgePolicy(object(Kind::EdgePolicy, namespace, "set", spec))
        }
        other => panic!("{:?}", other.meta()),
    }
}

#[test]
fn an_owner_who_attaches_a_listener_can_close_it_and_not_open_what_the_gateway_closed() {
    let own = || [authorization("all", None, "10.1.0.0/16"), edge_policy("all", None, allowing("10.0.0.0/8"))];
    let more =
        |namespace| [on_set(namespace, authorization("x", None, "0.0.0.0/0")), on_set(namespace, edge_policy("x", None, allowing("::/0")))];
    let at_set = |namespace| crate::print(&with_set(namespace, listener("one", 80, "b.example"), own().into_iter().chain(more(namespace))));
    let others = at_set("team");
    assert!(others.contains("      of b.example\n      allow 10.0.0.0/8\n      and allow ::/0\n"), "{others}");
    assert!(others.contains("      of b.example\n      allow 10.1.0.0/16\n      and allow 0.0.0.0/0\n"), "{others}");
    assert!(others.contains("      of every host but b.example\n      allow 10.1.0.0/16\n"), "{others}");
    let same = at_set(NS);
    assert!(same.contains("      of b.example\n      allow 10.1.0.0/16\n      allow 0.0.0.0/0\n"), "one owner's rules add up: {same}");
    assert!(!same.contains("and allow"), "{same}");
}

#[test]
fn connections_too_need_the_word_of_each_owner() {
    let tcp = Listener { protocol: Protocol::Tcp, ..listener("one", 81, "") };
    let route = Route { parents: vec![parent(Kind::ListenerSet, "set")], ..route_spec(&[], vec![rule(vec![], "o")]) };
    let AnyObject::Service(web) = service("o", 80) else { panic!("no Service") };
    let of_team = AnyObject::Service(object(Kind::Service, "team", "o", web.spec.clone()));
    let policies = [
        AnyObject::Route(object(Kind::TCPRoute, "team", "t", route)),
        of_team,
        authorization("all", None, "10.1.0.0/16"),
        edge_policy("all", None, allowing("10.0.0.0/8")),
        on_set("team", authorization("x", None, "0.0.0.0/0")),
    ];
    let printed = crate::print(&with_set("team", tcp, policies));
    assert!(printed.contains("      allow 10.0.0.0/8\n      and allow 10.1.0.0/16\n      and allow 0.0.0.0/0\n"), "{printed}");
}

#[test]
fn what_the_rules_of_a_gateway_are_judged_by_is_its_owners_word_at_listeners_of_others() {
    let lax = Paths { normalize: Some(false), escaped_slashes: Some(EscapedSlashes::Keep), ..Paths::default() };
    let lax = EdgePolicy { trusted_hops: Some(1), paths: Some(lax), ..EdgePolicy::default() };
    let policy = |namespace| on_set(namespace, edge_policy("x", None, lax.clone()));
    let others = with_set("team", listener("one", 81, "b.example"), [policy("team")]);
    let printed = crate::print(&others);
    assert!(!printed.contains("trusts") && !printed.contains("paths "), "{printed}");
    let said: Vec<_> = told(&others).into_iter().filter(|told| told.contains("is for its own namespace to say")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let same = with_set(NS, listener("one", 81, "b.example"), [policy(NS)]);
    let printed = crate::print(&same);
    assert!(printed.contains("trusts") && printed.contains("paths "), "{printed}");
    assert!(!told(&same).iter().any(|told| told.contains("is for its own namespace to say")), "{:?}", told(&same));
}
