//! Events: what people see under an object by `kubectl describe`, when something about it goes wrong.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use windrose_vocab::ObjectRef;

use crate::client::explain;
use crate::source::Seen;

/// Conditions that are false for a moment with every new object, and say nothing.
const PASSING: [&str; 3] = ["Pending", "AddressNotAssigned", "NoConflicts"];
/// Bytes of a note; the API takes 1,024.
const NOTE_MAX: usize = 1000;

/// Writes events; equal ones of a few minutes become one with a count.
#[derive(Clone)]
pub struct Events(Recorder);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// Events of this replica.
    #[must_use]
    pub fn new(client: Client, replica: &str) -> Self {
        Self(Recorder::new(client, Reporter { controller: "windrose.dev/controller".to_owned(), instance: Some(replica.to_owned()) }))
    }

    /// Tells what a new status says that the former one did not: what became wrong. A failure costs the event and is logged.
    pub async fn tell(&self, object: &ObjectRef, seen: &Seen, status: &Value) {
        let reference = ObjectReference {
            api_version: Some(seen.api_version.clone()),
            kind: Some(object.kind.as_str().to_owned()),
            name: Some(object.key.name.to_string()),
            namespace: (!object.kind.is_cluster_scoped()).then(|| object.key.namespace.to_string()),
            uid: Some(seen.uid.clone()),
            ..ObjectReference::default()
        };
        for (reason, message) in turned(&seen.status(), status) {
            let note: String = message.chars().take(NOTE_MAX).collect();
            let event = Event { type_: EventType::Warning, reason, note: Some(note), action: "Program".to_owned(), secondary: None };
            if let Err(error) = self.0.publish(&event, &reference).await {
                tracing::warn!(%object, error = explain(&error), "no event can be written");
            }
        }
    }
}

/// Reasons and messages of conditions that are false now and were not so before.
fn turned(former: &Value, now: &Value) -> BTreeSet<(String, String)> {
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    wrong(former, &mut before);
    wrong(now, &mut after);
    after.difference(&before).cloned().collect()
}

fn wrong(value: &Value, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| wrong(item, found)),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_wrong = text("status") == "False" && !PASSING.contains(&text("reason").as_str());
            // What runs with a problem all the same (a Pod that cannot start) is nothing that turned false.
            let is_degraded = text("type") == "Programmed" && text("status") == "True" && !text("message").is_empty();
            if is_degraded {
                found.insert(("Degraded".to_owned(), text("message")));
            }
            if is_wrong && members.contains_key("lastTransitionTime") {
                found.insert((text("reason"), text("message")));
            }
            members.values().for_each(|member| wrong(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_became_wrong_is_told() {
        let condition = |status: &str, reason: &str| json!({"status": status, "reason": reason, "message": "m", "lastTransitionTime": "t"});
        let status = |one: Value, other: Value| json!({"parents": [{"conditions": [one, other]}]});
        let good = status(condition("True", "Accepted"), condition("False", "Pending"));
        let bad = status(condition("False", "NoMatchingParent"), condition("False", "Pending"));
        assert_eq!(turned(&good, &bad), BTreeSet::from([("NoMatchingParent".to_owned(), "m".to_owned())]));
        let degraded =
            json!({"conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "Pod p: no room"}]});
        assert_eq!(turned(&good, &degraded), BTreeSet::from([("Degraded".to_owned(), "Pod p: no room".to_owned())]));
        assert!(turned(&bad, &bad).is_empty() && turned(&bad, &good).is_empty());
    }
}
