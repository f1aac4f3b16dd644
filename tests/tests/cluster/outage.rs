//! The API server goes away and comes back.

use std::process::Command;
use std::time::{Duration, Instant};

use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::skip;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage};

const AWAY: Duration = Duration::from_secs(60);
/// From the return of the API server to the answer of a new endpoint.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// The API server, stopped; it goes on also where the story fails.
struct Stopped<'a>(&'a str);

impl<'a> Stopped<'a> {
    fn new(command: &'a str) -> Self {
        tell(command, "stop");
        Self(command)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        tell(self.0, "cont");
    }
}

fn tell(command: &str, what: &str) {
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).arg(what).status().unwrap();
    assert!(status.success() || std::thread::panicking(), "{command} {what}: {status}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_an_api_server_costs_no_request_and_what_changed_is_caught_up_in_seconds() {
    let Some(command) = std::env::var("WINDROSE_CLUSTER_PAUSE").ok().filter(|command| !command.is_empty()) else {
        skip::because("WINDROSE_CLUSTER_PAUSE names no command that stops the API server (kind-cluster/pause.sh)");
        return;
    };
    let Some(stage) = Stage::open_alone("outage") else { return };
    stage.backend("one", 1).await;
    stage.backend("other", 1).await;
    let pod = |of: &str| stage.kubectl(&["get", "pod", "-l", &format!("app={of}"), "-o", "jsonpath={.items[0].status.podIP}"]);
    let other = pod("other");
    stage.apply(&by_hand(&pod("one")));
    stage.gateway("edge", "by-hand");
    let at = stage.address("edge", 80).await;
    let call = Call::get(at, "/");
    stage.answered(&call, "one").await;

    let load = Load::start(4, Duration::from_millis(20), &call);
    let stopped = Stopped::new(&command);
    tokio::time::sleep(AWAY).await;
    drop(stopped);
    let back = Instant::now();
    // The first thing it is told.
    let moved = format!(r#"{{"endpoints":[{{"addresses":["{other}"]}}]}}"#);
    wait_until(PATIENCE, "the API server to take a write", async || {
        stage.try_kubectl(&["patch", "endpointslice", "by-hand", "--type=merge", "-p", &moved], None)
    })
    .await;
    wait_until(PATIENCE, "the new endpoint", async || match call.send().await {
        Ok(reply) if reply.json()["pod"].as_str().is_some_and(|pod| pod.starts_with("other")) => Ok(()),
        Ok(reply) => Err(reply.text()),
        Err(error) => Err(error.to_string()),
    })
    .await;
    let took = back.elapsed();
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    assert!(took <= CAUGHT_UP, "it took {took:?}");
}
