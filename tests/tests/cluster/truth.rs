//! The status says what runs, in Envoy's words where it does not.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use windrose_tests::client::Call;
use windrose_tests::envoy::REPEATED_TOO_OFTEN;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_envoy_refuses_says_so_within_a_second_and_holds_up_no_other() {
    let Some(stage) = Stage::open("truth") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    stage.answered(&Call::get(at, "/"), "echo").await;
    // The middle one of three: what else runs on the machine is not what is measured.
    let mut took = [0; 3].map(|_| until_refused(&stage));
    took.sort_unstable();
    assert!(took[1] < Duration::from_secs(1), "it took {took:?}");
    stage.regex_route("refused", REPEATED_TOO_OFTEN);
    let told = stage.refused("refused").await;
    assert!(told["message"].as_str().is_some_and(|words| words.contains("invalid repetition size")), "{told}");
    stage.answered(&Call::get(at, "/"), "echo").await;
    wait_until(PATIENCE, "an Event with Envoy's words", async || {
        let events = stage.kubectl(&["get", "events", "--field-selector", "involvedObject.kind=HTTPRoute,involvedObject.name=refused"]);
        if events.contains("RefusedByEnvoy") && events.contains("invalid repetition size") { Ok(()) } else { Err(events) }
    })
    .await;

    stage.regex_route("refused", "/a+");
    wait_until(PATIENCE, "the refusal to be over", async || {
        let route = stage.object("httproute", "refused");
        let conditions = &route["status"]["parents"][0]["conditions"];
        if condition(conditions, "Programmed").is_null() { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
    stage.answered(&Call::get(at, "/aa"), "echo").await;
}

/// How long it takes from when somebody who watches sees the route until he sees that Envoy refused it.
fn until_refused(stage: &Stage) -> Duration {
    const LINE: &str = r#"jsonpath={.metadata.name} {.status.parents[0].conditions[?(@.type=="Programmed")].reason}{"\n"}"#;
    stage.kubectl(&["delete", "httproute", "refused", "--ignore-not-found"]);
    let mut watch = stage.start_kubectl(&["get", "httproute", "--watch", "-o", LINE], Stdio::piped(), Stdio::null());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The route that was there before: from now on it watches.
    assert!(lines.next().unwrap().starts_with("edge "));
    std::thread::scope(|scope| {
        scope.spawn(|| stage.regex_route("refused", REPEATED_TOO_OFTEN));
        let mut of_route = lines.filter(|line| line.starts_with("refused "));
        of_route.next().unwrap();
        let seen = Instant::now();
        of_route.find(|line| line.ends_with("RefusedByEnvoy")).unwrap();
        seen.elapsed()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_cannot_be_pulled_is_told_on_the_gateway() {
    let Some(stage) = Stage::open("image") else { return };
    // Whose word the image is: not the Gateway's, unless the class says so.
    stage.gateway_with("edge", "{ image: 'registry.example/none:1' }");
    wait_until(PATIENCE, "the Gateway to say whose the image is", async || {
        let conditions = stage.object("gateway", "edge")["status"]["conditions"].take();
        let accepted = condition(&conditions, "Accepted");
        if accepted["reason"] == "InvalidParameters" { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
    let class = "windrose-test-image";
    stage.class(class, "{ overridable: [image] }");
    stage.kubectl(&["patch", "gateway", "edge", "--type=merge", "-p", &format!(r#"{{"spec":{{"gatewayClassName":"{class}"}}}}"#)]);
    not_programmed(&stage, "Image").await;
    stage.anywhere(&["delete", "gatewayclass", class, "--wait=false"], "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_for_which_no_node_has_room_is_told_on_the_gateway() {
    let Some(stage) = Stage::open("room") else { return };
    stage.gateway_with("edge", "{ resources: { requests: { cpu: '1000' } } }");
    not_programmed(&stage, "Insufficient cpu").await;
}

/// Taken away also where the story fails: it is of no namespace.
struct Applied<'a>(&'a Stage, String);

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        let gone = self.0.try_kubectl(&["delete", "--ignore-not-found", "-f", "-"], Some(&self.1));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

/// Keeps every load balancer from giving an address in the namespace.
fn without_addresses(namespace: &str) -> String {
    format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{ name: {namespace} }}
spec:
  matchConstraints:
    namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {namespace} }} }}
    resourceRules: [{{ apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [services/status] }}]
  validations: [{{ expression: "false" }}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{ name: {namespace} }}
spec: {{ policyName: {namespace}, validationActions: [Deny] }}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_no_load_balancer_gives_an_address_says_so() {
    let Some(stage) = Stage::open("address") else { return };
    stage.backend("echo", 1).await;
    let policy = Applied(&stage, without_addresses(&stage.namespace));
    stage.apply(&policy.1);
    wait_until(PATIENCE, "the policy to hold", async || {
        let status = r#"{"status":{"conditions":[{"type":"Tried","status":"True","reason":"Tried","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
        match stage.try_kubectl(&["patch", "service", "echo", "--subresource=status", "--type=merge", "-p", status], None) {
            Ok(said) => Err(said),
            Err(_) => Ok(()),
        }
    })
    .await;
    stage.gateway("edge", "echo");
    let programmed = || condition(&stage.object("gateway", "edge")["status"]["conditions"], "Programmed");
    wait_until(PATIENCE, "the Gateway to say that it has no address", async || match programmed() {
        programmed if programmed["reason"] == "AddressNotAssigned" => Ok(()),
        programmed => Err(programmed.to_string()),
    })
    .await;
    // And goes on to say so, however well its Envoys run.
    stage.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment",
        "-l",
        "gateway.networking.k8s.io/gateway-name=edge",
        "--timeout=120s",
    ]);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(programmed()["reason"], "AddressNotAssigned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_leaves_no_pod_is_told_on_the_gateway() {
    let Some(stage) = Stage::open("quota") else { return };
    stage.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: { name: none }\nspec: { hard: { pods: '0' } }\n");
    stage.gateway_with("edge", "{}");
    not_programmed(&stage, "exceeded quota").await;

    stage.kubectl(&["delete", "resourcequota", "none"]);
    wait_until(PATIENCE, "the Gateway to be programmed", async || {
        let conditions = stage.object("gateway", "edge")["status"]["conditions"].take();
        if condition(&conditions, "Programmed")["status"] == "True" { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
}

/// Waits until the Gateway `edge` says in Kubernetes' words why nothing runs.
async fn not_programmed(stage: &Stage, words: &str) {
    wait_until(PATIENCE, "the reason", async || {
        let status = stage.object("gateway", "edge")["status"].take();
        let programmed = condition(&status["conditions"], "Programmed");
        let told = programmed["message"].as_str().is_some_and(|message| message.contains(words));
        if programmed["status"] == "False" && told { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}
