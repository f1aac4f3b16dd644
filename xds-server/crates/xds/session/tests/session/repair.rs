//! Rule 5, with facts 1–9 about stock Envoy: what follows a NACK.

use std::sync::Arc;

use windrose_state::{Accepted, Fault, Ledger, Protocol};

use crate::stream::{Stream, delta, line, setup, sotw};

const NONE: [&str; 0] = [];

/// A stream whose client accepted all of a first view, by the kinds it asks for.
fn after(mut stream: Stream, view: &str, kinds: &[(&str, &[&str])]) -> Stream {
    stream.view(view);
    for (short, names) in kinds {
        stream.subscribe(short, names);
        stream.accept_all();
    }
    stream
}

/// The client refuses the next response with that text.
fn refuse(stream: &mut Stream, expected: &str, text: &str) {
    let response = stream.poll().unwrap_or_else(|| panic!("{expected} is due"));
    assert_eq!(line(&response), expected);
    stream.nack(&response, text);
}

#[test]
fn rule_05b_rejected_cluster_gets_its_last_accepted_version() {
    let mut stream = after(delta(), "CDS a@1; CDS b@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@1");
    refuse(&mut stream, "CDS +a@2", "Error adding/updating cluster(s) a: bad");
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
}

#[test]
fn rule_05b_rejected_cluster_without_a_good_version_is_removed() {
    let mut stream = after(delta(), "", &[("CDS", &[])]);
    stream.view("CDS a@1");
    refuse(&mut stream, "CDS +a@1", "Error adding/updating cluster(s) a: bad");
    assert_eq!(stream.accept_all(), ["CDS -a"]);
}

#[test]
fn rule_05b_rejected_secret_without_a_good_version_is_removed() {
    let mut stream = after(delta(), "SDS s@1", &[]);
    stream.subscribe("SDS", &["s"]);
    refuse(&mut stream, "SDS +s@1", "Failed to load private key");
    assert_eq!(stream.accept_all(), ["SDS -s"]);
}

#[test]
fn rule_05b_rejected_endpoints_without_good_ones_are_removed_so_that_the_cluster_warms() {
    let mut stream = after(delta(), "EDS e@1", &[]);
    stream.subscribe("EDS", &["e"]);
    refuse(&mut stream, "EDS +e@1", "bad");
    assert_eq!(stream.accept_all(), ["EDS -e"]);
}

#[test]
fn rule_05b_rejected_route_extension_and_listener_without_a_good_version_get_nothing() {
    for (view, short, names) in
        [("RDS r@1", "RDS", &["r"][..]), ("ECDS r@1", "ECDS", &["r"]), ("LDS r@1", "LDS", &[]), ("SRDS r@1", "SRDS", &[])]
    {
        let mut stream = after(delta(), view, &[]);
        stream.subscribe(short, names);
        refuse(&mut stream, &format!("{short} +r@1"), "bad");
        assert_eq!(stream.accept_all(), NONE, "{short}");
        stream.wait(60);
        assert_eq!(stream.accept_all(), NONE, "{short}");
        stream.view(&view.replace("@1", "@2"));
        assert_eq!(stream.accept_all(), [format!("{short} +r@2")], "a new version is a new chance");
    }
}

/// It came with a version that this server knows nothing of, and refuses the newest: it goes on with what it has.
#[test]
fn rule_05b_nothing_is_taken_from_a_returning_client_that_refuses_the_newest_version() {
    for short in ["LDS", "SRDS"] {
        let mut stream = delta();
        stream.view(&format!("{short} r@2"));
        stream.resume(short, &[], &["r@1"]);
        refuse(&mut stream, &format!("{short} +r@2"), "bad");
        assert_eq!(stream.accept_all(), NONE, "{short}");
        stream.view("");
        // What refers to it might come yet.
        stream.wait(60);
        assert_eq!(stream.accept_all(), [format!("{short} -r")], "it may have it still");
    }
}

