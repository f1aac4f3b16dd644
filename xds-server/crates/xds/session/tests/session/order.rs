//! Rules 28–36: make before break, warming, and what waits for what.

use std::sync::Arc;

use windrose_state::{Accepted, Ledger, Protocol};
use windrose_xds_session::SotwRequest;

use crate::stream::{Stream, delta, line, setup, sotw};
use crate::world::kind;

const NONE: [&str; 0] = [];
const OLD: &str = "CDS a@1 -> EDS a; EDS a@1; LDS l@1 -> RDS r; RDS r@1 -> CDS a";
const NEW: &str = "CDS a@1 -> EDS a; CDS b@1 -> EDS b, SDS s; EDS a@1; EDS b@1; SDS s@1; LDS l@1 -> RDS r; RDS r@2 -> CDS a, CDS b";

/// An Envoy that has all of `OLD`.
fn settled(mut stream: Stream) -> Stream {
    stream.view(OLD);
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.subscribe("EDS", &["a"]);
    stream.subscribe("LDS", &[]);
    stream.accept_all();
    stream.subscribe("RDS", &["r"]);
    stream.accept_all();
    stream
}

#[test]
fn rule_28_a_route_to_a_new_cluster_waits_for_the_acks_of_cluster_endpoints_and_secret() {
    let mut stream = settled(delta());
    stream.view(NEW);
    let clusters = stream.poll().unwrap();
    assert_eq!(line(&clusters), "CDS +b@1");
    assert_eq!(stream.lines(), NONE);
    stream.subscribe("EDS", &["b"]);
    stream.subscribe("SDS", &["s"]);
    let (endpoints, secret) = (stream.poll().unwrap(), stream.poll().unwrap());
    assert_eq!([line(&endpoints), line(&secret)], ["EDS +b@1", "SDS +s@1"], "not waiting for the ACK of the cluster");
    for response in [&clusters, &endpoints] {
        stream.ack(response);
        assert_eq!(stream.lines(), NONE);
    }
    stream.ack(&secret);
    assert_eq!(stream.lines(), ["RDS +r@2"]);
}

#[test]
fn rule_28_sotw_a_route_waits_too() {
    let mut stream = settled(sotw());
    stream.view("CDS a@1 -> EDS a; CDS b@1; EDS a@1; LDS l@1 -> RDS r; RDS r@2 -> CDS a, CDS b");
    let clusters = stream.poll().unwrap();
    assert_eq!(line(&clusters), "CDS +a@1 +b@1");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&clusters);
    assert_eq!(stream.lines(), ["RDS +r@2"]);
}

#[test]
fn rule_28_up_to_eight_cluster_responses_fly_and_a_newer_ack_covers_older_ones() {
    for mut stream in [delta(), sotw()] {
        stream.view("CDS a@1");
        stream.subscribe("CDS", &[]);
        let mut flying = stream.hear();
        for version in 2..20 {
            stream.view(&format!("CDS a@{version}"));
            flying.extend(stream.hear());
        }
        assert_eq!(flying.len(), 8);
        stream.ack(&flying[7]);
        assert_eq!(stream.last_acked("CDS"), ["a@8"]);
        let more = (20..40).map(|version| {
            stream.view(&format!("CDS a@{version}"));
            stream.lines().len()
        });
        assert_eq!(more.sum::<usize>(), 8);
    }
}

#[test]
fn rule_28_the_gate_opens_on_a_nack() {
    let mut stream = settled(delta());
    stream.view("CDS a@1 -> EDS a; CDS b@1; EDS a@1; LDS l@1 -> RDS r; RDS r@2 -> CDS a, CDS b");
    let clusters = stream.poll().unwrap();
    assert_eq!(stream.lines(), NONE);
    stream.nack(&clusters, "Error adding/updating cluster(s) b: bad");
    assert_eq!(stream.accept_all(), ["CDS -b", "RDS +r@2"]);
}

