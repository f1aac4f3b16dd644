use std::sync::Arc;

use windrose_api::declared::AnyObject;
use windrose_api::declared::gateway::{Listener, Namespaces};
use windrose_api::declared::route::{Filter, Redirect, Rule};
use windrose_api::policy::{AuthPolicy, ClaimToHeader, JwtProvider, KeyObject, KeySource, Public, TargetRef, TokenSource};
use windrose_ir::Extension;
use windrose_ir::extension::{AuthRule, JwtRule};
use windrose_vocab::{Kind, ObjectRef};

use super::world::*;
use crate::{Coverage, Plan};

const KEYS: &str = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;

fn provider(issuer: &str, keys: &str) -> JwtProvider {
    JwtProvider {
        name: "idp".to_owned(),
        issuer: issuer.to_owned(),
        audiences: vec!["shop".to_owned()],
        jwks: KeySource { inline: Some(keys.to_owned()), file: None, object: None },
        algorithms: Vec::new(),
        leeway: None,
        from: Vec::new(),
        forward: false,
    }
}

fn spec(target: TargetRef) -> AuthPolicy {
    AuthPolicy {
        target_refs: vec![target],
        jwt: Vec::new(),
        required_claims: Vec::new(),
        required_scopes: Vec::new(),
        claims_to_headers: Vec::new(),
        public: None,
        replace: false,
    }
}

fn jwt(name: &str, target: TargetRef, issuer: &str) -> AnyObject {
    policy(name, AuthPolicy { jwt: vec![provider(issuer, KEYS)], ..spec(target) })
}

fn public(name: &str, target: TargetRef, replace: bool) -> AnyObject {
    let public = Some(Public { reason: "health".to_owned(), approved_by: "eve".to_owned() });
    policy(name, AuthPolicy { public, replace, ..spec(target) })
}

fn policy(name: &str, spec: AuthPolicy) -> AnyObject {
    AnyObject::AuthPolicy(object(Kind::AuthPolicy, NS, name, spec))
}

fn on_gateway() -> TargetRef {
    target(Kind::Gateway, "edge", None)
}

fn on_route(section: Option<&str>) -> TargetRef {
    target(Kind::HTTPRoute, "r", section)
}

/// An edge with the routes `r` (rules `a`, `b`) and `s`, and these policies.
fn world(policies: impl IntoIterator<Item = AnyObject>) -> Plan {
    let mut rules = vec![rule(vec![prefix("/a")], "o"), rule(vec![prefix("/b")], "o")];
    rules[0].name = Some("a".into());
    rules[1].name = Some("b".into());
    let objects = [
        gateway(vec![listener("web", 80, "")]),
        service("o", 80),
        route("r", &[], rules),
        route("s", &[], vec![rule(vec![prefix("/s")], "o")]),
    ];
    plan(objects.into_iter().chain(policies))
}

/// The policy ids of the routes /a, /b and /s, and what those come to.
fn ids(plan: &Plan) -> Vec<String> {
    let host = virtual_host(edge_program(plan), "shop/edge/80", "*");
    host.routes.iter().map(|route| route.policies.first().map_or("-".to_owned(), |(_, id)| id.to_string())).collect()
}

fn entry(plan: &Plan, id: &str) -> AuthRule {
    let Extension::JwtAuth(table) = &*edge_program(plan).extensions["shop/edge/80/jwt-auth"] else { panic!("not jwt") };
    table.policies[id].clone()
}

fn is_denied(plan: &Plan, id: &str) -> bool {
    matches!(entry(plan, id), AuthRule::Deny { .. })
}