#[test]
fn rule_05b_every_kind_gets_its_last_accepted_version_again() {
    for short in ["CDS", "EDS", "SDS", "ECDS", "LDS", "SRDS", "RDS"] {
        let names: &[&str] = if matches!(short, "CDS" | "LDS" | "SRDS") { &[] } else { &["x"] };
        for stream in [delta(), sotw()] {
            let mut stream = after(stream, &format!("{short} x@1"), &[(short, names)]);
            stream.view(&format!("{short} x@2"));
            refuse(&mut stream, &format!("{short} +x@2"), "bad");
            assert_eq!(stream.accept_all(), [format!("{short} +x@1")]);
            stream.view(&format!("{short} x@3"));
            assert_eq!(stream.accept_all(), [format!("{short} +x@3")]);
        }
    }
}

#[test]
fn rule_05c_the_good_ones_of_a_nacked_delta_response_are_sent_again_until_acked() {
    let mut stream = after(delta(), "", &[("CDS", &[])]);
    stream.view("CDS a@1; CDS b@1; CDS c@1");
    refuse(&mut stream, "CDS +a@1 +b@1 +c@1", "Error adding/updating cluster(s) b: bad");
    refuse(&mut stream, "CDS +a@1 +c@1 -b", "Error adding/updating cluster(s) c: bad");
    assert_eq!(stream.accept_all(), ["CDS +a@1 -b -c"]);
    assert_eq!(stream.last_acked("CDS"), ["a@1"]);
}

#[test]
fn rule_05c_a_removal_in_a_nacked_response_is_said_again() {
    let mut stream = after(delta(), "CDS a@1; CDS gone@1", &[("CDS", &[])]);
    stream.view("CDS a@1; CDS bad@1");
    refuse(&mut stream, "CDS +bad@1 -gone", "Error adding/updating cluster(s) bad: bad");
    assert_eq!(stream.accept_all(), ["CDS -bad -gone"]);
}

#[test]
fn rule_05a_a_nameless_failure_sends_each_resource_once_more_alone() {
    let mut stream = after(delta(), "", &[("CDS", &[])]);
    stream.view("CDS a@1; CDS b@1; CDS c@1");
    refuse(&mut stream, "CDS +a@1 +b@1 +c@1", "Unable to unpack: negative duration");
    let alone = stream.hear();
    assert_eq!(alone.iter().map(line).collect::<Vec<_>>(), ["CDS +a@1", "CDS +b@1", "CDS +c@1"]);
    stream.ack(&alone[0]);
    stream.nack(&alone[1], "Unable to unpack: negative duration");
    stream.ack(&alone[2]);
    assert_eq!(stream.accept_all(), ["CDS -b"]);
    assert_eq!(stream.last_acked("CDS"), ["a@1", "c@1"]);
}

#[test]
fn rule_05a_kinds_without_names_in_their_text_are_tried_one_by_one() {
    for short in ["RDS", "EDS", "SDS", "ECDS"] {
        for stream in [delta(), sotw()] {
            let mut stream = after(stream, &format!("{short} a@1; {short} b@1"), &[(short, &["a", "b"])]);
            stream.view(&format!("{short} a@2; {short} b@2"));
            refuse(&mut stream, &format!("{short} +a@2 +b@2"), "Error adding/updating cluster(s) a: not a name here");
            refuse(&mut stream, &format!("{short} +a@2"), "bad");
            assert_eq!(stream.accept_all(), [format!("{short} +b@2"), format!("{short} +a@1")], "{short}");
        }
    }
}

#[test]
fn rule_05a_one_by_one_leaves_out_what_changed_meanwhile() {
    let mut stream = after(delta(), "", &[]);
    stream.view("RDS a@1; RDS b@1; RDS c@1");
    stream.subscribe("RDS", &["a", "b", "c"]);
    refuse(&mut stream, "RDS +a@1 +b@1 +c@1", "bad");
    let first = stream.poll().unwrap();
    stream.view("RDS a@1; RDS b@2; RDS c@1");
    stream.unsubscribe("RDS", &["c"]);
    stream.ack(&first);
    assert_eq!(stream.accept_all(), ["RDS +b@2"]);
}

