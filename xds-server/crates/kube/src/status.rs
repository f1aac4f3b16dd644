//! What the status of an object says, and writing it: ours beside what others wrote, once for each real change.

mod write;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use windrose_api::declared::gateway::CONTROLLER;
use windrose_api::declared::route::ParentRef;
use windrose_vocab::Kind;

pub use write::{Outcome, write};

/// Conditions that we write; others on the same object belong to somebody else and stay.
const OURS: [&str; 8] = [
    "Accepted",
    "ResolvedRefs",
    "Programmed",
    "Conflicted",
    "PartiallyInvalid",
    "OverlappingTLSConfig",
    "InsecureFrontendValidationMode",
    "SupportedVersion",
];

/// Ancestors that a policy's status has room for.
const ANCESTORS_MAX: usize = 16;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: bool,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// One listener of a Gateway or ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Kinds of routes that it takes.
    pub kinds: Vec<Kind>,
    /// Routes that are attached.
    pub attached: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// The status of one object, in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// GatewayClass.
    Class {
        /// Conditions.
        conditions: Vec<Condition>,
        /// Features that the class has, sorted.
        features: Vec<&'static str>,
    },
    /// Gateway and ListenerSet.
    Listeners {
        /// Conditions.
        conditions: Vec<Condition>,
        /// Listeners, in the order declared.
        listeners: Vec<Listener>,
        /// Addresses of a Gateway; none for a ListenerSet.
        addresses: Option<Vec<Address>>,
        /// ListenerSets that are attached to a Gateway.
        sets: Option<u32>,
    },
    /// A route of any kind, towards each of its parents that is ours.
    Parents(Vec<(ParentRef, Vec<Condition>)>),
    /// A policy (GEP-713), towards each object it takes effect on.
    Ancestors(Vec<(ParentRef, Vec<Condition>)>),
    /// An object with conditions alone.
    Plain(Vec<Condition>),
}

/// The status as it is to be written, or none where that stands there already.
#[must_use]
pub fn render(status: &Status, former: &Value, generation: i64, now: SystemTime) -> Option<Value> {
    let at = At { generation, now: timestamp(now) };
    let next = match status {
        Status::Class { conditions, features } => {
            let features: Vec<Value> = features.iter().map(|name| json!({"name": name})).collect();
            json!({"conditions": at.conditions(conditions, &former["conditions"]), "supportedFeatures": features})
        }
        Status::Listeners { conditions, listeners, addresses, sets } => {
            let mut next = json!({"conditions": at.conditions(conditions, &former["conditions"])});
            let listener = |listener: &Listener| at.listener(listener, &former["listeners"]);
            next["listeners"] = listeners.iter().map(listener).collect();
            if let Some(addresses) = addresses {
                next["addresses"] = addresses.iter().map(Address::json).collect();
            }
            // A cluster with older definitions prunes the field: it would never stand there.
            if let Some(sets) = sets.filter(|sets| *sets > 0 || former.get("attachedListenerSets").is_some()) {
                next["attachedListenerSets"] = sets.into();
            }
            next
        }
        Status::Parents(parents) => json!({"parents": at.references(parents, &former["parents"], "parentRef", usize::MAX)}),
        Status::Ancestors(ancestors) => json!({"ancestors": at.references(ancestors, &former["ancestors"], "ancestorRef", ANCESTORS_MAX)}),
        Status::Plain(conditions) => json!({"conditions": at.conditions(conditions, &former["conditions"])}),
    };
    let says_nothing = |field: &str| next[field].as_array().is_some_and(Vec::is_empty) && former.get(field).is_none();
    if says_nothing("parents") || says_nothing("ancestors") {
        return None;
    }
    (next != *former).then_some(next)
}

/// An address at which a Gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `IPAddress` or `Hostname`.
    pub kind: &'static str,
    /// The address.
    pub value: String,
    /// From where it is reached, where the Gateway says so: only then does the cluster know the field.
    pub routability: Option<&'static str>,
}

impl Address {
    fn json(&self) -> Value {
        let mut address = json!({"type": self.kind, "value": self.value});
        if let Some(routability) = self.routability {
            address["routability"] = routability.into();
        }
        address
    }
}

struct At {
    generation: i64,
    now: String,
}

