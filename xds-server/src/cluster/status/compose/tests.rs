use std::sync::Arc;
use std::time::{Duration, SystemTime};

use windrose_api::declared::backend::ObjectReference;
use windrose_kube::deploy::Ending;
use windrose_kube::source::Unreadable;
use windrose_plan::{Addresses, Refused};
use windrose_vocab::{Code, Diagnostic, FieldPath, ResourceId, ResourceKind, TrustDomain};

use super::*;
use crate::judges;
use crate::test_world::{SHOP, declared};

const CLASS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: windrose }
spec: { controllerName: windrose.dev/gateway-controller }
---
";

fn picture() -> Picture {
    let declared = declared(&(CLASS.to_owned() + SHOP));
    let settings = judges::settings(TrustDomain::parse("windrose.local").unwrap()).with_addresses(Addresses::Assigned);
    let plan = windrose_plan::plan(&declared, &Refused::default(), &settings);
    Picture { declared, plan, ..Picture::default() }
}

fn reference(group: &str, kind: &str, name: &str) -> ParentRef {
    let target = ObjectReference { group: group.into(), kind: kind.into(), namespace: None, name: name.into() };
    ParentRef { target, section: None, port: None }
}

fn gateway_api() -> Surroundings {
    Surroundings { gateway_api: Ok(vec!["v1.6.3".to_owned()]), own: "ours".to_owned(), others: Vec::new(), unread: BTreeMap::new() }
}

/// What is said of an object, beside the shop, of which nothing can be read but that.
fn said(kind: Kind, plain: Unreadable, surroundings: &Surroundings) -> Option<Status> {
    let namespace = if kind.is_cluster_scoped() { "" } else { "shop" };
    let object = ObjectRef::new(kind, namespace, "wrong");
    let mut world = World::default();
    let told = Diagnostic::error(object.clone(), FieldPath::root(), Code::File, "no such field");
    world.problems.insert(object.clone(), Arc::from([told]));
    world.unreadable.insert(object.clone(), Arc::new(plain));
    let known = Known {
        world: &world,
        picture: &picture(),
        progress: &Progress::default(),
        made: &Made::default(),
        problems: &Problems::default(),
        surroundings: Some(surroundings),
    };
    status(&known, &object, &Seen::default())
}

fn refers(to: Vec<ParentRef>) -> Unreadable {
    Unreadable { refers: to, ..Unreadable::default() }
}

/// That they are not accepted, and what else is said.
fn refused(conditions: &[Condition]) -> &str {
    let accepted = conditions.iter().find(|condition| condition.kind == "Accepted").unwrap();
    assert_eq!((accepted.status, accepted.reason.as_str()), (false, "Invalid"));
    assert!(accepted.message.contains("no such field"), "{}", accepted.message);
    &accepted.message
}

#[test]
fn a_route_that_cannot_be_read_says_so_towards_parents_that_are_ours() {
    let gateway = |name| reference("gateway.networking.k8s.io", "Gateway", name);
    for kind in [Kind::HTTPRoute, Kind::GRPCRoute, Kind::TLSRoute, Kind::TCPRoute, Kind::UDPRoute] {
        let Some(Status::Parents(parents)) = said(kind, refers(vec![gateway("theirs"), gateway("edge")]), &gateway_api()) else {
            panic!("{kind} says nothing")
        };
        assert_eq!(parents.len(), 1, "{kind}");
        assert_eq!(&*parents[0].0.target.name, "edge");
        assert!(refused(&parents[0].1).ends_with("it has no effect"));
    }
}

#[test]
fn a_listener_set_that_cannot_be_read_says_so_where_its_gateway_is_ours() {
    let of = |name| said(Kind::ListenerSet, refers(vec![reference("gateway.networking.k8s.io", "Gateway", name)]), &gateway_api());
    let Some(Status::Listeners { conditions, .. }) = of("edge") else { panic!("nothing is said") };
    refused(&conditions);
    assert_eq!(of("theirs"), None);
}

