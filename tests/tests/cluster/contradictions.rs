//! What two fields say of each other: refused by the definitions alone, also where no webhook is asked.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::stage::Stage;

/// For each rule of each definition an object that breaks it, and nothing else: kind, and `spec`.
const WRONG: &[(&str, &str)] = &[
    ("AuthPolicy", "{public: {reason: r, approvedBy: a}, requiredScopes: [s]}"),
    ("AuthPolicy", "{jwt: [{name: a, issuer: i, audiences: [x], jwks: {inline: '{}', file: keys.json}}]}"),
    ("AuthPolicy", "{jwt: [{name: a, issuer: i, audiences: [x], jwks: {file: keys.json}, from: [{header: h, query: q}]}]}"),
    ("AuthPolicy", "{jwt: [{name: a, issuer: i, audiences: [x], jwks: {file: keys.json}, from: [{query: q, prefix: p}]}]}"),
    ("AuthorizationPolicy", "{action: Deny, rules: [{from: [{namespace: shop, network: 10.0.0.0/8}]}]}"),
    ("AuthorizationPolicy", "{action: Deny, rules: [{paths: [{exact: /a, prefix: /b}]}]}"),
    ("RateLimitPolicy", "{limits: [{name: a, quota: {requests: 1, window: 1s}, key: [{claim: sub, header: h}]}]}"),
    ("TranscodingPolicy", "{services: [a.B], descriptors: {file: a.binpb, inline: AAAA}}"),
    ("TrafficPolicy", "{healthCheck: {probe: {httpPath: /, tcp: true}}}"),
    ("TrafficPolicy", "{loadBalancing: {type: RoundRobin, consistentHash: {sources: [{header: h}]}}}"),
    ("TrafficPolicy", "{loadBalancing: {type: ConsistentHash, consistentHash: {sources: [{header: h, cookie: c}]}}}"),
    ("TrafficPolicy", "{outlierDetection: {baseEjection: 1m, maxEjection: 59s}}"),
    ("GatewayParameters", "{replicas: 2, autoscaling: {minReplicas: 1, maxReplicas: 2}}"),
    ("GatewayParameters", "{autoscaling: {minReplicas: 3, maxReplicas: 2}}"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rule_of_a_definition_refuses_what_contradicts_itself() {
    let Some(stage) = Stage::open("contradictions") else { return };
    let mut left = rules(&stage);
    for (kind, spec) in WRONG {
        let target = if *kind == "TrafficPolicy" { ("", "Service") } else { ("gateway.networking.k8s.io", "Gateway") };
        let targets = format!("targetRefs: [{{ group: '{}', kind: {}, name: a }}], ", target.0, target.1);
        let targets = if *kind == "GatewayParameters" { "" } else { &targets };
        let object = format!(
            "apiVersion: windrose.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: a }}\nspec: {{ {targets}{} }}\n",
            &spec[1..spec.len() - 1]
        );
        let told = stage.try_kubectl(&["create", "-f", "-", "--dry-run=server"], Some(&object)).expect_err(&object);
        assert!(!told.contains("validate.windrose.dev"), "the definition should have refused it: {told}");
        let broken: Vec<String> =
            left.iter().filter(|(of, message)| of == kind && told.contains(message)).map(|rule| rule.1.clone()).collect();
        assert_eq!(broken.len(), 1, "{object}: {told}");
        assert!(!told.contains("Required value") && !told.contains("unknown field"), "something else is wrong with it, too: {told}");
        left.remove(&((*kind).to_owned(), broken[0].clone()));
    }
    assert_eq!(left, BTreeSet::new(), "rules that no object here breaks");
}

/// Kind and message of every rule of what is installed, but of those for a change.
fn rules(stage: &Stage) -> BTreeSet<(String, String)> {
    let all: Value = serde_json::from_str(&stage.kubectl(&["get", "customresourcedefinitions", "-o", "json"])).unwrap();
    let ours = all["items"].as_array().unwrap().iter().filter(|one| one["spec"]["group"] == "windrose.dev");
    let mut rules = BTreeSet::new();
    for definition in ours {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        collect(&definition["spec"]["versions"][0]["schema"], &mut |message| {
            rules.insert((kind.to_owned(), message));
        });
    }
    rules
}

fn collect(place: &Value, found: &mut impl FnMut(String)) {
    for rule in place["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if !rule["rule"].as_str().unwrap().contains("oldSelf") {
            found(rule["message"].as_str().unwrap().to_owned());
        }
    }
    match place {
        Value::Object(members) => members.values().for_each(|inner| collect(inner, found)),
        Value::Array(all) => all.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}
