use std::collections::BTreeSet;

use windrose_api::declared::backend::BackendTls;
use windrose_api::declared::gateway::{GatewayAddress, Listener, Protocol};
use windrose_api::declared::route::{ParentRef, Rule};
use windrose_api::declared::{AnyObject, Changed, Object};
use windrose_api::policy::{
    AccessLog, Action, AuthorizationPolicy, AuthorizationRule, Fleet, GatewayParameters, Limit, Overridable, Quota, RateLimitPolicy,
    ServiceParameters, ServiceType, Source, TelemetryPolicy,
};
use windrose_ir::http::{Authorization, HttpFilter};
use windrose_ir::{Handler, Program};
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ProxyKey, Text};

use super::world::*;
use crate::{Addresses, FLEET_ANNOTATION, GATEWAY_ANNOTATION, Plan, Planner, Refused, Subject};

fn named(name: &str, listeners: Vec<Listener>) -> AnyObject {
    AnyObject::Gateway(object(Kind::Gateway, NS, name, gateway_spec(listeners)))
}

/// The Service of a Gateway as whoever deploys proxies made it.
fn leads(gateway: &str, to: u16) -> AnyObject {
    let AnyObject::Service(made) = service(&format!("{gateway}-windrose"), 80) else { unreachable!() };
    let mut made = Object::clone(&made);
    made.spec.ports[0].target = Some(port(to.into()));
    let labels = [("app.kubernetes.io/managed-by", "windrose"), ("gateway.networking.k8s.io/gateway-name", gateway)];
    made.meta.labels = labels.map(|(name, value)| (name.into(), value.into())).into();
    made.meta.annotations =
        [(FLEET_ANNOTATION, "windrose"), (GATEWAY_ANNOTATION, gateway)].map(|(name, value)| (name.into(), value.into())).into();
    AnyObject::Service(made.into())
}

fn to_gateway(name: &str, gateway: &str, service: &str) -> AnyObject {
    let mut spec = route_spec(&[], vec![rule(vec![prefix("/")], service)]);
    spec.parents = vec![parent(Kind::Gateway, gateway)];
    AnyObject::Route(http_route(name, spec))
}

fn shared() -> [AnyObject; 2] {
    class(&fleet(Fleet::PerNamespace))
}

fn programs(plan: &Plan) -> Vec<String> {
    plan.programs.keys().map(ToString::to_string).collect()
}

/// The ports that the proxies open for a Gateway.
fn bound(plan: &Plan, gateway: &str) -> Vec<u16> {
    plan.edges[&ObjectKey::new(NS, gateway)].ports.iter().map(|port| port.bound.get()).collect()
}

#[test]
fn gateways_of_a_class_that_says_so_share_proxies_and_nothing_else() {
    let web = || vec![listener("web", 80, "same.example")];
    let objects = [named("a", web()), named("b", web()), to_gateway("ra", "a", "o"), to_gateway("rb", "b", "p")];
    let world = || objects.clone().into_iter().chain([service("o", 80), service("p", 80)]);
    let plan = plan_in_cluster(world().chain(shared()));
    assert_eq!(programs(&plan), ["fleet/shop/windrose"]);
    let key = ProxyKey::fleet(NS, "windrose");
    assert_eq!(plan.identities[&key].to_string(), "spiffe://windrose.local/ns/shop/sa/fleet_windrose");
    let program = &plan.programs[&key];
    for (gateway, service) in [("a", "o"), ("b", "p")] {
        let [port] = bound(&plan, gateway)[..] else { panic!("{:?}", plan.edges) };
        assert!((10_000..=32_767).contains(&port), "{port}");
        let listener = &program.listeners[&Text::from(format!("shop/{gateway}/80"))];
        assert_eq!(listener.addresses, [format!("[::]:{port}").parse().unwrap()]);
        // The same host at both, and each has its own routes.
        let host = virtual_host(program, &format!("shop/{gateway}/80"), "same.example");
        assert_eq!(targets(host), [format!("shop/{service}/80")]);
    }
    assert_ne!(bound(&plan, "a"), bound(&plan, "b"));
    assert_eq!(programs(&plan_in_cluster(world())), ["gateway/shop/a", "gateway/shop/b"]);
    let own = class(&fleet(Fleet::PerGateway));
    assert_eq!(programs(&plan_in_cluster(world().chain(own))), ["gateway/shop/a", "gateway/shop/b"]);
    assert_eq!(bound(&plan_in_cluster(world()), "a"), [80]);
    // Nobody deploys proxies for files.
    assert_eq!(programs(&super::world::plan(world().chain(shared()))), ["gateway/shop/a", "gateway/shop/b"]);
}

