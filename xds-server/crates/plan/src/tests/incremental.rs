//! The planner that follows edits comes to what a planner from scratch comes to, whatever the edits.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use proptest::prelude::*;
use windrose_api::Declared;
use windrose_api::declared::backend::BackendTls;
use windrose_api::declared::gateway::{CONTROLLER, GatewayClass, Namespaces};
use windrose_api::declared::{AnyObject, Changed, ListenerSet, SetAside};
use windrose_api::policy::{
    Action, AddressRules, AuthPolicy, AuthorizationPolicy, EdgePolicy, Fleet, JwtProvider, KeySource, MeshPolicy, MtlsMode, Provider,
    Public, RateLimitPolicy, TargetRef, TelemetryPolicy, Tracing, TrafficPolicy,
};
use windrose_vocab::{Code, Kind, ObjectKey, ObjectRef, ProxyKey};

use super::world::*;
use crate::{Addresses, Plan, Planner, Refusal, Refused, RefusedBy};

/// Every object that an edit can put in, in two or three variants of a name, so that edits hit what others refer to.
fn pool() -> Vec<AnyObject> {
    let mut all = Vec::new();
    all.extend([
        gateway(vec![listener("web", 80, "")]),
        gateway(vec![listener("web", 80, "*.example"), listener("one", 80, "a.example"), https("tls", "", "cert")]),
    ]);
    all.extend([certificate(NS, "cert", "GOOD"), certificate(NS, "cert", "BAD")]);
    for name in ["o", "p"] {
        all.extend([service(name, 80), service(name, 81), service_speaking(NS, name, 80, Some("kubernetes.io/h2c"))]);
        all.extend([slice(name, &["10.0.0.1"]), slice(name, &["10.0.0.1", "10.0.0.2"]), ending(&slice(name, &["10.0.0.1"]))]);
    }
    for (name, to) in [("r", "o"), ("r", "p"), ("s", "o"), ("s", "gone")] {
        all.push(route(name, &[], vec![rule(vec![prefix("/")], to)]));
        all.push(route(name, &["a.example", "b.example"], vec![rule(vec![exact("/x"), prefix("/y")], to), rule(vec![prefix("/")], "o")]));
        let mut mesh = route_spec(&[], vec![rule(vec![prefix("/m")], to)]);
        mesh.parents = vec![parent(Kind::Service, "o"), parent(Kind::Gateway, "edge")];
        all.push(AnyObject::Route(http_route(name, mesh)));
    }
    let mut named = rule(vec![prefix("/named")], "o");
    named.name = Some("x".into());
    all.push(route("r", &[], vec![named, rule(vec![prefix("/")], "o")]));
    all.push(AnyObject::Route(object(Kind::GRPCRoute, NS, "g", route_spec(&[], vec![rule(Vec::new(), "o")]))));
    for calls in [Some(Vec::new()), Some(vec![calls("o", 15001)]), None] {
        all.push(workload("w", "127.0.0.2", "o", calls.clone()));
        all.push(workload("v", "127.0.0.3", "p", calls));
    }
    all.extend(policies());
    all.extend(edge_policies());
    all.extend(trust());
    all.extend(connections());
    all.extend(mesh_policies());
    all.extend(fleets());
    all
}

fn trust() -> Vec<AnyObject> {
    let tls = |ca: &str, created| {
        let spec = BackendTls {
            targets: vec![(reference(Kind::Service, "o"), None)],
            hostname: "o.example".into(),
            ca: vec![reference(Kind::ConfigMap, ca)],
            system_ca: false,
            subject_alt_names: Vec::new(),
        };
        AnyObject::BackendTls(aged(&object(Kind::BackendTLSPolicy, NS, ca, spec), created))
    };
    let class = |controller: &str| {
        AnyObject::GatewayClass(object(
            Kind::GatewayClass,
            "",
            "windrose",
            GatewayClass { controller: controller.into(), parameters_ref: None },
        ))
    };
    let far = |name: &str| route(name, &[], vec![rule(vec![prefix("/far")], "far/o")]);
    vec![
        tls("ca", 5),
        tls("other", 1),
        bundle("ca", "GOOD"),
        bundle("ca", "BAD"),
        class(CONTROLLER),
        class("other.example/controller"),
        service_speaking("far", "o", 80, None),
        far("r"),
        far("s"),
        grant("far", (Kind::HTTPRoute, NS), Kind::Service),
        grant("far", (Kind::GRPCRoute, NS), Kind::Service),
        namespace(NS, &[("tier", "gold")]),
    ]
}

