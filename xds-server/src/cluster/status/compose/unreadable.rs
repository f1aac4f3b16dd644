//! The status of an object of which nothing can be read: why, and what stands in. Only where it is plain that it is ours to judge:
//! another controller may well understand what we do not.

use windrose_api::declared::gateway::CONTROLLER;
use windrose_api::declared::route::ParentRef;
use windrose_kube::source::Seen;
use windrose_kube::status::{Condition, Status};
use windrose_vocab::{Kind, ObjectKey, ObjectRef};

use super::{Known, class_status, problem};

pub(super) fn status(known: &Known<'_>, object: &ObjectRef, seen: &Seen) -> Option<Status> {
    if known.world.leaves_out(&object.key.namespace) {
        return None;
    }
    let problem = problem(known, object)?;
    let stead = windrose_plan::stead(&known.picture.plan, &known.picture.declared, object);
    let message = format!("{}; {}", problem.message, stead.words);
    let condition = Condition { message, ..problem };
    let plain = known.world.unreadable.get(object);
    let refers: &[ParentRef] = plain.map_or(&[], |plain| &plain.refers);
    let each = |of: Vec<ParentRef>| of.into_iter().map(|one| (one, vec![condition.clone()])).collect();
    let listeners = |addresses| Status::Listeners { conditions: vec![condition.clone()], listeners: Vec::new(), addresses, sets: None };
    match object.kind {
        Kind::GatewayClass if plain.is_some_and(|plain| plain.controller.as_deref() == Some(CONTROLLER)) => {
            class_status(known, vec![condition])
        }
        Kind::Gateway if is_of_our_class(known, seen) => Some(listeners(Some(Vec::new()))),
        Kind::ListenerSet if refers.iter().any(|parent| known.is_ours(object, parent)) => Some(listeners(None)),
        Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => {
            Some(Status::Parents(each(refers.iter().filter(|parent| known.is_ours(object, parent)).cloned().collect())))
        }
        Kind::BackendTLSPolicy => Some(Status::Ancestors(each(served_by(known, object, refers)))),
        Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::TranscodingPolicy
        | Kind::TrafficPolicy
        | Kind::EdgePolicy
        | Kind::MeshPolicy
        | Kind::AuthorizationPolicy
        | Kind::TelemetryPolicy => Some(Status::Ancestors(each(targets(object, refers)))),
        Kind::Backend | Kind::Workload | Kind::GatewayParameters => Some(Status::Plain(vec![condition])),
        Kind::GatewayClass
        | Kind::Gateway
        | Kind::ListenerSet
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ClusterTrustBundle => None,
    }
}

fn is_of_our_class(known: &Known<'_>, seen: &Seen) -> bool {
    let class = seen.class.clone().and_then(|class| known.picture.declared.gateway_classes.get(&ObjectKey::new("", class)));
    class.is_some_and(|class| *class.spec.controller == *CONTROLLER)
}

/// What a policy of ours names; its namespace where it names nothing.
fn targets(policy: &ObjectRef, refers: &[ParentRef]) -> Vec<ParentRef> {
    if !refers.is_empty() {
        return refers.to_vec();
    }
    let target = windrose_api::declared::backend::ObjectReference {
        group: "".into(),
        kind: Kind::Namespace.as_str().into(),
        namespace: None,
        name: policy.key.namespace.clone(),
    };
    vec![ParentRef { target, section: None, port: None }]
}

/// The Gateways of ours that lead to what a policy names.
fn served_by(known: &Known<'_>, policy: &ObjectRef, refers: &[ParentRef]) -> Vec<ParentRef> {
    let named = |parent: &ParentRef| {
        let object = ObjectRef::new(Kind::parse(&parent.target.kind)?, policy.key.namespace.clone(), parent.target.name.clone());
        known.picture.declared.get(&object)
    };
    let mut all: Vec<ParentRef> = refers.iter().filter_map(named).flat_map(|target| known.gateways_with(&target)).collect();
    all.sort();
    all.dedup();
    all
}
