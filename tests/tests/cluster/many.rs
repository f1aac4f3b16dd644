//! A thousand objects at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition};

const ROUTES: usize = 1000;
/// Chunks that are created side by side: one `kubectl` waits for the answer to each object.
const CHUNKS: usize = 4;
/// Status writes for a hundred routes, at most.
const WRITES_OF_HUNDRED_MAX: usize = 110;
/// Nothing is written any more when nothing was for so long.
const QUIET: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_routes_at_once_are_accepted_and_each_status_is_written_once() {
    let Some(stage) = Stage::open_alone("many") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    let told = tempfile::NamedTempFile::new().unwrap();
    let events = || std::fs::read_to_string(told.path()).unwrap();
    let line = r#"jsonpath={.type} {.object.metadata.name}{"\n"}"#;
    let watch = ["get", "httproute", "--watch", "--output-watch-events", "-o", line];
    let _watch = stage.start_kubectl(&watch, File::create(told.path()).unwrap().into(), Stdio::null());
    wait_until(PATIENCE, "the watch", async || if events().is_empty() { Err(String::new()) } else { Ok(()) }).await;

    std::thread::scope(|scope| {
        for chunk in 0..CHUNKS {
            let stage = &stage;
            scope.spawn(move || stage.try_kubectl(&["create", "--validate=false", "-f", "-"], Some(&routes(chunk))).unwrap());
        }
    });
    // Told by the watch, because a list of all is work for a machine that has enough to do.
    wait_until(PATIENCE, "each to have a status", async || {
        let written = writes(&events()).len();
        if written == ROUTES { Ok(()) } else { Err(format!("{written} have")) }
    })
    .await;
    wait_until(PATIENCE, "all to be accepted", async || {
        let routes: Value = serde_json::from_str(&stage.kubectl(&["get", "httproute", "-o", "json"])).unwrap();
        let is_accepted = |route: &&Value| condition(&route["status"]["parents"][0]["conditions"], "Accepted")["status"] == "True";
        let accepted = routes["items"].as_array().unwrap().iter().filter(is_accepted).count();
        if accepted == ROUTES + 1 { Ok(()) } else { Err(format!("{accepted} are")) }
    })
    .await;
    stage.answered(&Call::get(at, "/").host("h999.example"), "echo").await;
    wait_until(PATIENCE, "the Gateway to count them", async || {
        let attached = stage.object("gateway", "edge")["status"]["listeners"][0]["attachedRoutes"].clone();
        if attached == ROUTES + 1 { Ok(()) } else { Err(attached.to_string()) }
    })
    .await;

    let mut before = String::new();
    let said = wait_until(PATIENCE, "the last status to be written", async || {
        tokio::time::sleep(QUIET).await;
        let former = std::mem::replace(&mut before, events());
        if former == before { Ok(former) } else { Err("statuses are still written".to_owned()) }
    })
    .await;
    let all: usize = writes(&said).values().sum();
    assert!(all * 100 <= ROUTES * WRITES_OF_HUNDRED_MAX, "{all} writes for {ROUTES} routes");
}

/// How often each route was written: nobody changes them, so what is modified is their status.
fn writes(events: &str) -> BTreeMap<&str, usize> {
    let mut writes = BTreeMap::new();
    for name in events.lines().filter_map(|line| line.strip_prefix("MODIFIED r")) {
        *writes.entry(name).or_default() += 1;
    }
    writes
}

/// The routes of one chunk.
fn routes(chunk: usize) -> String {
    let mut yaml = String::new();
    for index in (chunk..ROUTES).step_by(CHUNKS) {
        write!(
            yaml,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r{index} }}\nspec:\n  parentRefs: [{{ name: edge }}]\n  hostnames: [h{index}.example]\n  rules: [{{ backendRefs: [{{ name: echo, port: 8080 }}] }}]\n"
        )
        .unwrap();
    }
    yaml
}
