//! The golden cases come to the same resources, whether a folder or an API server declares them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_api::Declared;
use windrose_kube::source::{self, World};
use windrose_tests::wait::{try_until, wait_until};
use windrose_tests::{places, skip};
use windrose_vocab::Kind;

use crate::rendered::{planned, rendered};
use crate::stage::{Off, PATIENCE, SYSTEM, Stage, is_newer};

/// What the API server takes in, it tells within this time.
const TOLD: Duration = Duration::from_secs(10);

/// Cases about mistakes that an API server finds first.
const FOUND_BEFORE: [&str; 8] = [
    "auth-unknown-field",
    "gateway-listener-conflict",
    "input-malformed",
    "input-unknown-field",
    "input-unknown-kind",
    "input-wrong-types",
    "ratelimit-unknown-field",
    "route-no-timeout",
];

/// What not every cluster has: addresses of two families, and kinds that are switched off.
const NOT_EVERYWHERE: [&str; 2] = ["endpoints-dual-stack", "tls-trust-bundles"];

/// A cluster has Services of its own, and who may call everything may call them.
const OF_EVERYTHING: [&str; 1] = ["mesh-calls-everything"];

/// Longer than the time by which the ages of two objects differ at least: a cluster tells them in seconds.
const A_SECOND: Duration = Duration::from_millis(1100);

/// The fields of these are in Gateway API v1.7 only.
const NEWER: [&str; 5] = [
    "gateway-listener-filters",
    "gateway-listener-filters-closed",
    "gateway-listener-filters-headers",
    "gateway-routability",
    "route-session",
];

/// The fields of these are called otherwise in it.
const OLDER: [&str; 1] = ["route-session-older"];

/// What the namespaces of the cases carry: one of the same name that does not is somebody's.
const OURS: &str = "windrose.dev/test=cases";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_comes_to_the_same_resources() {
    let Some(stage) = Stage::open_alone("cases") else { return };
    let cases: Vec<Case> = folders().iter().map(|folder| Case::read(folder)).collect();
    let all: BTreeSet<&String> = cases.iter().flat_map(|case| &case.namespaces).collect();
    if !all.iter().all(|name| is_free(&stage, name)) {
        return;
    }
    // It would put Envoys there for every Gateway of every case.
    let _off = Off::switch(&stage);
    let end = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let worlds = follow(&mut tasks, &end).await;
    wait_until(PATIENCE, "the Gateways of other stories to be gone", async || {
        let world = worlds.borrow().clone();
        if world.declared.gateways.is_empty() { Ok(()) } else { Err(format!("{:?}", world.declared.gateways.keys().collect::<Vec<_>>())) }
    })
    .await;
    let (mut left_out, mut wrong) = (Vec::new(), Vec::new());
    for Case { name, text, declared, .. } in cases.iter().filter(|case| !OF_EVERYTHING.contains(&&*case.name)) {
        if let Err(refused) = apply(&stage, text).await {
            left_out.push((name.as_str(), refused.lines().next().unwrap_or_default().to_owned()));
        } else {
            let expected = rendered(&planned(declared));
            let same = try_until(TOLD, async || {
                let world = worlds.borrow().clone();
                let found = rendered(&planned(&world.declared));
                if found == expected { Ok(()) } else { Err(difference(&expected, &found)) }
            });
            wrong.extend(same.await.err().map(|difference| format!("{name}: {difference}")));
        }
        let _ = stage.try_anywhere(&["delete", "--ignore-not-found", "--wait=true", "-f", "-"], Some(text));
        if text.contains("kind: Namespace\n") {
            // It went with the case, and others are of it.
            all.iter().for_each(|name| make(&stage, name));
        }
    }
    end.cancel();
    tasks.join_all().await;
    let _ = stage.try_anywhere(&["delete", "namespace", "-l", OURS, "--wait=false"], None);
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n\n"));
    let other = if is_newer() { &OLDER[..] } else { &NEWER };
    left_out.retain(|(name, _)| ![&FOUND_BEFORE[..], &NOT_EVERYWHERE, other].iter().any(|known| known.contains(name)));
    assert!(left_out.is_empty(), "the API server takes them: {left_out:#?}");
}