#[test]
fn rule_05a_sotw_the_culprit_of_a_nameless_full_state_is_found_by_halving() {
    let mut stream = after(sotw(), "CDS z@1", &[("CDS", &[])]);
    stream.view("CDS a@1; CDS b@1; CDS c@1; CDS d@1; CDS z@1");
    let mut heard = Vec::new();
    while let Some(response) = stream.poll() {
        heard.push(line(&response));
        assert!(heard.len() < 20, "{heard:?}");
        if line(&response).contains("+c@1") { stream.nack(&response, "negative duration") } else { stream.ack(&response) }
    }
    let trials = ["CDS +a@1 +b@1 +z@1", "CDS +a@1 +b@1 +c@1 +d@1 +z@1", "CDS +a@1 +b@1 +c@1 +z@1", "CDS +a@1 +b@1 +d@1 +z@1"];
    assert_eq!(heard[1..], trials);
    assert_eq!(stream.last_acked("CDS"), ["a@1", "b@1", "d@1", "z@1"]);
}

#[test]
fn rule_05_sotw_a_named_failure_is_answered_with_the_full_state_without_it() {
    let mut stream = after(sotw(), "LDS a@1; LDS b@1", &[("LDS", &[])]);
    stream.view("LDS a@2; LDS b@2; LDS c@1");
    refuse(&mut stream, "LDS +a@2 +b@2 +c@1", "Error adding/updating listener(s) b: bad\nc: bad\n");
    assert_eq!(stream.accept_all(), ["LDS +a@2 +b@1"]);
}

#[test]
fn rule_05_sotw_a_failure_that_newer_responses_repeat_blames_the_version_they_had() {
    let mut stream = after(sotw(), "CDS a@1; CDS b@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@1");
    let first = stream.poll().unwrap();
    stream.view("CDS a@2; CDS b@2");
    let second = stream.poll().unwrap();
    for response in [&first, &second] {
        stream.nack(response, "Error adding/updating cluster(s) a: bad");
    }
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@2"]);
}

#[test]
fn rule_05_sotw_a_nameless_failure_that_newer_responses_repeat_blames_no_innocent() {
    let text = "negative duration";
    let mut stream = after(sotw(), "CDS a@1; CDS b@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@1");
    let first = stream.poll().unwrap();
    stream.view("CDS a@2; CDS b@2");
    let second = stream.poll().unwrap();
    stream.nack(&first, text);
    let repair = stream.poll().unwrap();
    assert_eq!(line(&repair), "CDS +a@1 +b@2");
    stream.nack(&second, text);
    assert_eq!(stream.lines(), NONE, "the repair is on its way");
    stream.ack(&repair);
    assert_eq!(stream.last_acked("CDS"), ["a@1", "b@2"]);
}

#[test]
fn rule_05a_sotw_while_suspects_are_tried_newer_refusals_add_none() {
    let text = "negative duration";
    let mut stream = after(sotw(), "CDS a@1; CDS b@1; CDS c@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@2; CDS c@1");
    let first = stream.poll().unwrap();
    stream.view("CDS a@2; CDS b@2; CDS c@2");
    let second = stream.poll().unwrap();
    stream.nack(&first, text);
    assert_eq!(stream.lines(), NONE, "the second one has no answer yet");
    stream.nack(&second, text);
    refuse(&mut stream, "CDS +a@2 +b@1 +c@1", text);
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@2 +c@1", "CDS +a@1 +b@2 +c@2"]);
}