#[test]
fn a_policy_that_cannot_be_read_says_what_stands_in() {
    let target = || refers(vec![reference("gateway.networking.k8s.io", "Gateway", "edge")]);
    for (kind, stead) in [
        (Kind::AuthPolicy, "it lets nobody pass"),
        (Kind::AuthorizationPolicy, "it lets nobody pass"),
        (Kind::EdgePolicy, "it lets nobody pass"),
        (Kind::RateLimitPolicy, "it lets nobody pass"),
        (Kind::TranscodingPolicy, "it lets nobody pass"),
        (Kind::TrafficPolicy, "it has no effect"),
        (Kind::MeshPolicy, "nobody comes in without mTLS"),
        (Kind::TelemetryPolicy, "it has no effect"),
    ] {
        let Some(Status::Ancestors(ancestors)) = said(kind, target(), &gateway_api()) else { panic!("{kind} says nothing") };
        assert_eq!(ancestors.len(), 1, "{kind}");
        assert!(refused(&ancestors[0].1).ends_with(stead), "{kind}");
        let Some(Status::Ancestors(general)) = said(kind, refers(Vec::new()), &gateway_api()) else { panic!("{kind} says nothing") };
        assert_eq!((&*general[0].0.target.kind, &*general[0].0.target.name), ("Namespace", "shop"));
    }
    // Nothing of ours leads there.
    let foreign = said(Kind::BackendTLSPolicy, refers(vec![reference("", "Service", "one")]), &gateway_api());
    assert_eq!(foreign, Some(Status::Ancestors(Vec::new())));
}

#[test]
fn a_class_that_cannot_be_read_says_so_where_it_names_us() {
    let of = |controller: &str| {
        let plain = Unreadable { controller: Some(controller.into()), ..Unreadable::default() };
        said(Kind::GatewayClass, plain, &gateway_api())
    };
    let Some(Status::Class { conditions, .. }) = of(CONTROLLER) else { panic!("nothing is said") };
    refused(&conditions);
    assert_eq!(of("other.example/controller"), None);
}

#[test]
fn a_class_tells_of_definitions_and_of_a_second_installation() {
    let class = |world: &World, surroundings: Option<&Surroundings>| {
        let object = ObjectRef::new(Kind::GatewayClass, "", "windrose");
        let known = Known {
            world,
            picture: &picture(),
            progress: &Progress::default(),
            made: &Made::default(),
            problems: &Problems::default(),
            surroundings,
        };
        status(&known, &object, &Seen::default())
    };
    let of = |surroundings: &Surroundings, kind: &str| {
        let Some(Status::Class { conditions, .. }) = class(&World::default(), Some(surroundings)) else { panic!("nothing is said") };
        conditions.into_iter().find(|condition| condition.kind == kind).unwrap()
    };
    assert_eq!(class(&World::default(), None), None, "nothing is claimed before it was looked at");
    assert!(of(&gateway_api(), "SupportedVersion").status && of(&gateway_api(), "Accepted").message.is_empty());
    let newer = Surroundings { gateway_api: Ok(vec!["v9.0.0".to_owned()]), others: vec!["elsewhere".to_owned()], ..gateway_api() };
    let supported = of(&newer, "SupportedVersion");
    assert_eq!((supported.status, supported.reason.as_str()), (false, "UnsupportedVersion"));
    assert!(supported.message.contains("v9.0.0"), "{}", supported.message);
    let accepted = of(&newer, "Accepted");
    assert!(accepted.status && accepted.message.contains("elsewhere"), "{accepted:?}");
    let held = Surroundings { unread: [(Kind::AuthPolicy, "forbidden".to_owned())].into(), ..gateway_api() };
    let accepted = of(&held, "Accepted");
    assert!(accepted.status && accepted.message.contains("AuthPolicy cannot be read (forbidden)"), "{accepted:?}");
    let world = World { absent: [Kind::HTTPRoute].into(), ..World::default() };
    let Some(Status::Class { conditions, features }) = class(&world, Some(&gateway_api())) else { panic!("nothing is said") };
    assert!(conditions.iter().any(|one| one.kind == "SupportedVersion" && !one.status && one.message.contains("httproutes")));
    assert!(features.contains(&"GRPCRoute") && !features.contains(&"HTTPRoute"), "{features:?}");
}

