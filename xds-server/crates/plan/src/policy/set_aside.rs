//! Policies that protect and that are not in force, because they cannot be read or because Envoy refused them. Nothing is
//! open by accident: a policy that lets nobody pass stands in for each until it is mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use windrose_api::declared::{AnyObject, BackendTls, SetAside};
use windrose_api::policy::{
    Action, AddressRules, AuthPolicy, AuthorizationPolicy, AuthorizationRule, DescriptorSource, EdgePolicy, JsonOptions, MeshPolicy,
    MtlsMode, RateLimitPolicy, TargetRef, TranscodingPolicy,
};
use windrose_api::{Declared, Meta, Object};
use windrose_vocab::{Fingerprint, Kind, ObjectKey, ObjectRef, Text};

use super::{mesh, target};
use crate::plan::Plan;

/// Puts the stand-ins into `effective`, where `declared` has a protecting policy that is not in force there.
pub(crate) fn close(declared: &Declared, effective: &mut Declared) {
    for (object, aside) in &declared.set_aside {
        if effective.get(object).is_none() && !aside.harmless && !is_lost(object, aside) {
            stand_in(object, aside.created, &aside.targets).into_iter().for_each(|closed| effective.insert(closed));
            // What stands in for it makes it no more readable.
            effective.set_aside.insert(object.clone(), aside.clone());
        }
    }
    let missing: Vec<AnyObject> = [
        refused(declared, &declared.auth_policies, &effective.auth_policies, |policy| &policy.target_refs),
        refused(declared, &declared.authorization_policies, &effective.authorization_policies, |policy| &policy.target_refs),
        refused(declared, &declared.edge_policies, &effective.edge_policies, |policy| &policy.target_refs),
        refused(declared, &declared.rate_limit_policies, &effective.rate_limit_policies, |policy| &policy.target_refs),
        refused(declared, &declared.transcoding_policies, &effective.transcoding_policies, |policy| &policy.target_refs),
    ]
    .concat();
    missing.into_iter().for_each(|policy| effective.insert(policy));
}

/// What holds in the place of an object that is not in force and was never good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stead {
    /// Whether something that closes stands in for it.
    pub closes: bool,
    /// What that means, for people.
    pub words: &'static str,
}

/// What holds in the place of an object of that plan that is not in force and was never good.
#[must_use]
pub fn stead(plan: &Plan, declared: &Declared, object: &ObjectRef) -> Stead {
    let lost = declared.set_aside.get(object).is_some_and(|aside| is_lost(object, aside));
    match closes(declared, object) && !lost {
        true if plan.takes_effect(object) => Stead { closes: true, words: words(declared, object) },
        true => Stead { closes: false, words: "it has no effect" },
        false => Stead { closes: false, words: words(declared, object) },
    }
}

/// The same, where it takes effect at all.
pub(crate) fn words(declared: &Declared, object: &ObjectRef) -> &'static str {
    if declared.set_aside.get(object).is_some_and(|aside| !aside.harmless && is_lost(object, aside)) {
        return "what it attaches to cannot be read, so it protects nothing until that is mended";
    }
    match object.kind {
        _ if !closes(declared, object) => "it has no effect",
        Kind::BackendTLSPolicy => "until that is mended nothing is sent there",
        Kind::MeshPolicy => "until that is mended nobody comes in without mTLS",
        _ => "until that is mended it lets nobody pass",
    }
}

/// What a stand-in of the kind does where it attaches.
pub(crate) fn closes_by(kind: Kind) -> &'static str {
    match kind {
        Kind::BackendTLSPolicy => "nothing is sent to",
        Kind::MeshPolicy => "nobody comes in without mTLS at",
        Kind::EdgePolicy => "nobody passes, but where another EdgePolicy says whose addresses may come, at",
        _ => "nobody passes at",
    }
}

/// Whether nobody knows what the policy attaches to. One that names nothing holds for its namespace where its kind may; an
/// AuthorizationPolicy is taken for such a one in doubt, but one that names something is none of the whole mesh. A MeshPolicy is not: it
/// would cut off whoever has no part in the mesh.
fn is_lost(object: &ObjectRef, aside: &SetAside) -> bool {
    let general = match object.kind {
        Kind::AuthorizationPolicy => !aside.more || *object.key.namespace != *mesh::SYSTEM_NAMESPACE,
        Kind::MeshPolicy => !aside.more,
        _ => false,
    };
    aside.targets.is_empty() && !general && protects(object.kind)
}

