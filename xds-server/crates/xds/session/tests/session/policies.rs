//! Routes name policies, and filters' configurations know them: no change of either refuses a request that both versions let by.

use windrose_xds_session::SotwRequest;

use crate::stream::{Stream, delta, line, sotw};

const NONE: [&str; 0] = [];
const NAMED: &str = "CDS a@1; ECDS e@1; LDS l@1 -> RDS r, ECDS e; RDS r@1 -> CDS a, ECDS e";

/// An Envoy that has all of a view.
fn settled(mut stream: Stream, view: &str) -> Stream {
    stream.view(view);
    for (kind, names) in [("CDS", &[][..]), ("LDS", &[]), ("ECDS", &["e"]), ("RDS", &["r"]), ("SRDS", &[])] {
        stream.subscribe(kind, names);
        stream.accept_all();
    }
    stream
}

#[test]
fn a_configuration_that_no_route_needs_any_more_goes_after_the_routes() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, NAMED);
        stream.view("CDS a@1; CDS b@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS b");
        let cluster = stream.poll().unwrap();
        assert_eq!(stream.lines(), NONE, "the route waits for its cluster, and the configuration for the route");
        stream.ack(&cluster);
        let route = stream.poll().unwrap();
        assert_eq!(line(&route), "RDS +r@2");
        assert_eq!(stream.lines(), NONE);
        stream.ack(&route);
        assert_eq!(stream.lines()[0], "ECDS +e@2");
    }
}

#[test]
fn one_that_is_still_needed_goes_first() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, NAMED);
        stream.view("CDS a@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS a, ECDS e");
        assert_eq!(stream.lines(), ["ECDS +e@2", "RDS +r@2"]);
    }
}

#[test]
fn a_scope_that_goes_with_its_policy_goes_first() {
    let mut stream = settled(delta(), "CDS a@1; ECDS e@1; LDS l@1 -> ECDS e; SRDS s@1 -> CDS a, ECDS e");
    stream.view("CDS a@1; ECDS e@2; LDS l@1 -> ECDS e");
    let scope = stream.poll().unwrap();
    assert_eq!(line(&scope), "SRDS -s");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&scope);
    assert_eq!(stream.lines(), ["ECDS +e@2"]);
}

#[test]
fn routes_that_are_on_their_way_count_too() {
    for stream in [delta(), sotw()] {
        let mut stream = settled(stream, "CDS a@1; ECDS e@1; LDS l@1 -> RDS r, ECDS e; RDS r@1 -> CDS a");
        stream.view("CDS a@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS a, ECDS e");
        let (extension, named) = (stream.poll().unwrap(), stream.poll().unwrap());
        assert_eq!([line(&extension), line(&named)], ["ECDS +e@2", "RDS +r@2"]);
        // It is busy with the module when the policy goes again.
        stream.view("CDS a@1; ECDS e@1; LDS l@1 -> RDS r, ECDS e; RDS r@1 -> CDS a");
        assert_eq!(stream.lines(), NONE, "one response of a kind at a time, and the configuration waits");
        stream.ack(&extension);
        assert_eq!(stream.lines(), NONE);
        stream.ack(&named);
        let route = stream.poll().unwrap();
        assert_eq!(line(&route), "RDS +r@1");
        assert_eq!(stream.lines(), NONE);
        stream.ack(&route);
        assert_eq!(stream.lines(), ["ECDS +e@1"]);
    }
}

#[test]
fn where_the_routes_are_refused_the_configuration_goes_all_the_same() {
    let mut stream = settled(delta(), NAMED);
    stream.view("CDS a@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS a");
    let route = stream.poll().unwrap();
    stream.nack(&route, "no such route");
    assert!(stream.accept_all().iter().any(|line| line == "ECDS +e@2"), "what still names the policy is closed");
}

#[test]
fn sotw_of_a_client_that_returns_nobody_knows_what_its_routes_name_until_it_answers() {
    let mut stream = sotw();
    stream.view("CDS a@1; CDS b@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS b");
    let mut returns = |kind: &str, names: &[&str]| {
        let request = SotwRequest {
            type_url: crate::world::kind(kind).type_url().into(),
            version_info: "of before".into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..SotwRequest::default()
        };
        stream.sotw_request(request).unwrap();
    };
    returns("CDS", &[]);
    returns("LDS", &[]);
    returns("ECDS", &["e"]);
    returns("RDS", &["r"]);
    let (clusters, listeners) = (stream.poll().unwrap(), stream.poll().unwrap());
    assert_eq!([line(&clusters), line(&listeners)], ["CDS +a@1 +b@1", "LDS +l@1"]);
    stream.ack(&listeners);
    assert_eq!(stream.lines(), NONE, "the route waits for its cluster, and the configuration for the route");
    stream.ack(&clusters);
    let route = stream.poll().unwrap();
    assert_eq!(line(&route), "RDS +r@2");
    assert_eq!(stream.lines(), NONE);
    stream.ack(&route);
    stream.wait(6);
    assert_eq!(stream.lines()[0], "ECDS +e@2", "nor does it say that it has scopes, for ever");
}

#[test]
fn sotw_what_a_client_that_returns_never_had_does_not_wait() {
    let mut stream = sotw();
    stream.view("CDS a@1; ECDS e@1; ECDS new@1; LDS l@2 -> ECDS e, ECDS new");
    let request = |kind: &str, names: &[&str], version: &str| SotwRequest {
        type_url: crate::world::kind(kind).type_url().into(),
        version_info: version.into(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..SotwRequest::default()
    };
    stream.sotw_request(request("CDS", &[], "of before")).unwrap();
    stream.sotw_request(request("LDS", &[], "of before")).unwrap();
    stream.accept_all();
    stream.sotw_request(request("ECDS", &["e"], "of before")).unwrap();
    assert_eq!(stream.lines(), NONE);
    stream.sotw_request(request("ECDS", &["e", "new"], "of before")).unwrap();
    assert_eq!(stream.lines(), ["ECDS +new@1"], "a new port's");
}

#[test]
fn of_a_client_that_returns_nobody_knows_what_its_routes_name() {
    let mut stream = delta();
    stream.view("CDS a@1; ECDS e@2; LDS l@1 -> RDS r, ECDS e; RDS r@2 -> CDS a");
    for (kind, names, claimed) in [("CDS", &[][..], "a@1"), ("LDS", &[], "l@1"), ("ECDS", &["e"], "e@1")] {
        stream.resume(kind, names, &[claimed]);
    }
    assert_eq!(stream.lines(), NONE, "it has not said what routes it has");
    stream.resume("RDS", &["r"], &["r@1"]);
    let route = stream.poll().unwrap();
    assert_eq!(line(&route), "RDS +r@2");
    stream.ack(&route);
    stream.wait(6);
    assert_eq!(stream.lines(), ["ECDS +e@2"], "nor does it say that it has scopes, for ever");
}