#[test]
fn rule_05a_sotw_a_newer_state_that_was_accepted_ends_all_suspicion() {
    let mut stream = after(sotw(), "CDS a@1; CDS b@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@2");
    let first = stream.poll().unwrap();
    stream.view("CDS a@2; CDS b@2; CDS c@1");
    let second = stream.poll().unwrap();
    stream.nack(&first, "overloaded");
    stream.ack(&second);
    assert_eq!(stream.lines(), NONE);
    assert_eq!(stream.last_acked("CDS"), ["a@2", "b@2", "c@1"]);
}

#[test]
fn what_nobody_asks_for_any_more_needs_no_last_good_version() {
    let accepted = Arc::new(Accepted::new());
    let scope = setup(Protocol::Delta).params.scope;
    let last = |text: &str| accepted.last(&scope, &crate::world::id(text)).map(|one| one.version.bits());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let kinds: &[(&str, &[&str])] = &[("CDS", &[]), ("EDS", &["b"]), ("RDS", &["r"])];
    let mut stream = after(open(), "CDS a@1; EDS b@1; RDS r@1", kinds);
    assert_eq!([last("CDS a"), last("EDS b"), last("RDS r")], [Some(1); 3]);
    stream.view("EDS b@1");
    stream.accept_all();
    assert_eq!([last("CDS a"), last("EDS b"), last("RDS r")], [None, Some(1), Some(1)], "the route is still asked for");
    stream.unsubscribe("RDS", &["r"]);
    stream.unsubscribe("EDS", &["b"]);
    assert_eq!([last("CDS a"), last("EDS b"), last("RDS r")], [None, Some(1), None], "the endpoints are still wanted");
}

#[test]
fn rule_05d_an_ack_of_content_equal_to_a_rejected_one_makes_it_no_good_version() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = after(open(), "CDS a@1", &[("CDS", &[])]);
    stream.view("CDS a@2");
    refuse(&mut stream, "CDS +a@2", "Error adding/updating cluster(s) a: bad");
    stream.accept_all();
    let scope = setup(Protocol::Delta).params.scope;
    accepted.acked(&scope, "edge", [&crate::world::resource("CDS a@2")]);
    let good = accepted.last(&scope, &crate::world::id("CDS a")).unwrap();
    assert_eq!(good.version.bits(), 1);
}

#[test]
fn rule_05_a_rejected_version_is_never_sent_again_on_that_stream() {
    for stream in [delta(), sotw()] {
        let mut stream = after(stream, "CDS a@1", &[("CDS", &[])]);
        stream.view("CDS a@2");
        refuse(&mut stream, "CDS +a@2", "Error adding/updating cluster(s) a: bad");
        stream.accept_all();
        stream.view("CDS a@3");
        assert_eq!(stream.accept_all(), ["CDS +a@3"]);
        stream.view("CDS a@2");
        let rolled_back = stream.accept_all();
        assert!(!rolled_back.iter().any(|line| line.contains("a@2")), "{rolled_back:?}");
    }
}

#[test]
fn rule_05_a_port_that_is_taken_concerns_that_stream_only() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = after(open(), "LDS l@1", &[]);
    stream.subscribe("LDS", &[]);
    refuse(&mut stream, "LDS +l@1", HELD);
    assert_eq!(stream.accept_all(), NONE);
    assert_eq!(stream.diagnoses().len(), 1);
    let mut again = after(open(), "LDS l@1", &[]);
    again.subscribe("LDS", &[]);
    assert_eq!(again.accept_all(), ["LDS +l@1"]);
}

/// Envoy's words about listener `l`.
const HELD: &str = "Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use\n";

