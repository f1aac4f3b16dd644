use std::time::Duration;

use serde_json::json;

use super::*;

mod selection;

fn object(kind: Kind, name: &str, spec: Value) -> Value {
    let version = if kind.group() == "windrose.dev" { "v1alpha1" } else { "v1" };
    json!({
        "apiVersion": format!("{}/{version}", kind.group()), "kind": kind.as_str(), "spec": spec,
        "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "1"},
    })
}

fn route(name: &str) -> Value {
    object(Kind::HTTPRoute, name, json!({"parentRefs": [{"name": "edge"}], "rules": [{}]}))
}

fn gateway(secret: &str) -> Value {
    let listener = json!({"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": secret}]}});
    object(Kind::Gateway, "edge", json!({"gatewayClassName": "windrose", "listeners": [listener]}))
}

/// An owner that has read a cluster with these objects.
fn read_once(objects: &[(Kind, Value)]) -> Owner {
    let mut owner = Owner::default();
    for kind in Kind::ALL {
        let of_kind = objects.iter().filter(|(of, _)| *of == kind).map(|(_, object)| Told::There(object.clone()));
        for told in std::iter::once(Told::Listing).chain(of_kind).chain([Told::Listed]) {
            owner.take(Event { kind, told });
        }
    }
    assert!(owner.values.take_due(limits::READS_AT_ONCE, Instant::now()).0.is_empty());
    assert!(owner.take_changed() && owner.world.complete);
    owner.show();
    owner
}

fn routes(world: &World) -> usize {
    world.declared.routes.len()
}

#[test]
fn a_list_that_is_read_again_takes_nothing_away_before_it_is_over() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a")), (Kind::HTTPRoute, route("b"))]);
    let take = |owner: &mut Owner, told| owner.take(Event { kind: Kind::HTTPRoute, told });
    take(&mut owner, Told::Listing);
    take(&mut owner, Told::There(route("a")));
    assert_eq!(routes(&owner.world), 2);
    take(&mut owner, Told::Listed);
    assert_eq!(routes(&owner.world), 1);
}

#[test]
fn while_policies_cannot_be_read_whole_no_new_route_is_shown() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    let take = |owner: &mut Owner, kind, told| owner.take(Event { kind, told });
    take(&mut owner, Kind::AuthPolicy, Told::Failed("forbidden".into()));
    take(&mut owner, Kind::HTTPRoute, Told::There(route("b")));
    assert_eq!((routes(&owner.show()), owner.show().kept), (1, [Kind::AuthPolicy].into()));
    take(&mut owner, Kind::AuthPolicy, Told::Listing);
    let public = json!({"targetRefs": [], "public": {"reason": "x", "approvedBy": "y"}});
    take(&mut owner, Kind::AuthPolicy, Told::There(object(Kind::AuthPolicy, "first", public)));
    assert_eq!(routes(&owner.show()), 1, "the list may have another policy, for this route");
    take(&mut owner, Kind::AuthPolicy, Told::Listed);
    assert_eq!(routes(&owner.show()), 2);
    assert!(owner.show().kept.is_empty());
    take(&mut owner, Kind::HTTPRoute, Told::Failed("forbidden".into()));
    assert!(owner.show().kept.is_empty(), "without it what there is of the others can be shown");
}

#[test]
fn a_kind_that_is_gone_for_a_moment_takes_nothing_away() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    let start = Instant::now();
    let gone = |owner: &mut Owner, seconds: std::ops::RangeInclusive<u64>| {
        seconds.step_by(5).for_each(|second| owner.no_such_kind(Kind::HTTPRoute, start + Duration::from_secs(second)));
    };
    gone(&mut owner, 0..=55);
    assert_eq!(routes(&owner.world), 1);
    assert!(owner.world.unread.contains_key(&Kind::HTTPRoute), "and says so");
    owner.take(Event { kind: Kind::HTTPRoute, told: Told::Failed("no answer".into()) });
    gone(&mut owner, 100..=155);
    assert_eq!(routes(&owner.world), 1, "while nothing answered nobody said that it is gone");
    gone(&mut owner, 160..=160);
    assert_eq!(routes(&owner.world), 0);

    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    gone(&mut owner, 0..=0);
    gone(&mut owner, 600..=600);
    assert_eq!(routes(&owner.world), 1, "two answers are no minute");

    let mut owner = read_once(&[]);
    gone(&mut owner, 0..=55);
    owner.take_changed();
    assert!(owner.show().absent.is_empty());
    gone(&mut owner, 60..=60);
    assert!(owner.take_changed(), "which is told");
    assert_eq!(owner.show().absent, [Kind::HTTPRoute].into());

    let mut owner = Owner::default();
    owner.no_such_kind(Kind::AuthPolicy, start);
    assert!(!owner.kinds[&Kind::AuthPolicy].known, "nothing is answered on the first word");
    owner.no_such_kind(Kind::AuthPolicy, start + Duration::from_secs(5));
    assert!(owner.kinds[&Kind::AuthPolicy].known);
}

