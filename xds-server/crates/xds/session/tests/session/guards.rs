//! Nothing is open between two changes: routes come after the filters that protect them, and those go after the routes.

use std::sync::Arc;

use windrose_state::{Accepted, Protocol};

use crate::stream::{Stream, delta, line, setup, sotw};

const NONE: [&str; 0] = [];
const OPEN: &str = "CDS a@1; LDS l@1 -> RDS r; RDS r@1 -> CDS a";
const CLOSED: &str = "CDS a@1; ECDS e@1; LDS l@2 -> RDS r, ECDS e; RDS r@2 -> CDS a, ECDS e";

/// An Envoy that has all of a view.
fn settled(mut stream: Stream, view: &str) -> Stream {
    stream.view(view);
    for (kind, names) in [("CDS", &[][..]), ("LDS", &[]), ("ECDS", &["e"]), ("RDS", &["r"])] {
        stream.subscribe(kind, names);
        stream.accept_all();
    }
    stream
}

#[test]
fn a_route_with_a_policy_waits_until_its_listener_has_the_filter() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, OPEN);
        stream.view(CLOSED);
        let extension = stream.poll().unwrap();
        stream.ack(&extension);
        let listener = stream.poll().unwrap();
        assert_eq!(line(&listener), "LDS +l@2");
        assert_eq!(stream.lines(), NONE);
        stream.ack(&listener);
        assert_eq!(stream.lines(), ["RDS +r@2"]);
    }
}

#[test]
fn a_listener_that_is_refused_leaves_its_routes_as_they_were() {
    let mut stream = settled(delta(), OPEN);
    stream.view(CLOSED);
    let extension = stream.poll().unwrap();
    stream.ack(&extension);
    let listener = stream.poll().unwrap();
    stream.nack(&listener, "Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use");
    stream.wait(60);
    assert!(stream.lines().iter().all(|line| !line.starts_with("RDS")), "not even after a minute");
    stream.view(OPEN);
    assert_eq!(stream.lines(), NONE, "what was there is there");
}

#[test]
fn a_listener_loses_a_filter_after_its_routes_need_it_no_more() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, CLOSED);
        stream.view("CDS a@1; CDS b@1; LDS l@3 -> RDS r; RDS r@3 -> CDS b");
        let cluster = stream.poll().unwrap();
        assert_eq!(stream.lines(), NONE, "the route waits for its cluster, and the listener for the route");
        stream.ack(&cluster);
        let route = stream.poll().unwrap();
        assert_eq!(line(&route), "RDS +r@3");
        assert_eq!(stream.lines(), NONE);
        stream.ack(&route);
        assert_eq!(stream.lines()[0], "LDS +l@3");
    }
}

#[test]
fn a_scope_that_goes_with_its_policy_goes_first() {
    let mut stream = delta();
    stream.view("CDS a@1; ECDS e@1; LDS l@1 -> ECDS e; SRDS s@1 -> CDS a, ECDS e");
    for (kind, names) in [("CDS", &[][..]), ("LDS", &[]), ("ECDS", &["e"]), ("SRDS", &[])] {
        stream.subscribe(kind, names);
        stream.accept_all();
    }
    stream.view("LDS l@2");
    let scope = stream.poll().unwrap();
    assert_eq!(line(&scope), "SRDS -s");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&scope);
    let said = stream.lines();
    assert!(said.iter().any(|line| line == "LDS +l@2"), "{said:?}");
}

#[test]
fn a_listener_that_gains_a_filter_while_it_loses_one_goes_before_its_routes() {
    let mut stream = settled(delta(), CLOSED);
    stream.view("CDS a@1; ECDS f@1; LDS l@3 -> RDS r, ECDS f; RDS r@3 -> CDS a, ECDS f");
    let listener = stream.poll().unwrap();
    assert_eq!(line(&listener), "LDS +l@3");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&listener);
    assert_eq!(stream.lines(), ["RDS +r@3"]);
}

#[test]
fn a_new_stream_of_a_client_whose_listener_was_refused_gets_the_route_of_before() {
    let accepted = Arc::new(Accepted::new());
    let open = || setup(Protocol::Delta).accepted(&accepted).open();
    let mut stream = settled(open(), OPEN);
    stream.view(CLOSED);
    let extension = stream.poll().unwrap();
    stream.ack(&extension);
    let listener = stream.poll().unwrap();
    stream.nack(&listener, "Error adding/updating listener(s) l: no such filter");

    let mut again = open();
    again.view(CLOSED);
    for (kind, names) in [("CDS", &[][..]), ("LDS", &[])] {
        again.subscribe(kind, names);
        let response = again.poll().unwrap();
        if kind == "CDS" {
            again.ack(&response);
        } else {
            assert_eq!(line(&response), "LDS +l@1", "the last good one");
        }
    }
    again.subscribe("RDS", &["r"]);
    assert_eq!(again.lines(), ["RDS +r@1"], "the answer to the listener is not awaited, and its filter is not there");
}

#[test]
fn what_waits_for_its_protection_holds_back_no_removal_but_of_what_it_uses() {
    let mut stream = settled(delta(), "CDS a@1; CDS b@1; LDS l@1 -> RDS r; RDS r@1 -> CDS a");
    stream.view("CDS c@1; ECDS e@1; LDS l@2 -> RDS r, ECDS e; RDS r@2 -> CDS c, ECDS e");
    let cluster = stream.poll().unwrap();
    stream.ack(&cluster);
    let extension = stream.poll().unwrap();
    stream.ack(&extension);
    let listener = stream.poll().unwrap();
    stream.nack(&listener, "Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use");
    let said = stream.accept_all();
    assert!(said.iter().any(|line| line.starts_with("CDS") && line.contains("-b")), "{said:?}");
    assert!(said.iter().all(|line| !line.contains("-a") && !line.contains("r@2")), "{said:?}");
}
