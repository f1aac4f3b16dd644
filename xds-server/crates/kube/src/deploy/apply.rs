//! Puts objects into the cluster by server-side apply, each once per content, and takes away what is no longer wanted.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use windrose_vocab::ObjectKey;

use super::{MANAGER, Object, Owner, Wanted, objects};
use crate::client::{code, explain};
use crate::limits;

/// The field manager of a number of replicas that an autoscaler is about to own.
const BEFORE_AUTOSCALING: &str = "windrose-before-autoscaling";

/// What we know of what is there.
#[derive(Default)]
pub struct Applier {
    applied: BTreeMap<ObjectKey, (Wanted, Vec<Object>)>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("gateways", &self.applied.len()).finish()
    }
}

impl Applier {
    /// Makes the cluster have what this Gateway wants. Nothing is sent where it is what was applied last.
    ///
    /// # Errors
    /// The first thing that the cluster refused, in words for the owner of the Gateway.
    pub async fn apply(&mut self, client: &Client, wanted: &Wanted) -> Result<(), String> {
        if self.applied.get(&wanted.gateway).is_some_and(|(former, _)| former == wanted) {
            return Ok(());
        }
        let now = objects(wanted);
        // Until all is there again, nothing is known to be.
        let before = self.applied.remove(&wanted.gateway).map(|(_, objects)| objects);
        for object in &now {
            if before.as_ref().is_some_and(|before| before.contains(object)) {
                continue;
            }
            if !before.iter().flatten().any(|former| former.is_called_as(object)) {
                refuse_foreign(client, wanted, object).await?;
            }
            put(client, wanted, object).await?;
        }
        for object in before.unwrap_or_else(|| optional(wanted)) {
            if !now.iter().any(|kept| kept.is_called_as(&object)) {
                remove(client, &wanted.owner(), &object).await?;
            }
        }
        self.applied.insert(wanted.gateway.clone(), (wanted.clone(), now));
        Ok(())
    }

    /// Forgets what was made for a Gateway: it is gone with it, by its owner, or somebody deleted it and the next
    /// [`Self::apply`] puts it right.
    pub fn forget(&mut self, gateway: &ObjectKey) {
        self.applied.remove(gateway);
    }

    /// The Gateways that something was made for.
    pub fn gateways(&self) -> impl Iterator<Item = &ObjectKey> {
        self.applied.keys()
    }

    /// The same, with the name of what was made.
    pub fn names(&self) -> impl Iterator<Item = (&ObjectKey, ObjectKey)> {
        self.applied.iter().map(|(gateway, (wanted, _))| (gateway, ObjectKey::new(gateway.namespace.clone(), wanted.name())))
    }

    /// Takes away what was made for a Gateway that is still there, but no longer ours.
    ///
    /// # Errors
    /// What the cluster refused.
    pub async fn withdraw(&mut self, client: &Client, gateway: &ObjectKey) -> Result<(), String> {
        let Some((wanted, made)) = self.applied.get(gateway).cloned() else { return Ok(()) };
        for object in &made {
            remove(client, &wanted.owner(), object).await?;
        }
        self.applied.remove(gateway);
        Ok(())
    }
}

/// Takes away what was made under that name for a Gateway that goes by another name by now: its class was changed while nobody
/// looked.
///
/// # Errors
/// What the cluster refused.
pub async fn sweep(client: &Client, owner: &Owner, name: &str) -> Result<(), String> {
    for (api_version, kind, plural) in MADE.into_iter().chain(OPTIONAL) {
        remove(client, owner, &Object::named((api_version, kind, plural), &owner.namespace, name)).await?;
    }
    Ok(())
}

/// What is made for every Gateway, who sends traffic first.
const MADE: [(&str, &str, &str); 4] = [
    ("v1", "Service", "services"),
    ("apps/v1", "Deployment", "deployments"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "ServiceAccount", "serviceaccounts"),
];

/// What may be there from before a restart, and is not wanted by everybody.
const OPTIONAL: [(&str, &str, &str); 2] = [
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

fn optional(wanted: &Wanted) -> Vec<Object> {
    OPTIONAL.into_iter().map(|kind| Object::named(kind, &wanted.gateway.namespace, &wanted.name())).collect()
}

fn api(client: &Client, namespace: &str, object: &Object) -> Api<DynamicObject> {
    let (group, version) = object.api_version.split_once('/').unwrap_or(("", object.api_version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: object.api_version.to_owned(),
        kind: object.kind.to_owned(),
        plural: object.plural.to_owned(),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Something of that name that somebody else made is not taken over: it would be deleted with the Gateway.
async fn refuse_foreign(client: &Client, wanted: &Wanted, object: &Object) -> Result<(), String> {
    let name = object.name();
    let failed = |error: kube::Error| format!("{} {name} cannot be read: {}", object.kind, explain(&error));
    let Some(there) = api(client, &wanted.gateway.namespace, object).get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
    let owners = there.metadata.owner_references.unwrap_or_default();
    if owners.iter().any(|owner| owner.uid == wanted.uid) {
        return Ok(());
    }
    let is_ours = there.metadata.labels.unwrap_or_default().get("app.kubernetes.io/managed-by").is_some_and(|by| by == MANAGER);
    if is_ours && !owners.iter().any(|owner| owner.controller == Some(true)) {
        return Ok(());
    }
    Err(format!("{} {name} is there and not of this Gateway: rename the Gateway, or delete it", object.kind))
}

async fn put(client: &Client, wanted: &Wanted, object: &Object) -> Result<(), String> {
    let parameters = PatchParams::apply(MANAGER).force();
    let api = api(client, &wanted.gateway.namespace, object);
    let name = object.name();
    if wanted.parameters.autoscaling.is_some() && object.kind == "Deployment" {
        hand_over_replicas(&api, name).await?;
    }
    let patch = Patch::Apply(&object.value);
    let sent = tokio::time::timeout(limits::REQUEST_TIME, api.patch(name, &parameters, &patch)).await;
    match sent {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{} {name} cannot be applied: {}", object.kind, explain(&error))),
        Err(_) => Err(format!("{} {name} cannot be applied: no answer in {:?}", object.kind, limits::REQUEST_TIME)),
    }
}

/// A number of replicas that nobody declares any more would become one, until the autoscaler has looked for the first time: until
/// then, the number that is there is declared under another name. It is the same number, so nobody who has it is contradicted.
async fn hand_over_replicas(api: &Api<DynamicObject>, name: &str) -> Result<(), String> {
    let failed = |error: kube::Error| format!("Deployment {name} cannot be read: {}", explain(&error));
    let Some(there) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
    let Some(replicas) = there.data.pointer("/spec/replicas").and_then(Value::as_u64) else { return Ok(()) };
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas}});
    match api.patch(name, &PatchParams::apply(BEFORE_AUTOSCALING), &Patch::Apply(&patch)).await {
        // It has changed meanwhile: whoever changed it has it.
        Err(error) if code(&error) != Some(409) => Err(format!("Deployment {name} cannot be applied: {}", explain(&error))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Deletes what is there and ours.
async fn remove(client: &Client, owner: &Owner, object: &Object) -> Result<(), String> {
    let api = api(client, &owner.namespace, object);
    let name = object.name();
    let failed = |error: kube::Error| format!("{} {name} cannot be deleted: {}", object.kind, explain(&error));
    let Some(there) = api.get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
    let owners = there.metadata.owner_references.unwrap_or_default();
    if !owners.iter().any(|of| of.uid == owner.uid) {
        return Ok(());
    }
    match api.delete(name, &DeleteParams::background()).await {
        Err(error) if code(&error) != Some(404) => Err(failed(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}
