//! What the listeners together mean for their Gateway, for ListenerSets, and for each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrose_api::declared::gateway::Gateway;
use windrose_api::declared::{ListenerSet, Object};
use windrose_vocab::Port;

use super::{BoundListener, Spoken};
use crate::plan::{Condition, ConditionType, Subject};
use crate::world::View;

/// Tells the Gateway's verdict, which is `refused` where it is refused as a whole; returns whether it is served at all.
/// `unfit` is what keeps it from being deployed: what runs already goes on.
pub(super) fn judge_gateway(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    listeners: &[BoundListener],
    refused: Option<Condition>,
    unfit: Option<Condition>,
) -> bool {
    let subject = Subject::object(gateway.meta.object.clone());
    let own: Vec<_> = listeners.iter().filter(|one| one.id.owner == gateway.meta.object).collect();
    let bad: Vec<String> = own.iter().filter(|one| !one.usable).map(|one| format!("`{}`", one.id)).collect();
    let served = refused.is_none() && listeners.iter().any(|one| one.usable);
    let accepted = if let Some(refused) = refused.or(unfit) {
        refused
    } else if bad.is_empty() && !own.is_empty() {
        Condition::yes("Accepted")
    } else {
        let message = if own.is_empty() { "no listeners".to_owned() } else { format!("not served: listener {}", bad.join(", ")) };
        Condition { status: served, reason: "ListenersNotValid", message }
    };
    view.condition(&subject, ConditionType::Accepted, accepted);
    served
}

/// Tells the verdict of each ListenerSet.
pub(super) fn judge_sets(view: &View<'_>, sets: &[&Arc<Object<ListenerSet>>], listeners: &[BoundListener]) {
    for set in sets {
        let own = || listeners.iter().filter(|one| one.id.owner == set.meta.object);
        let condition = if own().all(|one| one.usable) {
            Condition::yes("Accepted")
        } else {
            Condition { status: own().any(|one| one.usable), reason: "ListenersNotValid", message: String::new() }
        };
        view.condition(&Subject::object(set.meta.object.clone()), ConditionType::Accepted, condition);
    }
}

/// Browsers reuse a connection for another host that the certificate covers, and would then meet the wrong listener.
pub(super) fn overlaps(view: &View<'_>, listeners: &[BoundListener]) {
    let mut ports: BTreeMap<Port, Vec<&BoundListener>> = BTreeMap::new();
    for listener in listeners.iter().filter(|one| one.spoken == Spoken::Https && one.usable) {
        ports.entry(listener.port).or_default().push(listener);
    }
    for group in ports.values() {
        for one in group {
            let over = group.iter().find(|other| other.id != one.id && one.hostname.intersect(&other.hostname).is_some());
            if let Some(other) = over {
                let message = format!("hostname overlaps with that of listener `{}`", other.id);
                let condition = Condition { status: true, reason: "OverlappingHostnames", message };
                view.condition(&one.id.subject(), ConditionType::OverlappingTlsConfig, condition);
            }
        }
    }
}