#[test]
fn a_gateway_that_waits_says_for_how_many_and_one_that_runs_what_is_wrong_all_the_same() {
    let resource = ResourceId { kind: ResourceKind::Routes, name: "edge".into() };
    let lag = Lag { resource, refused: None, at: None };
    let standing = |targets, acknowledged| Standing {
        targets,
        acknowledged,
        holds: false,
        since: std::time::SystemTime::UNIX_EPOCH,
        lags: None,
        unpublished: None,
    };
    let waits = Runs::by(false, None, Some(&standing(5, 3)));
    assert_eq!(waits.reason, "Pending");
    assert_eq!(waits.message, "3 of 5 Envoys have acknowledged it");
    let lacks = lacking(&standing(5, 3), Some(&lag));
    assert!(lacks.starts_with("3 of 5 Envoys have acknowledged it; one lacks") && lacks.ends_with("edge"), "{lacks}");
    assert_eq!(Runs::by(false, None, Some(&standing(0, 0))).message, "no Envoy is connected yet");
    let stuck = || Some("Pod edge-1: ImagePullBackOff".to_owned());
    let runs = Runs::by(true, stuck(), None);
    assert_eq!((runs.status, runs.message.as_str()), (true, "Pod edge-1: ImagePullBackOff"));
    assert_eq!(Runs::by(false, stuck(), None).reason, "NoResources");
}

/// What is said of the shop's Gateway or one of its ListenerSets, of whose proxies the stage knows. `edit` says what else there is.
fn said_of(
    stage: &crate::progress::tests::Stage,
    kind: Kind,
    name: &str,
    edit: impl Fn(&mut World, &mut Made),
) -> (Vec<Condition>, Vec<Listener>) {
    let (mut world, mut made) = (World::default(), Made::default());
    let edge = ObjectRef::new(Kind::Gateway, "shop", "edge");
    let mut seen = Seen::default();
    seen.uid = "of the edge".to_owned();
    world.seen.insert(edge, Arc::new(seen.clone()));
    let service = ServiceMade { addresses: ["192.0.2.1".into()].into(), owner: Some("of the edge".to_owned()), ..ServiceMade::default() };
    made.services.insert(ObjectKey::new("shop", "edge-windrose"), service);
    edit(&mut world, &mut made);
    let known = Known {
        world: &world,
        picture: &stage.picture,
        progress: &stage.progress,
        made: &made,
        problems: &Problems::default(),
        surroundings: None,
    };
    match status(&known, &ObjectRef::new(kind, "shop", name), &seen) {
        Some(Status::Listeners { conditions, listeners, .. }) => (conditions, listeners),
        other => panic!("{other:?}"),
    }
}

/// Whether they say that it is programmed, and why.
fn is_programmed_by(conditions: &[Condition]) -> (bool, &str) {
    let programmed = conditions.iter().find(|condition| condition.kind == "Programmed").unwrap();
    (programmed.status, &programmed.reason)
}

/// The shop, and the same with a ListenerSet that comes later.
fn with_guest() -> [String; 2] {
    let shop = SHOP.replace("windrose, listeners", "windrose, allowedListeners: { namespaces: { from: Same } }, listeners");
    let set = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: { name: guest, namespace: shop }\n\
               spec: { parentRef: { name: edge }, listeners: [{ name: more, port: 8081, protocol: HTTP }] }\n";
    let both = format!("{shop}{set}");
    [shop, both]
}

#[test]
fn a_listener_that_comes_later_is_not_claimed_before_it_is_acknowledged() {
    let [shop, with_guest] = with_guest();
    let mut stage = crate::progress::tests::Stage::of(&shop);
    let stream = stage.connect(2);
    stage.acknowledge(stream, &crate::progress::tests::ALL, 3);
    stage.look(4);
    stage.declare_text(&with_guest, 10);
    let gateway = |stage: &_| said_of(stage, Kind::Gateway, "edge", |_, _| ());
    let guest = |stage: &_| said_of(stage, Kind::ListenerSet, "guest", |_, _| ());
    for looked in [false, true] {
        if looked {
            stage.look(11);
        }
        assert_eq!(is_programmed_by(&gateway(&stage).0), (true, "Programmed"), "all that it says itself runs");
        let (conditions, listeners) = guest(&stage);
        assert_eq!([is_programmed_by(&conditions), is_programmed_by(&listeners[0].conditions)], [(false, "Pending"); 2]);
    }
    stage.acknowledge(stream, &crate::progress::tests::ALL, 12);
    stage.look(13);
    let (conditions, listeners) = guest(&stage);
    assert_eq!([is_programmed_by(&conditions), is_programmed_by(&listeners[0].conditions)], [(true, "Programmed"); 2]);
}

