use windrose_api::declared::gateway::Listener;
use windrose_api::declared::gateway::{GatewayAddress, GatewayClass, Namespaces, Protocol, Reach, Selector};
use windrose_api::declared::{AnyObject, ListenerSet};
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ProxyKey, SpiffeId};

use super::world::*;
use crate::Subject;

fn section(name: &str) -> Subject {
    Subject::section(ObjectRef::new(Kind::Gateway, NS, "edge"), name.into())
}

#[test]
fn only_gateways_of_our_class_are_ours() {
    let class = |controller: &str| {
        AnyObject::GatewayClass(object(
            Kind::GatewayClass,
            "",
            "windrose",
            GatewayClass { controller: controller.into(), parameters_ref: None },
        ))
    };
    let web = || gateway(vec![listener("web", 80, "")]);
    assert_eq!(plan([web()]).programs.len(), 1);
    assert_eq!(plan([web(), class(windrose_api::declared::gateway::CONTROLLER)]).programs.len(), 1);
    assert_eq!(plan([web(), class("other.example/controller")]).programs.len(), 0);
    let mut spec = gateway_spec(vec![listener("web", 80, "")]);
    spec.class = "windrsoe".into();
    let lost = plan([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)), class(windrose_api::declared::gateway::CONTROLLER)]);
    assert!(told(&lost)[0].contains("did you mean `windrose`?"), "{:?}", told(&lost));
}

#[test]
fn a_gateway_has_an_identity_and_binds_its_addresses() {
    let mut spec = gateway_spec(vec![listener("web", 80, "")]);
    spec.addresses = vec![GatewayAddress::Ip("127.0.0.9".parse().unwrap()), GatewayAddress::Hostname("edge.example".into())];
    let plan = plan([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec))]);
    let key = ProxyKey::gateway(NS, "edge");
    assert_eq!(plan.identities[&key], SpiffeId::parse("spiffe://windrose.local/ns/shop/sa/edge").unwrap());
    assert_eq!(edge_program(&plan).listeners["shop/edge/80"].addresses, ["127.0.0.9:80".parse().unwrap()]);
    assert_eq!(codes(&plan), ["Unsupported"]);
}

/// A Gateway that binds this address, all where there is none, for these listeners.
fn at(name: &str, address: &str, listeners: Vec<Listener>) -> AnyObject {
    let mut spec = gateway_spec(listeners);
    spec.allowed_listener_sets = Namespaces::Same;
    spec.addresses = (!address.is_empty()).then(|| GatewayAddress::Ip(address.parse().unwrap())).into_iter().collect();
    AnyObject::Gateway(object(Kind::Gateway, NS, name, spec))
}

fn web(port: i64) -> Vec<Listener> {
    vec![listener("web", port, "")]
}

#[test]
fn gateways_whose_proxies_would_share_an_address_and_port_are_told_of_each_other() {
    let met = plan([at("one", "", web(80)), at("two", "127.0.0.9", vec![listener("more", 81, ""), listener("web", 80, "")])]);
    assert_eq!(codes(&met), ["ListenerConflict", "ListenerConflict"]);
    assert!(told(&met)[0].starts_with("warning[ListenerConflict]: Gateway/shop/one: spec.listeners[0].port: "), "{:?}", told(&met));
    assert!(told(&met)[0].contains("Gateway/shop/two") && told(&met)[0].contains("`spec.addresses`"), "{:?}", told(&met));
    assert!(told(&met)[1].starts_with("warning[ListenerConflict]: Gateway/shop/two: spec.listeners[1].port: "), "{:?}", told(&met));
    assert_eq!(met.programs.len(), 2, "both are served");
    let three = plan(["one", "two", "three"].map(|name| at(name, "127.0.0.9", web(80))));
    assert!(told(&three)[0].contains("Gateway/shop/three and 1 more too"), "{:?}", told(&three));
}

#[test]
fn gateways_that_share_no_address_no_port_or_no_transport_are_told_nothing() {
    let udp = |port| vec![Listener { protocol: Protocol::Udp, ..listener("web", port, "") }];
    let unknown = |port| vec![Listener { protocol: Protocol::Other("SCTP".into()), ..listener("web", port, "") }];
    let one = || at("one", "127.0.0.9", web(80));
    for other in [at("two", "127.0.0.8", web(80)), at("two", "127.0.0.9", web(81)), at("two", "", udp(80))] {
        assert_eq!(codes(&plan([one(), other])), [""; 0]);
    }
    assert_eq!(codes(&plan([one(), at("two", "", unknown(80))])), ["Unsupported"], "one that is not served binds nothing");
    assert_eq!(codes(&plan([at("one", "", udp(80)), at("two", "", udp(80))])), ["ListenerConflict", "ListenerConflict"]);
    assert_eq!(codes(&plan_in_cluster([at("one", "", web(80)), at("two", "", web(80))])), [""; 0], "each has Pods of its own");
}