fn connections() -> Vec<AnyObject> {
    let mut shared = gateway_spec(vec![tls_passthrough("tls", "*.example"), listener("web", 80, "")]);
    shared.allowed_listener_sets = Namespaces::All;
    let set = |hostname: &str| {
        let spec = ListenerSet { gateway: ObjectKey::new(NS, "edge"), listeners: vec![listener("more", 80, hostname)] };
        AnyObject::ListenerSet(object(Kind::ListenerSet, NS, "set", spec))
    };
    let to_set = |name: &str| {
        let mut spec = route_spec(&["a.example"], vec![rule(vec![prefix("/set")], "o")]);
        spec.parents = vec![parent(Kind::ListenerSet, "set")];
        AnyObject::Route(http_route(name, spec))
    };
    let tls = |name: &str, host: &str, to: &str| {
        AnyObject::Route(object(Kind::TLSRoute, NS, name, route_spec(&[host], vec![rule(Vec::new(), to)])))
    };
    let edge = AnyObject::Gateway(object(Kind::Gateway, NS, "edge", shared));
    vec![
        edge,
        set("a.example"),
        set(""),
        to_set("r"),
        tls("t", "a.example", "o"),
        tls("u", "a.example", "p"),
        tls("t", "b.example", "gone"),
    ]
}

fn mesh_policies() -> Vec<AnyObject> {
    let mesh = |namespace: &str, targets, mode| {
        let spec = MeshPolicy { target_refs: targets, mtls: Some(mode), ports: Vec::new() };
        AnyObject::MeshPolicy(object(Kind::MeshPolicy, namespace, "m", spec))
    };
    let authorization = |namespace: &str, targets, action| {
        let spec = AuthorizationPolicy { target_refs: targets, action, rules: Vec::new(), audit: false };
        AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, namespace, "z", spec))
    };
    let telemetry = |namespace: &str, backend: &str| {
        let tracing = Tracing { provider: Provider::Zipkin, backend: backend.to_owned(), port: Some(80), sampling_per_ten_thousand: None };
        let spec = TelemetryPolicy { target_refs: Vec::new(), tracing: Some(tracing), access_log: None, metrics: None };
        AnyObject::TelemetryPolicy(object(Kind::TelemetryPolicy, namespace, "t", spec))
    };
    vec![
        mesh(NS, Vec::new(), MtlsMode::Permissive),
        mesh("windrose-system", Vec::new(), MtlsMode::Permissive),
        mesh(NS, vec![target(Kind::Workload, "w", None)], MtlsMode::Strict),
        authorization("windrose-system", Vec::new(), Action::Allow),
        authorization(NS, Vec::new(), Action::Allow),
        authorization(NS, vec![target(Kind::Service, "o", None)], Action::Allow),
        authorization(NS, vec![target(Kind::Gateway, "edge", None)], Action::Deny),
        telemetry(NS, "o"),
        telemetry("windrose-system", "gone"),
    ]
}

fn edge_policies() -> Vec<AnyObject> {
    let edge = |name: &str, section, network: &str| {
        let addresses = Some(AddressRules { allow: vec![network.to_owned()], deny: Vec::new() });
        let target_refs = vec![target(Kind::Gateway, "edge", section)];
        AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, name, EdgePolicy { target_refs, addresses, ..EdgePolicy::default() }))
    };
    vec![edge("e", None, "10.0.0.0/8"), edge("f", None, "10.1.0.0/16"), edge("f", Some("one"), "10.1.0.0/16")]
}

