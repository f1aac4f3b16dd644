//! Endpoints that are meant for a zone.

use std::collections::BTreeSet;

use serde_json::Value;
use windrose_tests::client::Call;

use crate::stage::Stage;

const ZONE: &str = "topology.kubernetes.io/zone";

/// A Service whose endpoints are those of two others, one meant for each zone.
fn both(stage: &Stage, near: &str, far: &str) {
    let slice = |name: &str, zone: &str| {
        let of = format!("kubernetes.io/service-name={name}");
        let slices: Value = serde_json::from_str(&stage.kubectl(&["get", "endpointslices", "-l", &of, "-o", "json"])).unwrap();
        let address = slices["items"][0]["endpoints"][0]["addresses"][0].as_str().unwrap();
        format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: both-{zone}, labels: {{ kubernetes.io/service-name: both }} }}
addressType: IPv4
ports: [{{ name: http, port: 3000 }}]
endpoints: [{{ addresses: [{address}], conditions: {{ ready: true }}, zone: {zone}, hints: {{ forZones: [{{ name: {zone} }}] }} }}]
"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: both }\nspec: { ports: [{ name: http, port: 8080 }] }\n";
    stage.apply(&format!("{service}{}{}", slice(near, "near"), slice(far, "far")));
}

/// The backends that answer thirty calls.
async fn answering(call: &Call) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for _ in 0..30 {
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status, 200);
        let pod = reply.json()["pod"].as_str().unwrap().to_owned();
        found.insert(pod.split('-').next().unwrap().to_owned());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_sends_to_the_endpoints_that_are_meant_for_its_zone() {
    let Some(stage) = Stage::open_alone("zones") else { return };
    // Of its zone an Envoy is told by its node, once its stream begins.
    stage.anywhere(&["label", "nodes", "--all", "--overwrite", &format!("{ZONE}=near")], "");
    let call = stage.two_backends("one", "other").await;
    both(&stage, "other", "one");
    stage.gateway("edge", "both");
    stage.answered(&call, "other").await;
    assert_eq!(answering(&call).await, BTreeSet::from(["other".to_owned()]), "all that is near, and nothing else");
    stage.kubectl(&["delete", "endpointslice", "both-near"]);
    stage.answered(&call, "one").await;
    assert_eq!(answering(&call).await, BTreeSet::from(["one".to_owned()]), "what there is");
    stage.anywhere(&["label", "nodes", "--all", &format!("{ZONE}-")], "");
}
