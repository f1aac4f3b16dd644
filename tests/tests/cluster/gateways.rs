//! A Gateway from its first request to its last.

use std::time::Duration;

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition, is_newer};

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

/// As long as a name can be, and no name of a Service by its first letter.
fn longest_name() -> String {
    let name = [format!("2{}", "n".repeat(62)), "d".repeat(63), "e".repeat(63), "f".repeat(61)].join(".");
    assert_eq!(name.len(), 253);
    name
}

/// What another controller says in a status of ours.
const THEIRS: [(&str, &str); 3] = [
    (
        "gateway",
        r#"[{"op":"add","path":"/status/conditions/-","value":{"type":"example.com/Checked","status":"True","reason":"Checked","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}}]"#,
    ),
    (
        "httproute",
        r#"[{"op":"add","path":"/status/parents/0/conditions/-","value":{"type":"example.com/Checked","status":"True","reason":"Checked","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}}]"#,
    ),
    (
        "httproute",
        r#"[{"op":"add","path":"/status/parents/-","value":{"parentRef":{"name":"theirs"},"controllerName":"example.com/checker","conditions":[{"type":"Accepted","status":"True","reason":"Accepted","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}]"#,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_the_longest_name_serves_and_what_others_say_in_its_status_stays() {
    let Some(stage) = Stage::open("names") else { return };
    stage.backend("one", 1).await;
    stage.backend("other", 1).await;
    let name = longest_name();
    stage.gateway(&name, "one");
    let call = Call::get(stage.address(&name, 80).await, "/");
    stage.answered(&call, "one").await;
    for (kind, patch) in THEIRS {
        stage.kubectl(&["patch", kind, &name, "--subresource=status", "--type=json", "-p", patch]);
    }
    stage.gateway_as(&name, "gatewayClassName: windrose, listeners: [{ name: web, port: 80, protocol: HTTP }]", "other");
    stage.answered(&call, "other").await;
    wait_until(PATIENCE, "the new status beside theirs", async || {
        let (gateway, route) = (stage.object("gateway", &name), stage.object("httproute", &name));
        let ours = condition(&gateway["status"]["conditions"], "Programmed");
        let is_new = ours["observedGeneration"] == gateway["metadata"]["generation"] && gateway["status"]["listeners"][0]["name"] == "web";
        let parents = route["status"]["parents"].as_array().unwrap();
        let among = |conditions: &Value| condition(conditions, "example.com/Checked")["reason"] == "Checked";
        let theirs = among(&gateway["status"]["conditions"])
            && parents.iter().any(|one| among(&one["conditions"]))
            && parents.iter().any(|one| one["controllerName"] == "example.com/checker");
        if is_new && theirs { Ok(()) } else { Err(format!("{} {}", gateway["status"], route["status"])) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_reached_within_the_cluster_only_gets_no_address_outside() {
    // The field is in Gateway API v1.7 only.
    if !is_newer() {
        return;
    }
    let Some(stage) = Stage::open("routability") else { return };
    stage.backend("echo", 1).await;
    let listener = "listeners: [{ name: http, port: 80, protocol: HTTP }]";
    let spec = format!("gatewayClassName: windrose, addresses: [{{ type: IPAddress, routability: Cluster }}], {listener}");
    stage.gateway_as("edge", &spec, "echo");
    let at = stage.address("edge", 80).await;
    stage.answered(&Call::get(at, "/"), "echo").await;
    assert_eq!(stage.object("gateway", "edge")["status"]["addresses"][0]["routability"], "Cluster");
    let given =
        ["get", "service", "-l", "gateway.networking.k8s.io/gateway-name=edge", "-o", "jsonpath={.items[*].spec['type','clusterIP']}"];
    assert_eq!(stage.kubectl(&given), format!("ClusterIP {}", at.ip()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_takes_over_the_replicas_that_there_are_and_goes_when_it_is_not_asked_for() {
    let Some(stage) = Stage::open("scaled") else { return };
    let of_edge = |kind: &str, path: &str| {
        let labels = "gateway.networking.k8s.io/gateway-name=edge";
        stage.kubectl(&["get", kind, "-l", labels, "-o", &format!("jsonpath={{.items[*]{path}}}")])
    };
    let is = async |kind: &str, path: &str, wanted: &str| {
        wait_until(PATIENCE, kind, async || {
            let found = of_edge(kind, path);
            if found == wanted { Ok(()) } else { Err(format!("{path} is `{found}`")) }
        })
        .await;
    };
    stage.gateway_with("edge", "{ replicas: 3 }");
    is("deployment", ".status.readyReplicas", "3").await;
    is("poddisruptionbudget", ".spec.maxUnavailable", "1").await;
    stage.apply(&parameters("{ autoscaling: { minReplicas: 2, maxReplicas: 4 } }"));
    is("horizontalpodautoscaler", ".spec['minReplicas','maxReplicas']", "2 4").await;
    for _ in 0..10 {
        assert_eq!(of_edge("deployment", ".spec.replicas"), "3", "nobody asked for others");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stage.apply(&parameters("{ replicas: 1 }"));
    is("horizontalpodautoscaler", ".metadata.name", "").await;
    is("deployment", ".status.replicas", "1").await;
    is("poddisruptionbudget", ".metadata.name", "").await;
}

/// Pods of the backend that go on for a while after they are told to end, as those of a careful team do.
const ENDING_SLOWLY: &str = r#"{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":20,"containers":[{"name":"echo",
    "readinessProbe":{"httpGet":{"port":3000,"path":"/"},"periodSeconds":1},"lifecycle":{"preStop":{"sleep":{"seconds":5}}}}]}}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_rolled_costs_no_request() {
    let Some(stage) = Stage::open("backends") else { return };
    stage.backend("echo", 2).await;
    let rolled = || stage.kubectl(&["rollout", "status", "deployment/echo", "--timeout=120s"]);
    stage.kubectl(&["patch", "deployment", "echo", "-p", ENDING_SLOWLY]);
    rolled();
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    let call = Call::get(at, "/");
    stage.answered(&call, "echo").await;
    // Requests that are in flight whenever a Pod ends.
    let slow = Load::start(4, Duration::from_millis(20), &Call::get(at, "/?delay=2500ms"));
    let load = Load::start(4, Duration::from_millis(20), &call);
    stage.kubectl(&["rollout", "restart", "deployment/echo"]);
    rolled();
    wait_until(PATIENCE, "the former Pods to be gone", async || {
        let pods = stage.kubectl(&["get", "pod", "-l", "app=echo", "-o", "name"]);
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    })
    .await;
    for load in [load, slow] {
        load.go_on(4, PATIENCE).await;
        let tally = load.finish().await;
        assert_eq!(tally.other_than(200), 0, "{tally:?}");
    }
}

fn parameters(spec: &str) -> String {
    format!("apiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: edge }}\nspec: {spec}\n")
}
