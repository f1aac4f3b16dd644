//! Gateways of a class that says that they share their Envoys.

use std::net::SocketAddr;
use std::time::Duration;

use windrose_tests::client::Call;
use windrose_tests::envoy::REPEATED_TOO_OFTEN;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition, gateway_parameters};

/// A class of this story.
const CLASS: &str = "windrose-test-fleets";

/// The class goes with the story: it is of no namespace.
struct Class<'a>(&'a Stage);

impl<'a> Class<'a> {
    fn new(stage: &'a Stage) -> Self {
        stage.class(CLASS, "{ fleet: PerNamespace, drain: 3s }");
        Self(stage)
    }

    fn gateway(&self, name: &str, backend: &str) {
        let listener = "{ name: http, port: 80, protocol: HTTP, hostname: same.example }";
        self.0.gateway_as(name, &format!("gatewayClassName: {CLASS}, listeners: [{listener}]"), backend);
    }

    /// The Envoys, by name.
    fn pods(&self) -> Vec<String> {
        let pods = self.0.kubectl(&["get", "pod", "-l", &format!("windrose.dev/gateway-class={CLASS}"), "-o", "name"]);
        pods.lines().map(str::to_owned).collect()
    }

    fn deployments(&self) -> String {
        self.0.kubectl(&["get", "deployment", "-l", &format!("windrose.dev/gateway-class={CLASS}"), "-o", "name"])
    }

    /// Parameters that are gone change nothing of what runs.
    async fn loses_its_parameters(&self) {
        self.0.kubectl(&["delete", "gatewayparameters", CLASS]);
        wait_until(PATIENCE, "the class to say so", async || {
            let accepted = condition(&self.0.object("gatewayclass", CLASS)["status"]["conditions"], "Accepted");
            if accepted["status"] == "False" { Ok(()) } else { Err(accepted.to_string()) }
        })
        .await;
    }
}

impl Drop for Class<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_kubectl(&["delete", "gatewayclass", CLASS, "--ignore-not-found", "--wait=false"], None);
    }
}

/// One that had Envoys of its own comes, and they go.
async fn one_with_envoys_of_its_own_joins(stage: &Stage) {
    stage.gateway("late", "three");
    stage.answered(&Call::get(stage.address("late", 80).await, "/"), "three").await;
    stage.kubectl(&["patch", "gateway", "late", "--type=merge", "-p", &format!(r#"{{"spec":{{"gatewayClassName":"{CLASS}"}}}}"#)]);
    let of_before = "gateway.networking.k8s.io/gateway-name=late,windrose.dev/gateway-class=windrose";
    stage.gone("deployment,service,serviceaccount,configmap", of_before).await;
    stage.answered(&Call::get(stage.address("late", 80).await, "/"), "three").await;
}

fn call(at: SocketAddr) -> Call {
    Call::get(at, "/").header("host", "same.example")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_share_envoys_have_their_own_addresses_routes_and_mistakes() {
    let Some(stage) = Stage::open("fleets") else { return };
    let class = Class::new(&stage);
    for backend in ["one", "two", "three"] {
        stage.backend(backend, 1).await;
    }
    class.gateway("one", "one");
    class.gateway("two", "two");
    let (one, two) = (call(stage.address("one", 80).await), call(stage.address("two", 80).await));
    stage.answered(&one, "one").await;
    stage.answered(&two, "two").await;
    assert_eq!(class.deployments().lines().count(), 1, "{}", class.deployments());

    // One that comes costs the others neither a request nor a Pod.
    let pods = class.pods();
    let load = Load::start(2, Duration::from_millis(20), &one);
    class.gateway("three", "three");
    let three = call(stage.address("three", 80).await);
    stage.answered(&three, "three").await;
    assert_eq!(class.pods(), pods);

    // What Envoy refuses of one holds up no other.
    let bad = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: bad }}\nspec:\n  parentRefs: [{{ name: three }}]\n  \
         rules: [{{ matches: [{{ path: {{ type: RegularExpression, value: '{REPEATED_TOO_OFTEN}' }} }}] }}]\n"
    );
    stage.apply(&bad);
    stage.refused("bad").await;
    class.gateway("two", "one");
    stage.answered(&two, "one").await;
    for gateway in ["one", "two", "three"] {
        let programmed = condition(&stage.object("gateway", gateway)["status"]["conditions"], "Programmed");
        assert_eq!(programmed["status"], "True", "{gateway}: {programmed}");
    }

    // The oldest goes, and costs the others as little.
    load.go_on(20, PATIENCE).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    let load = Load::start(2, Duration::from_millis(20), &three);
    stage.kubectl(&["delete", "gateway", "one"]);
    stage.gone("service", "gateway.networking.k8s.io/gateway-name=one").await;
    load.go_on(300, PATIENCE).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    stage.answered(&two, "one").await;
    assert_eq!(class.pods(), pods);

    one_with_envoys_of_its_own_joins(&stage).await;
    assert_eq!(class.pods(), pods);
    class.loses_its_parameters().await;
    class.gateway("two", "two");
    stage.answered(&two, "two").await;
    stage.answered(&three, "three").await;
    assert_eq!(class.pods(), pods);

    stage.kubectl(&["delete", "gateway", "two", "three", "late"]);
    stage.gone("deployment,service,serviceaccount,configmap,pod,hpa,pdb", &format!("windrose.dev/gateway-class={CLASS}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_envoys_are_is_said_once() {
    let Some(stage) = Stage::open("fleet-rule") else { return };
    let apply = |spec: &str| stage.try_kubectl(&["apply", "--server-side", "-f", "-"], Some(&gateway_parameters("edge", spec)));
    apply("{ replicas: 1 }").unwrap();
    apply("{ replicas: 2, fleet: PerGateway }").unwrap();
    let refused = apply("{ replicas: 2, fleet: PerNamespace }").unwrap_err();
    assert!(refused.contains("make another class"), "{refused}");
}