#[test]
fn rule_05_a_port_that_is_taken_is_tried_again_in_growing_intervals_until_it_is_free() {
    let mut stream = after(delta(), "LDS k@1; LDS l@1", &[]);
    stream.subscribe("LDS", &[]);
    refuse(&mut stream, "LDS +k@1 +l@1", HELD);
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        stream.accept_all();
        stream.wait(wait - 1);
        assert_eq!(stream.accept_all(), NONE);
        stream.wait(1);
        refuse(&mut stream, "LDS +l@1", HELD);
    }
    assert_eq!(stream.diagnoses().len(), 1, "nobody wants to read the same every half minute");
    assert!(stream.recovered().is_empty());
    stream.wait(30);
    assert_eq!(stream.accept_all(), ["LDS +l@1"]);
    assert_eq!((stream.last_acked("LDS"), stream.recovered()), (vec!["k@1".into(), "l@1".into()], vec!["l".into()]));
    stream.wait(1_000);
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_05_of_a_refusal_it_is_told_whose_fault_it_is() {
    let faults = |text: &str| {
        let mut stream = after(delta(), "LDS l@1", &[]);
        stream.subscribe("LDS", &[]);
        refuse(&mut stream, "LDS +l@1", text);
        stream.faults()
    };
    assert_eq!(faults(HELD), [Fault::Client]);
    assert_eq!(faults("Error adding/updating listener(s) l: bad\n"), [Fault::Content]);
}

#[test]
fn rule_05_sotw_a_port_that_becomes_free_is_used_and_the_others_stay() {
    let mut stream = after(sotw(), "LDS k@1; LDS l@1", &[]);
    stream.subscribe("LDS", &[]);
    refuse(&mut stream, "LDS +k@1 +l@1", HELD);
    assert_eq!(stream.accept_all(), ["LDS +k@1"]);
    stream.wait(1);
    refuse(&mut stream, "LDS +k@1 +l@1", HELD);
    assert_eq!(stream.accept_all(), ["LDS +k@1"]);
    stream.wait(2);
    assert_eq!(stream.accept_all(), ["LDS +k@1 +l@1"]);
    assert_eq!(stream.recovered(), ["l"]);
}

#[test]
fn rule_05_while_a_port_is_taken_the_former_listener_stays_and_an_edit_ends_the_retries() {
    let mut stream = after(delta(), "LDS l@1", &[("LDS", &[])]);
    stream.view("LDS l@2");
    refuse(&mut stream, "LDS +l@2", HELD);
    assert_eq!(stream.accept_all(), ["LDS +l@1"]);
    stream.wait(1);
    refuse(&mut stream, "LDS +l@2", HELD);
    assert_eq!(stream.accept_all(), ["LDS +l@1"]);
    stream.view("LDS l@3");
    assert_eq!(stream.accept_all(), ["LDS +l@3"]);
    stream.wait(1_000);
    assert_eq!(stream.accept_all(), NONE);
}

#[test]
fn rule_05_a_version_that_a_taken_port_kept_out_is_good_again_after_an_edit_that_was_kept_out_too() {
    let mut stream = after(delta(), "LDS l@1", &[("LDS", &[])]);
    for version in ["2", "3"] {
        stream.view(&format!("LDS l@{version}"));
        refuse(&mut stream, &format!("LDS +l@{version}"), HELD);
        assert_eq!(stream.accept_all(), ["LDS +l@1"]);
    }
    stream.wait(1);
    assert_eq!(stream.accept_all(), ["LDS +l@3"]);
    stream.view("LDS l@2");
    assert_eq!(stream.accept_all(), ["LDS +l@2"]);
}

#[test]
fn rule_05_quarantine_a_restarted_proxy_starts_with_the_last_good_version() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = after(open(), "CDS a@1; CDS b@1", &[("CDS", &[])]);
    stream.view("CDS a@2; CDS b@2");
    refuse(&mut stream, "CDS +a@2 +b@2", "Error adding/updating cluster(s) a: bad");
    stream.accept_all();
    let mut restarted = open();
    restarted.view("CDS a@2; CDS b@2");
    restarted.subscribe("CDS", &[]);
    assert_eq!(restarted.accept_all(), ["CDS +a@1 +b@2"]);
    let survived = Arc::new(Accepted::restored(accepted.records(&Ledger::default()).0).unwrap());
    let mut server_too = setup(Protocol::Delta).accepted(&survived).open();
    server_too.view("CDS a@2; CDS b@2");
    server_too.subscribe("CDS", &[]);
    assert_eq!(server_too.accept_all(), ["CDS +a@1 +b@2"]);
}