/// Whether a policy is to refuse anybody, as far as it can be read: then nobody passes while it is not in force.
fn closes(declared: &Declared, object: &ObjectRef) -> bool {
    if declared.set_aside.get(object).is_some_and(|aside| aside.harmless) {
        return false;
    }
    match declared.get(object) {
        Some(AnyObject::AuthorizationPolicy(policy)) => !policy.spec.audit,
        Some(AnyObject::RateLimitPolicy(policy)) => !policy.spec.shadow,
        Some(AnyObject::EdgePolicy(policy)) => judges(&policy.spec),
        Some(_) | None => protects(object.kind),
    }
}

/// Whether it says who may come, or by what rules about that are judged: the same fields as where it cannot be decoded.
fn judges(spec: &EdgePolicy) -> bool {
    spec.addresses.is_some() || spec.trusted_hops.is_some() || spec.paths.is_some() || spec.tls.is_some()
}

/// Stand-ins for the policies of a kind that are declared and not in force.
fn refused<T: Clone>(
    world: &Declared,
    declared: &OrdMap<ObjectKey, Arc<Object<T>>>,
    effective: &OrdMap<ObjectKey, Arc<Object<T>>>,
    targets: fn(&T) -> &[TargetRef],
) -> Vec<AnyObject> {
    let gone = declared.iter().filter(|(key, policy)| !effective.contains_key(*key) && closes(world, &policy.meta.object));
    gone.filter_map(|(_, policy)| stand_in(&policy.meta.object, policy.meta.created, targets(&policy.spec))).collect()
}

/// Whether policies of the kind protect something.
#[must_use]
pub fn protects(kind: Kind) -> bool {
    stand_in(&ObjectRef::new(kind, "", ""), 0, &[]).is_some()
}

/// Whether an object is none that anybody declared.
pub(crate) fn is_stand_in(meta: &Meta) -> bool {
    meta.version == Fingerprint::default()
}

/// The policy of that name and those targets that lets nobody pass; none for kinds that protect nothing.
fn stand_in(object: &ObjectRef, created: u64, targets: &[TargetRef]) -> Option<AnyObject> {
    let meta =
        Meta { object: object.clone(), version: Fingerprint::default(), created, labels: BTreeMap::new(), annotations: BTreeMap::new() };
    let target_refs = targets.to_vec();
    match object.kind {
        Kind::AuthPolicy => Some(AnyObject::AuthPolicy(of(meta, asking_for_nothing(target_refs)))),
        Kind::AuthorizationPolicy => {
            // Of the whole mesh, one that allows nobody would be overruled by those of namespaces.
            let rules = vec![AuthorizationRule::default()];
            let spec = AuthorizationPolicy { target_refs, action: Action::Deny, rules, audit: false };
            Some(AnyObject::AuthorizationPolicy(of(meta, spec)))
        }
        // It may have said whose addresses may come at all.
        Kind::EdgePolicy => {
            let nobody = AddressRules { allow: Vec::new(), deny: vec!["0.0.0.0/0".into(), "::/0".into()] };
            Some(AnyObject::EdgePolicy(of(meta, EdgePolicy { target_refs, addresses: Some(nobody), ..EdgePolicy::default() })))
        }
        // Without limits it lets nobody through.
        Kind::RateLimitPolicy => {
            let spec = RateLimitPolicy { target_refs, limits: Vec::new(), shadow: false, headers: Some(false) };
            Some(AnyObject::RateLimitPolicy(of(meta, spec)))
        }
        Kind::BackendTLSPolicy => Some(AnyObject::BackendTls(of(meta, trusting_nobody(targets)))),
        // A wider one may let plain text in.
        Kind::MeshPolicy => {
            Some(AnyObject::MeshPolicy(of(meta, MeshPolicy { target_refs, mtls: Some(MtlsMode::Strict), ports: Vec::new() })))
        }
        Kind::TranscodingPolicy => Some(AnyObject::TranscodingPolicy(of(meta, without_descriptors(target_refs)))),
        Kind::GatewayClass
        | Kind::Gateway
        | Kind::ListenerSet
        | Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::TLSRoute
        | Kind::TCPRoute
        | Kind::UDPRoute
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ClusterTrustBundle
        | Kind::Backend
        | Kind::Workload
        | Kind::TrafficPolicy
        | Kind::TelemetryPolicy
        | Kind::GatewayParameters => None,
    }
}

