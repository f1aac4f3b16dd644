//! Whom an AuthorizationPolicy lets in, and by whose word.

use windrose_api::declared::AnyObject;
use windrose_api::policy::{Action, AuthorizationPolicy, AuthorizationRule, Source, TargetRef};
use windrose_vocab::Kind;

use super::world::*;
use crate::Plan;

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

fn rules(plan: &Plan) -> Vec<String> {
    let printed = crate::print(plan);
    let lines = printed.lines().map(str::trim);
    lines.filter(|line| ["allow ", "deny ", "and allow "].iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
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
