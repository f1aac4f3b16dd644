//! What is said before an object is stored, and what `windrose check` finds.

use serde_json::{Value, json};
use windrose_tests::wait::wait_until;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage, condition};

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
    let (_, warned) = stage.run(&["--namespace", &stage.namespace, "create", "-f", "-"], Some(route)).unwrap();
    assert!(warned.starts_with("Warning: ") && warned.contains("spec.rules[0].matches[0].path.value"), "{warned}");
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
async fn a_webhook_that_the_api_server_does_not_trust_is_found_and_mended() {
    let Some(stage) = Stage::open_alone("untrusted") else { return };
    let webhook = || facts(&stage, &["check"], "webhook");
    let foreign = rcgen::generate_simple_self_signed(vec!["windrose".to_owned()]).unwrap().cert.pem();
    // As base64, which kubectl knows how to write.
    let literal = format!("--from-literal=ca={foreign}");
    let foreign = stage.kubectl(&["create", "secret", "generic", "ca", &literal, "--dry-run=client", "-o", "jsonpath={.data.ca}"]);
    let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": foreign}]).to_string();
    // Who leads looks after it each half minute, and may do so in between.
    wait_until(PATIENCE, "check to find it", async || {
        stage.kubectl(&["patch", "validatingwebhookconfiguration", NAME, "--type=json", "-p", &patch]);
        let found = webhook();
        if found.iter().any(|(result, _)| result == "failed") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    wait_until(PATIENCE, "the webhook to be trusted again", async || {
        let found = webhook();
        if found.iter().all(|(result, _)| result == "ok") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(stage.try_kubectl(&["create", "-f", "-", "--dry-run=server"], Some(WRONG)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_installation_is_named_by_the_class_and_by_check() {
    let Some(stage) = Stage::open_alone("second") else { return };
    stage.installation_without_pods("{ app.kubernetes.io/name: windrose }");
    let others = facts(&stage, &["check"], "others");
    assert!(others.iter().any(|(result, fact)| result != "ok" && fact.contains(&stage.namespace)), "{others:?}");
    wait_until(PATIENCE, "the class to name it", async || {
        let conditions = stage.object("gatewayclass", NAME)["status"]["conditions"].take();
        let told = condition(&conditions, "Accepted")["message"].as_str().is_some_and(|message| message.contains(&stage.namespace));
        if told { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
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