#[test]
fn a_limit_is_counted_for_each_gateway() {
    let web = || vec![listener("web", 80, "")];
    let quota = Quota { requests: 1, window: windrose_api::scalar::Duration(std::time::Duration::from_secs(1)), burst: None };
    let limit = Limit { name: "l".to_owned(), key: Vec::new(), plans: None, quota };
    let targets = ["a", "b"].map(|name| target(Kind::Gateway, name, None)).to_vec();
    let spec = RateLimitPolicy { target_refs: targets, limits: vec![limit], shadow: false, headers: None };
    let policy = AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, "p", spec));
    let objects = [named("a", web()), named("b", web()), to_gateway("ra", "a", "o"), to_gateway("rb", "b", "o"), service("o", 80), policy];
    let printed = |class: [AnyObject; 2]| crate::print(&plan_in_cluster(objects.clone().into_iter().chain(class)));
    let (together, apart) = (printed(shared()), printed(class(&fleet(Fleet::PerGateway))));
    assert!(together.contains("shop/p/l@shop/a") && together.contains("shop/p/l@shop/b"), "{together}");
    assert!(!apart.contains("shop/p/l@"), "{apart}");
}

#[test]
fn fleets_do_not_reach_over_namespaces() {
    let far = AnyObject::Gateway(object(Kind::Gateway, "far", "a", gateway_spec(vec![listener("web", 80, "")])));
    let plan = plan_in_cluster([named("a", vec![listener("web", 80, "")]), far].into_iter().chain(shared()));
    assert_eq!(programs(&plan), ["fleet/far/windrose", "fleet/shop/windrose"]);
}

#[test]
fn a_port_stays_what_the_service_leads_to_whoever_comes_and_goes() {
    let names: Vec<String> = (0..400).map(|number| format!("g{number}")).collect();
    let all = |names: &[String]| names.iter().map(|name| named(name, vec![listener("web", 80, "")])).collect::<Vec<_>>();
    let plan = plan_in_cluster(all(&names).into_iter().chain(shared()));
    let ports: BTreeSet<u16> = names.iter().flat_map(|name| bound(&plan, name)).collect();
    assert_eq!(ports.len(), names.len(), "no two have one port");
    // Of 400 in 22,768 some come to one port by their names, and the next one is free.
    let alone = |name: &String| bound(&plan_in_cluster(all(std::slice::from_ref(name)).into_iter().chain(shared())), name);
    let moved: Vec<&String> = names.iter().filter(|name| alone(name) != bound(&plan, name)).collect();
    assert!((1..40).contains(&moved.len()), "{moved:?}");
    // Once a Service leads there it is theirs, whoever had the port by name goes, and whoever has it by name comes.
    let services = |of: &Plan, names: &[String]| names.iter().map(|name| leads(name, bound(of, name)[0])).collect::<Vec<_>>();
    let left: Vec<String> = moved.iter().map(|name| (*name).clone()).collect();
    let later = plan_in_cluster(all(&left).into_iter().chain(services(&plan, &left)).chain(shared()));
    assert!(left.iter().all(|name| bound(&later, name) == bound(&plan, name)));
    let back = plan_in_cluster(all(&names).into_iter().chain(services(&plan, &left)).chain(shared()));
    assert!(left.iter().all(|name| bound(&back, name) == bound(&plan, name)));
    // A Service that leads out of the range, or where another one leads, is not followed.
    let odd = plan_in_cluster(all(&names[..2]).into_iter().chain([leads("g0", 22), leads("g1", 12_000)]).chain(shared()));
    assert_eq!((bound(&odd, "g0"), bound(&odd, "g1")), (alone(&names[0]), vec![12_000]));
    // Somebody else's Service moves nobody.
    let AnyObject::Service(forged) = leads("g1", alone(&names[0])[0]) else { unreachable!() };
    let mut forged = Object::clone(&forged);
    forged.meta.object = ObjectRef::new(Kind::Service, NS, "aaa");
    let claims = [AnyObject::Service(forged.into()), leads("g0", alone(&names[0])[0]), leads("g1", alone(&names[1])[0])];
    let kept = plan_in_cluster(all(&names[..2]).into_iter().chain(claims).chain(shared()));
    assert_eq!((bound(&kept, "g0"), bound(&kept, "g1")), (alone(&names[0]), alone(&names[1])));
    let same = plan_in_cluster(all(&names[..2]).into_iter().chain([leads("g0", 12_000), leads("g1", 12_000)]).chain(shared()));
    assert_eq!((bound(&same, "g0"), bound(&same, "g1")), (vec![12_000], alone(&names[1])));
}

