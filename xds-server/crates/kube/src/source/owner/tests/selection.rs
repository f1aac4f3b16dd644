//! What a Namespace's labels do to what is in it.

use windrose_api::declared::Declared;

use super::*;
use crate::selector;

fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels, "uid": name, "resourceVersion": "1"}})
}

/// The same object in another namespace.
fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

fn secret() -> Value {
    let mut secret = object(Kind::Secret, "shop", Value::Null);
    secret["apiVersion"] = json!("v1");
    secret
}

fn policy() -> Value {
    let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"});
    object(Kind::AuthPolicy, "first", json!({"targetRefs": [target], "public": {"reason": "x", "approvedBy": "y"}}))
}

/// An owner that selects `team=shop`, beside its own namespace `ops`, with a Namespace `shop` of these labels and what is in it.
fn selecting(labels: Value, objects: &[(Kind, Value)]) -> Owner {
    let mut owner = Owner { selection: Selection::new(selector::parse("team=shop").unwrap(), "ops"), ..Owner::default() };
    let namespaces = [(Kind::Namespace, namespace("shop", labels)), (Kind::Namespace, namespace("ops", json!({})))];
    for kind in Kind::ALL {
        let of_kind = objects.iter().chain(&namespaces).filter(|(of, _)| *of == kind).map(|(_, object)| Told::There(object.clone()));
        for told in std::iter::once(Told::Listing).chain(of_kind).chain([Told::Listed]) {
            owner.take(Event { kind, told });
        }
    }
    read_values(&mut owner);
    assert!(owner.take_changed() && owner.world.complete);
    owner.show();
    owner
}

/// Reads what is due, as the owner's loop does.
fn read_values(owner: &mut Owner) {
    let (wanted, unwanted) = owner.values.take_due(limits::READS_AT_ONCE, Instant::now());
    for value in wanted {
        let mut content = secret();
        content.as_object_mut().unwrap().remove("spec");
        content["data"] = json!({"tls.crt": "eA=="});
        owner.read(&value, Ok(Some(content)), Instant::now());
    }
    unwanted.iter().for_each(|value| owner.remove(value));
}

fn label(owner: &mut Owner, labels: Value) {
    owner.take(Event { kind: Kind::Namespace, told: Told::There(namespace("shop", labels)) });
    read_values(owner);
}

fn take(owner: &mut Owner, kind: Kind, told: Told) {
    owner.take(Event { kind, told });
}

fn everything() -> Vec<(Kind, Value)> {
    vec![
        (Kind::Gateway, gateway("shop")),
        (Kind::HTTPRoute, route("a")),
        (Kind::AuthPolicy, policy()),
        (Kind::Secret, secret()),
        (Kind::HTTPRoute, within("ops", route("own"))),
        (Kind::GatewayParameters, object(Kind::GatewayParameters, "sizes", json!({"replicas": 2}))),
    ]
}

/// How many Gateways, routes, policies and Secrets.
fn counted(declared: &Declared) -> [usize; 4] {
    [declared.gateways.len(), declared.routes.len(), declared.auth_policies.len(), declared.secrets.len()]
}

#[test]
fn only_what_is_in_selected_namespaces_counts() {
    let owner = selecting(json!({"team": "other"}), &everything());
    assert_eq!(counted(&owner.world.declared), [0, 1, 0, 0], "the control plane's own namespace counts without a label");
    assert_eq!(owner.world.declared.gateway_parameters.len(), 1, "what a class may name");
    assert!(owner.world.seen.keys().all(|object| object.kind == Kind::GatewayParameters || &*object.key.namespace == "ops"));
    assert!(
        owner.world.problems.is_empty()
            && owner.good.iter().all(|good| &*good.object.key.namespace != "shop" || good.object.kind == Kind::GatewayParameters)
    );
    assert!(owner.world.leaves_out(&"shop".into()) && !owner.world.leaves_out(&"ops".into()));
}

#[test]
fn a_label_brings_a_namespace_and_takes_it_away_without_a_list() {
    let mut owner = selecting(json!({}), &everything());
    label(&mut owner, json!({"team": "shop"}));
    assert_eq!(counted(&owner.world.declared), [1, 2, 1, 1], "also the Secret that the Gateway refers to");
    assert!(owner.take_changed() && !owner.show().leaves_out(&"shop".into()));
    let before = owner.show();

    label(&mut owner, json!({"team": "other"}));
    assert_eq!(counted(&owner.world.declared), [0, 1, 0, 0]);
    assert!(owner.take_changed() && owner.show().leaves_out(&"shop".into()));
    label(&mut owner, json!({"team": "shop"}));
    let after = owner.show();
    assert_eq!((after.declared, after.seen, after.unreadable), (before.declared, before.seen, before.unreadable));
}

