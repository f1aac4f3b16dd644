//! Two replicas: both serve, and any may go at any time.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::envoy::REPEATED_TOO_OFTEN;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, SYSTEM, Stage, Started};

/// Who holds the Lease.
fn leader(stage: &Stage) -> String {
    stage.kubectl(&["-n", SYSTEM, "get", "lease", "windrose-leader", "-o", "jsonpath={.spec.holderIdentity}"])
}

fn replicas(stage: &Stage) -> Vec<String> {
    let pods = ["-n", SYSTEM, "get", "pod", "-l", "app.kubernetes.io/component=controller", "-o", "jsonpath={.items[*].metadata.name}"];
    stage.kubectl(&pods).split_whitespace().map(str::to_owned).collect()
}

/// Proxies of the story, as the leader tells of them.
fn proxies(stage: &Stage) -> Result<Vec<Value>, String> {
    let all = stage.try_kubectl(&["-n", SYSTEM, "exec", &leader(stage), "--", "/windrose", "proxies", "-o", "json"], None)?;
    let all: Vec<Value> = serde_json::from_str(&all).map_err(|cause| format!("{cause}: {all}"))?;
    let ours = format!("gateway/{}/edge", stage.namespace);
    Ok(all.into_iter().filter(|proxy| proxy["proxy"] == ours).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_can_go_and_no_request_and_no_change_is_lost() {
    let Some(stage) = Stage::open_alone("replicas") else { return };
    let call = stage.two_backends("one", "other").await;
    let load = Load::start(2, Duration::from_millis(20), &call);
    for (leads, backend) in [(true, "other"), (false, "one")] {
        let former = leader(&stage);
        let gone = replicas(&stage).into_iter().find(|name| (*name == former) == leads).unwrap();
        stage.kubectl(&["-n", SYSTEM, "delete", "pod", &gone, "--grace-period=0", "--force"]);
        stage.gateway("edge", backend);
        stage.answered(&call, backend).await;
        wait_until(PATIENCE, "two replicas and a leader", async || {
            stage.rolled_out();
            let (now, leader) = (replicas(&stage), leader(&stage));
            if now.contains(&leader) { Ok(()) } else { Err(format!("{leader} of {now:?}")) }
        })
        .await;
    }
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_moves_to_another_replica_is_sent_nothing_again() {
    let Some(stage) = Stage::open_alone("moves") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    stage.answered(&Call::get(at, "/"), "echo").await;
    // What other stories left may still be taken away meanwhile: once out of three it is not. What is sent again is sent each time.
    let mut sent = Vec::new();
    for _ in 0..3 {
        let from = home(&stage).unwrap();
        let other = replicas(&stage).into_iter().find(|name| *name != from).unwrap();
        let before = Metrics::of(&stage, &other).await.resources().await;
        stage.kubectl(&["-n", SYSTEM, "delete", "pod", &from, "--grace-period=0", "--force"]);
        // It may also come to the replica that takes the place of the former one, which begins at nothing.
        let to = wait_until(PATIENCE, "the proxy to be elsewhere", async || {
            let (home, synced) = (home(&stage)?, proxies(&stage)?.iter().all(|proxy| proxy["synced"] == true));
            if home != from && synced { Ok(home) } else { Err(format!("{home}, synced: {synced}")) }
        })
        .await;
        stage.rolled_out();
        let before = if to == other { before } else { 0 };
        sent.push(Metrics::of(&stage, &to).await.resources().await - before);
    }
    assert!(sent.contains(&0), "{sent:?}");
}

/// Which replica has the stream of the story's proxy.
fn home(stage: &Stage) -> Result<String, String> {
    let proxies = proxies(stage)?;
    let [proxy] = &proxies[..] else { return Err(format!("{} proxies", proxies.len())) };
    let Some(address) = proxy["replica"].as_str() else { return Ok(leader(stage)) };
    let selected = format!("--field-selector=status.podIP={address}");
    stage.try_kubectl(&["-n", SYSTEM, "get", "pod", &selected, "-o", "jsonpath={.items[0].metadata.name}"], None)
}

/// The metrics of one replica.
struct Metrics {
    call: Call,
    _forward: Started,
}

impl Metrics {
    async fn of(stage: &Stage, replica: &str) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let output = File::create(said.path()).unwrap().into();
        let forward = stage.start_kubectl(&["-n", SYSTEM, "port-forward", replica, ":admin"], output, Stdio::null());
        let at = wait_until(PATIENCE, "the way to its metrics", async || {
            let said = std::fs::read_to_string(said.path()).unwrap();
            said.split_whitespace().find_map(|word| word.parse::<SocketAddr>().ok()).ok_or(said)
        })
        .await;
        Self { call: Call::get(at, "/metrics").host("localhost"), _forward: forward }
    }

    /// How many resources it sent so far.
    async fn resources(&self) -> u64 {
        let text = self.call.send().await.unwrap().text();
        let count = text.lines().find_map(|line| line.strip_prefix("windrose_xds_resources_total "));
        count.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_envoy_of_any_replica_refuses_is_told_and_held_up_nowhere() {
    let Some(stage) = Stage::open("followers") else { return };
    stage.backend("echo", 1).await;
    stage.gateway_with("edge", "{ replicas: 2 }");
    let at = stage.address("edge", 80).await;
    // Connections fall where they fall: a Pod that is made anew gets another chance.
    wait_until(PATIENCE, "an Envoy of each replica", async || {
        let proxies = proxies(&stage)?;
        let mirrored = proxies.iter().filter(|proxy| !proxy["replica"].is_null()).count();
        match proxies.len() {
            2 if mirrored == 1 => Ok(()),
            2 => {
                let pod = proxies[0]["node"].as_str().unwrap();
                stage.try_kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"], None)?;
                Err(format!("{mirrored} of 2 are at a follower"))
            }
            many => Err(format!("{many} Envoys")),
        }
    })
    .await;
    let (began, both) = (Instant::now(), [Call::get(at, "/a"), Call::get(at, "/b")]);
    stage.regex_route("refused", REPEATED_TOO_OFTEN);
    stage.refused("refused").await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    stage.regex_route("good", "/[ab]");
    stage.answered(&both[0], "echo").await;
    // Both Envoys have it, whoever has their streams: none is held up by what was refused.
    wait_until(PATIENCE, "all to have it", async || {
        let proxies = proxies(&stage)?;
        let synced = proxies.len() == 2 && proxies.iter().all(|proxy| proxy["synced"] == true);
        if synced { Ok(()) } else { Err(format!("{proxies:?}")) }
    })
    .await;
    let load = Load::start(4, Duration::from_millis(10), &both[1]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}
