//! Rules 13–23: who is subscribed to what, and what answers that.

use windrose_state::Protocol;
use windrose_xds_session::SotwRequest;

use crate::stream::{delta, setup, sotw};
use crate::world::kind;

const TWO: &str = "CDS a@1; CDS b@1";
const NONE: [&str; 0] = [];

#[test]
fn rule_13_sotw_wildcard_begins_empty_is_left_by_a_name_and_does_not_return() {
    let mut stream = sotw();
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@1"]);
    stream.subscribe("CDS", &["*", "a"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@1"]);
    stream.subscribe("CDS", &["a"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
    stream.subscribe("CDS", &[]);
    assert_eq!(stream.accept_all(), ["CDS"], "nothing, not everything");
    stream.view("CDS a@2; CDS b@2");
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_14_delta_legacy_wildcard_ends_for_good_with_the_first_name() {
    let mut stream = delta();
    stream.view("CDS a@1; CDS b@1");
    stream.subscribe("CDS", &["a"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
    stream.unsubscribe("CDS", &["a"]);
    stream.subscribe("CDS", &[]);
    assert_eq!(stream.accept_all(), NONE);
    stream.subscribe("CDS", &["*"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@1"]);
    stream.unsubscribe("CDS", &["*"]);
    stream.view("CDS a@2; CDS b@2");
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_14_delta_legacy_wildcard_stays_while_names_are_added_to_it() {
    let mut stream = delta();
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.subscribe("CDS", &["a"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
    stream.view("CDS a@1; CDS b@2");
    assert_eq!(stream.accept_all(), ["CDS +b@2"]);
}

#[test]
fn rule_15_an_empty_list_is_no_wildcard_for_kinds_asked_by_name() {
    for mut stream in [delta(), sotw()] {
        stream.view("EDS a@1; RDS r@1; SDS s@1; ECDS e@1");
        for short in ["EDS", "RDS", "SDS", "ECDS"] {
            stream.subscribe(short, &[]);
        }
        assert_eq!(stream.accept_all(), NONE);
    }
}

#[test]
fn rule_16_delta_subscribing_again_is_answered_again() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.subscribe("EDS", &["a"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
    stream.subscribe("EDS", &["a"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
}

#[test]
fn rule_17_delta_unsubscribing_is_silent_unless_the_wildcard_still_covers_the_name() {
    let mut stream = delta();
    stream.view("EDS a@1; CDS a@1");
    stream.subscribe("EDS", &["a"]);
    stream.accept_all();
    stream.unsubscribe("EDS", &["a", "never"]);
    assert_eq!(stream.accept_all(), NONE);
    stream.subscribe("CDS", &["*", "a", "gone"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1 -gone"]);
    stream.unsubscribe("CDS", &["a", "gone"]);
    assert_eq!(stream.accept_all(), ["CDS +a@1 -gone"]);
}

#[test]
fn rule_18_delta_a_name_that_does_not_exist_is_removed_at_once_and_sent_when_it_appears() {
    let mut stream = delta();
    stream.view("");
    for short in ["CDS", "EDS", "SDS", "LDS"] {
        stream.subscribe(short, &["x"]);
    }
    assert_eq!(stream.accept_all(), ["CDS -x", "EDS -x", "SDS -x", "LDS -x"]);
    stream.view("CDS x@1; EDS x@1; SDS x@1; LDS x@1");
    assert_eq!(stream.accept_all(), ["CDS +x@1", "EDS +x@1", "SDS +x@1", "LDS +x@1"]);
}

#[test]
fn rule_18_delta_a_name_that_goes_before_it_was_answered_is_removed_too() {
    let mut stream = delta();
    stream.view("EDS a@1; EDS b@1");
    stream.subscribe("EDS", &["a", "b"]);
    stream.view("EDS a@1");
    assert_eq!(stream.accept_all(), ["EDS +a@1 -b"]);
}

#[test]
fn rule_18_routes_and_extensions_are_never_answered_with_a_removal() {
    let mut stream = delta();
    stream.view("");
    stream.subscribe("RDS", &["r"]);
    stream.subscribe("ECDS", &["e"]);
    assert_eq!(stream.accept_all(), NONE);
    stream.view("RDS r@1; ECDS e@1");
    assert_eq!(stream.accept_all(), ["ECDS +e@1", "RDS +r@1"]);
    stream.view("");
    assert_eq!(stream.accept_all(), NONE);
    stream.view("RDS r@1; ECDS e@2");
    assert_eq!(stream.accept_all(), ["ECDS +e@2"], "the route was never taken from the client");
}

#[test]
fn rule_18_a_route_that_went_and_came_back_while_another_took_its_place_is_not_sent_again() {
    let mut stream = delta();
    stream.view("RDS r@1");
    stream.subscribe("RDS", &["r"]);
    stream.accept_all();
    stream.view("RDS q@1");
    assert_eq!(stream.accept_all(), NONE);
    stream.view("RDS r@1");
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_19_a_name_subscribed_again_gets_the_resource_in_its_old_version() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.subscribe("EDS", &["a"]);
    stream.accept_all();
    stream.unsubscribe("EDS", &["a"]);
    stream.subscribe("EDS", &["a"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
    let mut stream = sotw();
    stream.view("EDS a@1; EDS b@1");
    stream.subscribe("EDS", &["a", "b"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1 +b@1"]);
    stream.subscribe("EDS", &["b"]);
    assert_eq!(stream.accept_all(), NONE);
    stream.subscribe("EDS", &["a", "b"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
}

#[test]
fn rule_20_no_response_carries_one_name_twice() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.subscribe("EDS", &["a", "a", "x", "x"]);
    stream.subscribe("EDS", &["a", "x"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1 -x"]);
}

#[test]
fn rule_21_nothing_is_answered_from_a_cold_cache_and_an_empty_world_is_answered_empty() {
    for mut stream in [delta(), sotw()] {
        stream.subscribe("CDS", &[]);
        stream.subscribe("LDS", &[]);
        stream.subscribe("EDS", &["a"]);
        assert_eq!(stream.lines(), NONE);
        stream.cold_view();
        stream.wait(60);
        assert_eq!(stream.lines(), NONE);
        stream.view("");
        let lines: Vec<_> = stream.accept_all().into_iter().filter(|line| !line.starts_with("EDS")).collect();
        assert_eq!(lines, ["CDS", "LDS"]);
    }
}

#[test]
fn rule_21_a_subscription_from_before_the_first_view_is_answered_when_it_comes() {
    for mut stream in [delta(), sotw()] {
        stream.subscribe("CDS", &[]);
        stream.subscribe("EDS", &["a"]);
        stream.view("CDS a@1 -> EDS a; EDS a@1");
        assert_eq!(stream.accept_all(), ["CDS +a@1", "EDS +a@1"]);
    }
}

#[test]
fn rule_22_sotw_routes_and_endpoints_are_partial_and_clusters_are_whole() {
    let mut stream = sotw();
    stream.view("CDS a@1; CDS b@1; EDS a@1; EDS b@1");
    stream.subscribe("CDS", &[]);
    stream.subscribe("EDS", &["a", "b"]);
    stream.accept_all();
    stream.view("CDS a@1; CDS b@2; EDS a@1; EDS b@2");
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@2", "EDS +b@2"]);
    stream.view("CDS a@1; EDS a@1");
    assert_eq!(stream.accept_all(), ["CDS +a@1"], "absence deletes a cluster and no endpoints");
}

#[test]
fn rule_23_initial_versions_bring_only_the_difference_and_removals_of_what_vanished() {
    for names in [&[][..], &["a", "b", "gone"]] {
        let mut stream = setup(Protocol::Delta).alone().open();
        stream.view("CDS a@1; CDS b@2; CDS c@1");
        stream.resume("CDS", names, &["a@1", "b@1", "gone@1"]);
        let expected = if names.is_empty() { "CDS +b@2 +c@1 -gone" } else { "CDS +b@2 -gone" };
        assert_eq!(stream.accept_all(), [expected]);
    }
}

#[test]
fn rule_23_initial_versions_that_came_before_the_first_view_count_too() {
    let mut stream = setup(Protocol::Delta).alone().open();
    stream.resume("CDS", &[], &["a@1", "b@1", "gone@1"]);
    stream.view("CDS a@1; CDS b@2; CDS c@1");
    assert_eq!(stream.accept_all(), ["CDS +b@2 +c@1 -gone"]);
    assert_eq!(stream.last_acked("CDS"), ["a@1", "b@2", "c@1"]);
    assert!(stream.acked("CDS").values().all(|one| !one.bytes.is_empty()), "what it claimed is shared from now on");
}

#[test]
fn rule_23_initial_versions_are_forgotten_after_use() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.resume("EDS", &["a"], &["a@1"]);
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.unsubscribe("EDS", &["a"]);
    stream.resume("EDS", &["a"], &["a@1"]);
    assert_eq!(stream.accept_all(), ["EDS +a@1"]);
}

#[test]
fn a_sotw_client_that_comes_back_with_the_current_version_gets_nothing() {
    let mut stream = sotw();
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    let version = stream.poll().unwrap().version.to_string();
    for early in [true, false] {
        let mut again = sotw();
        let request = SotwRequest { type_url: kind("CDS").type_url().into(), version_info: version.clone(), ..SotwRequest::default() };
        if early {
            again.sotw_request(request.clone()).unwrap();
        }
        again.view(TWO);
        if !early {
            again.sotw_request(request).unwrap();
        }
        assert_eq!(again.accept_all(), NONE);
        again.view("CDS a@1; CDS b@2");
        assert_eq!(again.accept_all(), ["CDS +a@1 +b@2"]);
    }
}

#[test]
fn names_that_do_not_exist_are_told() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.subscribe("EDS", &["a", "x", "y"]);
    assert_eq!(stream.last_missing(), (2, vec!["x".to_owned(), "y".to_owned()]));
    stream.view("EDS a@1; EDS x@1");
    assert_eq!(stream.last_missing(), (1, vec!["y".to_owned()]));
}

#[test]
fn rule_27_a_listener_asked_for_by_name_is_answered_at_once_also_when_it_is_absent() {
    let mut stream = delta();
    stream.view("LDS a@1");
    stream.subscribe("LDS", &["a", "b"]);
    assert_eq!(stream.accept_all(), ["LDS +a@1 -b"]);
    let mut stream = sotw();
    stream.view("LDS a@1");
    stream.subscribe("LDS", &["b"]);
    assert_eq!(stream.accept_all(), ["LDS"], "a full state without it says that it is absent");
}
