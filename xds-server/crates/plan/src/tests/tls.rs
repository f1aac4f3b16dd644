use imbl::OrdMap;
use windrose_api::declared::backend::{BackendTls, ObjectReference};
use windrose_api::declared::gateway::{FrontendValidation, Protocol};
use windrose_api::declared::route::{BackendRef, Rule};
use windrose_api::declared::{AnyObject, Object};
use windrose_vocab::{Kind, ObjectRef, Weight};

use super::world::*;
use crate::{Plan, Refusal, Refused, RefusedBy, Subject};

fn section(name: &str) -> Subject {
    Subject::section(ObjectRef::new(Kind::Gateway, NS, "edge"), name.into())
}

#[test]
fn each_https_listener_is_a_chain_by_server_name_with_a_table_of_its_own() {
    let edge = gateway(vec![https("a", "a.example", "cert"), https("any", "", "cert")]);
    let plan =
        plan([edge, certificate(NS, "cert", "GOOD"), service("o", 80), route("r", &["a.example"], vec![rule(vec![prefix("/")], "o")])]);
    let printed = crate::print(&plan);
    assert!(printed.contains("chain a for a.example: tls with Secret/shop/cert from Tls12 -> routes shop/edge/443/a"), "{printed}");
    assert!(printed.contains("chain any: tls with Secret/shop/cert"), "{printed}");
    assert!(printed.contains("secret Secret/shop/cert: certificate"), "{printed}");
    assert!(!printed.contains("KEY"), "{printed}");
}

#[test]
fn a_certificate_for_other_hosts_is_told_of_and_served_all_the_same() {
    let secrets = ["a.example", "b.example"].map(|host| certificate(NS, host, &format!("GOOD ONLY {host}")));
    let told = |listener| {
        let plan = plan(secrets.clone().into_iter().chain([gateway(vec![listener])]));
        assert_eq!(edge_program(&plan).listeners["shop/edge/443"].chains.len(), 1);
        plan.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(https("a", "a.example", "a.example")), [] as [&str; 0]);
    assert_eq!(told(https("any", "", "b.example")), [] as [&str; 0]);
    assert_eq!(
        told(https("a", "a.example", "b.example")),
        ["warning[InvalidCertificate]: Gateway/shop/edge: spec.listeners[0].tls.certificateRefs: no certificate is for `a.example`, and \
          clients that ask for it refuse the connection: Secret/shop/b.example is for `b.example` (make one with that name in its \
          subjectAltName)"]
    );
    let mut both = https("a", "a.example", "b.example");
    let other = https("a", "a.example", "a.example").tls.unwrap().certificates;
    both.tls.as_mut().unwrap().certificates.extend(other);
    assert_eq!(told(both), [] as [&str; 0], "one of them is enough");
}

#[test]
fn a_listener_without_a_usable_certificate_is_left_out_and_told() {
    let bad = [certificate(NS, "bad", "BAD"), certificate("vault", "cert", "GOOD"), certificate(NS, "good", "GOOD")];
    let listeners = vec![
        https("bad", "b.example", "bad"),
        https("gone", "g.example", "gone"),
        https("far", "f.example", "vault/cert"),
        https("good", "", "good"),
    ];
    let without = plan(bad.clone().into_iter().chain([gateway(listeners.clone())]));
    assert_eq!(reasons(&without, &section("bad"))[1], "ResolvedRefs=false InvalidCertificateRef");
    assert_eq!(reasons(&without, &section("gone"))[1], "ResolvedRefs=false InvalidCertificateRef");
    assert_eq!(reasons(&without, &section("far"))[1], "ResolvedRefs=false RefNotPermitted");
    let chains = |plan: &crate::Plan| {
        edge_program(plan).listeners["shop/edge/443"].chains.iter().map(|chain| chain.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(chains(&without), ["good"]);
    assert_eq!(edge_program(&without).secrets.len(), 1);
    let with = plan(bad.into_iter().chain([gateway(listeners), grant("vault", (Kind::Gateway, NS), Kind::Secret)]));
    assert_eq!(chains(&with), ["far", "good"]);
}

#[test]
fn a_former_pair_is_shown_and_told_where_the_newest_cannot_be_used() {
    let mut spec = gateway_spec(vec![https("a", "", "cert")]);
    spec.backend_client_certificate = Some(reference(Kind::Secret, "cert"));
    let (newest, former) = (certificate(NS, "cert", "BAD"), certificate(NS, "cert", "GOOD"));
    let world = declared([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)), newest.clone()]);
    let by = |by| {
        let refusal = Refusal { by, reason: "the key is another's".to_owned(), last_good: Some(former.clone()) };
        crate::plan(&world, &Refused { objects: OrdMap::unit(newest.meta().identity(), refusal) }, &settings())
    };
    let plan = by(RefusedBy::Check);
    assert_eq!(edge_program(&plan).secrets.len(), 1);
    assert_eq!(reasons(&plan, &section("a"))[1], "ResolvedRefs=false InvalidCertificateRef");
    let gateway = Subject::object(ObjectRef::new(Kind::Gateway, NS, "edge"));
    assert_eq!(reasons(&plan, &gateway), ["Accepted=true Accepted", "ResolvedRefs=false InvalidClientCertificateRef"]);
    let told = told(&plan);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("its former certificate goes on: the key is another's"), "{told:?}");
    assert!(told[2].starts_with("error[InvalidCertificate]: Secret/shop/cert: the key is another's; its last good version"), "{told:?}");
    let by_envoy = by(RefusedBy::Envoy);
    assert_eq!(reasons(&by_envoy, &section("a"))[1], "ResolvedRefs=true ResolvedRefs", "what Envoy refuses is told of the Secret");
}

