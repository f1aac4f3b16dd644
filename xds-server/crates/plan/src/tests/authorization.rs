//! Whom an AuthorizationPolicy is about: the mesh, a namespace, a Gateway; and whose word it is there.

use windrose_api::declared::{AnyObject, SetAside};
use windrose_api::policy::{Action, AuthorizationPolicy, AuthorizationRule, Source, TargetRef};
use windrose_vocab::{Kind, ObjectRef, ProxyKey};

use super::world::*;
use crate::{Plan, Refused};

const SYSTEM: &str = "windrose-system";

fn nobody() -> Source {
    Source { identity: None, namespace: None, service_account: None, authenticated: None, network: None }
}

fn account(name: &str) -> Source {
    Source { service_account: Some(name.to_owned()), ..nobody() }
}

fn identity(uri: &str) -> Source {
    Source { identity: Some(uri.to_owned()), ..nobody() }
}

/// A policy with one rule for each source.
fn policy(namespace: &str, action: Action, target_refs: Vec<TargetRef>, from: impl IntoIterator<Item = Source>) -> AnyObject {
    let rules = from.into_iter().map(|source| AuthorizationRule { from: vec![source], ..AuthorizationRule::default() });
    let spec = AuthorizationPolicy { target_refs, action, rules: rules.collect(), audit: false };
    AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, namespace, "p", spec))
}

fn mesh(policies: impl IntoIterator<Item = AnyObject>) -> Plan {
    let objects = [service("orders", 80), workload("orders", "127.0.0.3", "orders", Some(Vec::new()))];
    plan(objects.into_iter().chain(policies))
}

/// Who may call `orders`, line by line.
fn callers(plan: &Plan) -> Vec<String> {
    let key = ProxyKey::workload(NS, "orders");
    let programs = plan.programs.iter().filter(|(known, _)| **known == key).map(|(key, program)| (key.clone(), program.clone()));
    rules(&Plan { programs: programs.collect(), ..Plan::default() })
}

fn rules(plan: &Plan) -> Vec<String> {
    let printed = crate::print(plan);
    let lines = printed.lines().map(str::trim);
    lines.filter(|line| ["allow ", "deny ", "and allow "].iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
}

#[test]
fn what_the_mesh_denies_by_default_a_namespace_can_allow_its_own() {
    let default = || policy(SYSTEM, Action::Allow, Vec::new(), []);
    assert_eq!(callers(&mesh([default()])), ["allow nobody"]);
    let own = policy(NS, Action::Allow, Vec::new(), [account("web")]);
    assert_eq!(callers(&mesh([default(), own])), ["allow spiffe://windrose.local/ns/shop/sa/web"]);
    let of_service = policy(NS, Action::Allow, vec![target(Kind::Service, "orders", None)], [account("web")]);
    assert_eq!(callers(&mesh([default(), of_service])), ["allow spiffe://windrose.local/ns/shop/sa/web"]);
    let elsewhere = policy("elsewhere", Action::Allow, Vec::new(), []);
    assert_eq!(callers(&mesh([elsewhere])), [] as [&str; 0], "of another namespace");
}

#[test]
fn whom_the_mesh_allows_and_denies_is_a_word_of_its_own() {
    let own = || policy(NS, Action::Allow, Vec::new(), [account("web")]);
    let platform = policy(SYSTEM, Action::Allow, Vec::new(), [Source { namespace: Some(NS.to_owned()), ..nobody() }]);
    let both = callers(&mesh([platform, own()]));
    assert_eq!(both, ["allow spiffe://windrose.local/ns/shop/sa/web", "and allow spiffe://windrose.local/ns/shop/*"]);
    let deny = policy(SYSTEM, Action::Deny, Vec::new(), [account("shop/web")]);
    let denied = callers(&mesh([deny, own()]));
    assert_eq!(denied, ["deny spiffe://windrose.local/ns/shop/sa/web", "allow spiffe://windrose.local/ns/shop/sa/web"]);
    let unreadable = policy(SYSTEM, Action::Allow, Vec::new(), [identity("web")]);
    let closed = callers(&mesh([unreadable, own()]));
    assert_eq!(closed, ["allow spiffe://windrose.local/ns/shop/sa/web", "and allow nobody"], "what cannot be read is no default");
}

#[test]
fn a_policy_of_the_mesh_that_cannot_be_read_lets_nobody_by_whatever_namespaces_allow() {
    let mut world = declared([service("orders", 80), workload("orders", "127.0.0.3", "orders", Some(Vec::new()))]);
    world.insert(policy(NS, Action::Allow, Vec::new(), [account("web")]));
    world.set_aside.insert(ObjectRef::new(Kind::AuthorizationPolicy, SYSTEM, "p"), SetAside::default());
    let plan = crate::plan(&world, &Refused::default(), &settings());
    assert_eq!(callers(&plan), ["deny everybody", "allow spiffe://windrose.local/ns/shop/sa/web"]);
}

#[test]
fn a_policy_without_targets_is_not_about_gateways_and_says_so() {
    let with_gateway = |namespace| {
        let own = [gateway(vec![listener("web", 80, "")]), policy(namespace, Action::Deny, Vec::new(), [account("web")])];
        let told: Vec<String> = told(&plan(own)).into_iter().filter(|told| told.contains("spec.targetRefs")).collect();
        told.first().cloned().unwrap_or_default()
    };
    assert!(with_gateway(NS).contains("it holds for the sidecars of the namespace, and not for its Gateways"), "{}", with_gateway(NS));
    assert!(with_gateway(SYSTEM).contains("it holds for the sidecars of the mesh, and not for its Gateways"), "{}", with_gateway(SYSTEM));
    assert_eq!(with_gateway("elsewhere"), "");
    assert_eq!(rules(&plan([gateway(vec![listener("web", 80, "")]), policy(NS, Action::Allow, Vec::new(), [])])), [] as [&str; 0]);
}

#[test]
fn at_a_gateway_nobody_is_let_in_by_an_identity_of_our_own() {
    let own = [identity("spiffe://windrose.local/ns/shop/sa/web"), Source { namespace: Some(NS.to_owned()), ..nobody() }, account("web")];
    let planned = |action, from: Vec<Source>| {
        plan([gateway(vec![listener("web", 80, "")]), policy(NS, action, vec![target(Kind::Gateway, "edge", None)], from)])
    };
    for source in &own {
        let allowed = planned(Action::Allow, vec![source.clone()]);
        assert_eq!((rules(&allowed), codes(&allowed)), (vec!["allow nobody".to_owned()], vec!["Unsafe"]), "{source:?}");
        let said = told(&allowed).into_iter().find(|told| told.contains("Unsafe")).unwrap_or_default();
        assert!(said.contains("spec.rules[0].from[0]: at a Gateway it lets nobody in"), "{said}");
        let denied = planned(Action::Deny, vec![source.clone()]);
        assert!(rules(&denied)[0].starts_with("deny spiffe://windrose.local/ns/shop/"), "{denied:?}");
        assert_eq!(codes(&denied), [] as [&str; 0]);
    }
    let partner = identity("spiffe://partner.example/ns/a/sa/b");
    let mixed = planned(Action::Allow, vec![own[0].clone(), partner]);
    assert_eq!(rules(&mixed), ["allow spiffe://partner.example/ns/a/sa/b"]);
    let other = planned(Action::Allow, vec![identity("spiffe://windrose.local.example/ns/a/sa/b")]);
    assert_eq!((rules(&other).len(), codes(&other)), (1, vec![]), "another trust domain, whose name only begins so");
}