#[test]
fn shared_proxies_say_that_they_are_up_whoever_of_their_gateways_is() {
    let addresses = |plan: &Plan| {
        let program = &plan.programs[&ProxyKey::fleet(NS, "windrose")];
        program.listeners.get("windrose/ready").map(|listener| listener.addresses.clone())
    };
    let web = || vec![listener("web", 80, "")];
    let ready = Some(vec!["[::]:9999".parse().unwrap()]);
    assert_eq!(addresses(&plan_in_cluster([named("a", web()), named("b", web())].into_iter().chain(shared()))), ready);
    assert_eq!(addresses(&plan_in_cluster([named("b", web())].into_iter().chain(shared()))), ready);
    let own = |listeners: Vec<Listener>| {
        let listeners = plan_in_cluster([named("a", listeners)]).programs[&ProxyKey::gateway(NS, "a")].listeners.clone();
        listeners.get("windrose/ready").map(|listener| listener.addresses.clone())
    };
    let datagrams = || Listener { protocol: Protocol::Udp, ..listener("dns", 53, "") };
    for listeners in [web(), vec![web().remove(0), datagrams()], vec![datagrams()]] {
        assert_eq!(own(listeners), ready, "whatever ports come and go");
    }
    let files = super::world::plan([named("a", web())]);
    assert!(!files.programs[&ProxyKey::gateway(NS, "a")].listeners.contains_key("windrose/ready"), "nobody asks those of files");
}

#[test]
fn the_port_by_which_proxies_say_that_they_are_up_may_be_declared_and_is_another_one_inside() {
    let first = bound(&plan_in_cluster([named("a", vec![listener("web", 9_999, "")])]), "a")[0];
    let both = || vec![listener("web", 9_999, ""), listener("other", first.into(), "")];
    let plan = plan_in_cluster([named("a", both())]);
    let edge = &plan.edges[&ObjectKey::new(NS, "a")];
    let ports: Vec<(u16, u16)> = edge.ports.iter().map(|port| (port.declared.get(), port.bound.get())).collect();
    assert_eq!(ports, [(9_999, ports[0].1), (first, first)]);
    let program = &plan.programs[&ProxyKey::gateway(NS, "a")];
    let addresses: BTreeSet<_> = program.listeners.values().flat_map(|listener| listener.addresses.clone()).collect();
    assert_eq!(addresses.len(), 3, "no two have one address");
    assert_eq!(program.listeners["windrose/ready"].addresses, ["[::]:9999".parse().unwrap()]);
    assert_eq!(bound(&super::world::plan([named("a", both())]), "a"), [9_999, first]);
}