#[test]
fn who_begins_to_refer_to_a_secret_is_not_shown_before_it_is_read() {
    let mut secret = object(Kind::Secret, "shop", Value::Null);
    secret["apiVersion"] = json!("v1");
    let mut owner = read_once(&[(Kind::Secret, secret.clone())]);
    owner.take(Event { kind: Kind::Gateway, told: Told::There(gateway("shop")) });
    assert!(owner.values.awaits());
    let (wanted, _) = owner.values.take_due(limits::READS_AT_ONCE, Instant::now());
    assert_eq!(wanted.len(), 1);
    secret.as_object_mut().unwrap().remove("spec");
    secret["data"] = json!({"tls.crt": "eA=="});
    owner.read(&wanted[0], Ok(Some(secret)), Instant::now());
    assert!(!owner.values.awaits() && owner.world.declared.secrets.len() == 1);
    owner.take(Event { kind: Kind::Gateway, told: Told::There(gateway("absent")) });
    assert!(!owner.values.awaits(), "nobody waits for what is not there");
}

#[test]
fn a_kind_that_comes_back_is_read_before_what_it_protects_is_shown() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    let take = |owner: &mut Owner, kind, told| owner.take(Event { kind, told });
    let start = Instant::now();
    (0..=60).for_each(|second| owner.no_such_kind(Kind::AuthPolicy, start + Duration::from_secs(second)));
    take(&mut owner, Kind::HTTPRoute, Told::There(route("b")));
    assert_eq!(routes(&owner.show()), 2, "nothing of a kind that is not there protects");
    take(&mut owner, Kind::AuthPolicy, Told::Listing);
    take(&mut owner, Kind::HTTPRoute, Told::There(route("c")));
    assert_eq!(routes(&owner.show()), 2, "the list may have a policy for it");
    take(&mut owner, Kind::AuthPolicy, Told::Listed);
    assert_eq!(routes(&owner.show()), 3);
    assert!(owner.world.unread.is_empty());
}

#[test]
fn a_kind_that_is_absent_is_not_known_to_be_while_nothing_answers() {
    let mut owner = read_once(&[]);
    let start = Instant::now();
    (0..=60).for_each(|second| owner.no_such_kind(Kind::AuthPolicy, start + Duration::from_secs(second)));
    owner.take(Event { kind: Kind::AuthPolicy, told: Told::Failed("no answer".into()) });
    owner.take(Event { kind: Kind::HTTPRoute, told: Told::There(route("a")) });
    assert_eq!(routes(&owner.show()), 0);
    owner.no_such_kind(Kind::AuthPolicy, start + Duration::from_secs(99));
    assert_eq!(routes(&owner.show()), 1);
}

#[test]
fn nothing_is_answered_while_what_protects_cannot_be_read() {
    let mut owner = Owner::default();
    let list = |owner: &mut Owner, kind| {
        [Told::Listing, Told::Listed].into_iter().for_each(|told| owner.take(Event { kind, told }));
    };
    Kind::ALL.into_iter().for_each(|kind| list(&mut owner, kind));
    owner.take(Event { kind: Kind::AuthPolicy, told: Told::Failed("no answer".into()) });
    owner.take_changed();
    let shown = owner.show();
    assert!(!shown.complete, "it was listed, and who knows what came since");
    assert_eq!(shown.kept, [Kind::AuthPolicy].into());
    list(&mut owner, Kind::AuthPolicy);
    owner.take_changed();
    assert!(owner.show().complete);
}

#[test]
fn what_a_start_waits_for_is_named() {
    let mut owner = Owner::default();
    owner.take(Event { kind: Kind::HTTPRoute, told: Told::Failed("forbidden".into()) });
    (0..=60).for_each(|second| owner.no_such_kind(Kind::TCPRoute, Instant::now() + Duration::from_secs(second)));
    assert_eq!(owner.show().kept, [Kind::HTTPRoute].into(), "one that is not there is not waited for");
}

#[test]
fn a_value_that_may_not_be_read_is_told_and_not_waited_for() {
    let mut secret = object(Kind::Secret, "shop", Value::Null);
    secret["apiVersion"] = json!("v1");
    let mut owner = read_once(&[(Kind::Secret, secret)]);
    owner.take(Event { kind: Kind::Gateway, told: Told::There(gateway("shop")) });
    let (wanted, _) = owner.values.take_due(limits::READS_AT_ONCE, Instant::now());
    let forbidden = kube::core::Status::failure("no", "Forbidden").with_code(403);
    owner.read(&wanted[0], Err(kube::Error::Api(Box::new(forbidden))), Instant::now());
    assert!(!owner.values.awaits());
    assert!(owner.world.problems.contains_key(&wanted[0]));
    assert!(owner.values.next_retry().is_some());
}

