//! What the control plane needs of the cluster, taken away while it runs: a definition, and a right.

use std::time::Duration;

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::checks::facts;
use crate::rights::role;
use crate::stage::{NAME, PATIENCE, SYSTEM, Stage, condition};

/// A kind that protects: while it cannot be read, nobody knows what a new route would need.
const KIND: &str = "authpolicies.windrose.dev";

/// Asks for a token of everybody who comes to the Gateway `edge`.
const GUARD: &str = r#"
apiVersion: windrose.dev/v1alpha1
kind: AuthPolicy
metadata: { name: guard }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  jwt:
  - name: main
    issuer: https://id.example
    audiences: [shop]
    jwks:
      inline: '{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'
"#;

/// An object of the cluster that was taken away or made less; dropping this puts it back, also where the story fails.
struct Lacking<'a> {
    stage: &'a Stage,
    was: Value,
}

impl<'a> Lacking<'a> {
    fn new(stage: &'a Stage, mut was: Value) -> Self {
        for made_by_the_cluster in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            was["metadata"].as_object_mut().unwrap().remove(made_by_the_cluster);
        }
        was.as_object_mut().unwrap().remove("status");
        Self { stage, was }
    }
}

impl Drop for Lacking<'_> {
    #[expect(clippy::print_stderr, reason = "whoever reads why the next story failed")]
    fn drop(&mut self) {
        let back = self.stage.try_anywhere(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&self.was.to_string()));
        if let Err(error) = back {
            eprintln!("it is not back: {error}");
        }
    }
}

/// What the class says of what is installed, with this status.
async fn supported(stage: &Stage, status: &str) -> String {
    wait_until(PATIENCE, "the class to say what is installed", async || {
        let conditions = stage.object("gatewayclass", NAME)["status"]["conditions"].take();
        let supported = condition(&conditions, "SupportedVersion");
        if supported["status"] == status { Ok(supported["message"].to_string()) } else { Err(conditions.to_string()) }
    })
    .await
}

/// Waits until `check` says so in a section, of something with these words.
async fn found(stage: &Stage, section: &str, result: &str, words: &str) {
    wait_until(PATIENCE, "what check says", async || {
        let found = facts(stage, &["check"], section);
        if found.iter().any(|(is, fact)| is == result && fact.contains(words)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// A policy of the kind is obeyed, and its end too.
async fn is_guarded(stage: &Stage, call: &Call) {
    stage.apply(GUARD);
    wait_until(PATIENCE, "the policy to hold", async || match call.send().await {
        Ok(reply) if reply.status == 401 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    stage.kubectl(&["delete", "authpolicy", "guard"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_taken_away_is_told_by_the_class_and_costs_no_request() {
    let Some(stage) = Stage::open_alone("undefined") else { return };
    let call = stage.two_backends("one", "other").await;
    supported(&stage, "True").await;
    let load = Load::start(4, Duration::from_millis(20), &call);

    let definition = Lacking::new(&stage, stage.object("customresourcedefinition", KIND));
    stage.kubectl(&["delete", "customresourcedefinition", KIND, "--timeout=60s"]);
    found(&stage, "definitions", "failed", KIND).await;
    // An API server that starts says the same for a moment: it is believed after a minute, and what is new is served again.
    let told = supported(&stage, "False").await;
    assert!(told.contains("not installed") && told.contains(KIND), "{told}");
    stage.gateway("edge", "other");
    stage.answered(&call, "other").await;

    drop(definition);
    let told = supported(&stage, "True").await;
    assert!(!told.contains(KIND), "{told}");
    found(&stage, "definitions", "ok", "all").await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    is_guarded(&stage, &call).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_may_not_be_read_holds_back_what_is_new_and_costs_no_request() {
    let Some(stage) = Stage::open_alone("forbidden") else { return };
    let call = stage.two_backends("one", "other").await;
    let load = Load::start(4, Duration::from_millis(20), &call);

    let whole = role(&stage, "clusterrole");
    let mut less = whole.clone();
    let (plural, _) = KIND.split_once('.').unwrap();
    for rule in less["rules"].as_array_mut().unwrap() {
        rule["resources"].as_array_mut().unwrap().retain(|resource| resource != plural);
    }
    assert_ne!(less, whole, "it had the right");
    let right = Lacking::new(&stage, whole);
    stage.try_anywhere(&["replace", "-f", "-"], Some(&less.to_string())).unwrap();
    found(&stage, "rights", "failed", KIND).await;

    // A watch that runs is not asked again; that of a replica which starts is.
    let pods = ["-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--wait=true", "--timeout=120s"];
    stage.kubectl(&pods);
    wait_until(PATIENCE, "the log to name it", async || {
        // A container that is not there yet has none.
        let log = stage.try_kubectl(&["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/component=controller", "--tail=-1"], None)?;
        if log.lines().any(|line| line.contains("forbidden") && line.contains("AuthPolicy")) { Ok(()) } else { Err(log) }
    })
    .await;
    stage.gateway("edge", "other");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let reply = call.send().await.unwrap();
    assert!(reply.json()["pod"].as_str().unwrap().starts_with("one"), "nobody knows what the new one would need: {}", reply.text());
    found(&stage, "control plane", "failed", "0 of 2 replicas available").await;

    drop(right);
    stage.rolled_out();
    stage.answered(&call, "other").await;
    found(&stage, "rights", "ok", "").await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    is_guarded(&stage, &call).await;
}
