//! A Gateway from its first request to its last.

use std::time::Duration;

use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_from_the_guides_answers_and_leaves_nothing_behind() {
    let Some(stage) = Stage::open("first") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    stage.answered(&Call::get(at, "/hello"), "echo").await;
    let route = stage.object("httproute", "edge");
    let parent = &route["status"]["parents"][0];
    assert_eq!(condition(&parent["conditions"], "Accepted")["status"], "True", "{route}");
    assert_eq!(stage.object("gateway", "edge")["status"]["listeners"][0]["attachedRoutes"], 1);

    stage.kubectl(&["delete", "gateway", "edge"]);
    stage.gone("deployment,service,serviceaccount,configmap,pod,hpa,pdb", "gateway.networking.k8s.io/gateway-name=edge").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_that_are_edited_replace_the_envoys_and_cost_no_request() {
    let Some(stage) = Stage::open("rolling") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    stage.apply(&parameters("{ concurrency: 1, drain: 3s }"));
    let merge = r#"{"spec":{"infrastructure":{"parametersRef":{"group":"windrose.dev","kind":"GatewayParameters","name":"edge"}}}}"#;
    stage.kubectl(&["patch", "gateway", "edge", "--type=merge", "-p", merge]);
    let at = stage.address("edge", 80).await;
    let call = Call::get(at, "/");
    stage.answered(&call, "echo").await;
    let deployment = "deployment/edge-windrose";
    stage.kubectl(&["rollout", "status", deployment, "--timeout=120s"]);

    let pods = || stage.kubectl(&["get", "pod", "-l", "gateway.networking.k8s.io/gateway-name=edge", "-o", "name"]);
    let before = pods();
    // Requests that are in flight whenever a Pod ends: each takes most of the drain.
    let slow = Load::start(8, Duration::from_millis(20), &Call::get(at, "/?delay=2500ms"));
    let load = Load::start(4, Duration::from_millis(20), &call);
    stage.apply(&parameters("{ concurrency: 2, drain: 3s }"));
    wait_until(PATIENCE, "the Pod to be another one", async || {
        let now = pods();
        if !now.trim().is_empty() && now.lines().all(|pod| !before.contains(pod)) { Ok(()) } else { Err(now) }
    })
    .await;
    load.go_on(20, PATIENCE).await;
    slow.go_on(8, PATIENCE).await;
    for load in [load, slow] {
        let tally = load.finish().await;
        assert_eq!(tally.other_than(200), 0, "{tally:?}");
    }
}

fn parameters(spec: &str) -> String {
    format!("apiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: edge }}\nspec: {spec}\n")
}
