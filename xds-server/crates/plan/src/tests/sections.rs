//! Policies that name a part of their target: a listener, a rule, a port. Each holds there, or is not accepted.

use windrose_api::declared::backend::ServicePort;
use windrose_api::declared::gateway::{Listener, Protocol};
use windrose_api::declared::route::ParentRef;
use windrose_api::declared::{AnyObject, Route, Service};
use windrose_api::policy::{
    Action, AuthorizationPolicy, DescriptorSource, JsonOptions, TargetRef, TelemetryPolicy, Timeouts, TrafficPolicy, TranscodingPolicy,
};
use windrose_api::scalar;
use windrose_vocab::{Kind, ObjectRef};

use super::world::*;
use crate::{Plan, Subject};

fn two_ports(udp: bool) -> AnyObject {
    let named = |name: &str, number, udp| ServicePort { name: name.into(), port: port(number), app_protocol: None, udp, target: None };
    let ports = vec![named("plain", 80, false), named("other", 81, udp)];
    let spec = Service { cluster_ips: Vec::new(), headless: false, external_name: None, selects: false, ports };
    AnyObject::Service(object(Kind::Service, NS, "o", spec))
}

#[test]
fn a_transcoding_policy_of_a_port_holds_for_that_port_and_before_one_of_the_whole_service() {
    let policy = |name: &str, section| {
        let spec = TranscodingPolicy {
            target_refs: vec![target(Kind::Service, "o", section)],
            descriptors: DescriptorSource { file: None, config_map: None, inline: Some("CgA=".to_owned()) },
            services: vec!["shop.Orders".to_owned()],
            json: JsonOptions::default(),
            max_request_bytes: None,
            max_response_bytes: None,
        };
        AnyObject::TranscodingPolicy(object(Kind::TranscodingPolicy, NS, name, spec))
    };
    let planned = |policies: Vec<AnyObject>| {
        let rules = vec![rule(vec![prefix("/a")], "o:81"), rule(vec![prefix("/b")], "o")];
        let objects = [gateway(vec![listener("web", 80, "")]), two_ports(false), route("r", &[], rules)];
        crate::print(&plan(objects.into_iter().chain(policies)))
    };
    let of_port = planned(vec![policy("t", Some("other"))]);
    assert!(of_port.contains("/a* -> shop/o/81/grpc 1\n") && of_port.contains("/b* -> shop/o/80 1\n"), "{of_port}");
    assert_eq!(of_port.matches("transcode shop/t\n").count(), 1, "{of_port}");
    let both = planned(vec![policy("t", Some("other")), policy("all", None)]);
    assert_eq!((both.matches("transcode shop/t\n").count(), both.matches("transcode shop/all\n").count()), (1, 1), "{both}");
}

/// What becomes of a policy at its only target, and what is told.
fn judged(plan: &Plan, kind: Kind, target: &TargetRef) -> (Vec<String>, Vec<String>) {
    let section = target.section_name.as_deref().map(Into::into);
    let parent = ParentRef { section, ..parent(Kind::parse(&target.kind).unwrap(), &target.name) };
    let told = told(plan).into_iter().filter(|told| told.contains("spec.targetRefs"));
    (reasons(plan, &Subject::parent(ObjectRef::new(kind, NS, "p"), parent)), told.collect())
}

#[test]
fn what_proxies_tell_is_of_all_listeners_of_a_gateway() {
    let policy = |section| {
        let target_refs = vec![target(Kind::Gateway, "edge", section)];
        let spec = TelemetryPolicy { target_refs, tracing: None, access_log: None, metrics: Some(true) };
        AnyObject::TelemetryPolicy(object(Kind::TelemetryPolicy, NS, "p", spec))
    };
    let planned = |section| plan([gateway(vec![listener("web", 80, "")]), policy(section)]);
    let (status, told) = judged(&planned(Some("web")), Kind::TelemetryPolicy, &target(Kind::Gateway, "edge", Some("web")));
    assert_eq!(status, ["Accepted=false Invalid"]);
    assert!(told[0].contains("a TelemetryPolicy holds for a whole Gateway, not for a part of it (leave `sectionName` out)"), "{told:?}");
    let whole = judged(&planned(None), Kind::TelemetryPolicy, &target(Kind::Gateway, "edge", None));
    assert_eq!(whole, (vec!["Accepted=true Accepted".to_owned()], vec![]));
}

fn idle(target: TargetRef) -> AnyObject {
    let idle = scalar::Duration(std::time::Duration::from_secs(7));
    let spec = TrafficPolicy {
        target_refs: vec![target],
        timeouts: Some(Timeouts { idle: Some(idle), ..Timeouts::default() }),
        retries: None,
        circuit_breaker: None,
        outlier_detection: None,
        health_check: None,
        load_balancing: None,
    };
    AnyObject::TrafficPolicy(object(Kind::TrafficPolicy, NS, "p", spec))
}

/// Datagrams to port 81 of `o`, by a route with one rule of the name `all`.
fn datagrams(policy: AnyObject) -> Plan {
    let mut rule = rule(vec![], "o:81");
    rule.name = Some("all".into());
    let listener = Listener { protocol: Protocol::Udp, ..listener("dns", 53, "") };
    let route = Route { hostnames: Vec::new(), ..route_spec(&[], vec![rule]) };
    plan([gateway(vec![listener]), two_ports(true), AnyObject::Route(object(Kind::UDPRoute, NS, "r", route)), policy])
}

#[test]
fn a_traffic_policy_holds_for_a_whole_udp_route_and_for_a_udp_port() {
    let on = |target: TargetRef| (datagrams(idle(target.clone())), target);
    let (plan, rule) = on(target(Kind::UDPRoute, "r", Some("all")));
    let (status, told) = judged(&plan, Kind::TrafficPolicy, &rule);
    assert_eq!(status, ["Accepted=false Invalid"]);
    assert!(told[0].contains("a TrafficPolicy holds for a whole UDPRoute, not for a part of it"), "{told:?}");
    for target in [target(Kind::UDPRoute, "r", None), target(Kind::Service, "o", Some("other"))] {
        let (plan, target) = on(target);
        assert_eq!(judged(&plan, Kind::TrafficPolicy, &target), (vec!["Accepted=true Accepted".to_owned()], vec![]));
        let printed = crate::print(&plan);
        assert!(printed.contains("idle 7s"), "{target:?}: {printed}");
    }
}

#[test]
fn a_policy_that_judges_no_datagrams_is_not_accepted_at_a_udp_port() {
    let of_port = target(Kind::Service, "o", Some("other"));
    let spec = AuthorizationPolicy { target_refs: vec![of_port.clone()], action: Action::Deny, rules: Vec::new(), audit: false };
    let planned = datagrams(AnyObject::AuthorizationPolicy(object(Kind::AuthorizationPolicy, NS, "p", spec)));
    let (status, told) = judged(&planned, Kind::AuthorizationPolicy, &of_port);
    assert_eq!(status, ["Accepted=false Invalid"]);
    assert!(told[0].contains("port `other` of Service/shop/o carries datagrams, which no AuthorizationPolicy judges"), "{told:?}");
}