fn policies() -> Vec<AnyObject> {
    let keys = KeySource { inline: Some(r#"{"keys":[{"kty":"oct"}]}"#.to_owned()), file: None, object: None };
    let provider = |issuer: &str| JwtProvider {
        name: "p".to_owned(),
        issuer: issuer.to_owned(),
        audiences: vec!["a".to_owned()],
        jwks: keys.clone(),
        algorithms: Vec::new(),
        leeway: None,
        from: Vec::new(),
        forward: false,
    };
    let auth = |name: &str, target, jwt: Vec<JwtProvider>, public| {
        let spec = AuthPolicy {
            target_refs: vec![target],
            jwt,
            required_claims: Vec::new(),
            required_scopes: Vec::new(),
            claims_to_headers: Vec::new(),
            public,
            replace: false,
        };
        AnyObject::AuthPolicy(object(Kind::AuthPolicy, NS, name, spec))
    };
    let public = || Some(Public { reason: "r".to_owned(), approved_by: "b".to_owned() });
    let limits = |target| {
        let spec = RateLimitPolicy { target_refs: vec![target], limits: Vec::new(), shadow: false, headers: None };
        AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, "l", spec))
    };
    let traffic = |target| {
        let spec = TrafficPolicy {
            target_refs: vec![target],
            timeouts: None,
            retries: None,
            circuit_breaker: Some(Default::default()),
            outlier_detection: Some(Default::default()),
            health_check: None,
            load_balancing: None,
        };
        AnyObject::TrafficPolicy(object(Kind::TrafficPolicy, NS, "t", spec))
    };
    vec![
        auth("a", target(Kind::Gateway, "edge", None), vec![provider("i")], None),
        auth("a", target(Kind::HTTPRoute, "r", None), vec![provider("j")], None),
        auth("b", target(Kind::HTTPRoute, "r", None), Vec::new(), public()),
        auth("a", target(Kind::HTTPRoute, "r", Some("x")), vec![provider("i")], None),
        auth("b", target(Kind::HTTPRoute, "r", Some("x")), Vec::new(), public()),
        auth("c", target(Kind::HTTPRoute, "r", Some("x")), vec![provider("j")], None),
        auth("b", target(Kind::HTTPRoute, "s", None), Vec::new(), public()),
        limits(target(Kind::Gateway, "edge", Some("one"))),
        limits(target(Kind::HTTPRoute, "s", None)),
        traffic(target(Kind::Service, "o", None)),
        traffic(target(Kind::HTTPRoute, "r", None)),
    ]
}

fn changed(objects: impl IntoIterator<Item = ObjectRef>) -> Changed {
    Changed { objects: objects.into_iter().collect() }
}

fn from_scratch(declared: &Declared, refused: &Refused) -> Plan {
    crate::plan(declared, refused, &settings())
}

/// Another Gateway, and a class that says whose proxies they are, or not yet.
fn fleets() -> Vec<AnyObject> {
    let gateway = |port| {
        let listeners = vec![listener("web", 80, ""), listener("more", port, ""), tls_passthrough("tls", "*.example")];
        AnyObject::Gateway(object(Kind::Gateway, NS, "inner", gateway_spec(listeners)))
    };
    let tls = |to: &str| {
        let mut spec = route_spec(&["a.example"], vec![rule(Vec::new(), to)]);
        spec.parents = vec![parent(Kind::Gateway, "inner")];
        AnyObject::Route(object(Kind::TLSRoute, NS, "inner", spec))
    };
    let shares = [Fleet::PerGateway, Fleet::PerNamespace].map(|whose| class(&fleet(whose)));
    [gateway(81), gateway(82), tls("o"), tls("gone")].into_iter().chain(shares.into_iter().flatten()).collect()
}

fn assert_equal(followed: &Plan, scratch: &Plan) {
    assert_eq!(crate::print(followed), crate::print(scratch));
    assert_eq!(told(followed), told(scratch));
    assert_eq!(followed.sources, scratch.sources);
    assert!(followed == scratch, "plans differ in what is not printed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn following_edits_comes_to_what_planning_from_scratch_comes_to(
        edits in prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5), 1..4), 1..14),
        refuse in any::<prop::sample::Index>(),
        assigned in any::<bool>(),
    ) {
        let pool = pool();
        let addresses = if assigned { Addresses::Assigned } else { Addresses::Bind };
        let settings = settings().with_addresses(addresses);
        let mut declared = Declared::default();
        let mut planner = Planner::new(settings.clone());
        let mut refused = Refused::default();
        for (step, edit) in edits.iter().enumerate() {
            let mut objects = BTreeSet::new();
            for (index, action) in edit {
                let object = index.get(&pool);
                let name = object.meta().object.clone();
                match action {
                    0 => declared.remove(&name),
                    1 => set_aside(&mut declared, &name, attached(object)),
                    _ => declared.insert(object.clone()),
                }
                objects.insert(name);
            }
            if step % 4 == 3 {
                let (object, good) = (refuse.get(&pool), edit[0].0.get(&pool));
                let by = if step % 8 == 3 { RefusedBy::Check } else { RefusedBy::Envoy };
                let last_good = (object.meta().object == good.meta().object).then(|| good.clone());
                refused.objects = OrdMap::unit(object.meta().identity(), Refusal { by, reason: "no".to_owned(), last_good });
            }
            let followed = planner.update(&declared, &refused, &changed(objects));
            assert_equal(&followed, &crate::plan(&declared, &refused, &settings));
        }
    }
}

