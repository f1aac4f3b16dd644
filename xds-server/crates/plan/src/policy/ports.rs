//! Ports that a policy names and nothing that it holds for listens at: a slip of the pen that would leave the real port as it is.

use std::collections::BTreeSet;

use windrose_api::declared::AnyObject;
use windrose_api::declared::gateway::Listener;
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectRef, Text};

use super::mesh::SYSTEM_NAMESPACE;
use super::target;
use crate::reference::field;
use crate::world::{Index, View};

/// Tells each port that is nobody's.
pub(super) fn judge(view: &View<'_>, policy: &AnyObject) {
    let named = named(policy);
    if named.is_empty() {
        return;
    }
    let own = &policy.meta().object;
    let targets = target::targets(policy);
    let of_each: Vec<Vec<u16>> = targets.iter().filter_map(|(target, _)| target.as_ref().map(|target| ports(view, target))).collect();
    // Of a target that is not there, or has no ports yet, other things are told.
    let is_whole = of_each.len() == targets.len() && of_each.iter().all(|ports| !ports.is_empty());
    let known: BTreeSet<u16> = of_each.into_iter().flatten().collect();
    for (path, port) in named {
        let (message, hint) = if targets.is_empty() {
            if is_served(view, &own.key.namespace, port) {
                continue;
            }
            let message = format!("no Workload that this holds for listens at port {port}");
            (message, "a Workload listens at the ports `spec.serves[].listen`".to_owned())
        } else {
            if !is_whole || known.contains(&port) {
                continue;
            }
            let there: Vec<String> = known.iter().map(u16::to_string).collect();
            (format!("nothing that this is attached to listens at port {port}"), format!("ports there: {}", there.join(", ")))
        };
        view.tell(Diagnostic::warning(own.clone(), path, Code::RefNotFound, message).hint(hint));
    }
}

/// The ports that it names, and where.
fn named(policy: &AnyObject) -> Vec<(FieldPath, u16)> {
    match policy {
        AnyObject::MeshPolicy(policy) => {
            let ports = policy.spec.ports.iter().enumerate();
            ports.map(|(index, one)| (field(&format!("spec.ports[{index}].port")), one.port)).collect()
        }
        AnyObject::AuthorizationPolicy(policy) => {
            let rules = policy.spec.rules.iter().enumerate();
            let of_rule = |(rule, declared): (usize, &windrose_api::policy::AuthorizationRule)| {
                let place = move |(index, port): (usize, &u16)| (field(&format!("spec.rules[{rule}].ports[{index}]")), *port);
                declared.ports.iter().enumerate().map(place).collect::<Vec<_>>()
            };
            rules.flat_map(of_rule).collect()
        }
        _ => Vec::new(),
    }
}

/// Where a target listens.
fn ports(view: &View<'_>, target: &ObjectRef) -> Vec<u16> {
    let of_listeners = |listeners: &[Listener]| listeners.iter().map(|listener| listener.port.get()).collect::<Vec<_>>();
    match target.kind {
        Kind::Workload => {
            let workload = view.workload(&target.key);
            workload.iter().flat_map(|workload| &workload.spec.serves).map(|serves| serves.listen.get()).collect()
        }
        Kind::Service => {
            let workloads = view.index(Index::Workloads(target.key.clone()));
            let workloads = workloads.iter().filter_map(|workload| view.workload(&workload.key));
            let serves = workloads.flat_map(|workload| &workload.spec.serves);
            serves.filter(|serves| serves.service == target.key.name).map(|serves| serves.listen.get()).collect()
        }
        Kind::ListenerSet => view.listener_set(&target.key).map(|set| of_listeners(&set.spec.listeners)).unwrap_or_default(),
        Kind::Gateway => {
            let sets = view.index(Index::ListenerSets(target.key.clone()));
            let sets = sets.iter().filter_map(|set| view.listener_set(&set.key)).flat_map(|set| of_listeners(&set.spec.listeners));
            let own = view.gateway(&target.key).map(|gateway| of_listeners(&gateway.spec.listeners));
            own.into_iter().flatten().chain(sets).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a Workload listens there, of a namespace or, by a policy of the mesh, of any.
fn is_served(view: &View<'_>, namespace: &Text, port: u16) -> bool {
    let of = (**namespace != *SYSTEM_NAMESPACE).then(|| namespace.clone());
    !view.index(Index::Serving(of, port)).is_empty()
}
