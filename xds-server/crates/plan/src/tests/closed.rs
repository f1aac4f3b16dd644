//! What policies that are not in force close, and what people are told of it.

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, SetAside};
use windrose_api::policy::{AddressRules, EdgePolicy, HeaderLimits};
use windrose_vocab::{Kind, ObjectRef};

use super::world::{NS, aged, codes, declared, gateway, listener, object, prefix, route, rule, service, settings, target, told};
use crate::{Coverage, Plan, Refused};

fn world() -> Declared {
    declared([gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], vec![rule(vec![prefix("/")], "o")])])
}

/// The world with a policy that cannot be read.
fn beside(mut world: Declared, kind: Kind, name: &str, on: (Kind, &str), created: u64) -> (Declared, ObjectRef) {
    let policy = ObjectRef::new(kind, NS, name);
    let targets = [target(on.0, on.1, None)];
    world.set_aside.insert(policy.clone(), SetAside { created, targets: targets.into(), ..SetAside::default() });
    (world, policy)
}

fn plan(world: &Declared) -> Plan {
    crate::plan(world, &Refused::default(), &settings())
}

fn coverage(plan: &Plan) -> Vec<&Coverage> {
    plan.coverage.values().collect()
}

fn of_addresses(name: &str, created: u64) -> AnyObject {
    let addresses = AddressRules { allow: vec!["10.0.0.0/8".into()], deny: Vec::new() };
    let spec = EdgePolicy { target_refs: vec![target(Kind::Gateway, "edge", None)], addresses: Some(addresses), ..EdgePolicy::default() };
    AnyObject::EdgePolicy(aged(&object(Kind::EdgePolicy, NS, name, spec), created))
}

#[test]
fn a_route_that_nobody_reaches_for_a_policy_that_cannot_be_read_is_denied_by_that_one_and_it_says_where() {
    for (kind, on) in [
        (Kind::EdgePolicy, (Kind::Gateway, "edge")),
        (Kind::AuthorizationPolicy, (Kind::Gateway, "edge")),
        (Kind::RateLimitPolicy, (Kind::Gateway, "edge")),
        (Kind::RateLimitPolicy, (Kind::HTTPRoute, "r")),
        (Kind::TranscodingPolicy, (Kind::HTTPRoute, "r")),
        (Kind::AuthPolicy, (Kind::HTTPRoute, "r")),
    ] {
        let (world, policy) = beside(world(), kind, "p", on, 0);
        let plan = plan(&world);
        assert_eq!(coverage(&plan), [&Coverage::Denied(vec![policy.clone()])], "{kind}");
        let at = format!(" at {}/{NS}/{}", on.0, on.1);
        let said = |told: &&String| told.contains("it cannot be read, so until it can nobody passes") && told.contains(&at);
        assert_eq!(told(&plan).iter().filter(said).count(), 1, "{kind}: {:?}", told(&plan));
        let stead = crate::stead(&plan, &world, &policy);
        assert!(stead.closes && stead.words == "until that is mended it lets nobody pass", "{kind}: {stead:?}");
    }
}

#[test]
fn of_two_on_one_target_that_are_as_old_one_that_can_be_read_decides() {
    let mut good = world();
    good.insert(of_addresses("b", 0));
    let (world, unread) = beside(good, Kind::EdgePolicy, "a", (Kind::Gateway, "edge"), 0);
    let plan = plan(&world);
    assert!(crate::print(&plan).contains("allow 10.0.0.0/8"), "{}", crate::print(&plan));
    assert_eq!(coverage(&plan), [&Coverage::Open]);
    assert!(told(&plan).iter().any(|told| told.contains("EdgePolicy/shop/b can be read and already decides")), "{:?}", told(&plan));
    assert!(!codes(&plan).contains(&"Closed"), "{:?}", codes(&plan));
    assert_eq!(crate::stead(&plan, &world, &unread), crate::Stead { closes: false, words: "it has no effect" });
}

#[test]
fn a_good_one_that_says_nothing_of_addresses_does_not_open_what_another_may_close() {
    let mut good = world();
    let headers = HeaderLimits { max_kib: Some(8), max_count: None };
    let spec = EdgePolicy { target_refs: vec![target(Kind::Gateway, "edge", None)], headers: Some(headers), ..EdgePolicy::default() };
    good.insert(AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, "b", spec)));
    for name in ["a", "c"] {
        let (world, unread) = beside(good.clone(), Kind::EdgePolicy, name, (Kind::Gateway, "edge"), 0);
        let plan = plan(&world);
        assert_eq!(coverage(&plan), [&Coverage::Denied(vec![unread])]);
        let printed = crate::print(&plan);
        assert!(printed.contains("deny 0.0.0.0/0 ::/0") && printed.contains("max_headers_kib: 8"), "{printed}");
    }
}

#[test]
fn one_that_cannot_attach_there_closes_nothing() {
    let (world, policy) = beside(world(), Kind::TranscodingPolicy, "p", (Kind::Gateway, "edge"), 0);
    let plan = plan(&world);
    assert_eq!(coverage(&plan), [&Coverage::Open]);
    assert!(!crate::stead(&plan, &world, &policy).closes);
}

#[test]
fn one_that_is_older_and_cannot_be_read_closes_for_it_would_have_decided() {
    let mut good = world();
    good.insert(of_addresses("a", 9));
    let (world, unread) = beside(good, Kind::EdgePolicy, "b", (Kind::Gateway, "edge"), 7);
    let plan = plan(&world);
    assert_eq!(coverage(&plan), [&Coverage::Denied(vec![unread])]);
    assert!(told(&plan).iter().any(|told| told.contains("EdgePolicy/shop/b is older and already decides")), "{:?}", told(&plan));
}

#[test]
fn one_that_would_have_refused_nobody_displaces_none_and_closes_nothing() {
    let mut good = world();
    let headers = HeaderLimits { max_kib: Some(8), max_count: None };
    let spec = EdgePolicy { target_refs: vec![target(Kind::Gateway, "edge", None)], headers: Some(headers), ..EdgePolicy::default() };
    good.insert(AnyObject::EdgePolicy(object(Kind::EdgePolicy, NS, "good", spec)));
    let before = plan(&good);
    for kind in [Kind::EdgePolicy, Kind::AuthorizationPolicy, Kind::RateLimitPolicy] {
        let (mut world, policy) = beside(good.clone(), kind, "a", (Kind::Gateway, "edge"), 0);
        world.set_aside.get_mut(&policy).unwrap().harmless = true;
        let plan = plan(&world);
        assert_eq!((&plan.programs, &plan.coverage, codes(&plan)), (&before.programs, &before.coverage, codes(&before)), "{kind}");
        assert_eq!(crate::stead(&plan, &world, &policy).words, "it has no effect");
    }
}