/// Applies a case, the oldest objects first: a cluster tells itself how old each is.
async fn apply(stage: &Stage, text: &str) -> Result<(), String> {
    let mut by_age: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for document in text.split("\n---\n") {
        let made = document.split("creationTimestamp: ").nth(1).and_then(|rest| rest.split([',', ' ', '\n', '}']).next());
        by_age.entry(made.unwrap_or_default()).or_default().push(document);
    }
    // Two of the same age may come to two seconds all the same: by their names, as ages that are equal are.
    let aged = by_age.iter_mut().filter(|(made, _)| !made.is_empty());
    aged.for_each(|(_, documents)| documents.sort_by_key(|document| document.split("name: ").nth(1)));
    for (index, documents) in by_age.values().enumerate() {
        if index > 1 {
            tokio::time::sleep(A_SECOND).await;
        }
        stage.try_anywhere(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&documents.join("\n---\n")))?;
    }
    Ok(())
}

/// One case, with the namespaces that it names.
struct Case {
    name: String,
    text: String,
    declared: Declared,
    namespaces: BTreeSet<String>,
}

impl Case {
    fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("declared.yaml")).unwrap();
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            declared: windrose_files::load(&[folder.join("declared.yaml")]).declared,
            namespaces: namespaces(&text),
            text,
        }
    }
}

/// Makes a namespace anew, unless somebody else has one of that name.
fn is_free(stage: &Stage, name: &str) -> bool {
    let there = stage.try_anywhere(&["get", "namespace", name, "-o", "name", "--ignore-not-found"], None).unwrap();
    let ours = stage.try_anywhere(&["get", "namespace", "-l", OURS, "-o", "name"], None).unwrap();
    let wanted = format!("namespace/{name}");
    if !there.trim().is_empty() && !ours.lines().any(|line| line == wanted) && name != SYSTEM {
        skip::because(&format!("the cluster has a namespace `{name}` that is not of these cases"));
        return false;
    }
    if name != SYSTEM {
        stage.try_anywhere(&["delete", "namespace", name, "--ignore-not-found", "--wait=true"], None).unwrap();
        make(stage, name);
    }
    true
}

/// Makes a namespace, if it is not there.
fn make(stage: &Stage, name: &str) {
    let labels = OURS.split_once('=').map(|(name, value)| format!("{{ {name}: {value} }}")).unwrap();
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {labels} }}\n");
    if name != SYSTEM {
        stage.anywhere(&["apply", "-f", "-"], &namespace);
    }
}

/// The world of the cluster, as the controller reads it.
async fn follow(tasks: &mut JoinSet<()>, end: &CancellationToken) -> watch::Receiver<Arc<World>> {
    let client = windrose_kube::connect().await.unwrap().client;
    let (world, mut worlds) = watch::channel(Arc::new(World::default()));
    let (events, told) = mpsc::channel(windrose_kube::limits::EVENTS_MAX);
    for kind in Kind::ALL {
        tasks.spawn(source::watch::watch(client.clone(), kind, events.clone(), end.clone()));
    }
    let end = end.clone();
    tasks.spawn(async move {
        // Nothing is in effect in the place of another version here.
        let (_none, in_place) = watch::channel(Arc::default());
        source::follow(client, (source::Selection::default(), told), world, (Vec::new(), |_| {}, in_place), end).await;
    });
    worlds.wait_for(|world| world.complete).await.unwrap();
    worlds
}

fn folders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(places::checkout().join("tests/cases")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Namespaces that a text names.
fn namespaces(text: &str) -> BTreeSet<String> {
    let named = text.split("namespace: ").skip(1);
    named.map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next().unwrap_or_default().to_owned()).collect()
}

/// The first line that differs.
fn difference(expected: &str, found: &str) -> String {
    let mut lines = expected.lines().zip(found.lines()).filter(|(one, other)| one != other);
    match lines.next() {
        Some((one, other)) => format!("expected `{one}`, found `{other}`"),
        None => format!("{} lines expected, {} found", expected.lines().count(), found.lines().count()),
    }
}