impl At {
    fn conditions(&self, ours: &[Condition], former: &Value) -> Vec<Value> {
        let former = former.as_array().map_or(&[][..], Vec::as_slice);
        let called = |condition: &Value, kind: &str| condition["type"].as_str() == Some(kind);
        let is_foreign = |condition: &Value| !OURS.iter().any(|kind| called(condition, kind));
        let own = ours.iter().map(|condition| {
            let before = former.iter().find(|before| called(before, condition.kind));
            self.condition(condition, before)
        });
        in_place(former, own.collect(), is_foreign, |one, before| one["type"] == before["type"])
    }

    fn condition(&self, condition: &Condition, before: Option<&Value>) -> Value {
        let status = if condition.status { "True" } else { "False" };
        let same = before.filter(|before| before["status"].as_str() == Some(status));
        let since = same.and_then(|before| before["lastTransitionTime"].as_str()).unwrap_or(&self.now);
        json!({
            "type": condition.kind,
            "status": status,
            "reason": condition.reason,
            "message": cut(&condition.message),
            "observedGeneration": self.generation,
            "lastTransitionTime": since,
        })
    }

    fn listener(&self, listener: &Listener, former: &Value) -> Value {
        let of_name = |before: &&Value| before["name"].as_str() == Some(&listener.name);
        let before = former.as_array().into_iter().flatten().find(of_name).unwrap_or(&Value::Null);
        let kind = |kind: &Kind| json!({"group": kind.group(), "kind": kind.as_str()});
        json!({
            "name": listener.name,
            "supportedKinds": listener.kinds.iter().map(kind).collect::<Vec<_>>(),
            "attachedRoutes": listener.attached,
            "conditions": self.conditions(&listener.conditions, &before["conditions"]),
        })
    }

    /// Ours beside those of other controllers.
    fn references(&self, ours: &[(ParentRef, Vec<Condition>)], former: &Value, field: &str, most: usize) -> Vec<Value> {
        let former = former.as_array().map_or(&[][..], Vec::as_slice);
        let is_ours = |entry: &&Value| entry["controllerName"].as_str() == Some(CONTROLLER);
        let foreign: Vec<&Value> = former.iter().filter(|entry| !is_ours(entry)).collect();
        let room = most.saturating_sub(foreign.len());
        let own = ours.iter().take(room).map(|(parent, conditions)| {
            let reference = reference(parent);
            let before = former.iter().filter(is_ours).find(|entry| entry[field] == reference).unwrap_or(&Value::Null);
            let mut entry = Map::new();
            entry.insert(field.to_owned(), reference);
            entry.insert("controllerName".to_owned(), CONTROLLER.into());
            entry.insert("conditions".to_owned(), self.conditions(conditions, &before["conditions"]).into());
            Value::Object(entry)
        });
        in_place(former, own.collect(), |entry| !is_ours(&entry), |one, before| one[field] == before[field])
    }
}

/// Ours among those of others: each that was there stays in its place, so that two controllers never write for the order's sake alone.
fn in_place(
    former: &[Value],
    mut ours: Vec<Value>,
    is_foreign: impl Fn(&Value) -> bool,
    is_same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let mut all = Vec::with_capacity(former.len() + ours.len());
    for before in former {
        if is_foreign(before) {
            all.push(before.clone());
        } else if let Some(at) = ours.iter().position(|one| is_same(one, before)) {
            all.push(ours.remove(at));
        }
    }
    all.extend(ours);
    all
}

/// A reference as a route wrote it.
fn reference(parent: &ParentRef) -> Value {
    let mut written: BTreeMap<&str, Value> = BTreeMap::new();
    written.insert("group", parent.target.group.to_string().into());
    written.insert("kind", parent.target.kind.to_string().into());
    written.insert("name", parent.target.name.to_string().into());
    written.extend(parent.target.namespace.iter().map(|namespace| ("namespace", namespace.to_string().into())));
    written.extend(parent.section.iter().map(|section| ("sectionName", section.to_string().into())));
    written.extend(parent.port.iter().map(|port| ("port", port.get().into())));
    json!(written)
}

/// A message as long as a condition may carry: 32,768 bytes; people read the first thousand.
fn cut(message: &str) -> String {
    const MOST: usize = 1024;
    if message.chars().count() <= MOST {
        return message.to_owned();
    }
    message.chars().take(MOST).chain(['…']).collect()
}

/// Seconds, in UTC, as Kubernetes writes them.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = i64::try_from(seconds).ok().and_then(|seconds| k8s_openapi::jiff::Timestamp::from_second(seconds).ok());
    at.unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests;
