//! What the control plane may do in a cluster: one line for each call it makes, and the roles made of them. A test looks
//! every call up in the sources, so a right that nobody uses any more does not stay.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windrose_vocab::Kind;

use super::{NAME, Options, objects};
use crate::source::{by_metadata, has_status};
use crate::{keys, lease, names, refused, surroundings};

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In all namespaces, and for what is in none.
    Cluster,
    /// In the namespace of the control plane.
    Own,
}

/// One thing that the control plane may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub place: Place,
    /// API group.
    pub group: &'static str,
    /// Plural, with its subresource where it is one.
    pub resource: String,
    /// What.
    pub verb: &'static str,
    /// Only on the object of this name.
    pub only: Option<&'static str>,
    /// Which file makes the call, and by which words it is found there.
    pub call: (&'static str, &'static str),
}

/// Groups whose kinds people declare things in.
pub(super) const GROUPS: [&str; 2] = ["gateway.networking.k8s.io", "windrose.dev"];

/// What is made for a Gateway.
const MADE: [(&str, &str); 6] = [
    ("", "serviceaccounts"),
    ("", "configmaps"),
    ("", "services"),
    ("apps", "deployments"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
];

/// Every right, in an order of its own. None is given twice: a right that another one holds already would never be missed.
#[must_use]
pub fn rights(webhook: bool) -> Vec<Right> {
    let mut all = declared();
    all.extend(made());
    all.extend(own());
    if webhook {
        let of_webhook = |verb, call| Right {
            only: Some(NAME),
            ..cluster("admissionregistration.k8s.io", "validatingwebhookconfigurations", verb, call)
        };
        all.push(of_webhook("get", ("webhook.rs", "ValidatingWebhookConfiguration")));
        all.push(of_webhook("patch", ("webhook.rs", "ValidatingWebhookConfiguration")));
    }
    all
}

/// What people declare is watched, what they refer to is read, and the status is written.
fn declared() -> Vec<Right> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let (group, plural) = (kind.group(), names::plural(kind));
        let watched = ("source/watch.rs", if by_metadata(kind) { "PartialObjectMeta<DynamicObject>" } else { "Api<DynamicObject>" });
        all.extend(["list", "watch"].map(|verb| cluster(group, &plural, verb, watched)));
        if has_status(kind) {
            all.push(cluster(group, &format!("{plural}/status"), "patch", ("status/write.rs", "patch_status(")));
        }
    }
    // Only those that somebody refers to. RBAC knows no right to metadata alone, nor one that follows references.
    let value = ("source/watch.rs", "get_opt(name)");
    all.extend(["secrets", "configmaps"].map(|plural| cluster("", plural, "get", value)));
    // Which version of Gateway API the cluster has, is said by two of its definitions.
    all.extend(surroundings::VERSIONED.map(|name| Right {
        only: Some(name),
        ..cluster("apiextensions.k8s.io", "customresourcedefinitions", "get", ("surroundings.rs", "get_metadata_opt(name)"))
    }));
    all
}

/// What is made for Gateways is applied, followed, and taken away.
fn made() -> Vec<Right> {
    let mut all = Vec::new();
    for (group, plural) in MADE {
        all.extend(["create", "patch"].map(|verb| cluster(group, plural, verb, ("deploy/apply.rs", "Patch::Apply"))));
        all.push(cluster(group, plural, "delete", ("deploy/apply.rs", "api.delete(")));
        if plural != "configmaps" {
            all.push(cluster(group, plural, "get", ("deploy/apply.rs", "get_metadata_opt(")));
        }
    }
    all.extend(["list", "watch"].map(|verb| cluster("apps", "deployments", verb, ("deploy/observed.rs", "Api::<Deployment>::all"))));
    all.extend(["list", "watch"].map(|verb| cluster("", "pods", verb, ("deploy/observed.rs", "Api::<Pod>::all"))));
    all.extend(["list", "watch"].map(|verb| cluster("", "nodes", verb, ("zones.rs", "Api::<PartialObjectMeta<Node>>::all"))));
    all.push(cluster("", "pods/status", "patch", ("gate.rs", "patch_status(")));
    // Where OwnerReferencesPermissionEnforcement is on, an owner that is waited for needs this.
    all.push(cluster("gateway.networking.k8s.io", "gateways/finalizers", "update", ("deploy/objects.rs", "blockOwnerDeletion")));
    all.push(cluster("authentication.k8s.io", "tokenreviews", "create", ("tokens.rs", "Api<TokenReview>")));
    all.extend(["create", "patch"].map(|verb| cluster("events.k8s.io", "events", verb, ("events.rs", "Recorder"))));
    all
}

/// The keys, what is refused, and the Lease. A name cannot be asked of what is not there yet, so `create` has none.
fn own() -> Vec<Right> {
    let right = |group, resource: &str, verb, only, call| Right { place: Place::Own, only, ..cluster(group, resource, verb, call) };
    let leases = |verb, only, call| right("coordination.k8s.io", "leases", verb, only, ("lease.rs", call));
    vec![
        leases("create", None, "api.create("),
        leases("get", Some(lease::LEASE), "get_opt(LEASE)"),
        leases("update", Some(lease::LEASE), "api.replace(LEASE"),
        right("", "secrets", "create", None, ("keys.rs", ".create(&PostParams")),
        right("", "secrets", "patch", Some(keys::SECRET), ("keys.rs", ".patch(SECRET")),
        right("", "secrets", "patch", Some(refused::SECRET), ("refused.rs", ".patch(SECRET")),
    ]
}

fn cluster(group: &'static str, resource: &str, verb: &'static str, call: (&'static str, &'static str)) -> Right {
    Right { place: Place::Cluster, group, resource: resource.to_owned(), verb, only: None, call }
}

/// The roles with all rights, bound to the service account.
pub(super) fn roles(options: &Options) -> Vec<Value> {
    let all = rights(options.webhook);
    let of = |place: Place| rules(all.iter().filter(|right| right.place == place));
    let cluster = json!({"name": NAME, "labels": objects::labels()});
    let own = objects::metadata(options);
    let api = "rbac.authorization.k8s.io";
    let bound = |kind: &str, role: &str, metadata: &Value| {
        json!({
            "apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": role, "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": options.namespace}],
        })
    };
    vec![
        json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": cluster, "rules": of(Place::Cluster)}),
        bound("ClusterRoleBinding", "ClusterRole", &cluster),
        json!({"apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": own, "rules": of(Place::Own)}),
        bound("RoleBinding", "Role", &own),
    ]
}

/// Group, the one name if there is one, and verbs.
type Allowed<'a> = (&'a str, Option<&'a str>, Vec<&'a str>);

/// One rule for resources of a group with the same verbs.
fn rules<'a>(rights: impl Iterator<Item = &'a Right>) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, Option<&str>, &str), Vec<&str>> = BTreeMap::new();
    for right in rights {
        verbs.entry((right.group, right.only, &right.resource)).or_default().push(right.verb);
    }
    let mut resources: BTreeMap<Allowed<'_>, Vec<&str>> = BTreeMap::new();
    for ((group, only, resource), mut verbs) in verbs {
        verbs.sort_unstable();
        resources.entry((group, only, verbs)).or_default().push(resource);
    }
    let rule = |((group, only, verbs), resources): (Allowed<'_>, Vec<&str>)| {
        let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        if let Some(name) = only {
            rule["resourceNames"] = json!([name]);
        }
        rule
    };
    resources.into_iter().map(rule).collect()
}
