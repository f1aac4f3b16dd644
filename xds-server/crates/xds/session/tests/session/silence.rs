//! Rule 5 with fact 4 about stock Envoy: a cluster that never becomes ready silences all answers about clusters.

use std::sync::Arc;

use windrose_state::{Accepted, Protocol};
use windrose_xds_session::Response;

use crate::stream::{Stream, delta, line, setup, sotw};

const NONE: [&str; 0] = [];

/// A client that accepted all of a first view, and a listener with it.
fn settled(mut stream: Stream, clusters: &str) -> Stream {
    stream.view(&format!("{clusters}; LDS l@1"));
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.subscribe("LDS", &[]);
    stream.accept_all();
    stream
}

/// What is sent of clusters; all else is answered.
fn of_clusters(stream: &mut Stream) -> Vec<Response> {
    let mut clusters = Vec::new();
    while let Some(response) = stream.poll() {
        if line(&response).starts_with("CDS") { clusters.push(response) } else { stream.ack(&response) }
    }
    clusters
}

/// The one response about clusters that is due, not answered; a listener that comes after it is.
fn unanswered(stream: &mut Stream, expected: &str) -> Response {
    let mut all = of_clusters(stream);
    assert_eq!(all.iter().map(line).collect::<Vec<_>>(), [expected]);
    all.remove(0)
}

/// After the time that an answer may take; the client shows meanwhile that it reads.
fn silence(stream: &mut Stream) {
    stream.wait(20);
    assert_eq!(of_clusters(stream).iter().map(line).collect::<Vec<_>>(), NONE, "it may not have read it");
    stream.wait(20);
}

#[test]
fn a_cluster_that_nothing_is_said_of_is_taken_back_and_tried_again_much_later() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, "CDS a@1");
        stream.view("CDS a@2; LDS l@1");
        for wait in [60, 120] {
            unanswered(&mut stream, "CDS +a@2");
            silence(&mut stream);
            assert_eq!(stream.accept_all(), ["CDS +a@1"]);
            assert_eq!(stream.last_acked("CDS"), ["a@1"]);
            stream.wait(wait - 1);
            assert_eq!(stream.accept_all(), NONE);
            stream.wait(1);
        }
        assert_eq!(stream.accept_all(), ["CDS +a@2"], "what was only slow is accepted in the end");
        assert_eq!((stream.last_acked("CDS"), stream.recovered()), (vec!["a@2".into()], vec!["a".into()]));
    }
}

#[test]
fn of_several_each_is_tried_alone_and_the_good_ones_stay() {
    let mut stream = settled(delta(), "CDS a@1; CDS b@1; CDS c@1");
    stream.view("CDS a@2; CDS b@2; CDS c@2; CDS new@1; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2 +c@2 +new@1");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@1 +b@1 +c@1");
    stream.ack(&back);
    let first = unanswered(&mut stream, "CDS +a@2");
    stream.view("CDS a@2; CDS b@2; CDS c@2; CDS late@1; CDS new@1; LDS l@1");
    assert_eq!(stream.lines(), NONE, "nothing shares the blame");
    stream.ack(&first);
    unanswered(&mut stream, "CDS +b@2");
    silence(&mut stream);
    assert_eq!(stream.accept_all(), ["CDS +b@1", "CDS +c@2", "CDS +late@1"]);
    assert_eq!(stream.last_acked("CDS"), ["a@2", "b@1", "c@2", "late@1", "new@1"]);
    assert!(stream.diagnoses().iter().any(|one| one.starts_with("CDS b@")), "{:?}", stream.diagnoses());
}

#[test]
fn with_full_state_the_silent_one_is_found_by_halving() {
    let mut stream = settled(sotw(), "CDS a@1; CDS b@1; CDS c@1");
    stream.view("CDS a@2; CDS b@2; CDS c@2; CDS new@1; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2 +c@2 +new@1");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@1 +b@1 +c@1 +new@1");
    stream.ack(&back);
    let left = unanswered(&mut stream, "CDS +a@2 +b@1 +c@1 +new@1");
    stream.ack(&left);
    unanswered(&mut stream, "CDS +a@2 +b@2 +c@2 +new@1");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@2 +b@1 +c@1 +new@1");
    stream.ack(&back);
    unanswered(&mut stream, "CDS +a@2 +b@2 +c@1 +new@1");
    silence(&mut stream);
    assert_eq!(stream.accept_all(), ["CDS +a@2 +b@1 +c@1 +new@1", "CDS +a@2 +b@1 +c@2 +new@1"]);
}

