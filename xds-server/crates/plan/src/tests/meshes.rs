use windrose_api::declared::AnyObject;
use windrose_api::policy::{
    Action, AuthPolicy, AuthorizationPolicy, AuthorizationRule, MeshPolicy, MtlsMode, Public, RateLimitPolicy, Source, TargetRef,
};
use windrose_ir::Handler;
use windrose_ir::http::{ClientAddress, EscapedSlashes, HttpHandler, PathParameters, Underscores};
use windrose_vocab::{Kind, ObjectRef, ProxyKey};

use super::world::*;
use crate::{ConditionType, Coverage, Plan};

fn printed(plan: &Plan, workload: &str) -> String {
    let key = ProxyKey::workload(NS, workload);
    let only = Plan {
        programs: plan.programs.iter().filter(|(known, _)| **known == key).map(|(key, program)| (key.clone(), program.clone())).collect(),
        identities: plan.identities.clone(),
        ..Plan::default()
    };
    crate::print(&only)
}

/// `web` calls `orders`; `orders` calls nobody.
fn world(more: impl IntoIterator<Item = AnyObject>) -> Plan {
    let objects = [
        service("orders", 80),
        service("web", 80),
        workload("orders", "127.0.0.3", "orders", Some(Vec::new())),
        workload("web", "127.0.0.2", "web", Some(vec![calls("orders", 15001)])),
    ];
    plan(objects.into_iter().chain(more))
}

#[test]
fn sidecars_speak_mutual_tls_with_the_identities_that_serve() {
    let plan = world([]);
    let web = printed(&plan, "web");
    assert!(web.starts_with("workload/shop/web is spiffe://windrose.local/ns/shop/sa/web\n"), "{web}");
    assert!(web.contains("listener shop/web/outbound/127.0.0.1:15001 at 127.0.0.1:15001, outbound\n    chain outbound: plain -> routes mesh/shop/orders/80"), "{web}");
    assert!(web.contains("cluster shop/orders/80/mesh: SameAsDownstream, mtls with spiffe://windrose.local/ns/shop/sa/orders\n"), "{web}");
    assert!(web.contains("endpoints shop/orders/80/mesh: 127.0.0.3:15080\n"), "{web}");
    let orders = printed(&plan, "orders");
    assert!(orders.contains("listener shop/orders/inbound/15080 at 127.0.0.3:15080\n    chain mtls: tls with windrose/svid from Tls12, client certificate required by windrose/mesh-trust"), "{orders}");
    assert!(orders.contains("cluster shop/orders/inbound/15080: SameAsDownstream, at 127.0.0.1:8080"), "{orders}");
    assert!(!orders.contains("plain"), "{orders}");
    assert!(!orders.contains("outbound"), "a workload that calls nobody has nothing outbound: {orders}");
}

#[test]
fn plain_text_is_taken_only_where_a_policy_says_so() {
    let permissive = |namespace: &str, targets| {
        let spec = MeshPolicy { target_refs: targets, mtls: Some(MtlsMode::Permissive), ports: Vec::new() };
        AnyObject::MeshPolicy(object(Kind::MeshPolicy, namespace, "m", spec))
    };
    let one = world([permissive(NS, vec![target(Kind::Workload, "orders", None)])]);
    assert!(printed(&one, "orders").contains("chain plain: plain"));
    assert!(!printed(&one, "web").contains("chain plain: plain"));
    assert!(printed(&world([permissive("windrose-system", Vec::new())]), "web").contains("chain plain: plain"));
    assert!(!printed(&world([permissive("elsewhere", Vec::new())]), "web").contains("chain plain: plain"));
}

