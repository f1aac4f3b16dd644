//! What `windrose status` and `windrose proxies` say of a running edge: since when, in which version, until when.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::places;
use windrose_tests::process::Process;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service, until};

fn world(home: &Loopback, routes: &[String]) -> String {
    let back = [gateway(&[("http", home.port(8080))]), service("one"), endpoint("one", home.port(9001))];
    documents(&[&back, routes].concat())
}

/// A policy for a rule that the route does not have.
const FOR_NO_RULE: &str = "apiVersion: windrose.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: no-rule, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: web, sectionName: typo }]
  limits: [{ name: all, quota: { requests: 10, window: 1s } }]
";

/// Waits until an object's report is as wanted.
async fn told(stage: &Stage, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_until(PATIENCE, &format!("{name}: {what}"), async || {
        let status = stage.ask("status");
        let found = status["objects"].as_array().into_iter().flatten().find(|one| one["name"] == name).cloned();
        found.filter(&wanted).ok_or_else(|| status.to_string())
    })
    .await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_counts_from_the_acknowledgement_and_names_last_good_versions() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let good = route("web", EVERYTHING, "one");
    let declared = world(&home, &[good.clone(), FOR_NO_RULE.to_owned()]);
    let stage = Stage::set(home, &declared).await;
    let pending = told(&stage, "web", "pending", |one| one["programmed"]["reason"] == "Pending").await;
    assert_eq!(pending["programmed"]["status"], false, "{pending}");
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let at = Call::get(stage.home.port(8080), "/");
    answered_by(&at, "one").await;
    // Nobody asks for a while: the moment is that of the acknowledgement, not that of the question.
    stage.synced("gateway/shop/edge").await;
    let acknowledged = now();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let running = told(&stage, "web", "programmed", |one| one["programmed"]["status"] == true).await;
    let since = running["programmed"]["since"].as_u64().unwrap();
    assert!(since <= acknowledged + 1, "{since} is after {acknowledged}: {running}");
    // Envoy has the route that the policy was read with, and nothing of the policy.
    let nowhere = told(&stage, "no-rule", "not accepted", |one| one["reason"] == "TargetNotFound").await;
    assert_eq!((&nowhere["accepted"], &nowhere["programmed"]), (&false.into(), &Value::Null), "{nowhere}");

    // One that cannot be read keeps its last good version, and one that never was good is there all the same.
    let misspelt = [good.replace("backendRefs", "backendRefz"), route("new", EVERYTHING, "one").replace("rules", "rulez")];
    stage.declare("shop.yaml", &world(&stage.home, &misspelt));
    let kept = told(&stage, "web", "last good", |one| one["inForce"] == "lastGood").await;
    assert_eq!((&kept["accepted"], &kept["reason"]), (&false.into(), &"UnknownField".into()), "{kept}");
    assert_eq!((&kept["programmed"]["status"], &kept["programmed"]["since"]), (&true.into(), &since.into()), "{kept}");
    assert!(kept["position"].as_str().unwrap().contains("shop.yaml:"), "{kept}");
    told(&stage, "new", "nothing in force", |one| one["inForce"] == "nothing" && one["accepted"] == false).await;
    answered_by(&at, "one").await;
}