#[test]
fn rule_05_quarantine_one_sidecars_nack_binds_its_own_identity_until_a_second_agrees() {
    let accepted = Arc::new(Accepted::new());
    let open = |identity: &str| {
        let mut stream = setup(Protocol::Delta).accepted(&accepted).identity(identity).open();
        stream.view("CDS a@1");
        stream.subscribe("CDS", &[]);
        stream
    };
    refuse(&mut open("one"), "CDS +a@1", "Error adding/updating cluster(s) a: bad");
    assert_eq!(open("one").accept_all(), ["CDS"]);
    refuse(&mut open("two"), "CDS +a@1", "Error adding/updating cluster(s) a: bad");
    assert_eq!(open("three").accept_all(), ["CDS"]);
}

#[test]
fn rule_05_quarantine_a_version_that_somebody_accepted_is_sent_to_everybody() {
    let accepted = Arc::new(Accepted::new());
    let open = |identity: &str| {
        let mut stream = setup(Protocol::Delta).accepted(&accepted).identity(identity).open();
        stream.view("CDS a@1");
        stream.subscribe("CDS", &[]);
        stream
    };
    refuse(&mut open("one"), "CDS +a@1", "Error adding/updating cluster(s) a: bad");
    open("two").accept_all();
    assert_eq!(open("one").accept_all(), ["CDS +a@1"]);
}

#[test]
fn rule_05_a_last_good_route_keeps_its_clusters() {
    let view = "CDS old@1 -> EDS old; EDS old@1; RDS r@1 -> CDS old";
    let mut stream = after(delta(), view, &[("CDS", &[]), ("EDS", &["old"]), ("RDS", &["r"])]);
    stream.view("CDS new@1; RDS r@2 -> CDS new");
    let clusters = stream.poll().unwrap();
    stream.ack(&clusters);
    refuse(&mut stream, "RDS +r@2", "bad route");
    assert_eq!(stream.accept_all(), ["RDS +r@1"], "and no removal of the cluster it needs");
    stream.view("CDS new@1; RDS r@3 -> CDS new");
    assert_eq!(stream.accept_all(), ["RDS +r@3", "CDS -old", "EDS -old"]);
}

#[test]
fn rule_05_a_last_good_route_brings_its_clusters_to_a_proxy_that_restarts() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let view = "CDS old@1; RDS r@1 -> CDS old";
    let mut stream = after(open(), view, &[("CDS", &[]), ("RDS", &["r"])]);
    stream.view("CDS new@1; RDS r@2 -> CDS new");
    let clusters = stream.poll().unwrap();
    stream.ack(&clusters);
    refuse(&mut stream, "RDS +r@2", "bad route");
    stream.accept_all();
    let mut restarted = open();
    restarted.view("CDS new@1; RDS r@2 -> CDS new");
    restarted.subscribe("CDS", &[]);
    restarted.subscribe("RDS", &["r"]);
    assert_eq!(restarted.accept_all(), ["CDS +new@1 +old@1", "RDS +r@1"]);
}

#[test]
fn rule_05_a_last_good_listener_keeps_its_certificate_and_that_is_renewed() {
    for stream in [delta(), sotw()] {
        let mut stream = after(stream, "SDS own@1; LDS l@1 -> SDS own", &[("SDS", &["own"]), ("LDS", &[])]);
        stream.view_and_spare("LDS l@2", "SDS own@1");
        refuse(&mut stream, "LDS +l@2", "Error adding/updating listener(s) l: bad");
        assert_eq!(stream.accept_all(), ["LDS +l@1"], "and no removal of what it needs");
        stream.view_and_spare("LDS l@2", "SDS own@2");
        assert_eq!(stream.accept_all(), ["SDS +own@2"]);
        stream.view_and_spare("LDS l@3", "SDS own@3");
        assert_eq!(stream.accept_all()[0], "LDS +l@3");
        assert_eq!(stream.last_acked("LDS"), ["l@3"]);
    }
}