#[test]
fn a_replica_that_starts_after_a_bad_edit_has_the_version_that_others_serve() {
    let bad = || {
        let mut bad = route("a");
        bad["spec"]["rules"] = json!(7);
        bad["metadata"]["generation"] = json!(2);
        bad
    };
    let mut older = read_once(&[(Kind::HTTPRoute, route("a"))]);
    older.take(Event { kind: Kind::HTTPRoute, told: Told::There(bad()) });
    let held = older.world.held();
    assert_eq!(held.len(), 1);
    let good =
        older.good.iter().find(|good| good.version.as_ref().is_some_and(|(version, _)| held.iter().any(|one| one.version == *version)));
    let good = good.unwrap().clone();

    let start = |remembered: Vec<Good>, now: Value| {
        let mut owner = Owner::remembering(remembered);
        owner.take(Event { kind: Kind::HTTPRoute, told: Told::There(now) });
        owner
    };
    assert_eq!(routes(&start(Vec::new(), bad()).world), 0);
    let started = start(vec![good.clone()], bad());
    assert_eq!((routes(&started.world), started.world.held()), (1, held), "and it knows that it is held, to tell others");
    assert_eq!(started.good, std::slice::from_ref(&good), "it keeps it as well");

    let mut other = bad();
    other["metadata"]["uid"] = json!("another");
    assert_eq!(routes(&start(vec![good.clone()], other).world), 0, "another object of that name was never good");

    let mut cured = start(vec![good], route("a"));
    assert!(cured.world.held().is_empty());
    cured.take(Event { kind: Kind::HTTPRoute, told: Told::Gone(route("a")) });
    cured.take(Event { kind: Kind::HTTPRoute, told: Told::There(bad()) });
    assert_eq!(routes(&cured.world), 0, "what is gone is forgotten");
}

#[test]
fn a_gateway_that_is_being_deleted_is_seen_to_be() {
    let mut owner = read_once(&[(Kind::Gateway, gateway("cert"))]);
    let edge = ObjectRef::new(Kind::Gateway, "shop", "edge");
    assert!(!owner.show().seen[&edge].deleting);
    let mut going = gateway("cert");
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    owner.take(Event { kind: Kind::Gateway, told: Told::There(going) });
    assert!(owner.take_changed() && owner.show().seen[&edge].deleting);
}

#[test]
fn a_secret_of_a_version_that_is_shown_stays_while_what_protects_cannot_be_read() {
    let mut secret = object(Kind::Secret, "cert", Value::Null);
    secret["apiVersion"] = json!("v1");
    let mut owner = Owner::default();
    for kind in Kind::ALL {
        let there = match kind {
            Kind::Secret => Some(secret.clone()),
            Kind::Gateway => Some(gateway("cert")),
            _ => None,
        };
        [Told::Listing].into_iter().chain(there.map(Told::There)).chain([Told::Listed]).for_each(|told| owner.take(Event { kind, told }));
    }
    let (wanted, _) = owner.values.take_due(limits::READS_AT_ONCE, Instant::now());
    secret.as_object_mut().unwrap().remove("spec");
    secret["data"] = json!({"tls.crt": "eA=="});
    owner.read(&wanted[0], Ok(Some(secret.clone())), Instant::now());
    assert!(owner.take_changed() && owner.show().declared.secrets.len() == 1);

    let take = |owner: &mut Owner, kind, told| owner.take(Event { kind, told });
    take(&mut owner, Kind::AuthPolicy, Told::Failed("forbidden".into()));
    let mut edited = gateway("other");
    edited["metadata"]["generation"] = json!(2);
    take(&mut owner, Kind::Gateway, Told::There(edited));
    // It is forgotten, for the newest version does not name it.
    owner.remove(&wanted[0]);
    assert_eq!(owner.show().declared.secrets.len(), 1, "the version that is shown does");
    take(&mut owner, Kind::Secret, Told::Gone(secret));
    assert_eq!(owner.show().declared.secrets.len(), 0, "one that is deleted is gone");
}

#[test]
fn while_policies_are_listed_again_no_new_route_is_shown() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    let take = |owner: &mut Owner, kind, told| owner.take(Event { kind, told });
    take(&mut owner, Kind::AuthPolicy, Told::Listing);
    take(&mut owner, Kind::HTTPRoute, Told::There(route("b")));
    assert_eq!(routes(&owner.show()), 1, "the list may have a policy for it");
    take(&mut owner, Kind::AuthPolicy, Told::Listed);
    assert_eq!(routes(&owner.show()), 2);
    take(&mut owner, Kind::HTTPRoute, Told::Listing);
    take(&mut owner, Kind::HTTPRoute, Told::There(route("c")));
    assert_eq!(routes(&owner.show()), 3, "a list of what does not protect holds nothing back");
}

#[test]
fn the_last_good_version_of_an_object_is_none_of_another_of_its_name() {
    let mut owner = read_once(&[(Kind::HTTPRoute, route("a"))]);
    let mut bad = route("a");
    bad["spec"]["rules"] = json!(7);
    bad["metadata"]["generation"] = json!(2);
    owner.take(Event { kind: Kind::HTTPRoute, told: Told::There(bad.clone()) });
    assert_eq!(routes(&owner.world), 1);
    // A list that is read again after a pause tells nothing of the deletion between.
    bad["metadata"]["uid"] = json!("another");
    owner.take(Event { kind: Kind::HTTPRoute, told: Told::There(bad) });
    assert_eq!((routes(&owner.world), owner.world.held().len()), (0, 0));
}
