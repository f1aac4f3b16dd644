use std::collections::BTreeMap;

use serde_json::json;
use windrose_vocab::Text;

use super::*;
use crate::deploy::{Parameters, Service};
use crate::fake::{Asked, Log, cluster, failure};

/// A Gateway that shares its Envoys: it wants one Service.
fn wanted() -> Wanted {
    Wanted {
        of: For::Member(ObjectKey::new("shop", "edge")),
        class: "windrose".into(),
        marks: BTreeMap::new(),
        owners: BTreeMap::from([(Text::from("edge"), "gateway-uid".to_owned())]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service: Some(Service { ports: [((80, crate::deploy::Carries::Tcp), 80)].into(), addresses: Vec::new() }),
        envoys: None,
        parameters: Parameters::default(),
    }
}

/// The metadata of the Service as it stands there.
fn there(owner: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {
        "name": "edge-windrose", "namespace": "shop", "uid": "service-uid", "resourceVersion": "7",
        "ownerReferences": [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": "edge", "uid": owner, "controller": true}],
    }})
}

fn made_by(managers: &[&str]) -> Value {
    let mut made = there("gateway-uid");
    made["metadata"]["managedFields"] = managers.iter().map(|manager| json!({"manager": manager, "operation": "Apply"})).collect();
    made
}

async fn applied(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> (Result<(), String>, Log) {
    let (client, log) = cluster(answer).await;
    let refused = Applier::default().apply(&client, [&wanted()]).await;
    (refused.into_values().next().map_or(Ok(()), Err), log)
}

/// The bodies of requests for the Service by that method, with what they were asked by.
fn of_service(log: &Log, method: &str) -> Vec<(String, Value)> {
    let all = log.all().into_iter().filter(|(by, path, _)| by == method && path.contains("/services/"));
    all.map(|(_, path, body)| (path, body)).collect()
}

#[tokio::test]
async fn what_is_not_there_is_made_without_force_and_is_ours() {
    let (outcome, log) = applied(|(method, ..)| match method.as_str() {
        "PATCH" => (201, made_by(&["windrose"])),
        _ => failure(404, "NotFound"),
    })
    .await;
    assert_eq!(outcome, Ok(()));
    let sent = of_service(&log, "PATCH");
    assert_eq!(sent.len(), 1);
    assert!(!sent[0].0.contains("force=true"), "{}", sent[0].0);
}

#[tokio::test]
async fn what_somebody_made_in_the_meantime_is_left_to_them() {
    let (outcome, log) = applied(|(method, ..)| match method.as_str() {
        "PATCH" => (200, made_by(&["helm", "windrose"])),
        _ => failure(404, "NotFound"),
    })
    .await;
    assert!(outcome.unwrap_err().contains("is there and not of this Gateway"));
    let sent = of_service(&log, "PATCH");
    assert_eq!(sent.len(), 2, "what we said of it is taken back");
    assert_eq!(sent[1].1["metadata"], json!({"name": "edge-windrose", "uid": "service-uid"}));
    assert!(sent[1].1["spec"].is_null());

    let conflict = |(method, ..): &Asked| if method == "PATCH" { failure(409, "Conflict") } else { failure(404, "NotFound") };
    assert!(applied(conflict).await.0.unwrap_err().contains("is there and not of this Gateway"));
}

#[tokio::test]
async fn what_is_ours_is_applied_to_that_very_object_and_what_is_not_is_let_be() {
    let (outcome, log) = applied(|(method, path, _)| match method.as_str() {
        "GET" if path.contains("/services/") => (200, there("gateway-uid")),
        "PATCH" => (200, made_by(&["windrose"])),
        _ => failure(404, "NotFound"),
    })
    .await;
    assert_eq!(outcome, Ok(()));
    let sent = of_service(&log, "PATCH");
    assert!(sent[0].0.contains("force=true") && sent[0].1["metadata"]["uid"] == "service-uid", "{sent:?}");

    let (outcome, log) = applied(|(method, ..)| if method == "GET" { (200, there("another")) } else { failure(500, "asked") }).await;
    assert!(outcome.unwrap_err().contains("is there and not of this Gateway"));
    assert_eq!(of_service(&log, "PATCH"), []);
}

#[tokio::test]
async fn a_gateway_that_the_cluster_is_slow_with_holds_up_no_other() {
    let (client, log) = cluster(|(method, path, _)| match method.as_str() {
        _ if path.contains("/namespaces/slow/") => (0, Value::Null),
        "PATCH" => (201, made_by(&["windrose"])),
        _ => failure(404, "NotFound"),
    })
    .await;
    let slow = Wanted { of: For::Member(ObjectKey::new("slow", "edge")), ..wanted() };
    let mut applier = Applier::default();
    let all = [slow, wanted()];
    let waits = timeout(std::time::Duration::from_secs(2), applier.apply(&client, &all)).await;
    assert!(waits.is_err() && of_service(&log, "PATCH").len() == 1);
    assert_eq!(applier.whole().map(|wanted| wanted.of.clone()).collect::<Vec<_>>(), [For::Member(ObjectKey::new("shop", "edge"))]);
}

async fn swept(namespace: &str, answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> (Result<(), String>, Log) {
    let (client, log) = cluster(answer).await;
    let owner = Owner { namespace: "shop".into(), uid: "gateway-uid".to_owned() };
    (sweep(&client, &[owner], &ObjectKey::new(namespace, "edge-windrose"), Sweep::Service).await, log)
}

#[tokio::test]
async fn nothing_is_deleted_for_what_stands_in_another_namespace() {
    let (outcome, log) = swept("evil", |_| (200, there("gateway-uid"))).await;
    assert!(outcome.unwrap_err().contains("not in namespace shop"));
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test]
async fn what_is_deleted_is_the_object_that_was_looked_at() {
    let (outcome, log) = swept("shop", |_| (200, there("gateway-uid"))).await;
    assert_eq!((outcome, log.lines()), (Ok(()), vec!["GET edge-windrose".to_owned(), "DELETE edge-windrose".to_owned()]));
    let asked = &of_service(&log, "DELETE")[0].1;
    assert_eq!(asked["preconditions"], json!({"uid": "service-uid", "resourceVersion": "7"}));

    let (outcome, log) = swept("shop", |_| (200, there("another"))).await;
    assert_eq!((outcome, log.lines()), (Ok(()), vec!["GET edge-windrose".to_owned()]));
    let changes = |(method, ..): &Asked| if method == "DELETE" { failure(409, "Conflict") } else { (200, there("gateway-uid")) };
    let (outcome, log) = swept("shop", changes).await;
    assert!(outcome.is_err());
    assert_eq!(log.lines().len(), 4, "it is looked at once more");
}