#[test]
fn clients_are_asked_for_a_certificate_and_bad_trust_closes_the_listener() {
    let with_ca = |text: &str| {
        let mut spec = gateway_spec(vec![https("a", "", "cert")]);
        spec.frontend_validation =
            Some(FrontendValidation { ca_certificates: vec![reference(Kind::ConfigMap, "ca")], insecure_fallback: false });
        plan([AnyObject::Gateway(object(Kind::Gateway, NS, "edge", spec)), certificate(NS, "cert", "GOOD"), bundle("ca", text)])
    };
    let printed = crate::print(&with_ca("GOOD"));
    assert!(printed.contains("client certificate required by Gateway/shop/edge/443/client-ca"), "{printed}");
    let closed = with_ca("BAD");
    assert_eq!(reasons(&closed, &section("a"))[0], "Accepted=false NoValidCACertificate");
    assert_eq!(closed.programs.len(), 0);
}

fn origin(name: &str, ca: &[&str]) -> Object<BackendTls> {
    let spec = BackendTls {
        targets: vec![(reference(Kind::Service, "o"), None)],
        hostname: "o.example".into(),
        ca: ca.iter().map(|name| reference(Kind::ConfigMap, name)).collect::<Vec<ObjectReference>>(),
        system_ca: ca.is_empty(),
        subject_alt_names: Vec::new(),
    };
    Object::clone(&object(Kind::BackendTLSPolicy, NS, name, spec))
}

/// What a BackendTLSPolicy comes to towards the Gateway, which is its only ancestor.
fn towards(plan: &Plan, policy: &str) -> Vec<String> {
    let policy = ObjectRef::new(Kind::BackendTLSPolicy, NS, policy);
    let carried = plan.sources.iter().filter(|(_, resources)| resources.values().any(|sources| sources.carries(&policy)));
    assert_eq!(carried.map(|(proxy, _)| proxy.to_string()).collect::<Vec<_>>(), ["gateway/shop/edge"]);
    let conditions =
        plan.verdicts.iter().filter(|(subject, _)| subject.object == policy).flat_map(|(_, verdict)| verdict.conditions.iter());
    conditions.map(|(kind, condition)| format!("{}={} {}", kind.as_str(), condition.status, condition.reason)).collect()
}

#[test]
fn a_backend_is_trusted_as_the_older_policy_says_and_not_reached_when_it_cannot_be() {
    let world = |policies: Vec<Object<BackendTls>>| {
        let rules = vec![rule(vec![prefix("/")], "o")];
        let objects = [gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], rules), bundle("ca", "GOOD")];
        plan(objects.into_iter().chain(policies.into_iter().map(|policy| AnyObject::BackendTls(policy.into()))))
    };
    let trusted =
        world(vec![origin("a", &["ca"]), Object { meta: windrose_api::Meta { created: 9, ..origin("b", &[]).meta }, ..origin("b", &[]) }]);
    let printed = crate::print(&trusted);
    assert!(printed.contains("cluster shop/o/80: Http1, tls to o.example trusting BackendTLSPolicy/shop/a/ca"), "{printed}");
    assert!(printed.contains("secret BackendTLSPolicy/shop/a/ca: trust"), "{printed}");
    assert_eq!(codes(&trusted), ["Conflicted"]);
    let lost = world(vec![origin("a", &["gone"])]);
    assert_eq!(targets(virtual_host(edge_program(&lost), "shop/edge/80", "*")), ["500"]);
    assert_eq!(towards(&lost, "a"), ["Accepted=false NoValidCACertificate", "ResolvedRefs=false InvalidCACertificateRef"]);
    assert_eq!(towards(&trusted, "a"), ["Accepted=true Accepted", "ResolvedRefs=true ResolvedRefs"]);
    assert_eq!(towards(&trusted, "b")[0], "Accepted=false Conflicted");
}

