//! The last story: everything is taken away.

use windrose_tests::client::Call;
use windrose_tests::wait::wait_until;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage};

/// What only a cluster has, of what we make.
const OF_THE_CLUSTER: &str =
    "namespace,clusterrole,clusterrolebinding,customresourcedefinition,gatewayclass,validatingwebhookconfiguration";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "afterwards nothing is installed: `kind-cluster/test.sh --last`"]
async fn after_the_gateways_and_the_installation_are_deleted_nothing_is_left() {
    let Some(stage) = Stage::open_alone("removal") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    stage.answered(&Call::get(at, "/"), "echo").await;
    // Something that is declared, and goes with its definition.
    stage.apply("apiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: { name: edge }\nspec: { replicas: 1 }\n");

    let delete = |given: &[&str]| {
        let objects = stage.windrose(given);
        stage.anywhere(&["delete", "--ignore-not-found", "--cascade=foreground", "--timeout=120s", "-f", "-"], &objects);
    };
    stage.anywhere(&["delete", "gateway", "--all", "--all-namespaces"], "");
    delete(&["uninstall"]);
    assert!(of_us(&stage).contains(&format!("namespace/{SYSTEM}")), "what is declared there stays");
    delete(&["uninstall", "--definitions"]);
    stage.anywhere(&["delete", "namespace", SYSTEM, "--timeout=120s"], "");

    wait_until(PATIENCE, "nothing to be left", async || {
        let left = [of_us(&stage), by_label(&stage)].concat();
        if left.is_empty() { Ok(()) } else { Err(left.join(" ")) }
    })
    .await;
}

/// What carries one of our names.
fn of_us(stage: &Stage) -> Vec<String> {
    let all = stage.kubectl(&["get", OF_THE_CLUSTER, "-o", "name"]);
    let is_ours = |object: &&str| {
        let name = object.rsplit('/').next().unwrap_or_default();
        name == NAME || name == SYSTEM || name.ends_with(".windrose.dev")
    };
    all.lines().filter(is_ours).map(str::to_owned).collect()
}

/// What carries one of our labels, of every kind that can be listed, in every namespace.
fn by_label(stage: &Stage) -> Vec<String> {
    // What is computed for each request, such as metrics, cannot be asked by label, and an event outlives what it tells of.
    let kinds = stage.kubectl(&["api-resources", "--verbs=list,delete", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let labels = ["app.kubernetes.io/part-of=windrose", "app.kubernetes.io/managed-by=windrose"];
    labels
        .iter()
        .flat_map(|label| {
            let found = stage.kubectl(&["get", &kinds.join(","), "--all-namespaces", "-l", label, "-o", "name"]);
            found.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}