#[test]
fn policies_speak_of_ports_as_they_are_declared() {
    let source =
        Source { identity: None, namespace: None, service_account: None, authenticated: None, network: Some("10.0.0.0/8".to_owned()) };
    let rule = |ports: Vec<u16>| AuthorizationRule { from: vec![source.clone()], ports, ..AuthorizationRule::default() };
    let policy = |action, ports| {
        let spec =
            AuthorizationPolicy { target_refs: vec![target(Kind::Gateway, "a", None)], action, rules: vec![rule(ports)], audit: false };
        AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, NS, "z", spec))
    };
    let listeners = || {
        let of = |name: &str, protocol, number| Listener { protocol, ..listener(name, number, "") };
        vec![listener("web", 80, ""), of("tcp", Protocol::Tcp, 81), of("udp", Protocol::Udp, 82)]
    };
    let routes = [(Kind::TCPRoute, "tcp"), (Kind::UDPRoute, "udp")].map(|(kind, name)| {
        let mut spec = route_spec(&[], vec![Rule { backends: vec![to("o")], ..Rule::default() }]);
        spec.parents = vec![ParentRef { section: Some(name.into()), ..parent(Kind::Gateway, "a") }];
        AnyObject::Route(object(kind, NS, name, spec))
    });
    for class in [shared(), class(&fleet(Fleet::PerGateway))] {
        for number in [80, 81, 82] {
            let world =
                |action| [named("a", listeners()), service("o", 80), policy(action, vec![number])].into_iter().chain(routes.clone());
            for action in [Action::Deny, Action::Allow] {
                let plan = plan_in_cluster(world(action).chain(class.clone()));
                let program = plan.programs.values().next().unwrap();
                for other in [80_u16, 81, 82] {
                    let rules = authorization(program, other);
                    let here = if action == Action::Deny { &rules.deny } else { &rules.allow[0] };
                    assert_eq!(here.len(), usize::from(other == number), "{action:?} for {number} at {other}");
                    assert!(here.iter().all(|rule| rule.ports.is_empty()));
                }
            }
        }
    }
}

/// What holds at a declared port of Gateway `a`.
fn authorization(program: &Program, port: u16) -> Authorization {
    if let Some(datagrams) = program.datagram_listeners.get(format!("shop/a/{port}-udp").as_str()) {
        return datagrams.authorization.clone().unwrap_or_default();
    }
    let chains = &program.listeners[&Text::from(format!("shop/a/{port}"))].chains;
    match &chains[0].handler {
        Handler::Http(http) => {
            let filters =
                http.filters.iter().filter_map(|filter| if let HttpFilter::Authorization(rules) = filter { Some(rules) } else { None });
            filters.collect::<Vec<_>>().last().map(|rules| (*rules).clone()).unwrap_or_default()
        }
        Handler::Tcp(tcp) => tcp.authorization.clone().unwrap_or_default(),
        Handler::Close => panic!("{chains:?}"),
    }
}

#[test]
fn what_two_gateways_bring_stays_when_one_of_them_goes() {
    let half = |name: &str| {
        let mut spec = route_spec(&["a.example"], vec![Rule { backends: vec![to("o"), to("gone")], ..Rule::default() }]);
        spec.parents = vec![parent(Kind::Gateway, name)];
        AnyObject::Route(object(Kind::TLSRoute, NS, name, spec))
    };
    let gateways = ["a", "b"].map(|name| named(name, vec![tls_passthrough("tls", "*.example")]));
    let objects = gateways.into_iter().chain(["a", "b"].map(half)).chain([service("o", 80)]).chain(shared());
    let mut world = declared(objects);
    let settings = settings().with_addresses(Addresses::Assigned);
    let mut planner = Planner::new(settings.clone());
    let all = world.iter().map(|object| object.meta().object.clone()).collect();
    planner.update(&world, &Refused::default(), &Changed { objects: all });
    let gone = ObjectRef::new(Kind::Gateway, NS, "a");
    world.remove(&gone);
    let followed = planner.update(&world, &Refused::default(), &Changed { objects: [gone].into() });
    let scratch = crate::plan(&world, &Refused::default(), &settings);
    assert_eq!(crate::print(&followed), crate::print(&scratch));
    assert_eq!(followed.sources, scratch.sources);
}

#[test]
fn parameters_that_are_gone_leave_both_what_a_gateway_has_and_what_it_shares() {
    let [class, parameters] = shared();
    let gateway = || named("a", vec![listener("web", 80, "")]);
    let alone = declared([gateway(), parameters]);
    let without_class = crate::plan(&alone, &Refused::default(), &settings().with_addresses(Addresses::Assigned));
    for plan in [plan_in_cluster([gateway(), class]), without_class] {
        assert_eq!(programs(&plan), ["gateway/shop/a", "fleet/shop/windrose"]);
        assert!(plan.programs.values().all(|program| program.listeners.contains_key("shop/a/80")));
    }
}