#[test]
fn rule_28_the_gate_opens_after_five_seconds_with_a_diagnosis() {
    let mut stream = settled(delta());
    stream.view(NEW);
    assert_eq!(stream.lines(), ["CDS +b@1"]);
    stream.wait(4);
    assert_eq!(stream.lines(), NONE);
    stream.wait(1);
    assert_eq!(stream.accept_all(), ["RDS +r@2"]);
    assert_eq!(stream.diagnoses(), ["RDS r is sent although CDS b was not acknowledged in time"]);
}

#[test]
fn rule_28_a_route_that_changes_all_the_time_waits_five_seconds_and_no_longer() {
    let mut stream = settled(delta());
    let next = |version| NEW.replace("r@2", &format!("r@{version}"));
    stream.view(&next(2));
    assert_eq!(stream.lines(), ["CDS +b@1"]);
    for version in 3..7 {
        stream.wait(1);
        stream.view(&next(version));
        assert_eq!(stream.lines(), NONE);
    }
    stream.wait(1);
    assert_eq!(stream.accept_all(), ["RDS +r@6"]);
    stream.view(&next(7));
    assert_eq!(stream.accept_all(), ["RDS +r@7"], "the same cold cluster is not waited for twice");
}

#[test]
fn rule_28_a_route_that_needs_nothing_new_does_not_wait() {
    let mut stream = settled(delta());
    stream.view("CDS a@1 -> EDS a; CDS b@1; EDS a@1; LDS l@1 -> RDS r; RDS r@2 -> CDS a");
    assert_eq!(stream.lines(), ["CDS +b@1", "RDS +r@2"]);
}

#[test]
fn rule_28_listeners_scopes_and_extensions_wait_like_routes() {
    let mut stream = delta();
    stream.view("");
    for short in ["CDS", "LDS", "SRDS"] {
        stream.subscribe(short, &[]);
    }
    stream.subscribe("ECDS", &["e"]);
    stream.accept_all();
    stream.view("CDS b@1; ECDS e@1 -> CDS b; LDS l@1 -> CDS b, ECDS e; SRDS x@1 -> CDS b");
    let clusters = stream.poll().unwrap();
    assert_eq!(line(&clusters), "CDS +b@1");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&clusters);
    assert_eq!(stream.lines(), ["ECDS +e@1", "LDS +l@1", "SRDS +x@1"]);
}

#[test]
fn rule_28_everything_due_at_once_goes_in_make_before_break_order() {
    let mut stream = settled(delta());
    stream.view("CDS a@2 -> EDS a; EDS a@2; LDS l@2 -> RDS r; RDS r@2 -> CDS a");
    assert_eq!(stream.lines(), ["CDS +a@2", "EDS +a@2", "LDS +l@2", "RDS +r@2"]);
}

#[test]
fn rule_28_kinds_on_streams_of_their_own_wait_for_nothing() {
    let mut stream = setup(Protocol::Delta).alone().open();
    stream.view(NEW);
    stream.subscribe("RDS", &["r"]);
    assert_eq!(stream.lines(), ["RDS +r@2"]);
}

#[test]
fn rule_29_endpoints_follow_every_update_of_their_cluster_though_unchanged() {
    for mut stream in [settled(delta()), settled(sotw())] {
        stream.view(&OLD.replace("CDS a@1", "CDS a@2").replace("r@1 -> CDS a@2", "r@1 -> CDS a"));
        assert_eq!(stream.lines(), ["CDS +a@2", "EDS +a@1"]);
    }
}

#[test]
fn rule_29_endpoints_that_are_in_flight_are_sent_again_after_their_cluster() {
    let mut stream = settled(delta());
    stream.view(&OLD.replace("EDS a@1", "EDS a@2"));
    let endpoints = stream.poll().unwrap();
    stream.view(&OLD.replace("EDS a@1", "EDS a@2").replace("CDS a@1", "CDS a@2"));
    assert_eq!(stream.lines(), ["CDS +a@2"]);
    stream.ack(&endpoints);
    assert_eq!(stream.lines(), ["EDS +a@2"]);
}

