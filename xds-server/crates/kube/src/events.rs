//! Events: what people see under an object by `kubectl describe`, when something about it goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windrose_vocab::ObjectRef;

use crate::client::explain;
use crate::limits;
use crate::source::Seen;

/// Conditions that are false for a moment with every new object, and say nothing.
const PASSING: [&str; 3] = ["Pending", "AddressNotAssigned", "NoConflicts"];
/// Bytes of a note; the API takes 1,024.
const NOTE_MAX: usize = 1000;

/// The reason of what runs with a problem all the same (a Pod that cannot start): nothing that turned false.
const DEGRADED: &str = "Degraded";

/// Takes events to be written: nobody waits for that, and what the cluster does not take in time is dropped.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<Told>,
    /// By what objects are degraded, and when that was told last.
    degraded: Arc<Mutex<BTreeMap<(ObjectRef, String), Instant>>>,
}

/// One of them, and where it is told.
struct Told {
    object: ObjectRef,
    reference: ObjectReference,
    event: Event,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// Events of this replica, and what writes them until the end. Equal ones of a few minutes become one with a count.
pub fn events(client: Client, replica: &str, end: CancellationToken) -> (Events, impl Future<Output = ()> + Send + 'static) {
    let (sender, told) = mpsc::channel(limits::EVENTS_WAITING);
    let reporter = Reporter { controller: "windrose.dev/controller".to_owned(), instance: Some(replica.to_owned()) };
    let recorder = Recorder::new(client, reporter);
    let writes = async move { _ = end.run_until_cancelled(write(recorder, told, limits::REQUEST_TIME)).await };
    (Events { sender, degraded: Arc::default() }, writes)
}

impl Events {
    /// Tells what a new status says that the former one did not: what became wrong. A failure costs the event and is logged.
    pub fn tell(&self, object: &ObjectRef, seen: &Seen, status: &Value) {
        let reference = ObjectReference {
            api_version: Some(seen.api_version.clone()),
            kind: Some(object.kind.as_str().to_owned()),
            name: Some(object.key.name.to_string()),
            namespace: (!object.kind.is_cluster_scoped()).then(|| object.key.namespace.to_string()),
            uid: Some(seen.uid.clone()),
            ..ObjectReference::default()
        };
        for (reason, message) in turned(&seen.status(), status) {
            if reason == DEGRADED && !self.is_news(object, &message, Instant::now()) {
                continue;
            }
            let note: String = message.chars().take(NOTE_MAX).collect();
            let event = Event { type_: EventType::Warning, reason, note: Some(note), action: "Program".to_owned(), secondary: None };
            if self.sender.try_send(Told { object: object.clone(), reference: reference.clone(), event }).is_err() {
                tracing::warn!(%object, "an event is dropped: too many wait to be written");
            }
        }
    }

    /// Whether that degrades an object was not told lately.
    fn is_news(&self, object: &ObjectRef, message: &str, now: Instant) -> bool {
        let mut told = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < limits::DEGRADED_AGAIN);
        told.insert((object.clone(), cause(message).to_owned()), now).is_none()
    }
}

/// What degrades, in one word, whichever Pod it is: `ErrImagePull` of `Pod edge-1: ErrImagePull: not found`.
fn cause(message: &str) -> &str {
    let words = message.strip_prefix("Pod ").and_then(|rest| rest.split_once(": ")).map_or(message, |(_, words)| words);
    words.split_once(": ").map_or(words, |(cause, _)| cause)
}

async fn write(recorder: Recorder, mut told: mpsc::Receiver<Told>, patience: Duration) {
    while let Some(Told { object, reference, event }) = told.recv().await {
        match timeout(patience, recorder.publish(&event, &reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%object, error = explain(&error), "no event can be written"),
            Err(_) => tracing::warn!(%object, "no event can be written: no answer in {patience:?}"),
        }
    }
}

/// Reasons and messages of conditions that are false now and were not so before.
fn turned(former: &Value, now: &Value) -> BTreeSet<(String, String)> {
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    wrong(former, &mut before);
    wrong(now, &mut after);
    let was_degraded = |message: &str| before.iter().any(|(reason, former)| reason == DEGRADED && cause(former) == cause(message));
    after.difference(&before).filter(|(reason, message)| reason != DEGRADED || !was_degraded(message)).cloned().collect()
}

fn wrong(value: &Value, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| wrong(item, found)),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let is_wrong = text("status") == "False" && !PASSING.contains(&text("reason").as_str());
            let is_degraded = text("type") == "Programmed" && text("status") == "True" && !text("message").is_empty();
            if is_degraded {
                found.insert((DEGRADED.to_owned(), text("message")));
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

    #[test]
    fn a_rollout_that_moves_is_degraded_once() {
        let degraded = |message: &str| json!({"conditions": [{"type": "Programmed", "status": "True", "message": message}]});
        let told = |former: &str, now: &str| turned(&degraded(former), &degraded(now)).len();
        assert_eq!(told("", "Pod a: ErrImagePull: no"), 1);
        assert_eq!(told("Pod a: ErrImagePull: no", "Pod b: ErrImagePull: not yet"), 0, "another Pod of the same rollout");
        assert_eq!(told("Pod a: ErrImagePull: no", "Pod a: Unschedulable: no room"), 1, "another cause");

        let events = Events { sender: mpsc::channel(1).0, degraded: Arc::default() };
        let (edge, start) = (ObjectRef::new(windrose_vocab::Kind::Gateway, "shop", "edge"), Instant::now());
        let is_news = |message: &str, after: Duration| events.is_news(&edge, message, start + after);
        assert!(is_news("Pod a: ErrImagePull: no", Duration::ZERO));
        assert!(!is_news("Pod b: ErrImagePull: no", Duration::from_secs(30)), "between two Pods there was none for a moment");
        assert!(is_news("quota: no room", Duration::from_secs(31)));
        assert!(is_news("Pod c: ErrImagePull: no", Duration::from_secs(30) + limits::DEGRADED_AGAIN));
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_answer_keeps_nobody_waiting() {
        let (client, log) = crate::fake::cluster(|_| (0, Value::Null)).await;
        let (sender, told) = mpsc::channel(2);
        let events = Events { sender, degraded: Arc::default() };
        let object = ObjectRef::new(windrose_vocab::Kind::Gateway, "shop", "edge");
        let status =
            |reason: &str| json!({"conditions": [{"status": "False", "reason": reason, "message": "m", "lastTransitionTime": "t"}]});
        for reason in ["One", "Two", "Three"] {
            events.tell(&object, &Seen::default(), &status(reason));
        }
        drop(events);
        let recorder = Recorder::new(client, Reporter { controller: "test".to_owned(), instance: None });
        write(recorder, told, Duration::from_millis(50)).await;
        let reasons: Vec<Value> = log.all().into_iter().map(|(.., event)| event["reason"].clone()).collect();
        assert_eq!(reasons, ["One", "Two"], "each is tried once, and the third had no room");
    }
}