#[test]
fn a_gateway_that_is_reached_goes_on_when_its_class_is_gone() {
    let programs = |labels: &[(&str, &str)], addresses| {
        let mut spec = gateway_spec(vec![listener("web", 80, "")]);
        spec.class = "own".into();
        let gateway = AnyObject::Gateway(object(Kind::Gateway, NS, "a", spec));
        let AnyObject::Service(made) = service("a-own", 80) else { unreachable!() };
        let mut made = Object::clone(&made);
        made.meta.labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let world = declared([gateway, AnyObject::Service(made.into()), to_gateway("ra", "a", "a-own")]);
        let plan = crate::plan(&world, &Refused::default(), &settings().with_addresses(addresses));
        let parents = plan.verdicts.keys().filter(|subject| subject.object.kind == Kind::HTTPRoute).count();
        (self::programs(&plan), parents, told(&plan).iter().any(|told| told.contains("spec.gatewayClassName")))
    };
    let by = ("app.kubernetes.io/managed-by", "windrose");
    let [of_it, of_other] = ["a", "b"].map(|name| ("gateway.networking.k8s.io/gateway-name", name));
    let [under, under_other] = ["own", "other"].map(|name| ("windrose.dev/gateway-class", name));
    let (goes_on, parents, told) = programs(&[by, of_it, under], Addresses::Assigned);
    assert_eq!((goes_on, parents), (vec!["gateway/shop/a".to_owned(), "fleet/shop/own".to_owned()], 1));
    assert!(told, "and it is said");
    for labels in [vec![by, of_other, under], vec![by, of_it, under_other], vec![of_it, under]] {
        assert_eq!(programs(&labels, Addresses::Assigned).0, [""; 0], "nothing of ours leads to it");
    }
    assert_eq!(programs(&[by, of_it, under], Addresses::Bind).0, [""; 0], "for files nobody makes Services");
}