/// It is there from now on, and cannot be read.
fn set_aside(declared: &mut Declared, object: &ObjectRef, targets: &[TargetRef]) {
    declared.remove(object);
    declared.set_aside.insert(object.clone(), SetAside { targets: targets.into(), ..SetAside::default() });
}

/// What can be read of a policy that closes while it cannot be read.
fn attached(object: &AnyObject) -> &[TargetRef] {
    match object {
        AnyObject::AuthPolicy(policy) => &policy.spec.target_refs,
        AnyObject::RateLimitPolicy(policy) => &policy.spec.target_refs,
        AnyObject::EdgePolicy(policy) => &policy.spec.target_refs,
        AnyObject::MeshPolicy(policy) => &policy.spec.target_refs,
        AnyObject::AuthorizationPolicy(policy) => &policy.spec.target_refs,
        _ => &[],
    }
}

#[test]
fn what_is_there_and_cannot_be_read_is_not_called_absent() {
    let backend = ObjectRef::new(Kind::Service, NS, "o");
    let mut world = declared([gateway(vec![listener("web", 80, "")]), route("r", &[], vec![rule(vec![prefix("/")], "o")])]);
    let mut planner = Planner::from_nothing(settings(), &world, &Refused::default());
    let told = |plan: &Plan| {
        plan.diagnostics.iter().filter(|one| one.code == Code::RefNotFound).map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(planner.plan()), ["no Service `o` in namespace `shop`"]);
    set_aside(&mut world, &backend, &[]);
    let followed = planner.update(&world, &Refused::default(), &changed([backend.clone()]));
    assert_eq!(told(&followed), ["Service `o` cannot be read"]);
    world.remove(&backend);
    let followed = planner.update(&world, &Refused::default(), &changed([backend]));
    assert_eq!(told(&followed), ["no Service `o` in namespace `shop`"]);
}

#[test]
fn a_slice_edit_changes_one_endpoint_set_and_shares_all_else() {
    let objects = [
        gateway(vec![listener("web", 80, "")]),
        service("o", 80),
        service("p", 80),
        slice("o", &["10.0.0.1"]),
        slice("p", &["10.0.0.1"]),
        route("r", &[], vec![rule(vec![prefix("/o")], "o"), rule(vec![prefix("/p")], "p")]),
    ];
    let mut world = declared(objects);
    let mut planner = Planner::new(settings());
    let all = world.iter().map(|object| object.meta().object.clone());
    let before = planner.update(&world, &Refused::default(), &changed(all.collect::<Vec<_>>()));
    // Another address, then one that ends and still serves.
    for slice in [slice("o", &["10.0.0.9"]), slice("o", &["10.0.0.1", "10.0.0.9"]), ending(&slice("o", &["10.0.0.9"]))] {
        world.insert(slice);
        let after = planner.update(&world, &Refused::default(), &changed([ObjectRef::new(Kind::EndpointSlice, NS, "o-1")]));
        let (old, new) = (edge_program(&before), edge_program(&after));
        assert!(!Arc::ptr_eq(&old.endpoints["shop/o/80"], &new.endpoints["shop/o/80"]));
        assert!(Arc::ptr_eq(&old.endpoints["shop/p/80"], &new.endpoints["shop/p/80"]));
        assert!(Arc::ptr_eq(&old.routes["shop/edge/80"], &new.routes["shop/edge/80"]));
        assert!(Arc::ptr_eq(&old.clusters["shop/o/80"], &new.clusters["shop/o/80"]));
    }
    assert!(crate::print(planner.plan()).contains("endpoints shop/o/80: 10.0.0.9:8080\n"), "{}", crate::print(planner.plan()));
}