/// An EdgePolicy of the Gateway with one field.
fn edge_policy(name: &str, field: &str) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: {{ name: {name}, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  {field}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_read_hides_no_good_one_beside_it_and_what_it_closes_is_told() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let with = |policies: &[String]| world(&home, &[&[route("web", EVERYTHING, "one")], policies].concat());
    let good = edge_policy("good", "addresses: { allow: [127.0.0.0/8] }");
    let (unread, of_times) = (edge_policy("broken", "addresses: 7"), edge_policy("broken", "timeouts: { request: 2 }"));
    let [first, beside, alone, times] =
        [with(std::slice::from_ref(&good)), with(&[unread.clone(), good]), with(&[unread]), with(&[of_times])];
    let stage = Stage::set(home, &first).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let at = Call::get(stage.home.port(8080), "/");
    answered_by(&at, "one").await;
    stage.declare("shop.yaml", &beside);
    told(&stage, "broken", "nothing in force", |one| one["inForce"] == "nothing").await;
    told(&stage, "good", "in force", |one| one["programmed"]["status"] == true).await;
    answered_by(&at, "one").await;
    // It may have said whose addresses may come, and nobody else says it.
    stage.declare("shop.yaml", &alone);
    let closed = told(&stage, "broken", "closed", |one| one["inForce"] == "closed").await;
    assert!(closed["message"].as_str().unwrap().ends_with("until that is mended it lets nobody pass"), "{closed}");
    until(&at, "nobody to pass", |answer| answer.status == 403).await;
    // It said nothing of addresses.
    stage.declare("shop.yaml", &times);
    told(&stage, "broken", "nothing in force", |one| one["inForce"] == "nothing").await;
    answered_by(&at, "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_whose_target_is_misspelt_protects_the_former_one_also_over_a_restart() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let policy = |target: &str| {
        FOR_NO_RULE.replace("name: web, sectionName: typo", &format!("name: {target}")).replace("requests: 10", "requests: 0")
    };
    let (web, other) = (route("web", EVERYTHING, "one"), route("other", "{ value: /other }", "one"));
    let [good, misspelt, mended] = ["web", "wbe", "other"].map(|target| world(&home, &[web.clone(), other.clone(), policy(target)]));
    let gone = world(&home, &[web, policy("other")]);
    let mut stage = Stage::set(home, &good).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    let at = Call::get(stage.home.port(8080), "/");
    until(&at, "nobody to pass", |answer| answer.status == 429).await;
    stage.declare("shop.yaml", &misspelt);
    let kept = told(&stage, "no-rule", "held", |one| one["inForce"] == "lastGood" && one["programmed"]["status"] == true).await;
    assert_eq!((&kept["accepted"], &kept["reason"]), (&false.into(), &"TargetNotFound".into()), "{kept}");
    let message = kept["message"].as_str().unwrap();
    assert!(message.starts_with("no HTTPRoute `wbe`") && message.contains("holding for HTTPRoute/shop/web"), "{kept}");
    assert!(kept["position"].as_str().unwrap().contains("shop.yaml:"), "{kept}");
    stage.kill_and_restart().await;
    told(&stage, "no-rule", "held", |one| one["inForce"] == "lastGood").await;
    stage.synced("gateway/shop/edge").await;
    assert_eq!(at.send().await.unwrap().status, 429);
    stage.declare("shop.yaml", &mended);
    answered_by(&at, "one").await;
    // What was in force last is no former version, although what it names is deleted.
    stage.declare("shop.yaml", &gone);
    told(&stage, "no-rule", "without a target", |one| one["reason"] == "TargetNotFound").await;
    stage.kill_and_restart().await;
    told(&stage, "no-rule", "without a target", |one| one["reason"] == "TargetNotFound" && one["inForce"] == "declared").await;
    stage.synced("gateway/shop/edge").await;
    answered_by(&at, "one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_tells_streams_apart_and_when_their_credentials_end() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let declared = world(&home, &[route("web", EVERYTHING, "one")]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &["--ttl", "10d"]).await;
    stage.synced("gateway/shop/edge").await;
    let proxies = stage.ask("proxies");
    let proxy = &proxies[0];
    assert!(proxy["stream"].as_u64().unwrap() > 0, "{proxy}");
    let left = proxy["credentialExpires"].as_u64().unwrap() - now();
    assert!((9 * 86_400..=10 * 86_400).contains(&left), "{left} s of 10 days: {proxy}");
    assert_eq!(proxy["behindSince"], Value::Null, "{proxy}");
    let certificates = stage.ask("status")["certificates"].clone();
    let credential = certificates.as_array().unwrap().iter().find(|one| one["renewedAutomatically"] == false).unwrap().clone();
    assert!(credential["subject"].as_str().unwrap().contains("gateway/shop/edge"), "{credential}");
    let text = stage.server.ask(&["status"]).stdout;
    assert!(String::from_utf8_lossy(&text).contains("renew it"), "ten days are forecast");

    let metrics = stage.server.admin_get("/metrics").await.unwrap().text();
    for line in ["windrose_proxies 1", "windrose_proxies_synced 1", "windrose_proxy_resources_behind{type=\"LDS\"} 0"] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_whose_gateway_is_deleted_is_told_as_long_as_it_asks_or_until_it_is_declared_again() {
    let home = Loopback::claim();
    let _back = EchoServer::start("one", home.port(9001)).await;
    let declared = world(&home, &[route("web", EVERYTHING, "one")]);
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    stage.synced("gateway/shop/edge").await;
    let logs = tempfile::tempdir().unwrap();
    let mut command = Command::new(places::windrose());
    command.args(["proxies", "--watch", "--state"]).arg(&stage.server.options().state);
    let mut watch = Process::start("windrose proxies --watch", command, &logs.path().join("watch.log"));
    let shows = async |watch: &Process, words: &str| {
        wait_until(PATIENCE, words, async || if watch.log().contains(words) { Ok(()) } else { Err(watch.log()) }).await;
    };
    shows(&watch, "gateway/shop/edge").await;
    let orphans = |status: &Value| status["diagnostics"].as_array().into_iter().flatten().filter(|one| one["code"] == "Orphaned").count();
    assert_eq!(orphans(&stage.ask("status")), 0);

    stage.declare("shop.yaml", &documents(&[service("one")]));
    let proxies = wait_until(PATIENCE, "the orphan to be told", async || {
        let all = stage.ask("proxies");
        if all[0]["orphaned"] == "its Gateway is not declared" { Ok(all) } else { Err(all.to_string()) }
    })
    .await;
    assert_eq!((proxies.as_array().unwrap().len(), &proxies[0]["proxy"]), (1, &"gateway/shop/edge".into()), "{proxies}");
    assert!(proxies[0]["synced"] == false && proxies[0]["identity"].as_str().unwrap().starts_with("gateway/shop/edge#"), "{proxies}");
    assert_eq!(orphans(&stage.ask("status")), 1);
    let text = [stage.server.ask(&["proxies"]).stdout, stage.server.ask(&["status"]).stdout].concat();
    let said =
        String::from_utf8_lossy(&text).matches("is turned away: its Gateway is not declared, and it may go on with what it had").count();
    assert_eq!(said, 2, "{}", String::from_utf8_lossy(&text));

    shows(&watch, "turned away").await;
    watch.signal("INT");
    assert!(watch.wait(PATIENCE).await.success());

    stage.declare("shop.yaml", &declared);
    stage.synced("gateway/shop/edge").await;
    let (proxies, status) = (stage.ask("proxies"), stage.ask("status"));
    assert!(
        proxies.as_array().unwrap().len() == 1 && proxies[0]["orphaned"] == Value::Null && orphans(&status) == 0,
        "{proxies}\n{status}"
    );
}