#[test]
fn a_gateway_says_of_what_is_shared_no_more_than_its_service() {
    let judged = |parameters: GatewayParameters, of_class: [AnyObject; 2]| {
        let mut spec = gateway_spec(vec![listener("web", 80, "")]);
        spec.infrastructure.parameters_ref = Some(reference(Kind::GatewayParameters, "own"));
        let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
        let own = AnyObject::GatewayParameters(object(Kind::GatewayParameters, NS, "own", parameters));
        let plan = plan_in_cluster([edge, own].into_iter().chain(of_class));
        (reasons(&plan, &Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"))), told(&plan))
    };
    let service = GatewayParameters { service: Some(ServiceParameters::default()), ..GatewayParameters::default() };
    let more = GatewayParameters { replicas: Some(2), ..service.clone() };
    assert_eq!(judged(service, shared()).0, ["Accepted=true Accepted"]);
    let (reasons, told) = judged(more.clone(), shared());
    assert_eq!(reasons, ["Accepted=false InvalidParameters"]);
    assert!(told.iter().any(|told| told.contains("spec.infrastructure.parametersRef") && told.contains("more than `service`")), "{told:?}");
    assert_eq!(judged(more, class(&fleet(Fleet::PerGateway))).0, ["Accepted=true Accepted"]);
    assert_eq!(judged(fleet(Fleet::PerNamespace), class(&fleet(Fleet::PerGateway))).0, ["Accepted=false InvalidParameters"]);

    let image = || GatewayParameters { image: Some("evil".to_owned()), ..GatewayParameters::default() };
    let (reasons, told) = judged(image(), class(&GatewayParameters::default()));
    assert_eq!(reasons, ["Accepted=false InvalidParameters"]);
    assert!(told.iter().any(|told| told.contains("`image`, which its class does not leave to Gateways")), "{told:?}");
    let leaves = GatewayParameters { overridable: Some(vec![Overridable::Image]), ..GatewayParameters::default() };
    assert_eq!(judged(image(), class(&leaves)).0, ["Accepted=true Accepted"]);
}

/// The status from which on an answer is logged for a Gateway with these parameters of its own, and this policy, under that class.
fn logged(own: Option<GatewayParameters>, of_class: GatewayParameters, policy: Option<u32>) -> Option<u32> {
    let mut spec = gateway_spec(vec![listener("web", 80, "")]);
    spec.infrastructure.parameters_ref = own.is_some().then(|| reference(Kind::GatewayParameters, "own"));
    let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
    let own = own.map(|own| AnyObject::GatewayParameters(object(Kind::GatewayParameters, NS, "own", own)));
    let policy = policy.map(|status| {
        let target_refs = vec![target(Kind::Gateway, "edge", None)];
        let policy = TelemetryPolicy { target_refs, tracing: None, access_log: logs(status).access_log, metrics: None };
        AnyObject::TelemetryPolicy(object(Kind::TelemetryPolicy, NS, "log", policy))
    });
    let plan = plan_in_cluster(std::iter::once(edge).chain(own).chain(policy).chain(class(&of_class)));
    let listener = &plan.programs.values().next().unwrap().listeners["shop/edge/80"];
    let Handler::Http(http) = &listener.chains[0].handler else { panic!("{listener:?}") };
    http.access_log.as_ref()?.minimum_status
}

/// Parameters that log answers from this status on.
fn logs(status: u32) -> GatewayParameters {
    let log = AccessLog { minimum_status: Some(status), ..AccessLog::default() };
    GatewayParameters { access_log: Some(log), ..GatewayParameters::default() }
}

#[test]
fn a_class_says_what_its_gateways_log_until_a_gateway_or_a_policy_does() {
    let nothing = GatewayParameters::default;
    assert_eq!(logged(None, nothing(), None), None);
    assert_eq!(logged(None, logs(500), None), Some(500));
    assert_eq!(logged(None, GatewayParameters { fleet: Some(Fleet::PerNamespace), ..logs(500) }, None), Some(500));
    assert_eq!(logged(Some(nothing()), logs(500), None), Some(500));
    assert_eq!(logged(Some(logs(400)), logs(500), None), Some(400));
    assert_eq!(logged(Some(logs(400)), logs(500), Some(300)), Some(300));
    let kept = GatewayParameters { overridable: Some(Vec::new()), ..logs(500) };
    assert_eq!(logged(Some(logs(400)), kept, None), Some(500), "what a Gateway may not say is not followed");
}

#[test]
fn an_address_that_no_load_balancer_gives_is_the_classes_to_lend() {
    let judged = |networks: &[&str], kind| {
        let service = ServiceParameters {
            r#type: Some(kind),
            external_addresses: networks.iter().map(ToString::to_string).collect(),
            ..ServiceParameters::default()
        };
        let mut spec = gateway_spec(vec![listener("web", 80, "")]);
        spec.addresses = vec![GatewayAddress::Hostname("edge.example".into()), GatewayAddress::Ip("8.8.8.8".parse().unwrap())];
        let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec));
        let parameters = GatewayParameters { service: Some(service), ..GatewayParameters::default() };
        let plan = plan_in_cluster(std::iter::once(edge).chain(class(&parameters)));
        // What runs is not taken down for it: who deploys leaves all as it is.
        assert!(plan.edges.contains_key(&ObjectKey::new(NS, "edge")));
        (reasons(&plan, &Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"))), told(&plan))
    };
    assert_eq!(judged(&[], ServiceType::LoadBalancer).0, ["Accepted=true Accepted"]);
    assert_eq!(judged(&["8.8.8.0/24"], ServiceType::NodePort).0, ["Accepted=true Accepted"]);
    let (reasons, told) = judged(&["192.0.2.0/24"], ServiceType::ClusterIP);
    assert_eq!(reasons, ["Accepted=false UnsupportedAddress"]);
    assert!(told.iter().any(|told| told.contains("spec.addresses[1]") && told.contains("8.8.8.8")), "{told:?}");
}

#[test]
fn a_policy_on_a_backend_is_told_to_the_gateway_that_reaches_it() {
    let tls = BackendTls {
        targets: vec![(reference(Kind::Service, "o"), None)],
        hostname: "o.example".into(),
        ca: Vec::new(),
        system_ca: true,
        subject_alt_names: Vec::new(),
    };
    let policy = object(Kind::BackendTLSPolicy, NS, "tls", tls);
    let web = || vec![listener("web", 80, "")];
    let objects = [named("a", web()), named("b", web()), to_gateway("ra", "a", "o"), to_gateway("rb", "b", "p")];
    let others = [service("o", 80), service("p", 80), AnyObject::BackendTls(policy.clone())];
    let plan = plan_in_cluster(objects.into_iter().chain(others).chain(shared()));
    let of = plan.gateways(&ProxyKey::fleet(NS, "windrose"), &policy.meta.identity());
    assert_eq!(of.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/a"]);
}