#[test]
fn what_changes_outside_counts_as_it_is_when_it_comes_back() {
    let mut owner = selecting(json!({"team": "shop"}), &everything());
    assert_eq!(counted(&owner.world.declared), [1, 2, 1, 1]);
    label(&mut owner, json!({}));
    take(&mut owner, Kind::HTTPRoute, Told::There(route("b")));
    take(&mut owner, Kind::HTTPRoute, Told::Gone(route("a")));
    let mut newer = policy();
    newer["metadata"]["generation"] = json!(2);
    newer["spec"]["public"]["reason"] = json!("another");
    take(&mut owner, Kind::AuthPolicy, Told::There(newer));
    assert_eq!(counted(&owner.world.declared), [0, 1, 0, 0]);
    label(&mut owner, json!({"team": "shop"}));
    assert_eq!(counted(&owner.world.declared), [1, 2, 1, 1]);
    let declared = &owner.world.declared;
    assert!(declared.routes.contains_key(&ObjectRef::new(Kind::HTTPRoute, "shop", "b")));
    assert!(!declared.routes.contains_key(&ObjectRef::new(Kind::HTTPRoute, "shop", "a")));
    assert_eq!(declared.auth_policies.values().next().unwrap().spec.public.as_ref().unwrap().reason, "another");
}

#[test]
fn a_list_without_an_object_outside_takes_it_away() {
    let mut owner = selecting(json!({}), &everything());
    take(&mut owner, Kind::HTTPRoute, Told::Listing);
    take(&mut owner, Kind::HTTPRoute, Told::There(within("ops", route("own"))));
    take(&mut owner, Kind::HTTPRoute, Told::Listed);
    label(&mut owner, json!({"team": "shop"}));
    assert_eq!(counted(&owner.world.declared), [1, 1, 1, 1]);
}

#[test]
fn a_mistake_outside_is_nobodys_here() {
    let wrong = object(Kind::AuthPolicy, "wrong", json!({"targetRefs": 7}));
    let mut owner = selecting(json!({}), &[(Kind::AuthPolicy, wrong)]);
    assert!(owner.world.problems.is_empty() && owner.world.declared.set_aside.is_empty());
    label(&mut owner, json!({"team": "shop"}));
    assert_eq!((owner.world.problems.len(), owner.world.declared.set_aside.len()), (1, 1));
    label(&mut owner, json!({}));
    assert!(owner.world.problems.is_empty() && owner.world.declared.set_aside.is_empty());
}

#[test]
fn a_good_version_is_forgotten_when_its_object_changes_or_goes_outside() {
    let mut owner = selecting(json!({"team": "shop"}), &everything());
    owner.good.clear();
    label(&mut owner, json!({}));
    let forgotten = |owner: &mut Owner| -> Vec<String> {
        let good = std::mem::take(&mut owner.good).into_iter().filter(|good| good.version.is_none());
        good.map(|good| good.object.to_string()).collect()
    };
    assert_eq!(forgotten(&mut owner), ["Secret/shop/shop"], "of a value nothing is kept");
    take(&mut owner, Kind::HTTPRoute, Told::There(route("a")));
    take(&mut owner, Kind::HTTPRoute, Told::Gone(route("a")));
    assert_eq!(forgotten(&mut owner), ["HTTPRoute/shop/a"], "once");
}

#[test]
fn what_fell_out_and_is_deleted_with_its_namespace_is_gone() {
    let mut owner = selecting(json!({"team": "shop"}), &everything());
    take(&mut owner, Kind::Namespace, Told::Gone(namespace("shop", json!({}))));
    for (kind, object) in everything().into_iter().take(4) {
        take(&mut owner, kind, Told::Gone(object));
    }
    assert!(owner.outside.of_kind(Kind::HTTPRoute).next().is_none());
    assert!(!owner.world.leaves_out(&"shop".into()), "there is none");
    label(&mut owner, json!({"team": "shop"}));
    assert_eq!(counted(&owner.world.declared), [0, 1, 0, 0]);
}

#[test]
fn while_policies_cannot_be_read_what_falls_out_is_not_taken_for_gone() {
    let mut owner = selecting(json!({"team": "shop"}), &everything());
    take(&mut owner, Kind::AuthPolicy, Told::Failed("forbidden".into()));
    label(&mut owner, json!({}));
    let shown = owner.show();
    assert_eq!((counted(&shown.declared), shown.leaves_out(&"shop".into())), ([1, 2, 1, 1], false), "all of it stays as it was");
    let slice = |namespace: &str| {
        let metadata = json!({"name": "one", "namespace": namespace, "uid": "u", "resourceVersion": "1", "generation": 1});
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4", "endpoints": []})
    };
    for namespace in ["ops", "shop"] {
        take(&mut owner, Kind::EndpointSlice, Told::There(slice(namespace)));
    }
    let shown = owner.show();
    let moves: Vec<_> = shown.declared.endpoint_slices.keys().map(|key| &*key.namespace).collect();
    assert!(!shown.kept.is_empty());
    assert_eq!((counted(&shown.declared), moves), ([1, 2, 1, 1], vec!["ops"]), "endpoints elsewhere move on");
    take(&mut owner, Kind::AuthPolicy, Told::Listing);
    take(&mut owner, Kind::AuthPolicy, Told::There(policy()));
    take(&mut owner, Kind::AuthPolicy, Told::Listed);
    let shown = owner.show();
    assert_eq!((counted(&shown.declared), shown.leaves_out(&"shop".into()), shown.kept.is_empty()), ([0, 1, 0, 0], true, true));
}
