//! What Envoy refused, and what runs in its place, outlive everybody who knew of it.

use windrose_tests::client::Call;
use windrose_tests::envoy::REPEATED_TOO_OFTEN;
use windrose_tests::wait::wait_until;

use crate::stage::{Off, PATIENCE, SYSTEM, Stage};

/// All Pods with these labels, as they are called.
fn pods(stage: &Stage, namespace: &str, labels: &str) -> String {
    stage.kubectl(&["-n", namespace, "get", "pod", "-l", labels, "-o", "name"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_version_of_what_envoy_refused_outlives_replicas_and_envoys() {
    let Some(stage) = Stage::open_alone("refused") else { return };
    stage.backend("echo", 1).await;
    stage.gateway_as("edge", "gatewayClassName: windrose, listeners: [{ name: http, port: 80, protocol: HTTP }]", "echo");
    stage.kubectl(&["delete", "httproute", "edge"]);
    stage.regex_route("web", "/a+");
    let at = stage.address("edge", 80).await;
    let call = Call::get(at, "/aa");
    stage.answered(&call, "echo").await;
    stage.regex_route("web", REPEATED_TOO_OFTEN);
    let said = stage.refused("web").await;
    stage.answered(&call, "echo").await;
    let kept = ["-n", SYSTEM, "get", "secret", "windrose-refused", "-o", "jsonpath={.data}"];
    wait_until(PATIENCE, "it to be kept", async || {
        let kept = stage.kubectl(&kept);
        if kept.len() > 2 { Ok(()) } else { Err(kept) }
    })
    .await;

    // Nobody is left who was told of the good version, and no Envoy has it.
    let off = Off::switch(&stage);
    let envoys = "gateway.networking.k8s.io/gateway-name=edge";
    let before = pods(&stage, &stage.namespace, envoys);
    stage.kubectl(&["delete", "pod", "-l", envoys, "--grace-period=0", "--force"]);
    drop(off);
    stage.answered(&call, "echo").await;
    let now = pods(&stage, &stage.namespace, envoys);
    assert!(before.lines().all(|pod| !now.contains(pod)), "{before} {now}");
    assert_eq!(stage.refused("web").await["message"], said["message"], "and it is still told, in Envoy's words");

    stage.regex_route("web", "/b+");
    stage.answered(&Call::get(at, "/bb"), "echo").await;
}