/// These Pods are going away.
fn end(made: &mut Made, pods: &[&str]) {
    let ending = Ending { since: SystemTime::UNIX_EPOCH, accepts_for: Duration::ZERO, endpoint_for: Duration::ZERO };
    let pod = || PodMade { ending: Some(ending), ..PodMade::default() };
    made.pods.extend(pods.iter().map(|name| (ObjectKey::new("shop", *name), pod())));
}

#[test]
fn an_envoy_that_is_going_away_holds_up_no_listener_that_comes_later() {
    let [shop, with_guest] = with_guest();
    let mut stage = crate::progress::tests::Stage::of(&shop);
    let (stays, goes) = (stage.connect_as("edge#pod/shop/edge-2", 2), stage.connect_as("edge#pod/shop/edge-1", 2));
    [stays, goes].into_iter().for_each(|stream| stage.acknowledge(stream, &crate::progress::tests::ALL, 3));
    stage.look(4);
    stage.declare_text(&with_guest, 10);
    stage.acknowledge(stays, &crate::progress::tests::ALL, 11);
    stage.look(12);
    let guest = |edit: fn(&mut World, &mut Made)| {
        let (conditions, listeners) = said_of(&stage, Kind::ListenerSet, "guest", edit);
        [is_programmed_by(&conditions).0, is_programmed_by(&listeners[0].conditions).0]
    };
    assert_eq!(guest(|_, _| ()), [false; 2], "it is awaited");
    assert_eq!(guest(|_, made| end(made, &["edge-1"])), [true; 2]);
    assert_eq!(guest(|_, made| end(made, &["edge-1", "edge-2"])), [false; 2], "nobody is left who has it");

    let edited = shop.replace("name: http, port: 8080", "name: http, port: 8082");
    stage.declare_text(&edited, 20);
    stage.acknowledge(stays, &crate::progress::tests::ALL, 21);
    stage.look(22);
    let edge = |edit: fn(&mut World, &mut Made)| is_programmed_by(&said_of(&stage, Kind::Gateway, "edge", edit).0).0;
    assert!(!edge(|_, _| ()) && edge(|_, made| end(made, &["edge-1"])), "nor an edit of its Gateway");
}

#[test]
fn a_version_that_cannot_be_read_is_not_programmed_although_the_last_good_one_runs() {
    let mut stage = crate::progress::tests::Stage::of(SHOP);
    let stream = stage.connect(2);
    stage.acknowledge(stream, &crate::progress::tests::ALL, 3);
    stage.look(4);
    let of = |edit: fn(&mut World, &mut Made)| said_of(&stage, Kind::Gateway, "edge", edit);
    let said = |(conditions, listeners): &(Vec<Condition>, Vec<Listener>)| {
        [conditions, &listeners[0].conditions].map(|conditions| (is_programmed_by(conditions).0, is_programmed_by(conditions).1.to_owned()))
    };
    let both = |status, reason: &str| [(status, reason.to_owned()), (status, reason.to_owned())];
    assert_eq!(said(&of(|_, _| ())), both(true, "Programmed"));
    let unreadable = |world: &mut World, _: &mut Made| {
        let edge = ObjectRef::new(Kind::Gateway, "shop", "edge");
        let told = Diagnostic::error(edge.clone(), FieldPath::root(), Code::File, "no such field");
        world.problems.insert(edge, Arc::from([told]));
    };
    assert_eq!(said(&of(unreadable)), both(false, "Invalid"));
    let of_another =
        |_: &mut World, made: &mut Made| made.services.values_mut().for_each(|one| one.owner = Some("of the former".to_owned()));
    assert_eq!(said(&of(of_another)), both(false, "AddressNotAssigned"), "a Gateway that was made anew");
}

