//! Namespaces that are selected by their labels.

use std::time::Duration;

use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::checks::{WRONG, facts};
use crate::stage::{NAME, PATIENCE, SYSTEM, Stage, condition};

/// What takes a namespace out; no other story's has it.
const LEFT_OUT: &str = "windrose.dev/left-out";

/// Installs the version that runs with another selector.
fn select(stage: &Stage, selector: &str) {
    let image = stage.kubectl(&["-n", SYSTEM, "get", "deployment", NAME, "-o", "jsonpath={.spec.template.spec.containers[0].image}"]);
    let installation = stage.windrose(&["install", "--image", &image, "--namespace-selector", selector]);
    stage.anywhere(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &installation);
    stage.rolled_out();
}

/// Labels the namespace of the story, and waits until the webhook judges what is in it, or no more.
async fn label(stage: &Stage, label: &str, judged: bool) {
    stage.kubectl(&["label", "namespace", &stage.namespace, label]);
    wait_until(PATIENCE, "the label to be seen", async || {
        let denied = stage.try_kubectl(&["create", "-f", "-", "--dry-run=server"], Some(WRONG)).is_err();
        if denied == judged { Ok(()) } else { Err(format!("denied: {denied}")) }
    })
    .await;
    // The other replica sees it as soon.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_falls_out_goes_on_with_what_it_has_until_it_comes_back() {
    let Some(stage) = Stage::open_alone("selected") else { return };
    let call = stage.two_backends("one", "other").await;
    select(&stage, &format!("!{LEFT_OUT}"));
    let load = Load::start(4, Duration::from_millis(20), &call);
    let pods = || stage.kubectl(&["get", "pods", "-l", "gateway.networking.k8s.io/gateway-name=edge", "-o", "name"]);
    let before = pods();

    label(&stage, &format!("{LEFT_OUT}=yes"), false).await;
    stage.gateway("edge", "other");
    stage.gateway("late", "one");
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.answered(&call, "one").await;
    let late = stage.object("gateway", "late")["status"].take();
    assert_ne!(condition(&late["conditions"], "Accepted")["status"], "True", "nobody looks at it: {late}");
    assert!(stage.kubectl(&["get", "deployments", "-o", "name"]).lines().all(|name| !name.contains("late")));
    assert!(facts(&stage, &["check"], "namespaces").iter().all(|(result, fact)| result == "ok" && fact.contains(LEFT_OUT)));

    label(&stage, &format!("{LEFT_OUT}-"), true).await;
    stage.answered(&call, "other").await;
    stage.address("late", 80).await;
    assert_eq!(pods(), before, "the same Envoys");
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    select(&stage, "");
}