#[test]
fn tls_passes_through_by_server_name_and_a_lost_share_goes_nowhere() {
    let mut both = Rule { backends: vec![to("a")], ..Rule::default() };
    both.backends.push(BackendRef { weight: Weight::new(4).unwrap(), ..to("gone") });
    let tls = AnyObject::Route(object(Kind::TLSRoute, NS, "t", route_spec(&["a.example", "*.b.example"], vec![both])));
    let plan = plan([gateway(vec![tls_passthrough("tls", "")]), service("a", 80), tls]);
    let printed = crate::print(&plan);
    for host in ["*.b.example", "a.example"] {
        let chain = format!("chain tls/TLSRoute/shop/t/{host} for {host}: tls passed through -> Nowhere/shop/edge 4, shop/a/80/tcp 1");
        assert!(printed.contains(&chain), "{printed}");
    }
    assert!(printed.contains("cluster Nowhere/shop/edge: Tcp, at none"), "{printed}");
}

#[test]
fn the_oldest_tcp_route_takes_all_connections_and_a_port_without_one_closes_them() {
    let tcp = |port| windrose_api::declared::gateway::Listener { protocol: Protocol::Tcp, ..listener(&format!("tcp{port}"), port, "") };
    let mut spec = route_spec(&[], vec![Rule { backends: vec![to("a")], ..Rule::default() }]);
    spec.parents[0].section = Some("tcp5432".into());
    let old = AnyObject::Route(aged(&object(Kind::TCPRoute, NS, "z", spec.clone()), 1));
    let new = AnyObject::Route(aged(&object(Kind::TCPRoute, NS, "a", spec), 2));
    let plan = plan([gateway(vec![tcp(5432), tcp(6379)]), service("a", 80), old, new]);
    let printed = crate::print(&plan);
    assert!(printed.contains("chain tcp5432/TCPRoute/shop/z: plain -> shop/a/80/tcp 1"), "{printed}");
    assert!(printed.contains("chain tcp6379: plain -> closed"), "{printed}");
    assert_eq!(codes(&plan), ["Shadowed"]);
}

#[test]
fn a_server_name_belongs_to_the_most_specific_listener() {
    let rules = || vec![Rule { backends: vec![to("a")], ..Rule::default() }];
    let mut spec = route_spec(&["a.example", "b.example"], rules());
    spec.parents[0].section = Some("wide".into());
    let tls = AnyObject::Route(object(Kind::TLSRoute, NS, "t", spec));
    let edge = gateway(vec![tls_passthrough("wide", "*.example"), https("narrow", "a.example", "cert")]);
    let plan = plan([edge, certificate(NS, "cert", "GOOD"), service("a", 80), tls]);
    let printed = crate::print(&plan);
    assert!(printed.contains("chain narrow for a.example: tls with"), "{printed}");
    assert!(printed.contains("chain wide/TLSRoute/shop/t/b.example for b.example: tls passed through"), "{printed}");
    assert_eq!(codes(&plan), ["Shadowed"]);
}

#[test]
fn a_name_within_a_narrower_listener_is_not_the_wider_ones_whether_a_route_is_there_or_not() {
    let tls = |name: &str, section: &str, host: &str| {
        let mut spec = route_spec(&[host], vec![Rule { backends: vec![to("a")], ..Rule::default() }]);
        spec.parents[0].section = Some(section.into());
        AnyObject::Route(object(Kind::TLSRoute, NS, name, spec))
    };
    let edge = gateway(vec![tls_passthrough("wide", ""), tls_passthrough("narrow", "*.shop.example")]);
    let plan = plan([edge, service("a", 80), tls("guest", "wide", "pay.shop.example"), tls("own", "narrow", "web.shop.example")]);
    let printed = crate::print(&plan);
    assert!(printed.contains("chain narrow/TLSRoute/shop/own/web.shop.example for web.shop.example"), "{printed}");
    assert!(printed.contains("chain narrow for *.shop.example: tls passed through -> closed"), "{printed}");
    assert!(!printed.contains("for pay.shop.example"), "{printed}");
}

#[test]
fn a_listener_without_its_certificate_keeps_its_hosts_from_wider_ones() {
    let edge = gateway(vec![https("own", "a.example", "gone"), https("wild", "*.example", "cert")]);
    let guarded =
        plan([edge, certificate(NS, "cert", "GOOD"), service("o", 80), route("r", &["a.example", "b.example"], vec![rule(vec![], "o")])]);
    let table = "shop/edge/443/wild";
    assert_eq!(virtual_host(edge_program(&guarded), table, "a.example").routes.len(), 0, "nobody answers");
    assert_eq!(targets(virtual_host(edge_program(&guarded), table, "b.example")).len(), 1);

    let mut terminated = https("own", "a.example", "gone");
    terminated.protocol = Protocol::Tls;
    let tls = AnyObject::Route(object(
        Kind::TLSRoute,
        NS,
        "t",
        route_spec(&["a.example"], vec![Rule { backends: vec![to("o")], ..Rule::default() }]),
    ));
    let printed = crate::print(&plan([gateway(vec![terminated, tls_passthrough("wild", "*.example")]), service("o", 80), tls]));
    assert!(printed.contains("chain own for a.example: tls passed through -> closed"), "{printed}");
    assert!(!printed.contains("TLSRoute/shop/t/a.example"), "{printed}");
}