#[test]
fn a_pod_of_a_long_name_is_known_by_its_deployment() {
    let gateway = declared(&(CLASS.to_owned() + SHOP)).gateways.values().next().unwrap().clone();
    let (picture, name) = (picture(), envoys_of(None, &gateway));
    let mut made = Made::default();
    let problem = PodMade { deployment: name.name.to_string(), problem: Some("no room".to_owned()), ..PodMade::default() };
    made.pods.insert(ObjectKey::new("shop", "cut-off-x7k2p"), problem);
    let known = Known {
        world: &World::default(),
        picture: &picture,
        progress: &Progress::default(),
        made: &made,
        problems: &Problems::default(),
        surroundings: None,
    };
    assert_eq!(known.stuck(&gateway).unwrap(), "Pod cut-off-x7k2p: no room");
}

#[test]
fn more_addresses_than_a_load_balancer_can_be_asked_for_are_told() {
    let asked = ["192.0.2.1", "192.0.2.2"].map(|text| GatewayAddress::Ip(text.parse().unwrap()));
    let said = |asked: &[GatewayAddress], is_balanced| {
        unusable(&["192.0.2.2".to_owned()], asked, &ServiceMade { is_balanced, ..ServiceMade::default() })
    };
    assert!(said(&asked, true).ends_with("192.0.2.2; one address can be asked for of a load balancer, and that is the first (192.0.2.1)"));
    assert!(said(&asked, false).ends_with("192.0.2.2") && said(&asked[1..], true).ends_with("192.0.2.2"));
}

#[test]
fn every_address_that_is_asked_for_has_to_be_there() {
    let ip = |text: &str| GatewayAddress::Ip(text.parse().unwrap());
    let (usable, other) = (ip("192.0.2.1"), ip("198.51.100.9"));
    let named = GatewayAddress::Hostname("edge.example".into());
    let given = |addresses: &[&str], hostnames: &[&str]| ServiceMade {
        addresses: addresses.iter().map(|one| (*one).into()).collect(),
        hostnames: hostnames.iter().map(|one| (*one).into()).collect(),
        ..ServiceMade::default()
    };
    let service = given(&["192.0.2.1", "2001:DB8::0001"], &[]);
    assert_eq!(not_given(std::slice::from_ref(&usable), &service), [""; 0]);
    assert_eq!(not_given(&[usable.clone(), other.clone()], &service), ["198.51.100.9"]);
    assert_eq!(not_given(&[other.clone(), usable.clone()], &service), ["198.51.100.9"]);
    assert_eq!(not_given(&[ip("2001:db8::1")], &service), [""; 0], "however it is written");
    assert_eq!(not_given(std::slice::from_ref(&usable), &given(&["203.0.113.5"], &[])), ["192.0.2.1"], "another one is not that");
    assert_eq!(not_given(&[usable, other], &given(&[], &[])).len(), 2);
    assert_eq!(not_given(std::slice::from_ref(&named), &service), ["edge.example"]);
    assert_eq!(not_given(&[named], &given(&[], &["Edge.example"])), [""; 0]);
}

#[test]
fn nothing_is_said_of_an_object_in_a_namespace_that_is_left_out() {
    let parameters = "---\napiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: { name: sizes, namespace: shop }\nspec: {}\n\
                      ---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n";
    let object = ObjectRef::new(Kind::GatewayParameters, "shop", "sizes");
    let said = |left_out: bool, edit: fn(&mut World, &ObjectRef)| {
        let mut world = World { declared: declared(&(CLASS.to_owned() + SHOP + parameters)), ..World::default() };
        Arc::make_mut(world.declared.namespaces.get_mut(&ObjectKey::new("", "shop")).unwrap()).spec.left_out = left_out;
        edit(&mut world, &object);
        let known = Known {
            world: &world,
            picture: &Picture { declared: world.declared.clone(), ..Picture::default() },
            progress: &Progress::default(),
            made: &Made::default(),
            problems: &Problems::default(),
            surroundings: None,
        };
        status(&known, &object, &Seen::default()).is_some()
    };
    let unreadable = |world: &mut World, object: &ObjectRef| {
        let told = Diagnostic::error(object.clone(), FieldPath::root(), Code::File, "no such field");
        world.problems.insert(object.clone(), Arc::from([told]));
        world.declared.remove(object);
    };
    for edit in [|_: &mut World, _: &ObjectRef| {}, unreadable] {
        assert!(said(false, edit) && !said(true, edit));
    }
}