fn required(plan: &Plan, id: &str) -> JwtRule {
    match entry(plan, id) {
        AuthRule::Jwt(rule) => rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_policies_each_filter_has_its_place_and_every_route_is_told_open() {
    let plan = world([]);
    assert_eq!(ids(&plan), ["open", "open", "open"], "the first policy changes no other route");
    let (empty, listeners) = (edge_program(&plan), |plan: &Plan| edge_program(plan).listeners.clone());
    let nothing = |extension: &Arc<Extension>| match &**extension {
        Extension::JwtAuth(table) => table.policies == [("open".into(), AuthRule::Public)].into(),
        Extension::RateLimit(table) => table.policies.is_empty(),
        Extension::Transcoder(table) => table.policies.is_empty(),
    };
    assert!(empty.extensions.len() == 3 && empty.extensions.values().all(nothing));
    assert_eq!(listeners(&plan), listeners(&world([jwt("strict", on_route(None), "https://idp")])), "nor a listener");
    assert!(plan.coverage.values().all(|coverage| *coverage == Coverage::Open));
    assert_eq!(plan.diagnostics.iter().filter(|told| told.code.as_str() == "Open").count(), 2);
}

#[test]
fn a_rule_that_only_redirects_is_called_so_and_is_not_warned_of() {
    let redirects =
        |path: &str| Rule { filters: vec![Filter::Redirect(Redirect::default())], backends: vec![], ..rule(vec![prefix(path)], "o") };
    let told = |rules: Vec<Rule>, policies: Vec<AnyObject>| {
        let objects = [gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], rules)];
        let plan = plan(objects.into_iter().chain(policies));
        let covered: Vec<_> = plan.coverage.values().cloned().collect();
        let open = plan.diagnostics.iter().find(|told| told.code.as_str() == "Open").map(|told| told.message.clone());
        (covered, open)
    };
    assert_eq!(told(vec![redirects("/")], vec![]), (vec![Coverage::Redirects], None));

    let (covered, open) = told(vec![rule(vec![prefix("/")], "o"), redirects("/old")], vec![]);
    assert_eq!(covered, [Coverage::Open, Coverage::Redirects]);
    assert!(open.is_some_and(|open| open.starts_with("no policy protects 1 of its 2 rules")));

    let with_backend = Rule { backends: rule(vec![], "o").backends, ..redirects("/") };
    let without_redirect = Rule { filters: vec![], ..redirects("/") };
    for other in [with_backend, without_redirect] {
        let (covered, open) = told(vec![other.clone()], vec![]);
        assert_eq!((covered, open.is_some()), (vec![Coverage::Open], true), "{other:?}");
    }

    let policy = ObjectRef::new(Kind::AuthPolicy, NS, "strict");
    let protected = told(vec![redirects("/")], vec![jwt("strict", on_route(None), "https://idp")]);
    assert_eq!(protected, (vec![Coverage::Protected(vec![policy])], None));
}

#[test]
fn a_route_that_is_open_in_part_names_its_open_rules() {
    let told = |plan: &Plan| {
        let of_r = |told: &&Arc<windrose_vocab::Diagnostic>| {
            told.code.as_str() == "Open" && told.object.as_ref().is_some_and(|object| &*object.key.name == "r")
        };
        plan.diagnostics.iter().filter(of_r).map(|told| format!("{}: {}", told.field, told.message)).collect::<Vec<_>>()
    };
    let part = told(&world([jwt("strict", on_route(Some("a")), "https://idp")]));
    assert_eq!(part, ["spec.rules[1]: no policy protects 1 of its 2 rules, and nobody signed off that none is needed: `b`"]);
    assert_eq!(told(&world([])), [": no policy protects it, and nobody signed off that none is needed"]);
    assert!(told(&world([jwt("strict", on_route(None), "https://idp")])).is_empty());
}

#[test]
fn where_one_route_is_protected_the_others_are_open_by_an_entry_of_their_own() {
    let plan = world([jwt("strict", on_route(None), "https://idp")]);
    assert_eq!(ids(&plan), ["shop/strict", "shop/strict", "open"]);
    assert_eq!(entry(&plan, "open"), AuthRule::Public);
    assert_eq!(&*required(&plan, "shop/strict").providers[0].issuer, "https://idp");
}

#[test]
fn a_route_policy_adds_to_the_gateways_and_never_drops_it() {
    let scoped = policy("scoped", AuthPolicy { required_scopes: vec!["orders:write".to_owned()], ..spec(on_route(Some("a"))) });
    let plan = world([jwt("base", on_gateway(), "https://idp"), scoped]);
    assert_eq!(ids(&plan), ["shop/base+shop/scoped", "shop/base", "shop/base"]);
    let both = required(&plan, "shop/base+shop/scoped");
    assert_eq!((both.providers.len(), both.scopes.len()), (1, 1));
}

