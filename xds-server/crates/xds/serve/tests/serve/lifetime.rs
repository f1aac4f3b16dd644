//! How connections end and how the server does.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tokio::net::TcpStream;
use tonic::Code;
use windrose_pki::SystemEntropy;
use windrose_vocab::ResourceKind;
use windrose_xds_serve::Settings;

use crate::client::{Delta, node, within};
use crate::stage::{Stage, cluster, orders, until};

#[tokio::test]
async fn a_stop_ends_every_stream_with_a_status_and_then_the_server() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    stream.next().await.unwrap();
    stage.stop.cancel();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    drop(stream);
    within(&mut stage.task).await.unwrap();
    assert_eq!(stage.counters.connections_open.get(), 0);
    assert!(stage.handshake(&stage.certificate(&orders())).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_reader_that_does_not_read_beyond_the_grace() {
    let mut stage = Stage::with(Settings { grace: Duration::from_millis(300), ..Settings::default() }, None).await;
    stage.publish(&orders(), [cluster("large", vec![1; 4 << 20])]);
    let stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    until("the response is under way", || stage.counters.responses.get() == 1).await;
    let began = Instant::now();
    stage.stop.cancel();
    within(&mut stage.task).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((stage.counters.connections_cut.get(), stage.counters.streams_open.get()), (1, 0));
    assert!(stage.observed.is_empty());
}

#[tokio::test]
async fn rule_42_an_old_connection_is_told_to_go_and_a_new_one_is_taken() {
    let settings = Settings { connection_age: Duration::from_millis(300), ..Settings::default() };
    let mut stage = Stage::with(settings, None).await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    stream.next().await.unwrap();
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);
    let mut again = stage.delta(&stage.certificate(&orders())).await.unwrap();
    again.subscribe(ResourceKind::Cluster).await;
    again.next().await.unwrap();
}

#[tokio::test]
async fn a_new_server_certificate_is_shown_to_new_connections_and_old_ones_live() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let mut old = stage.delta(&stage.certificate(&orders())).await.unwrap();
    old.subscribe(ResourceKind::Cluster).await;
    let first = old.next().await.unwrap();
    old.ack(&first).await;
    let shown = |stream: &tokio_rustls::client::TlsStream<_>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = shown(&stage.handshake(&stage.certificate(&orders())).await.unwrap());
    let server = stage.nodes.authority.issue_server(&["localhost".into()], SystemTime::now(), &SystemEntropy).unwrap();
    stage.tls.replace(server.chain.clone(), server.key.expose()).unwrap();
    let after = shown(&stage.handshake(&stage.certificate(&orders())).await.unwrap());
    assert_ne!(before, after);
    assert_eq!(after, server.chain[0]);
    stage.publish(&orders(), [cluster("a", "two")]);
    old.next().await.unwrap();
    assert!(stage.tls.replace(server.chain, "no key").is_err());
}

#[tokio::test]
async fn rule_38_ten_thousand_connects_and_disconnects_leave_nothing_behind() {
    let mut stage = Stage::new().await;
    stage.publish(&orders(), [cluster("a", "one")]);
    let credential = stage.bearer(&orders());
    for n in 0..10_000 {
        // One of a hundred gets as far as a response before it goes; the others say nothing.
        if n % 100 == 0 {
            let mut stream = stage.delta(&credential).await.unwrap();
            stream.subscribe(ResourceKind::Cluster).await;
            stream.next().await.unwrap();
        } else {
            drop(TcpStream::connect(stage.address).await.unwrap());
        }
    }
    until("all are gone", || stage.counters.connections_open.get() == 0 && stage.observed.is_empty()).await;
    assert_eq!((stage.counters.streams.get(), stage.counters.streams_open.get()), (100, 0));
    assert_eq!(stage.counters.connections.get(), 10_000);
}

/// Streams that come back in the same moment.
const STORM: usize = 300;

/// So many streams at once, each of which says that it has these versions.
async fn storm(stage: &Stage, known: &HashMap<String, String>) -> Vec<Delta> {
    let credential = stage.bearer(&orders());
    let one = async || {
        let stream = stage.delta(&credential).await.unwrap();
        let request = DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: ResourceKind::Cluster.type_url().into(),
            initial_resource_versions: known.clone(),
            ..Default::default()
        };
        stream.send.send(request).await.unwrap();
        stream
    };
    futures::future::join_all((0..STORM).map(|_| one())).await
}

#[tokio::test]
async fn rule_40_a_storm_of_reconnects_costs_nothing_who_has_all_and_one_response_who_has_nothing() {
    let mut stage = Stage::new().await;
    let everything =
        |first: &str| (0..100).map(|n| cluster(&format!("c{n}"), if n == 0 { first.into() } else { vec![7; 1_000] })).collect::<Vec<_>>();
    stage.publish(&orders(), everything("one"));
    let sent = |stage: &Stage| (stage.counters.responses.get(), stage.counters.response_bytes.get());

    // They are new: each is sent all, once.
    let mut known = HashMap::new();
    for stream in &mut storm(&stage, &known).await {
        let all = stream.next().await.unwrap();
        known = all.resources.into_iter().map(|one| (one.name, one.version)).collect();
        assert_eq!(known.len(), 100);
    }
    let (responses, bytes) = sent(&stage);
    assert_eq!(responses, STORM as u64);
    assert!(bytes < responses * 120_000, "{bytes} bytes for {responses} times 100 clusters of a kilobyte");
    until("all are gone", || stage.counters.connections_open.get() == 0).await;

    // They come back with what they have, and with what is newer.
    let requests = stage.counters.requests.get();
    let mut streams = storm(&stage, &known).await;
    until("all have asked", || stage.counters.requests.get() == requests + STORM as u64).await;
    assert_eq!(sent(&stage), (responses, bytes), "what nobody lacks was sent again");
    stage.publish(&orders(), everything("two"));
    for stream in &mut streams {
        let names: Vec<_> = stream.next().await.unwrap().resources.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["c0"]);
    }
    let (all_responses, all_bytes) = sent(&stage);
    assert_eq!(all_responses, responses + STORM as u64);
    assert!(all_bytes - bytes < bytes / 50, "{} bytes for one of a hundred clusters, {bytes} for all", all_bytes - bytes);
    drop(streams);
    until("nothing is left", || stage.counters.connections_open.get() == 0 && stage.observed.is_empty()).await;
}
