//! Both variants of the protocol over the wire, and a client that stops reading.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;
use windrose_state::limits::ZONES_PER_PROXY;
use windrose_vocab::ResourceKind;

use crate::client::{Delta, node};
use crate::stage::{Stage, catalog, cluster, orders, resource, until};

#[tokio::test]
async fn a_delta_stream_gets_its_own_resources_and_every_change() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one"), cluster("b", Bytes::from(vec![7; 100_000]))]);
    stage.publish(&catalog(), [cluster("other", "secret of another")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    let first = stream.next().await.unwrap();
    let names: Vec<_> = first.resources.iter().map(|one| (one.name.as_str(), one.resource.as_ref().unwrap().value.len())).collect();
    assert_eq!(names, [("a", 3), ("b", 100_000)]);
    stream.ack(&first).await;
    stage.publish(&orders(), [cluster("a", "two"), cluster("b", Bytes::from(vec![7; 100_000]))]);
    let second = stream.next().await.unwrap();
    assert!(second.resources.iter().any(|one| one.resource.as_ref().unwrap().value == b"two"));
    assert_ne!(first.nonce, second.nonce);
    until("observed", || stage.observed.len() == 1).await;
    drop(stream);
    until("the stream is forgotten", || stage.observed.is_empty() && stage.counters.streams_open.get() == 0).await;
}

#[tokio::test]
async fn a_state_of_the_world_stream_gets_its_own_resources() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut stream = stage.sotw(&stage.bearer(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.type_url, ResourceKind::Cluster.type_url());
    assert_eq!(first.resources[0].value, b"one");
}

#[tokio::test]
async fn nothing_is_answered_from_a_state_that_was_never_published() {
    let mut stage = Stage::new().await;
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    let early = tokio::time::timeout(Duration::from_millis(200), stream.responses.message()).await;
    assert!(early.is_err(), "answered from nothing");
    stage.publish(&orders(), [cluster("a", "one")]);
    assert_eq!(stream.next().await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn rule_44_two_streams_with_one_node_id_are_both_served() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let (mut one, mut two) =
        (stage.delta(&stage.certificate(&orders())).await.unwrap(), stage.delta(&stage.bearer(&orders())).await.unwrap());
    for stream in [&mut one, &mut two] {
        stream.subscribe(ResourceKind::Cluster).await;
        let first = stream.next().await.unwrap();
        stream.ack(&first).await;
    }
    stage.publish(&orders(), [cluster("a", "two")]);
    for stream in [&mut one, &mut two] {
        assert_eq!(stream.next().await.unwrap().resources[0].resource.as_ref().unwrap().value, b"two");
    }
    until("both observed", || stage.observed.len() == 2).await;
}

#[tokio::test]
async fn an_error_of_the_session_ends_the_stream_with_its_code_and_the_others_go_on() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut good = stage.delta(&stage.certificate(&orders())).await.unwrap();
    let mut bad = stage.delta(&stage.certificate(&orders())).await.unwrap();
    bad.send
        .send(envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest { node: Some(node()), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(bad.next().await.unwrap_err().code(), Code::InvalidArgument);
    good.subscribe(ResourceKind::Cluster).await;
    assert_eq!(good.next().await.unwrap().resources.len(), 1);
}

/// A megabyte per version, which the client's window of 64 KB cannot take.
fn version(n: u8) -> [windrose_vocab::Resource; 1] {
    [resource(ResourceKind::Cluster, "large", Bytes::from(vec![n; 1 << 20]))]
}

#[tokio::test]
async fn rule_38_a_reader_that_stopped_gets_the_newest_state_and_costs_one_response() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), version(1));
    let mut stream: Delta = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    until("the first response is under way", || stage.counters.responses.get() == 1).await;
    for n in 2..=60 {
        stage.publish(&orders(), version(n));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stalled = stage.counters.responses.get();
    assert!(stalled <= 2, "{stalled} responses were prepared for a reader that does not read");
    let mut last = 0;
    while last != 60 {
        let response = stream.next().await.unwrap();
        let newest = response.resources.iter().find(|one| one.name == "large").map(|one| one.resource.as_ref().unwrap().value[0]);
        last = newest.unwrap_or(last);
        stream.ack(&response).await;
    }
    assert!(stage.counters.responses.get() <= stalled + 4, "it was spared what was overtaken");
}

#[tokio::test]
async fn rule_39_requests_are_read_while_the_writer_waits() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), version(1));
    let stream: Delta = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    until("the response is under way", || stage.counters.responses.get() == 1).await;
    for _ in 0..20 {
        stream.subscribe(ResourceKind::Endpoints).await;
    }
    until("all requests are read", || stage.counters.requests.get() == 21).await;
}

fn scopes(stage: &Stage) -> Vec<String> {
    stage.observed.snapshot().iter().map(|stream| stream.opened.scope.to_string()).collect()
}

#[tokio::test]
async fn a_stream_is_of_the_zone_that_is_known_else_of_the_one_that_its_node_says_and_of_none_without_room() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "anywhere")]);
    let known = stage.delta(&stage.certificate(&orders())).await.unwrap();
    known.subscribe_from("said", ResourceKind::Cluster).await;
    until("the first is there", || stage.observed.len() == 1).await;
    assert_eq!(scopes(&stage), ["workload/shop/orders (in zone said)"]);
    drop(known);
    until("it is gone", || stage.observed.is_empty()).await;

    stage.nodes.is_in("here");
    let known = stage.delta(&stage.certificate(&orders())).await.unwrap();
    known.subscribe_from("said", ResourceKind::Cluster).await;
    until("the second is there", || stage.observed.len() == 1).await;
    assert_eq!(scopes(&stage), ["workload/shop/orders (in zone here)"]);

    let mut held = Vec::new();
    for number in 1..ZONES_PER_PROXY {
        stage.nodes.is_in(&number.to_string());
        let stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
        stream.subscribe(ResourceKind::Cluster).await;
        held.push(stream);
    }
    until("all zones are there", || stage.observed.len() == ZONES_PER_PROXY).await;
    stage.nodes.is_in("one too many");
    let mut last = stage.delta(&stage.certificate(&orders())).await.unwrap();
    last.subscribe(ResourceKind::Cluster).await;
    assert_eq!(last.next().await.unwrap().resources[0].resource.as_ref().unwrap().value, b"anywhere");
    assert!(scopes(&stage).contains(&"workload/shop/orders".to_owned()));
}