#[test]
fn public_below_a_protected_gateway_needs_override() {
    let base = || jwt("base", on_gateway(), "https://idp");
    let kept = world([base(), public("health", on_route(Some("a")), false)]);
    assert!(matches!(entry(&kept, "shop/base+shop/health"), AuthRule::Jwt(_)));
    assert_eq!(codes(&kept), ["Conflicted"]);
    let lifted = world([base(), public("health", on_route(Some("a")), true)]);
    assert_eq!(ids(&lifted), ["shop/health", "shop/base", "shop/base"]);
    assert_eq!(entry(&lifted, "shop/health"), AuthRule::Public);
    let covered: Vec<_> =
        lifted.coverage.iter().filter(|(covered, _)| &*covered.rule == "a").map(|(_, coverage)| coverage.clone()).collect();
    let policy = ObjectRef::new(Kind::AuthPolicy, NS, "health");
    assert_eq!(covered, [Coverage::Public { policy, reason: "health".into(), approved_by: "eve".into() }]);
}

#[test]
fn of_several_on_one_target_none_takes_another_away_whatever_it_is_called() {
    let strict = || jwt("m", on_route(Some("a")), "https://idp");
    for name in ["a", "z"] {
        for replace in [false, true] {
            let plan = world([strict(), public(name, on_route(Some("a")), replace)]);
            assert!(matches!(entry(&plan, &ids(&plan)[0]), AuthRule::Jwt(_)), "{name} {replace}");
        }
        let scoped = policy(name, AuthPolicy { required_scopes: vec!["admin".to_owned()], ..spec(on_route(Some("a"))) });
        let plan = world([strict(), scoped]);
        assert_eq!(required(&plan, &ids(&plan)[0]).scopes, ["admin".into()]);
        assert_eq!(codes(&plan), [""; 0], "both hold");
    }
    // No token has both issuers, in whatever order they come.
    for name in ["a", "z"] {
        let plan = world([strict(), jwt(name, on_route(Some("a")), "https://else")]);
        assert!(is_denied(&plan, &ids(&plan)[0]) && codes(&plan).contains(&"Conflicted"), "{name}");
    }
    // None lifts what a more general one asks, for those that leave it.
    let base = || policy("base", AuthPolicy { required_scopes: vec!["admin".to_owned()], ..spec(on_gateway()) });
    for name in ["a", "z"] {
        let plan = world([base(), strict(), public(name, on_route(Some("a")), true)]);
        assert_eq!(required(&plan, &ids(&plan)[0]).scopes, ["admin".into()], "{name}");
    }
    // Of two that fill a header the older says by what.
    let filled = |name: &str, claim: &str| {
        let claims_to_headers = vec![ClaimToHeader { claim: claim.to_owned(), header: "x-user".to_owned() }];
        policy(name, AuthPolicy { jwt: vec![provider("https://idp", KEYS)], claims_to_headers, ..spec(on_route(Some("a"))) })
    };
    let plan = world([filled("a", "sub"), filled("b", "email")]);
    assert_eq!(ids(&plan)[0], "shop/a&shop/b");
    assert_eq!(required(&plan, "shop/a&shop/b").claims_to_headers.len(), 1);
    assert!(format!("{:?}", required(&plan, "shop/a&shop/b").claims_to_headers).contains("sub"));
}

