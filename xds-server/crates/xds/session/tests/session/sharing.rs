//! A client in sync costs the same for ten resources and for ten thousand: what it has is a map that others have too.

use std::sync::Arc;

use windrose_state::{Asked, KindMap, Protocol, ResourceSet, Selections};
use windrose_vocab::ResourceKind;
use windrose_xds_session::Resources;

use crate::stream::{Stream, delta, setup, sotw};
use crate::world::{kind, resource, world};

fn changed(set: &ResourceSet, text: &str) -> ResourceSet {
    let mut new = set.clone();
    new.insert(resource(text));
    new
}

fn has_all(stream: &Stream, short: &str, set: &ResourceSet) -> bool {
    stream.acked(short).ptr_eq(set.of_kind(kind(short)))
}

#[test]
fn a_client_in_sync_holds_the_very_map_of_the_view() {
    for mut stream in [delta(), sotw()] {
        let first = world("CDS a@1; CDS b@1; CDS c@1");
        stream.set(first.clone());
        stream.subscribe("CDS", &[]);
        assert_eq!(stream.accept_all(), ["CDS +a@1 +b@1 +c@1"]);
        assert!(has_all(&stream, "CDS", &first));
        let next = changed(&first, "CDS b@2");
        stream.set(next.clone());
        stream.accept_all();
        assert!(has_all(&stream, "CDS", &next));
    }
}

#[test]
fn a_first_response_carries_the_map_of_the_view_and_no_list_of_its_own() {
    for mut stream in [delta(), sotw()] {
        let set = world("CDS a@1 -> EDS a; EDS a@1; EDS b@1; CDS b@1 -> EDS b");
        stream.set(set.clone());
        stream.subscribe("CDS", &[]);
        let clusters = stream.poll().unwrap();
        assert!(matches!(&clusters.resources, Resources::All(all) if all.ptr_eq(set.of_kind(kind("CDS")))));
        stream.subscribe("EDS", &["a", "b"]);
        let endpoints = stream.poll().unwrap();
        assert!(matches!(&endpoints.resources, Resources::All(all) if all.ptr_eq(set.of_kind(kind("EDS")))));
    }
}

#[test]
fn a_client_that_was_there_before_the_first_view_is_sent_the_map_of_the_view() {
    let mut stream = delta();
    stream.subscribe("CDS", &[]);
    let set = world("CDS a@1; CDS b@1");
    stream.set(set.clone());
    stream.accept_all();
    assert!(has_all(&stream, "CDS", &set));
}

#[test]
fn clients_that_ask_for_the_same_names_hold_one_map() {
    let selections = Arc::<Selections>::default();
    let open = || setup(Protocol::Delta).selections(&selections).open();
    let (mut one, mut two) = (open(), open());
    let first = world("EDS a@1; EDS b@1; EDS c@1");
    let next = changed(&first, "EDS a@2");
    let mut held = Vec::<KindMap>::new();
    for set in [first, next] {
        for stream in [&mut one, &mut two] {
            stream.set(set.clone());
        }
        if held.is_empty() {
            one.subscribe("EDS", &["a", "b", "gone"]);
            two.subscribe("EDS", &["gone", "b", "a"]);
        }
        for stream in [&mut one, &mut two] {
            stream.accept_all();
            held.push(stream.acked("EDS"));
        }
        let [of_one, of_two] = &held[held.len() - 2..] else { panic!("two streams") };
        assert_eq!(of_one.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(of_one.ptr_eq(of_two));
    }
}

#[test]
fn what_a_returning_client_has_is_shared_too() {
    let set = world("CDS a@1 -> EDS a; CDS b@1; EDS a@1; EDS b@1");
    let mut stream = delta();
    stream.set(set.clone());
    stream.resume("CDS", &[], &["a@1", "b@1"]);
    stream.resume("EDS", &["a", "b"], &["a@1", "b@1"]);
    assert_eq!(stream.lines(), [""; 0]);
    assert!(has_all(&stream, "CDS", &set) && has_all(&stream, "EDS", &set));
}

#[test]
fn after_a_repair_the_map_is_shared_again() {
    let first = world("CDS a@1; CDS b@1");
    let mut stream = delta();
    stream.set(first.clone());
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.set(changed(&first, "CDS a@2"));
    let bad = stream.poll().unwrap();
    stream.nack(&bad, "Error adding/updating cluster(s) a: bad");
    assert_eq!(stream.accept_all(), ["CDS +a@1"]);
    let good = changed(&first, "CDS a@3");
    stream.set(good.clone());
    assert_eq!(stream.accept_all(), ["CDS +a@3"]);
    assert!(has_all(&stream, "CDS", &good));
}

#[test]
fn a_stream_asks_for_its_names_and_after_a_refusal_for_everything() {
    let mut stream = delta();
    stream.view("CDS a@1; EDS a@1; EDS b@1");
    let asked = |stream: &Stream, short: &str| stream.session.asks()[kind(short).index()].clone();
    assert!(ResourceKind::ALL.iter().all(|kind| matches!(stream.session.asks()[kind.index()], Asked::Nothing)));
    stream.subscribe("CDS", &[]);
    stream.subscribe("EDS", &["a"]);
    assert!(matches!(asked(&stream, "CDS"), Asked::All));
    assert!(matches!(asked(&stream, "EDS"), Asked::Names(selection) if selection.names().contains("a") && selection.names().len() == 1));
    assert!(matches!(asked(&stream, "RDS"), Asked::Nothing));
    let clusters = stream.poll().unwrap();
    stream.nack(&clusters, "Error adding/updating cluster(s) a: bad");
    assert!(matches!(asked(&stream, "RDS"), Asked::All), "a secret nobody subscribed to may be what keeps a listener back");
}