#[test]
fn a_policy_without_targets_speaks_for_its_namespace_and_the_older_one_decides() {
    let general = |name: &str| {
        let spec = MeshPolicy { target_refs: Vec::new(), mtls: Some(MtlsMode::Strict), ports: Vec::new() };
        AnyObject::MeshPolicy(object(Kind::MeshPolicy, NS, name, spec))
    };
    let plan = world([general("a"), general("b")]);
    let accepted = |name: &str| {
        let policy = ObjectRef::new(Kind::MeshPolicy, NS, name);
        let of_policy = plan.verdicts.iter().filter(|(subject, _)| subject.object == policy);
        let all = of_policy.map(|(subject, verdict)| {
            let parent = subject.parent.as_ref().map(|parent| format!("{}/{}", parent.target.kind, parent.target.name));
            (parent.unwrap_or_default(), verdict.conditions.get(ConditionType::Accepted).unwrap().reason)
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(accepted("a"), [("Namespace/shop".to_owned(), "Accepted")]);
    assert_eq!(accepted("b"), [("Namespace/shop".to_owned(), "Conflicted")]);
}

#[test]
fn a_route_of_a_service_that_asks_for_no_tokens_is_covered_as_open_and_warned_of_nowhere() {
    let mut spec = route_spec(&[], vec![rule(vec![prefix("/")], "orders")]);
    spec.parents = vec![parent(Kind::Service, "orders")];
    let plan = world([AnyObject::Route(http_route("r", spec))]);
    assert_eq!(plan.coverage.values().collect::<Vec<_>>(), [&Coverage::Open]);
    assert_eq!(codes(&plan), [] as [&str; 0]);
}

fn authorization(name: &str, action: Action, from: Vec<Source>) -> AnyObject {
    let rules = vec![AuthorizationRule { from, ..AuthorizationRule::default() }];
    let spec = AuthorizationPolicy { target_refs: vec![target(Kind::Service, "orders", None)], action, rules, audit: false };
    AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, NS, name, spec))
}

fn source() -> Source {
    Source { identity: None, namespace: None, service_account: None, authenticated: None, network: None }
}

#[test]
fn callers_are_allowed_by_identity_and_what_cannot_be_read_never_allows() {
    let web = Source { service_account: Some("web".to_owned()), ..source() };
    let orders = printed(&world([authorization("a", Action::Allow, vec![web])]), "orders");
    assert!(orders.contains("allow spiffe://windrose.local/ns/shop/sa/web\n"), "{orders}");
    let unreadable = Source { identity: Some("web".to_owned()), ..source() };
    let nobody = printed(&world([authorization("a", Action::Allow, vec![unreadable.clone()])]), "orders");
    assert!(nobody.contains("allow nobody\n"), "{nobody}");
    let everybody = printed(&world([authorization("a", Action::Deny, vec![unreadable])]), "orders");
    assert!(everybody.contains("deny everybody\n"), "{everybody}");
}

#[test]
fn a_route_on_a_service_applies_at_the_callers_and_a_consumers_only_in_its_namespace() {
    let mut spec = route_spec(&[], vec![rule(vec![prefix("/v2")], "orders")]);
    spec.parents = vec![parent(Kind::Service, "orders")];
    let plan = world([AnyObject::Route(http_route("split", spec.clone()))]);
    let web = printed(&plan, "web");
    assert!(web.contains("/v2* -> shop/orders/80/mesh 1"), "{web}");
    assert_eq!(web.matches(" -> shop/orders/80/mesh").count(), 1, "a route's Service has no other routes: {web}");
    spec.parents = vec![parent(Kind::Service, "shop/orders")];
    let consumer = AnyObject::Route(object(Kind::HTTPRoute, "team", "mine", spec));
    assert!(!printed(&world([consumer]), "web").contains("/v2*"));
}

#[test]
fn the_edge_speaks_mutual_tls_to_services_with_sidecars() {
    let plan = world([gateway(vec![listener("web", 80, "")]), route("r", &[], vec![rule(vec![prefix("/")], "orders")])]);
    let printed = crate::print(&plan);
    assert!(printed.contains("cluster shop/orders/80: Http1, mtls with spiffe://windrose.local/ns/shop/sa/orders\n"), "{printed}");
}

#[test]
fn a_workload_that_says_nothing_may_call_everything_by_name() {
    let plan = world([workload("any", "127.0.0.4", "web", None)]);
    let any = printed(&plan, "any");
    assert!(any.contains("at 127.0.0.1:15001, outbound"), "{any}");
    assert!(any.contains("host orders orders.shop orders.shop.svc orders.shop.svc.cluster.local orders.shop.svc.cluster.local:80 orders.shop.svc:80 orders.shop:80 orders:80\n"), "{any}");
    assert!(any.contains("cluster shop/web/80/mesh"), "{any}");
}

#[test]
fn a_call_to_nobody_is_told_with_the_nearest() {
    let plan = world([workload("x", "127.0.0.5", "web", Some(vec![calls("ordesr", 15001)]))]);
    assert!(
        told(&plan)
            .iter()
            .any(|told| told.contains("spec.calls[0].service: no Service `ordesr` in namespace `shop` (did you mean `orders`?)")),
        "{:?}",
        told(&plan)
    );
}

/// What `web` calls `orders` through, with these policies on the route.
fn calling(policies: impl IntoIterator<Item = AnyObject>) -> Box<HttpHandler> {
    let mut spec = route_spec(&[], vec![rule(vec![prefix("/v2")], "orders")]);
    spec.parents = vec![parent(Kind::Service, "orders")];
    let plan = world(policies.into_iter().chain([AnyObject::Route(http_route("split", spec))]));
    let program = &plan.programs[&ProxyKey::workload(NS, "web")];
    match &program.listeners["shop/web/outbound/127.0.0.1:15001"].chains[0].handler {
        Handler::Http(handler) => handler.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_edge_guards_by_a_sidecar_guards_where_tokens_or_limits_are_about_its_calls() {
    let on_route = || -> Vec<TargetRef> { vec![target(Kind::HTTPRoute, "split", None)] };
    let limits = RateLimitPolicy { target_refs: on_route(), limits: Vec::new(), shadow: false, headers: None };
    let limits = || AnyObject::RateLimitPolicy(object(Kind::RateLimitPolicy, NS, "l", limits.clone()));
    let public = Some(Public { reason: "a".to_owned(), approved_by: "b".to_owned() });
    let auth = AuthPolicy {
        target_refs: on_route(),
        jwt: Vec::new(),
        required_claims: Vec::new(),
        required_scopes: Vec::new(),
        claims_to_headers: Vec::new(),
        public,
        replace: false,
    };
    let auth = || AnyObject::AuthPolicy(object(Kind::AuthPolicy, NS, "a", auth.clone()));
    let guards = |handler: Box<HttpHandler>| {
        let paths = handler.paths;
        let strict = (paths.merge_slashes, paths.escaped_slashes, paths.parameters);
        (handler.client_address, strict, handler.underscores)
    };
    let open = (false, EscapedSlashes::Keep, PathParameters::Keep);
    let strict = (true, EscapedSlashes::Reject, PathParameters::Reject);
    assert_eq!(guards(calling([])), (ClientAddress::Forwarded, open, Underscores::Keep));
    assert_eq!(guards(calling([limits()])), (ClientAddress::Connection, strict, Underscores::Keep));
    assert_eq!(guards(calling([auth()])), (ClientAddress::Connection, strict, Underscores::Reject));
}