#[test]
fn rule_05_a_last_good_listener_brings_a_certificate_that_is_good_to_a_proxy_that_restarts() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = after(open(), "SDS own@1; LDS l@1 -> SDS own", &[("SDS", &["own"]), ("LDS", &[])]);
    stream.view_and_spare("LDS l@2", "SDS own@1");
    refuse(&mut stream, "LDS +l@2", "Error adding/updating listener(s) l: bad");
    stream.accept_all();
    let mut restarted = open();
    restarted.view_and_spare("LDS l@2", "SDS own@2");
    restarted.subscribe("LDS", &[]);
    restarted.subscribe("SDS", &["own"]);
    assert_eq!(restarted.accept_all(), ["SDS +own@2", "LDS +l@1"]);
}

#[test]
fn rule_05_a_newer_version_on_its_way_is_not_taken_back_by_the_nack_of_an_older_one() {
    let mut stream = after(delta(), "CDS a@1", &[("CDS", &[])]);
    stream.view("CDS a@2");
    let older = stream.poll().unwrap();
    stream.view("CDS a@3");
    let newer = stream.poll().unwrap();
    stream.nack(&older, "Error adding/updating cluster(s) a: bad");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&newer);
    assert_eq!(stream.last_acked("CDS"), ["a@3"]);
}

#[test]
fn rule_05_a_refused_good_version_is_refused_too_and_there_it_ends() {
    let mut stream = after(delta(), "CDS a@1", &[("CDS", &[])]);
    stream.view("CDS a@2");
    refuse(&mut stream, "CDS +a@2", "Error adding/updating cluster(s) a: bad");
    refuse(&mut stream, "CDS +a@1", "Error adding/updating cluster(s) a: bad");
    refuse(&mut stream, "CDS -a", "no");
    assert_eq!(stream.lines(), NONE);
}

#[test]
fn rule_05a_scopes_are_taken_back_before_each_is_tried_alone() {
    let mut stream = after(delta(), "SRDS a@1", &[("SRDS", &[])]);
    stream.view("SRDS a@2; SRDS b@1; SRDS c@1");
    refuse(&mut stream, "SRDS +a@2 +b@1 +c@1", "bad");
    let former = stream.poll().unwrap();
    assert_eq!((line(&former), stream.lines()), ("SRDS +a@1 -b -c".into(), Vec::new()));
    stream.ack(&former);
    let first = stream.poll().unwrap();
    assert_eq!(line(&first), "SRDS +a@2");
    stream.ack(&first);
    refuse(&mut stream, "SRDS +b@1", "bad");
    assert_eq!(stream.accept_all(), ["SRDS +c@1"]);
    assert_eq!(stream.last_acked("SRDS"), ["a@2", "c@1"]);
}

#[test]
fn rule_05a_sotw_scopes_are_taken_back_before_halves_are_tried() {
    let mut stream = after(sotw(), "SRDS a@1; SRDS b@1", &[("SRDS", &[])]);
    stream.view("SRDS a@2; SRDS b@2");
    refuse(&mut stream, "SRDS +a@2 +b@2", "bad");
    let former = stream.poll().unwrap();
    assert_eq!(line(&former), "SRDS +a@1 +b@1");
    stream.ack(&former);
    let first = stream.poll().unwrap();
    assert_eq!(line(&first), "SRDS +a@2 +b@1");
    stream.ack(&first);
    refuse(&mut stream, "SRDS +a@2 +b@2", "bad");
    assert_eq!(stream.accept_all(), ["SRDS +a@2 +b@1"]);
}