fn of<T>(meta: Meta, spec: T) -> Arc<Object<T>> {
    Arc::new(Object { meta, spec })
}

/// It is not public either, so nobody passes.
fn asking_for_nothing(target_refs: Vec<TargetRef>) -> AuthPolicy {
    AuthPolicy {
        target_refs,
        jwt: Vec::new(),
        required_claims: Vec::new(),
        required_scopes: Vec::new(),
        claims_to_headers: Vec::new(),
        public: None,
        replace: false,
    }
}

/// It may have said that there is TLS: nothing is sent where nobody knows whom to trust.
fn trusting_nobody(targets: &[TargetRef]) -> BackendTls {
    let targets = targets.iter().map(target::parent).map(|parent| (parent.target, parent.section));
    BackendTls { targets: targets.collect(), hostname: Text::default(), ca: Vec::new(), system_ca: false, subject_alt_names: Vec::new() }
}

/// It cannot be used, and what it is about is denied.
fn without_descriptors(target_refs: Vec<TargetRef>) -> TranscodingPolicy {
    TranscodingPolicy {
        target_refs,
        descriptors: DescriptorSource { file: None, config_map: None, inline: None },
        services: Vec::new(),
        json: JsonOptions::default(),
        max_request_bytes: None,
        max_response_bytes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aside(targets: &[TargetRef]) -> SetAside {
        SetAside { created: 7, targets: targets.into(), ..SetAside::default() }
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_replaced_by_one_that_lets_nobody_pass() {
        let mut declared = Declared::default();
        let object = ObjectRef::new(Kind::AuthPolicy, "shop", "edge");
        let target =
            TargetRef { group: "gateway.networking.k8s.io".into(), kind: "Gateway".into(), name: "edge".into(), section_name: None };
        declared.set_aside.insert(object.clone(), aside(std::slice::from_ref(&target)));
        let mut effective = declared.clone();
        close(&declared, &mut effective);
        let Some(AnyObject::AuthPolicy(policy)) = effective.get(&object) else { panic!("no stand-in") };
        assert_eq!(policy.spec.target_refs, [target]);
        assert!(policy.spec.public.is_none() && policy.spec.jwt.is_empty());
    }

    #[test]
    fn under_a_tls_policy_that_cannot_be_read_nothing_is_sent_and_under_a_mesh_policy_nobody_comes_in_plainly() {
        let mut declared = Declared::default();
        let service = TargetRef { group: String::new(), kind: "Service".into(), name: "pay".into(), section_name: None };
        let [tls, mesh] = [Kind::BackendTLSPolicy, Kind::MeshPolicy].map(|kind| ObjectRef::new(kind, "shop", "p"));
        declared.set_aside.insert(tls.clone(), aside(&[service]));
        declared.set_aside.insert(mesh.clone(), aside(&[]));
        let mut effective = declared.clone();
        close(&declared, &mut effective);
        let Some(AnyObject::BackendTls(policy)) = effective.get(&tls) else { panic!("no stand-in") };
        assert!(policy.spec.ca.is_empty() && !policy.spec.system_ca && *policy.spec.targets[0].0.name == *"pay");
        assert_eq!(words(&declared, &tls), "until that is mended nothing is sent there");
        let Some(AnyObject::MeshPolicy(policy)) = effective.get(&mesh) else { panic!("no stand-in") };
        assert_eq!(policy.spec.mtls, Some(MtlsMode::Strict));
    }

    #[test]
    fn an_edge_policy_that_cannot_be_read_may_have_been_about_addresses_so_none_may_come() {
        let mut declared = Declared::default();
        let object = ObjectRef::new(Kind::EdgePolicy, "shop", "edge");
        let target = TargetRef { group: String::new(), kind: "Gateway".into(), name: "edge".into(), section_name: None };
        declared.set_aside.insert(object.clone(), aside(&[target]));
        let mut effective = declared.clone();
        close(&declared, &mut effective);
        let Some(AnyObject::EdgePolicy(policy)) = effective.get(&object) else { panic!("no stand-in") };
        assert_eq!(policy.spec.addresses.as_ref().unwrap().deny, ["0.0.0.0/0", "::/0"]);
        assert_eq!(policy.meta.created, 7, "a good policy that is older decides");
    }

    #[test]
    fn where_nobody_knows_what_it_attaches_to_nothing_is_closed_and_that_is_said() {
        let said = "what it attaches to cannot be read, so it protects nothing until that is mended";
        let more = || SetAside { more: true, ..aside(&[]) };
        let of = |kind, namespace| ObjectRef::new(kind, namespace, "p");
        let of_mesh = (of(Kind::AuthorizationPolicy, mesh::SYSTEM_NAMESPACE), more());
        for (object, aside) in [(of(Kind::AuthPolicy, "shop"), aside(&[])), (of(Kind::MeshPolicy, "shop"), more()), of_mesh] {
            let mut declared = Declared::default();
            declared.set_aside.insert(object.clone(), aside);
            let mut effective = declared.clone();
            close(&declared, &mut effective);
            assert!(effective.get(&object).is_none());
            assert_eq!(words(&declared, &object), said);
        }
    }

    #[test]
    fn a_policy_that_only_watches_is_replaced_by_none_and_has_no_effect() {
        let mut declared = Declared::default();
        for kind in [Kind::AuthorizationPolicy, Kind::EdgePolicy, Kind::RateLimitPolicy] {
            match stand_in(&ObjectRef::new(kind, "shop", "watch"), 0, &[]).unwrap() {
                AnyObject::AuthorizationPolicy(mut policy) => {
                    Arc::make_mut(&mut policy).spec.audit = true;
                    declared.insert(AnyObject::AuthorizationPolicy(policy));
                }
                AnyObject::EdgePolicy(mut policy) => {
                    Arc::make_mut(&mut policy).spec.addresses = None;
                    declared.insert(AnyObject::EdgePolicy(policy));
                }
                AnyObject::RateLimitPolicy(mut policy) => {
                    Arc::make_mut(&mut policy).spec.shadow = true;
                    declared.insert(AnyObject::RateLimitPolicy(policy));
                }
                _ => unreachable!(),
            }
            let object = ObjectRef::new(kind, "shop", "watch");
            let mut effective = Declared::default();
            close(&declared, &mut effective);
            assert!(effective.get(&object).is_none(), "{kind}");
            assert_eq!(words(&declared, &object), "it has no effect");
        }
        let unread = ObjectRef::new(Kind::RateLimitPolicy, "shop", "unread");
        assert_eq!(words(&declared, &unread), "until that is mended it lets nobody pass", "who knows what it said");
    }

    #[test]
    fn an_edge_policy_that_says_how_clients_are_known_is_no_harmless_one() {
        let object = ObjectRef::new(Kind::EdgePolicy, "shop", "edge");
        let Some(AnyObject::EdgePolicy(mut policy)) = stand_in(&object, 0, &[]) else { panic!("no stand-in") };
        Arc::make_mut(&mut policy).spec = EdgePolicy { trusted_hops: Some(1), ..EdgePolicy::default() };
        let mut declared = Declared::default();
        declared.insert(AnyObject::EdgePolicy(policy));
        let mut effective = Declared::default();
        close(&declared, &mut effective);
        assert!(effective.get(&object).is_some(), "rules about addresses would be about the load balancer's");
    }

    #[test]
    fn a_policy_that_envoy_refused_is_replaced_too() {
        for kind in [Kind::AuthPolicy, Kind::AuthorizationPolicy, Kind::EdgePolicy, Kind::RateLimitPolicy, Kind::TranscodingPolicy] {
            let object = ObjectRef::new(kind, "shop", "deny");
            let mut declared = Declared::default();
            stand_in(&object, 0, &[]).into_iter().for_each(|policy| declared.insert(policy));
            let mut effective = Declared::default();
            close(&declared, &mut effective);
            assert!(effective.get(&object).is_some(), "{kind}");
        }
    }
}