#[test]
fn a_rule_that_is_called_otherwise_than_its_policy_says_is_not_open_for_that() {
    let lost = || jwt("strict", on_route(Some("typo")), "https://idp");
    let plan = world([lost(), public("health", on_route(Some("b")), false)]);
    assert_eq!(ids(&plan), ["shop/strict", "shop/health", "open"], "each rule that no policy names has it, and no other route");
    assert!(codes(&plan).contains(&"TargetNotFound"));
    let told = plan.diagnostics.iter().find(|told| told.code.as_str() == "TargetNotFound").unwrap();
    assert!(told.message.contains("until it has, this holds for each of its rules"), "{}", told.message);
    // What it would lift it lifts for no rule that it does not name.
    let AnyObject::AuthPolicy(lifting) = jwt("lifting", on_route(Some("typo")), "https://idp") else { unreachable!() };
    let lifting = policy("lifting", AuthPolicy { replace: true, ..lifting.spec.clone() });
    let strict = policy("strict", AuthPolicy { required_scopes: vec!["admin".to_owned()], ..spec(on_gateway()) });
    let plan = world([jwt("base", on_gateway(), "https://idp"), strict, lifting]);
    assert_eq!(ids(&plan)[0], "shop/base&shop/strict&shop/lifting");
    assert_eq!(required(&plan, &ids(&plan)[0]).scopes, ["admin".into()]);
    // Nor is it open where the same policy, on the Gateway, is lifted for the route.
    let AnyObject::AuthPolicy(both) = jwt("both", on_gateway(), "https://idp") else { unreachable!() };
    let both = policy("both", AuthPolicy { target_refs: vec![on_gateway(), on_route(Some("typo"))], ..both.spec.clone() });
    let plan = world([both, public("open", on_route(None), true)]);
    assert!(matches!(entry(&plan, &ids(&plan)[0]), AuthRule::Jwt(_)));
    let opens_nothing = world([jwt("base", on_gateway(), "https://idp"), public("health", on_route(Some("typo")), true)]);
    assert_eq!(ids(&opens_nothing), ["shop/base"; 3]);
}

#[test]
fn two_issuers_that_no_token_satisfies_deny() {
    let plan = world([jwt("base", on_gateway(), "https://idp"), jwt("other", on_route(None), "https://else")]);
    assert!(is_denied(&plan, "shop/base+shop/other"));
    assert!(codes(&plan).contains(&"Conflicted"));
}