#[test]
fn a_listener_set_is_told_whose_port_it_opens_at_another_gateway() {
    let set = ListenerSet { gateway: ObjectKey::new(NS, "two"), listeners: web(80) };
    let set = AnyObject::ListenerSet(object(Kind::ListenerSet, NS, "more", set));
    let plan = plan([at("one", "", web(80)), at("two", "", web(81)), set]);
    let told = told(&plan);
    assert!(told[0].contains("Gateway/shop/one: spec.listeners[0].port") && told[0].contains("of Gateway/shop/two too"), "{told:?}");
    assert!(told[1].contains("ListenerSet/shop/more: spec.listeners[0].port") && told[1].contains("of Gateway/shop/one too"), "{told:?}");
}

#[test]
fn where_addresses_are_assigned_all_are_bound_and_only_known_types_are_asked_for() {
    let with = |addresses: Vec<GatewayAddress>| {
        let mut spec = gateway_spec(vec![listener("web", 80, "")]);
        spec.addresses = addresses;
        plan_in_cluster([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec))])
    };
    let gateway = Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"));
    for wishes in [vec![], vec![GatewayAddress::Ip("192.0.2.7".parse().unwrap()), GatewayAddress::Hostname("edge.example".into())]] {
        let plan = with(wishes);
        assert_eq!(reasons(&plan, &gateway), ["Accepted=true Accepted"]);
        assert_eq!(edge_program(&plan).listeners["shop/edge/80"].addresses, ["[::]:80".parse().unwrap()]);
        assert_eq!(codes(&plan), [""; 0]);
    }
    let other = GatewayAddress::Other("example.com/pool".into(), "gold".into());
    let plan = with(vec![other, GatewayAddress::Ip("192.0.2.7".parse().unwrap())]);
    assert_eq!(reasons(&plan, &gateway), ["Accepted=false UnsupportedAddress"]);
    assert!(plan.programs.is_empty());
    assert_eq!(codes(&plan), ["Unsupported"]);
}

#[test]
fn an_address_within_the_cluster_is_one_that_the_cluster_chooses() {
    let within =
        |value: Option<&str>, from: &str| Reach { position: 0, kind: "IPAddress".into(), value: value.map(Into::into), from: from.into() };
    let gateway = Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"));
    let with = |addresses: Vec<GatewayAddress>, reach: Reach| {
        let mut spec = gateway_spec(vec![listener("web", 80, "")]);
        (spec.addresses, spec.reach) = (addresses, vec![reach]);
        reasons(&plan_in_cluster([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec))]), &gateway)
    };
    assert_eq!(with(vec![], within(None, "Cluster")), ["Accepted=true Accepted"]);
    let refused = ["Accepted=false UnsupportedAddress"];
    assert_eq!(with(vec![], within(Some("10.96.0.9"), "Cluster")), refused);
    assert_eq!(with(vec![], within(None, "example.com/private")), refused);
    assert_eq!(with(vec![GatewayAddress::Ip("192.0.2.7".parse().unwrap())], within(None, "Cluster")), refused);
}

#[test]
fn parameters_are_left_out_in_files_and_refused_where_somebody_reads_them() {
    let mut spec = gateway_spec(vec![listener("web", 80, "")]);
    spec.infrastructure.parameters_ref = Some(reference(Kind::ConfigMap, "sizes"));
    let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
    let of_class = GatewayClass {
        controller: windrose_api::declared::gateway::CONTROLLER.into(),
        parameters_ref: Some(reference(Kind::ConfigMap, "ops/sizes")),
    };
    let world = [edge, AnyObject::GatewayClass(object(Kind::GatewayClass, "", "windrose", of_class))];
    let gateway = Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"));
    let class = Subject::object(ObjectRef::new(Kind::GatewayClass, "", "windrose"));
    let files = plan(world.clone());
    assert_eq!([reasons(&files, &gateway), reasons(&files, &class)], [["Accepted=true Accepted"]; 2]);
    assert_eq!(codes(&files), ["Unsupported", "Unsupported"]);
    let cluster = plan_in_cluster(world);
    assert_eq!([reasons(&cluster, &gateway), reasons(&cluster, &class)], [["Accepted=false InvalidParameters"]; 2]);
    let programs: Vec<String> = cluster.programs.keys().map(ToString::to_string).collect();
    assert_eq!(programs, ["gateway/shop/edge", "fleet/shop/windrose"], "whoever deploys waits; what runs already goes on, whatever it is");
}

