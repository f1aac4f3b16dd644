//! What is said before an object is stored, and what `windrose check` finds.

use serde_json::Value;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, SYSTEM, Stage};

/// What the definitions allow and the decoder does not.
pub(crate) const WRONG: &str = "apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: { name: wrong }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  addresses: { allow: [nonsense] }
";

/// The facts of one section.
pub(crate) fn facts(stage: &Stage, arguments: &[&str], section: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&stage.windrose(&[arguments, &["-o", "json"]].concat())).unwrap();
    let text = |fact: &Value, field: &str| fact[field].as_str().unwrap_or_default().to_owned();
    let all = report["facts"].as_array().unwrap().iter().filter(|fact| fact["section"] == section);
    all.map(|fact| (text(fact, "result"), text(fact, "fact"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_only_the_decoder_refuses_is_denied_also_as_a_dry_run() {
    let Some(stage) = Stage::open("denied") else { return };
    for more in [&["--dry-run=server"][..], &[]] {
        let told = stage.try_kubectl(&[&["create", "-f", "-"], more].concat(), Some(WRONG)).unwrap_err();
        assert!(told.contains("validate.windrose.dev") && told.contains("spec.addresses.allow[0]"), "{told}");
    }
    let good = WRONG.replace("nonsense", "10.0.0.0/8");
    stage.try_kubectl(&["create", "-f", "-", "--dry-run=server"], Some(&good)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_another_controller_is_warned_about_and_stored() {
    let Some(stage) = Stage::open("warned") else { return };
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: theirs }\n\
                 spec: { parentRefs: [{ name: theirs }], rules: [{ matches: [{ path: { type: RegularExpression, value: '/(?=a)b' } }] }] }\n";
    stage.try_kubectl(&["create", "-f", "-"], Some(route)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_proves_the_webhook_and_knows_no_second_installation() {
    let Some(stage) = Stage::open("checks") else { return };
    wait_until(PATIENCE, "the webhook to be trusted", async || {
        let webhook = facts(&stage, &["check"], "webhook");
        if webhook.iter().all(|(result, _)| result == "ok") && webhook.len() == 1 { Ok(()) } else { Err(format!("{webhook:?}")) }
    })
    .await;
    let others = facts(&stage, &["check"], "others");
    assert!(others.iter().all(|(result, _)| result == "ok"), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_before_an_installation_finds_the_one_that_is_there() {
    let Some(stage) = Stage::open("pre") else { return };
    for section in ["cluster", "Gateway API", "rights", "namespace", "others"] {
        let found = facts(&stage, &["check", "--pre"], section);
        assert!(!found.is_empty() && found.iter().all(|(result, _)| result != "failed"), "{section}: {found:?}");
    }
    let second = facts(&stage, &["check", "--pre", "--namespace", &stage.namespace], "others");
    assert!(second.iter().any(|(result, fact)| result == "failed" && fact.contains(SYSTEM)), "{second:?}");
}