/// While nobody knows which proxies serve a Gateway both kinds are planned, and what they carry is told once.
#[test]
fn what_a_gateway_carries_stays_told_when_its_class_comes() {
    let mut tls = route_spec(&["a.example"], vec![rule(Vec::new(), "o")]);
    tls.parents = vec![parent(Kind::Gateway, "edge")];
    let route = AnyObject::Route(object(Kind::TLSRoute, NS, "t", tls));
    let mut world = declared([gateway(vec![tls_passthrough("tls", "*.example")]), service("o", 80), route]);
    for whose in [Fleet::PerGateway, Fleet::PerNamespace] {
        let settings = settings().with_addresses(Addresses::Assigned);
        let mut planner = Planner::new(settings.clone());
        let all = world.iter().map(|object| object.meta().object.clone()).collect::<Vec<_>>();
        planner.update(&world, &Refused::default(), &changed(all));
        let objects = class(&fleet(whose));
        let names: Vec<_> = objects.iter().map(|object| object.meta().object.clone()).collect();
        let former = world.clone();
        objects.into_iter().for_each(|object| world.insert(object));
        let told = planner.update(&world, &Refused::default(), &changed(names));
        assert_eq!(told.coverage.len(), 1, "{whose:?}");
        assert_equal(&told, &crate::plan(&world, &Refused::default(), &settings));
        world = former;
    }
}

/// The same slice, whose endpoints terminate and still serve.
fn ending(slice: &AnyObject) -> AnyObject {
    let AnyObject::EndpointSlice(slice) = slice else { panic!("no slice") };
    let mut spec = slice.spec.clone();
    spec.endpoints.iter_mut().for_each(|endpoint| (endpoint.ready, endpoint.terminating) = (false, true));
    AnyObject::EndpointSlice(object(Kind::EndpointSlice, NS, &slice.meta.object.key.name, spec))
}

#[test]
fn an_object_that_nobody_reads_changes_no_program() {
    let mut world =
        declared([gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], vec![rule(vec![prefix("/")], "o")])]);
    let mut planner = Planner::new(settings());
    let all = world.iter().map(|object| object.meta().object.clone());
    let before = planner.update(&world, &Refused::default(), &changed(all.collect::<Vec<_>>()));
    world.insert(service("unrelated", 80));
    let after = planner.update(&world, &Refused::default(), &changed([ObjectRef::new(Kind::Service, NS, "unrelated")]));
    assert!(Arc::ptr_eq(edge_program(&before), edge_program(&after)));
}

#[test]
fn a_refused_version_gives_way_to_its_last_good_one_with_envoys_words() {
    let good = route("r", &[], vec![rule(vec![prefix("/good")], "o")]);
    let bad = route("r", &[], vec![rule(vec![prefix("/bad")], "o")]);
    let world = declared([gateway(vec![listener("web", 80, "")]), service("o", 80), bad.clone()]);
    let refusal = |last_good| Refused {
        objects: OrdMap::unit(bad.meta().identity(), Refusal { by: RefusedBy::Envoy, reason: "bad regex".to_owned(), last_good }),
    };
    let plan = from_scratch(&world, &refusal(Some(good)));
    assert!(crate::print(&plan).contains("/good*"));
    assert!(
        told(&plan)
            .iter()
            .any(|told| told.starts_with("error[RefusedByEnvoy]: HTTPRoute/shop/r: Envoy refused what was made of it: bad regex"))
    );
    assert!(plan.sources[&ProxyKey::gateway(NS, "edge")].len() > 2);
    assert!(!crate::print(&from_scratch(&world, &refusal(None))).contains("/bad*"));
}

#[test]
fn a_certificate_that_goes_on_is_told_although_what_is_planned_stays_as_it_was() {
    let (former, newest) = (certificate(NS, "cert", "GOOD"), certificate(NS, "cert", "BAD"));
    let mut world = declared([gateway(vec![https("tls", "", "cert")]), former.clone()]);
    let mut planner = Planner::from_nothing(settings(), &world, &Refused::default());
    let refusal = |why: &str| Refusal { by: RefusedBy::Check, reason: why.to_owned(), last_good: Some(former.clone()) };
    let [first, second] = ["one", "other"].map(|why| Refused { objects: OrdMap::unit(newest.meta().identity(), refusal(why)) });
    for (secret, refused) in [(&newest, &first), (&newest, &second), (&former, &second), (&former, &Refused::default())] {
        world.insert(secret.clone());
        let followed = planner.update(&world, refused, &changed([secret.meta().object.clone()]));
        assert_equal(&followed, &from_scratch(&world, refused));
        assert_eq!(codes(&followed).is_empty(), secret == &former, "{:?}", told(&followed));
    }
}