#[test]
fn rule_29_sotw_the_clients_own_repetition_is_not_answered_twice() {
    let mut stream = settled(sotw());
    stream.view(&OLD.replace("CDS a@1", "CDS a@2"));
    let heard = stream.hear();
    assert_eq!(heard.iter().map(line).collect::<Vec<_>>(), ["CDS +a@2", "EDS +a@1"]);
    stream.subscribe("EDS", &["a"]);
    assert_eq!(stream.lines(), NONE);
}

#[test]
fn rule_30_on_reconnect_each_kind_is_answered_by_itself_in_any_order() {
    for mut stream in [delta(), sotw()] {
        stream.view(OLD);
        stream.subscribe("RDS", &["r"]);
        assert_eq!(stream.accept_all(), ["RDS +r@1"]);
        stream.subscribe("LDS", &[]);
        assert_eq!(stream.accept_all(), ["LDS +l@1"]);
        stream.subscribe("EDS", &["a"]);
        assert_eq!(stream.accept_all(), ["EDS +a@1"]);
    }
}

#[test]
fn rule_30_endpoints_asked_before_clusters_are_sent_again_because_something_warms() {
    let mut stream = delta();
    stream.view(OLD);
    stream.resume("EDS", &["a"], &["a@1"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
    let mut stream = delta();
    stream.view(OLD);
    stream.resume("CDS", &[], &["a@1"]);
    stream.resume("EDS", &["a"], &["a@1"]);
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_30_a_rejected_cluster_is_repaired_unasked_when_the_client_never_asks() {
    let accepted = Arc::new(Accepted::new());
    let mut stream = setup(Protocol::Delta).accepted(&accepted).open();
    stream.view(OLD);
    stream.subscribe("CDS", &[]);
    let response = stream.poll().unwrap();
    stream.nack(&response, "Error adding/updating cluster(s) a: ring hash min > max");
    drop(stream);

    let mut again = setup(Protocol::Delta).accepted(&accepted).open();
    again.view(OLD);
    again.resume("EDS", &["a"], &[]);
    again.accept_all();
    again.wait(4);
    assert_eq!(again.lines(), NONE);
    again.wait(1);
    assert_eq!(again.accept_all(), ["CDS -a"]);
    again.view(&OLD.replace("CDS a@1", "CDS a@2"));
    assert_eq!(again.accept_all(), ["CDS +a@2", "EDS +a@1"]);
    again.resume("CDS", &[], &["a@2"]);
    assert_eq!(again.accept_all(), NONE, "and when it asks after all, it is as always");
}

#[test]
fn rule_31_endpoints_before_clusters_are_tolerated() {
    let mut stream = delta();
    stream.view(OLD);
    stream.subscribe("EDS", &["a"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
    stream.subscribe("CDS", &[]);
    assert_eq!(stream.accept_all(), ["CDS +a@1", "EDS +a@1"]);
}

#[test]
fn rule_32_an_endpoint_change_sends_no_cluster_byte() {
    for mut stream in [settled(delta()), settled(sotw())] {
        stream.view(&OLD.replace("EDS a@1", "EDS a@2"));
        assert_eq!(stream.accept_all(), ["EDS +a@2"]);
    }
}

#[test]
fn rule_33_a_removal_waits_until_the_route_that_used_it_is_gone_and_acked() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut stream = settled(setup(protocol).open());
        stream.view("CDS c@1; LDS l@1 -> RDS r; RDS r@2 -> CDS c");
        let clusters = stream.poll().unwrap();
        let expected = if protocol == Protocol::Delta { "CDS +c@1" } else { "CDS +a@1 +c@1" };
        assert_eq!(line(&clusters), expected);
        stream.ack(&clusters);
        let routes = stream.poll().unwrap();
        assert_eq!(line(&routes), "RDS +r@2");
        assert_eq!(stream.lines(), NONE);
        stream.wait(60);
        assert_eq!(stream.lines(), NONE, "however long it takes");
        stream.ack(&routes);
        let expected = if protocol == Protocol::Delta { &["CDS -a", "EDS -a"][..] } else { &["CDS +c@1"] };
        assert_eq!(stream.accept_all(), expected);
    }
}

#[test]
fn rule_33_later_changes_of_routes_do_not_hold_a_removal_up() {
    let mut stream = settled(delta());
    stream.view("CDS c@1; LDS l@1 -> RDS r; RDS r@2 -> CDS c");
    let clusters = stream.poll().unwrap();
    stream.ack(&clusters);
    let routes = stream.poll().unwrap();
    stream.view("CDS c@1; LDS l@1 -> RDS r; RDS r@3 -> CDS c");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&routes);
    let heard: Vec<_> = stream.hear().iter().map(line).collect();
    assert_eq!(heard, ["CDS -a", "RDS +r@3"]);
}

#[test]
fn rule_33_a_name_that_was_due_before_it_went_waits_for_what_changed_with_it() {
    let mut stream = delta();
    stream.view("CDS a@1; SRDS x@1 -> CDS a");
    stream.subscribe("CDS", &[]);
    stream.subscribe("SRDS", &[]);
    stream.accept_all();
    stream.subscribe("CDS", &["a"]);
    stream.view("SRDS x@2");
    let scopes = stream.poll().unwrap();
    assert_eq!(line(&scopes), "SRDS +x@2");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&scopes);
    assert_eq!(stream.lines(), ["CDS -a"]);
}

#[test]
fn rule_33_a_client_that_comes_back_keeps_its_clusters_until_its_routes_are_new() {
    let mut stream = delta();
    stream.view("CDS c@1; LDS l@1 -> RDS r; RDS r@2 -> CDS c");
    stream.resume("CDS", &[], &["a@1"]);
    assert_eq!(stream.accept_all(), ["CDS +c@1"]);
    stream.resume("LDS", &[], &["l@1"]);
    stream.resume("RDS", &["r"], &["r@1"]);
    stream.subscribe("ECDS", &["none"]);
    stream.subscribe("SRDS", &[]);
    assert_eq!(stream.accept_all(), ["SRDS", "RDS +r@2", "CDS -a"]);
}

#[test]
fn rule_33_kinds_that_a_returning_client_never_asks_for_hold_a_removal_up_for_five_seconds() {
    let mut stream = delta();
    stream.view("");
    stream.resume("CDS", &[], &["a@1"]);
    assert_eq!(stream.accept_all(), NONE);
    stream.wait(5);
    assert_eq!(stream.accept_all(), ["CDS -a"]);
}

#[test]
fn rule_34_no_listener_or_cluster_is_sent_that_names_a_secret_we_do_not_serve() {
    let mut stream = delta();
    stream.view("SDS s@1; CDS a@1 -> SDS s; LDS l@1 -> SDS s; LDS m@1");
    stream.subscribe("SDS", &["s"]);
    let secret = stream.poll().unwrap();
    stream.nack(&secret, "Failed to load private key");
    assert_eq!(stream.accept_all(), ["SDS -s"]);
    stream.subscribe("CDS", &[]);
    stream.subscribe("LDS", &[]);
    assert_eq!(stream.accept_all(), ["CDS", "LDS +m@1"]);
    assert!(stream.diagnoses().contains(&"LDS l is kept back: SDS s is not served".to_owned()), "{:?}", stream.diagnoses());
    stream.view("SDS s@2; CDS a@1 -> SDS s; LDS l@1 -> SDS s; LDS m@1");
    assert_eq!(stream.accept_all(), ["CDS +a@1", "SDS +s@2", "LDS +l@1"]);
}

#[test]
fn rule_34_a_listener_with_a_refused_secret_stays_where_it_is() {
    let mut stream = delta();
    stream.view("LDS l@1; SDS s@1");
    stream.subscribe("LDS", &[]);
    stream.subscribe("SDS", &["s", "t"]);
    stream.accept_all();
    stream.view("LDS l@2 -> SDS t; SDS s@1; SDS t@1");
    let secret = stream.poll().unwrap();
    assert_eq!(line(&secret), "SDS +t@1");
    stream.nack(&secret, "no");
    assert_eq!(stream.accept_all(), ["SDS -t"], "the listener without the secret stays");
}

#[test]
fn rule_34_rotation_pushes_one_resource() {
    let mut stream = delta();
    stream.view("SDS s@1; SDS t@1; CDS a@1 -> SDS s; LDS l@1 -> SDS t");
    for (short, names) in [("CDS", &[][..]), ("LDS", &[]), ("SDS", &["s", "t"])] {
        stream.subscribe(short, names);
    }
    stream.accept_all();
    stream.view("SDS s@2; SDS t@1; CDS a@1 -> SDS s; LDS l@1 -> SDS t");
    assert_eq!(stream.accept_all(), ["SDS +s@2"]);
}

#[test]
fn sotw_the_first_full_state_of_a_returning_client_lacks_nothing_that_only_waits() {
    let mut stream = sotw();
    stream.view("CDS b@1; LDS l@1; LDS m@1 -> CDS b");
    let version_info = "of a former state".to_owned();
    let request = |short: &str| windrose_xds_session::SotwRequest {
        type_url: crate::world::kind(short).type_url().into(),
        version_info: version_info.clone(),
        ..windrose_xds_session::SotwRequest::default()
    };
    stream.sotw_request(request("CDS")).unwrap();
    let clusters = stream.poll().unwrap();
    stream.sotw_request(request("LDS")).unwrap();
    assert_eq!(stream.lines(), NONE, "l alone would delete m");
    stream.ack(&clusters);
    assert_eq!(stream.lines(), ["LDS +l@1 +m@1"]);
}

#[test]
fn rule_34_sotw_a_returning_client_keeps_a_listener_whose_good_secret_the_server_forgot() {
    const GOOD: &str = "LDS l@1 -> SDS s; SDS s@1";
    const BAD: &str = "LDS l@1 -> SDS s; SDS s@2";
    let accepted = Arc::new(Accepted::new());
    let mut stream = setup(Protocol::Sotw).accepted(&accepted).open();
    stream.view(GOOD);
    stream.subscribe("LDS", &[]);
    stream.subscribe("SDS", &["s"]);
    stream.accept_all();
    stream.view(BAD);
    let secret = stream.poll().unwrap();
    stream.nack(&secret, "no");
    stream.accept_all();

    // No private key is written to disk, so the next server has no good version of the secret.
    let kept = Arc::new(Accepted::restored(accepted.records(&Ledger::default()).0).unwrap());
    let open = || setup(Protocol::Sotw).accepted(&kept).open();
    let (mut back, mut new) = (open(), open());
    back.view(BAD);
    let listeners = SotwRequest { type_url: kind("LDS").type_url().into(), version_info: "of before".into(), ..SotwRequest::default() };
    back.sotw_request(listeners).unwrap();
    assert_eq!(back.accept_all(), ["LDS +l@1"], "without it the client would delete it");
    new.view(BAD);
    new.subscribe("LDS", &[]);
    assert_eq!(new.accept_all(), ["LDS"], "who does not have it does not get it");
}

#[test]
fn a_response_that_is_not_answered_is_told_once_and_forgotten_with_the_answer() {
    let mut stream = settled(delta());
    stream.view(NEW);
    let clusters = stream.poll().unwrap();
    stream.wait(19);
    let before = stream.diagnoses().len();
    stream.wait(1);
    assert_eq!(stream.diagnoses().split_off(before), ["a CDS response of 1 is not answered"]);
    stream.wait(1_000);
    assert_eq!(stream.diagnoses().len(), before + 1);
    stream.ack(&clusters);
    assert_eq!(stream.last_acked("CDS"), ["a@1", "b@1"]);
}
