//! The API server goes away and comes back.

use std::process::Command;
use std::time::{Duration, Instant};

use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::skip;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage};

const AWAY: Duration = Duration::from_secs(60);
/// Longer than a watch may be silent: each of them is cut meanwhile, and begun anew.
const LONG_AWAY: Duration = Duration::from_secs(130);
/// From the return of the API server to the answer of a new endpoint.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// What can be stopped.
const API_SERVER: &str = "kube-apiserver";
const ETCD: &str = "etcd";

/// A part of the cluster, stopped; it goes on also where the story fails.
struct Stopped<'a>(&'a str, &'static str);

impl<'a> Stopped<'a> {
    fn new(command: &'a str, part: &'static str) -> Self {
        tell(command, ["stop", part]);
        Self(command, part)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        tell(self.0, ["cont", self.1]);
    }
}

fn tell(command: &str, what: [&str; 2]) {
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).args(what).status().unwrap();
    assert!(status.success() || std::thread::panicking(), "{command} {what:?}: {status}");
}

/// A Service whose endpoints are written by hand: where they lead is decided by one write.
fn by_hand(address: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Service
metadata: {{ name: by-hand }}
spec: {{ ports: [{{ name: http, port: 8080 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: by-hand, labels: {{ kubernetes.io/service-name: by-hand }} }}
addressType: IPv4
ports: [{{ name: http, port: 3000 }}]
endpoints: [{{ addresses: ['{address}'] }}]
"
    )
}

/// A Gateway whose Service leads by hand to one of two backends; nothing where the API server cannot be stopped.
async fn led_by_hand(story: &str) -> Option<(String, Stage, Call, [String; 2])> {
    let Some(command) = std::env::var("WINDROSE_CLUSTER_PAUSE").ok().filter(|command| !command.is_empty()) else {
        skip::because("WINDROSE_CLUSTER_PAUSE names no command that stops the API server (kind-cluster/pause.sh)");
        return None;
    };
    let stage = Stage::open_alone(story)?;
    stage.backend("one", 1).await;
    stage.backend("other", 1).await;
    let addresses =
        ["one", "other"].map(|of| stage.kubectl(&["get", "pod", "-l", &format!("app={of}"), "-o", "jsonpath={.items[0].status.podIP}"]));
    stage.apply(&by_hand(&addresses[0]));
    stage.gateway("edge", "by-hand");
    let call = Call::get(stage.address("edge", 80).await, "/");
    stage.answered(&call, "one").await;
    Some((command, stage, call, addresses))
}

/// Leads the Service to another address, as soon as the API server takes it.
async fn lead(stage: &Stage, address: &str) {
    let moved = format!(r#"{{"endpoints":[{{"addresses":["{address}"]}}]}}"#);
    wait_until(PATIENCE, "the API server to take a write", async || {
        stage.try_kubectl(&["patch", "endpointslice", "by-hand", "--type=merge", "-p", &moved], None)
    })
    .await;
}

/// An absence of the API server that costs no request: how long the answer of a new endpoint takes from when it is let go, and from when it
/// takes the first write.
async fn absence(story: &str, away: Duration) -> Option<[Duration; 2]> {
    let (command, stage, call, [_, other]) = led_by_hand(story).await?;
    let load = Load::start(4, Duration::from_millis(20), &call);
    let stopped = Stopped::new(&command, API_SERVER);
    tokio::time::sleep(away).await;
    drop(stopped);
    let back = Instant::now();
    // The first thing it is told.
    lead(&stage, &other).await;
    let taken = Instant::now();
    stage.answered(&call, "other").await;
    let took = [back.elapsed(), taken.elapsed()];
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    Some(took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_an_api_server_costs_no_request_and_what_changed_is_caught_up_in_seconds() {
    let Some([took, _]) = absence("outage", AWAY).await else { return };
    assert!(took <= CAUGHT_UP, "it took {took:?}");
}

/// After so long the API server itself needs seconds before it takes a write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_one_in_which_every_watch_is_cut() {
    let Some([_, took]) = absence("long-outage", LONG_AWAY).await else { return };
    assert!(took <= CAUGHT_UP, "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_stutters_costs_no_request_and_no_change() {
    stutters("stutter", API_SERVER).await;
}

/// Reads and watches go on, and writes come late: also those that renew a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_stutters_costs_none_either() {
    stutters("slow-etcd", ETCD).await;
}

/// A part of the cluster that answers for a moment each two seconds, and what changes meanwhile.
async fn stutters(story: &str, part: &'static str) {
    let Some((command, stage, call, [one, other])) = led_by_hand(story).await else { return };
    let load = Load::start(4, Duration::from_millis(20), &call);
    let end = tokio_util::sync::CancellationToken::new();
    let stuttering = tokio::spawn({
        let end = end.clone();
        async move {
            while !end.is_cancelled() {
                let stopped = Stopped::new(&command, part);
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                drop(stopped);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    });
    for (address, backend) in [(&other, "other"), (&one, "one"), (&other, "other")] {
        lead(&stage, address).await;
        stage.answered(&call, backend).await;
    }
    end.cancel();
    stuttering.await.unwrap();
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    // Whoever leads by now goes on writing.
    stage.gateway("another", "one");
    stage.address("another", 80).await;
}
