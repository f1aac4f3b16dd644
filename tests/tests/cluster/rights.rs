//! The control plane may do what it needs, and nothing else.

use serde_json::{Value, json};
use windrose_tests::wait::wait_until;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage};

/// One thing that a role allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    verb: String,
    resource: String,
    group: String,
}

impl Right {
    pub(crate) fn new(verb: &str, resource: &str, group: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), group: group.to_owned() }
    }

    /// How `windrose check` calls it, less the name and the namespace.
    pub(crate) fn words(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{} {}{dot}{}", self.verb, self.resource, self.group)
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The installed role of that kind.
pub(crate) fn role(stage: &Stage, kind: &str) -> Value {
    serde_json::from_str(&stage.kubectl(&["-n", SYSTEM, "get", kind, NAME, "-o", "json"])).unwrap()
}

/// What one rule allows.
pub(crate) fn rights(rule: &Value) -> Vec<Right> {
    let group = texts(&rule["apiGroups"])[0];
    let of = |resource| texts(&rule["verbs"]).into_iter().map(move |verb| Right::new(verb, resource, group));
    texts(&rule["resources"]).into_iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verb_that_is_taken_from_a_role_is_named_by_check() {
    let Some(stage) = Stage::open("rights") else { return };
    // An installation of nothing but its rights, beside the one that works.
    let copies = [Copy::of(&stage, "clusterrole"), Copy::of(&stage, "role")];
    stage.installation_without_pods("{}");
    for copy in &copies {
        copy.put(&stage, &copy.rules);
    }
    found(&stage, "ok", |_| true).await;
    for copy in &copies {
        for (index, rule) in copy.rules.iter().enumerate() {
            for verb in texts(&rule["verbs"]) {
                let less = copy.without(index, verb);
                copy.put(&stage, &less);
                let taken: Vec<Right> = rights(rule).into_iter().filter(|right| right.verb == verb).collect();
                let named = |fact: &str| missing(fact) == taken.len() && taken.iter().any(|right| fact.contains(&right.words()));
                found(&stage, "failed", named).await;
            }
        }
        copy.put(&stage, &copy.rules);
    }
    found(&stage, "ok", |_| true).await;
}

/// A role of the installation, given to the same account of the story's namespace.
struct Copy {
    kind: &'static str,
    rules: Vec<Value>,
    owner: Value,
}

impl Copy {
    fn of(stage: &Stage, kind: &'static str) -> Self {
        Self { kind, rules: role(stage, kind)["rules"].as_array().unwrap().clone(), owner: owned_by_namespace(stage) }
    }

    /// The rules less one verb of one of them.
    fn without(&self, index: usize, verb: &str) -> Vec<Value> {
        let mut rules = self.rules.clone();
        let verbs: Vec<&str> = texts(&self.rules[index]["verbs"]).into_iter().filter(|one| *one != verb).collect();
        rules[index]["verbs"] = json!(verbs);
        rules.retain(|rule| !texts(&rule["verbs"]).is_empty());
        rules
    }

    fn put(&self, stage: &Stage, rules: &[Value]) {
        let kind = if self.kind == "role" { "Role" } else { "ClusterRole" };
        let api = "rbac.authorization.k8s.io";
        let mut metadata = json!({"name": stage.namespace, "ownerReferences": [self.owner]});
        if self.kind == "role" {
            metadata["namespace"] = json!(stage.namespace);
        }
        let role = json!({"apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata, "rules": rules});
        let binding = json!({
            "apiVersion": format!("{api}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": stage.namespace},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": stage.namespace}],
        });
        stage.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]}).to_string());
    }
}

/// What goes with the story, though it is in no namespace.
pub(crate) fn owned_by_namespace(stage: &Stage) -> Value {
    let uid = stage.object("namespace", &stage.namespace)["metadata"]["uid"].take();
    json!({"apiVersion": "v1", "kind": "Namespace", "name": stage.namespace, "uid": uid})
}

/// Waits until `check` says so about the rights.
async fn found(stage: &Stage, result: &str, is_it: impl Fn(&str) -> bool) {
    wait_until(PATIENCE, "what check says", async || {
        let report: Value = serde_json::from_str(&stage.windrose(&["check", "--namespace", &stage.namespace, "-o", "json"])).unwrap();
        let facts = report["facts"].as_array().unwrap();
        let Some(fact) = facts.iter().find(|fact| fact["section"] == "rights") else { return Err(report.to_string()) };
        if fact["result"] == result && is_it(fact["fact"].as_str().unwrap()) { Ok(()) } else { Err(fact.to_string()) }
    })
    .await;
}

/// How many rights a fact says are missing.
fn missing(fact: &str) -> usize {
    let Some((_, list)) = fact.split_once("may not: ") else { return 0 };
    let more = |one: &str| one.strip_prefix("and ").and_then(|rest| rest.strip_suffix(" more")).and_then(|count| count.parse().ok());
    list.split(", ").map(|one| more(one).unwrap_or(1)).sum()
}