#[test]
fn whatever_cannot_be_understood_denies() {
    let keyless =
        |keys: KeySource| AuthPolicy { jwt: vec![JwtProvider { jwks: keys, ..provider("https://idp", KEYS) }], ..spec(on_route(None)) };
    let none = || KeySource { inline: None, file: None, object: None };
    let secret = KeyObject { kind: "Secret".to_owned(), name: "gone".to_owned(), key: None };
    let odd = |change: fn(&mut JwtProvider)| {
        let mut one = provider("https://idp", KEYS);
        change(&mut one);
        AuthPolicy { jwt: vec![one], ..spec(on_route(None)) }
    };
    let cases = [
        keyless(none()),
        keyless(KeySource { inline: Some("{".to_owned()), ..none() }),
        keyless(KeySource { inline: Some(r#"{"keys":[]}"#.to_owned()), ..none() }),
        keyless(KeySource { inline: Some(r#"{"keys":[{"k":"c2VjcmV0"}]}"#.to_owned()), ..none() }),
        keyless(KeySource { file: Some("keys.json".to_owned()), ..none() }),
        keyless(KeySource { object: Some(secret), ..none() }),
        odd(|one| one.algorithms = vec!["ES512".to_owned()]),
        odd(|one| one.leeway = Some(windrose_api::scalar::Duration(std::time::Duration::from_secs(301)))),
        spec(on_route(None)),
        AuthPolicy { required_scopes: vec!["x".to_owned()], ..spec(on_route(None)) },
        AuthPolicy { public: Some(Public { reason: "r".to_owned(), approved_by: "a".to_owned() }), ..odd(|_| {}) },
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let plan = world([policy("bad", case)]);
        assert!(is_denied(&plan, "shop/bad"), "case {index}: {:?}", told(&plan));
        assert!(!codes(&plan).is_empty(), "case {index} is silent");
    }
}

#[test]
fn one_lost_provider_does_not_take_the_other_with_it() {
    let mut second = provider("https://two", KEYS);
    second.name = "two".to_owned();
    let plan = world([policy("p", AuthPolicy { jwt: vec![provider("https://one", "{}"), second], ..spec(on_route(None)) })]);
    assert_eq!(required(&plan, "shop/p").providers.len(), 1);
    assert_eq!(codes(&plan), ["Invalid"]);
}

#[test]
fn a_newer_policy_on_one_target_lifts_nothing() {
    let AnyObject::AuthPolicy(old) = jwt("z", on_route(None), "https://idp") else { unreachable!() };
    let AnyObject::AuthPolicy(new) = public("a", on_route(None), true) else { unreachable!() };
    let plan = world([AnyObject::AuthPolicy(aged(&old, 1)), AnyObject::AuthPolicy(aged(&new, 2))]);
    assert_eq!(ids(&plan), ["shop/z&shop/a", "shop/z&shop/a", "open"]);
    assert!(matches!(entry(&plan, "shop/z&shop/a"), AuthRule::Jwt(_)));
    assert!(codes(&plan).contains(&"Conflicted"));
}

#[test]
fn a_policy_on_nothing_is_told() {
    let plan = world([jwt("p", on_route(Some("c")), "https://idp"), jwt("q", target(Kind::HTTPRoute, "rr", None), "https://idp")]);
    assert_eq!(codes(&plan), ["TargetNotFound", "TargetNotFound"]);
}

/// Refuses every table with a provider of this issuer.
#[derive(Debug)]
struct Picky(&'static str);

impl crate::FilterCheck for Picky {
    fn refused(&self, extension: &Extension) -> Vec<(String, String)> {
        let Extension::JwtAuth(table) = extension else { return Vec::new() };
        let bad = |rule: &AuthRule| matches!(rule, AuthRule::Jwt(rule) if rule.providers.iter().any(|one| *one.issuer == *self.0));
        table.policies.iter().filter(|(_, rule)| bad(rule)).map(|(id, _)| (id.to_string(), "no key".to_owned())).collect()
    }
}

#[test]
fn what_the_filter_itself_refuses_denies_with_the_filters_words() {
    let rules = vec![rule(vec![prefix("/")], "o")];
    let policy = jwt("p", on_route(None), "https://odd");
    let world = declared([gateway(vec![listener("web", 80, "")]), service("o", 80), route("r", &[], rules), policy]);
    let settings = settings().with_filters(std::sync::Arc::new(Picky("https://odd")));
    let plan = crate::plan(&world, &crate::Refused::default(), &settings);
    assert!(is_denied(&plan, "shop/p"));
    assert!(told(&plan).iter().any(|told| told.contains("spec: the filter refuses it: no key")), "{:?}", told(&plan));
}

#[test]
fn providers_that_name_no_algorithm_take_no_shared_secret_together() {
    let with = |name: &str, target: TargetRef, algorithms: &[&str]| {
        let algorithms = algorithms.iter().map(ToString::to_string).collect();
        policy(name, AuthPolicy { jwt: vec![JwtProvider { algorithms, ..provider("https://idp", KEYS) }], ..spec(target) })
    };
    let both = |general: &[&str], specific: &[&str]| {
        let plan = world([with("base", on_gateway(), general), with("own", on_route(None), specific)]);
        let AuthRule::Jwt(rule) = entry(&plan, "shop/base+shop/own") else { return None };
        Some(rule.providers[0].algorithms.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(both(&[], &["HS256"]), None, "the route would widen what the Gateway takes");
    assert_eq!(both(&["HS256"], &[]), None);
    assert_eq!(both(&[], &["HS256", "ES256"]), Some(vec!["ES256".to_owned()]));
    assert_eq!(both(&[], &[]), Some(Vec::new()));
}

fn setting(name: &str, target: TargetRef, header: &str) -> AuthPolicy {
    let claims_to_headers = vec![ClaimToHeader { claim: name.to_owned(), header: header.to_owned() }];
    AuthPolicy { jwt: vec![provider("https://idp", KEYS)], claims_to_headers, ..spec(target) }
}

#[test]
fn no_claim_becomes_a_header_that_means_something_by_itself() {
    for header in
        ["content-type", "accept", "host", "range", "x-api-key", "x-forwarded-for", "x-envoy-retry-on", "x-windrose-host", "grpc-timeout"]
    {
        let plan = world([policy("p", setting("sub", on_route(None), header))]);
        let AuthRule::Deny { taken_off } = entry(&plan, "shop/p") else { panic!("{header} is set") };
        assert_eq!(taken_off.len(), 0, "{header} means something to all others at the port");
        assert_eq!(codes(&plan), ["Invalid"], "{header}");
    }
    assert_eq!(required(&world([policy("p", setting("sub", on_route(None), "x-user"))]), "shop/p").claims_to_headers.len(), 1);
}

#[test]
fn of_two_policies_that_want_one_header_for_token_and_claim_the_newer_closes_its_own_routes() {
    let of_s = || target(Kind::HTTPRoute, "s", None);
    let reading = || {
        let from = vec![TokenSource { header: Some("X-User".to_owned()), query: None, cookie: None, prefix: None }];
        AuthPolicy { jwt: vec![JwtProvider { from, ..provider("https://idp", KEYS) }], ..spec(of_s()) }
    };
    let at = |age: u64, name: &str, spec: AuthPolicy| AnyObject::AuthPolicy(aged(&object(Kind::AuthPolicy, NS, name, spec), age));
    let setting = || setting("sub", on_route(None), "x-user");
    for (of_setting, of_reading, closed, open) in [(1, 2, "shop/reads", "shop/sets"), (2, 1, "shop/sets", "shop/reads")] {
        let plan = world([at(of_setting, "sets", setting()), at(of_reading, "reads", reading())]);
        assert!(is_denied(&plan, closed));
        assert!(matches!(entry(&plan, open), AuthRule::Jwt(_)), "{open} is older");
        assert_eq!(codes(&plan), ["Conflicted"]);
        assert!(told(&plan).iter().any(|told| told.contains(&format!("AuthPolicy/{closed}"))), "{:?}", told(&plan));
    }
}

#[test]
fn a_stranger_is_nobodys_rival_and_a_guest_comes_after_the_gateways_own() {
    let guest = |name: &str, spec: AuthPolicy| AnyObject::AuthPolicy(aged(&object(Kind::AuthPolicy, "guest", name, spec), 1));
    let from = vec![TokenSource { header: Some("x-user".to_owned()), query: None, cookie: None, prefix: None }];
    let reads = AuthPolicy { jwt: vec![JwtProvider { from, ..provider("https://idp", KEYS) }], ..spec(target(Kind::HTTPRoute, "g", None)) };
    let sets = AnyObject::AuthPolicy(aged(&object(Kind::AuthPolicy, NS, "sets", setting("sub", on_route(None), "x-user")), 2));
    for (allowed, conflicts) in [(Namespaces::Same, 0), (Namespaces::All, 1)] {
        let web = Listener { allowed_namespaces: allowed, ..listener("web", 80, "") };
        let mut route_of_guest = route_spec(&["g.example"], vec![rule(vec![], "o")]);
        route_of_guest.parents[0].target.namespace = Some(NS.into());
        let objects = [
            gateway(vec![web]),
            service("o", 80),
            route("r", &[], vec![rule(vec![prefix("/a")], "o")]),
            AnyObject::Route(object(Kind::HTTPRoute, "guest", "g", route_of_guest)),
        ];
        let plan = plan(objects.into_iter().chain([sets.clone(), guest("reads", reads.clone())]));
        assert!(matches!(entry(&plan, "shop/sets"), AuthRule::Jwt(_)), "the owner's holds, though it is younger");
        let conflicted = plan.diagnostics.iter().filter(|told| told.code.as_str() == "Conflicted").count();
        assert_eq!(conflicted, conflicts, "{:?}", told(&plan));
    }
}

#[test]
fn what_clients_send_under_a_header_is_taken_off_also_where_its_policy_admits_nobody() {
    let broken = AuthPolicy { jwt: vec![provider("https://idp", "{")], ..setting("sub", on_route(None), "X-User") };
    let scoped = AuthPolicy { jwt: Vec::new(), ..setting("plan", on_route(Some("a")), "x-plan") };
    let plan = world([policy("broken", broken), policy("scoped", scoped)]);
    let taken_off = |id: &str| match entry(&plan, id) {
        AuthRule::Deny { taken_off } => taken_off.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(taken_off("shop/broken"), ["x-user"]);
    assert_eq!(taken_off("shop/broken+shop/scoped"), ["x-plan", "x-user"]);
}