#[test]
fn new_clusters_are_taken_back_where_nothing_else_helps() {
    let mut stream = settled(delta(), "CDS a@1");
    stream.view("CDS a@2; CDS new@1; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +new@1");
    silence(&mut stream);
    unanswered(&mut stream, "CDS +a@1");
    silence(&mut stream);
    let gone = unanswered(&mut stream, "CDS -new");
    stream.ack(&gone);
    assert_eq!(stream.accept_all(), ["CDS +a@2"]);
    assert_eq!(stream.last_acked("CDS"), ["a@2"]);
}

#[test]
fn where_nothing_helps_it_goes_on_as_before() {
    let mut stream = settled(delta(), "CDS a@1; CDS b@1");
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2");
    silence(&mut stream);
    unanswered(&mut stream, "CDS +a@1 +b@1");
    silence(&mut stream);
    let last = unanswered(&mut stream, "CDS +a@2 +b@2");
    stream.ack(&last);
    assert_eq!(stream.last_acked("CDS"), ["a@2", "b@2"]);
    stream.view("CDS a@3; CDS b@2; LDS l@1");
    assert_eq!(stream.accept_all(), ["CDS +a@3"]);
}

#[test]
fn who_reads_nothing_refuses_nothing() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, "CDS a@1");
        stream.view("CDS a@2; LDS l@1");
        let clusters = stream.poll().unwrap();
        stream.wait(1_000);
        let sign = stream.poll().unwrap();
        assert_eq!((line(&sign), stream.lines()), ("LDS +l@1".into(), Vec::new()), "one sign is enough");
        stream.ack(&clusters);
        stream.ack(&sign);
        assert_eq!(stream.lines(), NONE);
        assert_eq!(stream.last_acked("CDS"), ["a@2"]);
    }
}

#[test]
fn a_late_answer_to_what_was_taken_back_makes_it_no_good_version() {
    let accepted = Arc::new(Accepted::new());
    let mut stream = settled(setup(Protocol::Delta).accepted(&accepted).open(), "CDS a@1; CDS b@1");
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    let late = unanswered(&mut stream, "CDS +a@2 +b@2");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@1 +b@1");
    stream.ack(&late);
    stream.ack(&back);
    let scope = setup(Protocol::Delta).params.scope;
    let last = |text: &str| accepted.last(&scope, &crate::world::id(text)).map(|one| one.version.bits());
    assert_eq!([last("CDS a"), last("CDS b")], [Some(1); 2]);
    assert_eq!(stream.accept_all(), ["CDS +a@2", "CDS +b@2"]);
    assert_eq!([last("CDS a"), last("CDS b")], [Some(2); 2]);
}

#[test]
fn a_trial_that_is_refused_is_healed_before_the_next() {
    let mut stream = settled(delta(), "CDS a@1; CDS b@1");
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@1 +b@1");
    stream.ack(&back);
    let bad = unanswered(&mut stream, "CDS +a@2");
    stream.nack(&bad, "Error adding/updating cluster(s) a: bad");
    assert_eq!(stream.accept_all(), ["CDS +a@1", "CDS +b@2"]);
}

#[test]
fn sotw_a_refusal_that_is_told_late_blames_the_version_that_it_is_about() {
    let text = "Error adding/updating cluster(s) a: ring hash";
    let mut stream = settled(sotw(), "CDS a@1; CDS b@1");
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2");
    stream.view("CDS a@3; CDS b@2; LDS l@1");
    let healed = unanswered(&mut stream, "CDS +a@3 +b@2");
    stream.nack(&healed, text);
    assert_eq!(stream.accept_all(), ["CDS +a@3 +b@2"], "it is asked about the newest once more");
    assert_eq!(stream.last_acked("CDS"), ["a@3", "b@2"]);
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    let back = stream.accept_all();
    assert!(!back.iter().any(|line| line.contains("a@2")), "that one was refused: {back:?}");
}

#[test]
fn sotw_what_is_taken_back_is_not_blamed_for_what_it_heals() {
    let mut stream = settled(sotw(), "CDS a@1; CDS b@1");
    stream.view("CDS a@2; CDS b@2; LDS l@1");
    unanswered(&mut stream, "CDS +a@2 +b@2");
    silence(&mut stream);
    let back = unanswered(&mut stream, "CDS +a@1 +b@1");
    stream.nack(&back, "Error adding/updating cluster(s) a: ring hash");
    assert_eq!(stream.accept_all(), ["CDS +a@1 +b@2"]);
}

#[test]
fn what_another_proxy_accepted_is_replaced_by_what_this_one_had() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = settled(open(), "CDS a@1");
    let mut other = settled(open(), "CDS a@1");
    other.view("CDS a@2; LDS l@1");
    other.accept_all();
    stream.view("CDS a@2; LDS l@1");
    unanswered(&mut stream, "CDS +a@2");
    silence(&mut stream);
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
}