#[test]
fn of_listeners_that_conflict_none_is_served_and_others_are() {
    let tcp = Listener { protocol: Protocol::Tcp, ..listener("tcp", 80, "") };
    let same = [listener("a", 81, "x.example"), listener("b", 81, "x.example"), listener("c", 81, "y.example")];
    let plan = plan([gateway([vec![listener("web", 80, ""), tcp], same.to_vec()].concat())]);
    assert_eq!(reasons(&plan, &section("web"))[0], "Accepted=false ProtocolConflict");
    assert_eq!(reasons(&plan, &section("tcp"))[0], "Accepted=false ProtocolConflict");
    assert_eq!(reasons(&plan, &section("a"))[0], "Accepted=false HostnameConflict");
    assert_eq!(reasons(&plan, &section("c")), ["Accepted=true Accepted", "ResolvedRefs=true ResolvedRefs", "Conflicted=false NoConflicts"]);
    assert_eq!(edge_program(&plan).listeners.keys().map(|name| &**name).collect::<Vec<_>>(), ["shop/edge/81"]);
    let gateway = Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"));
    assert_eq!(reasons(&plan, &gateway), ["Accepted=true ListenersNotValid"]);
}

#[test]
fn routes_of_other_namespaces_need_to_be_allowed() {
    let of = |namespaces: Namespaces| {
        let mut web = listener("web", 80, "");
        web.allowed_namespaces = namespaces;
        let mut spec = route_spec(&[], vec![rule(vec![prefix("/")], "o")]);
        spec.parents = vec![parent(Kind::Gateway, "shop/edge")];
        let route = AnyObject::Route(object(Kind::HTTPRoute, "team", "r", spec));
        let plan = plan([gateway(vec![web]), route, service_speaking("team", "o", 80, None), namespace("team", &[("tier", "gold")])]);
        plan.attached_routes.get(&section("web")).copied().unwrap_or(0)
    };
    let gold = |value: &str| Namespaces::Selector(Selector { labels: [("tier".into(), value.into())].into(), expressions: Vec::new() });
    assert_eq!(of(Namespaces::Same), 0);
    assert_eq!(of(Namespaces::All), 1);
    assert_eq!(of(gold("gold")), 1);
    assert_eq!(of(gold("bronze")), 0);
}

#[test]
fn a_listener_set_adds_listeners_and_loses_against_the_gateway() {
    let mut spec = gateway_spec(vec![listener("web", 80, "a.example")]);
    spec.allowed_listener_sets = Namespaces::All;
    let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
    let listeners = vec![listener("web", 80, "a.example"), listener("more", 80, "b.example")];
    let set =
        AnyObject::ListenerSet(object(Kind::ListenerSet, "team", "set", ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners }));
    let plan = plan([edge, set]);
    let of_set = |name: &str| Subject::section(ObjectRef::new(Kind::ListenerSet, "team", "set"), name.into());
    assert_eq!(reasons(&plan, &section("web"))[0], "Accepted=true Accepted");
    assert_eq!(reasons(&plan, &of_set("web"))[0], "Accepted=false HostnameConflict");
    assert_eq!(reasons(&plan, &of_set("more"))[0], "Accepted=true Accepted");
    let hosts: Vec<_> = edge_program(&plan).routes["shop/edge/80"].hosts.keys().map(ToString::to_string).collect();
    assert_eq!(hosts, ["a.example", "b.example"]);
}

#[test]
fn a_set_is_judged_by_those_before_it_that_are_served_and_its_gateway_by_its_own_listeners() {
    let mut spec = gateway_spec(vec![listener("web", 80, "a.example")]);
    spec.allowed_listener_sets = Namespaces::Same;
    let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
    let set = |name: &str, listeners: Vec<Listener>| {
        AnyObject::ListenerSet(object(Kind::ListenerSet, NS, name, ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners }))
    };
    let tcp = Listener { protocol: Protocol::Tcp, ..listener("one", 80, "") };
    let plan = plan([edge, set("a", vec![tcp]), set("b", vec![listener("one", 80, "b.example")])]);
    let of = |set: &str| Subject::section(ObjectRef::new(Kind::ListenerSet, NS, set), "one".into());
    assert_eq!(reasons(&plan, &of("a"))[0], "Accepted=false ProtocolConflict");
    assert_eq!(reasons(&plan, &of("b"))[0], "Accepted=true Accepted");
    assert_eq!(reasons(&plan, &Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"))), ["Accepted=true Accepted"]);
}

#[test]
fn a_protocol_that_nobody_speaks_is_told_with_those_there_are() {
    let mut slip = listener("web", 80, "");
    slip.protocol = Protocol::Other("HTPP".into());
    let told: Vec<_> = plan([gateway(vec![slip])]).diagnostics.iter().map(ToString::to_string).collect();
    let expected = "error[Unsupported]: Gateway/shop/edge: spec.listeners[0].protocol: protocol HTPP is not supported \
                    (did you mean `HTTP`? known here: `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`)";
    assert!(told.iter().any(|one| one == expected), "{told:?}");
}
