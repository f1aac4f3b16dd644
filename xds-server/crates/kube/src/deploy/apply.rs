//! Puts objects into the cluster by server-side apply, each once per content, and takes away what is no longer wanted.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{For, MANAGER, Object, Owner, Wanted, objects};
use crate::client::{code, explain};
use crate::limits;

/// The field manager of a number of replicas that an autoscaler is about to own.
const BEFORE_AUTOSCALING: &str = "windrose-before-autoscaling";

/// What we know of what is there.
#[derive(Default)]
pub struct Applier {
    applied: BTreeMap<For, Applied>,
}

struct Applied {
    wanted: Wanted,
    objects: Vec<Object>,
    /// The cluster took all of it.
    whole: bool,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("applied", &self.applied.len()).finish()
    }
}

impl Applier {
    /// Makes the cluster have what is wanted. Nothing is sent where it is what was applied last.
    ///
    /// # Errors
    /// The first thing that the cluster refused, in words for the owner of a Gateway.
    pub async fn apply(&mut self, client: &Client, wanted: &Wanted) -> Result<(), String> {
        let former = self.applied.get(&wanted.of);
        if former.is_some_and(|former| former.whole && former.wanted == *wanted) {
            return Ok(());
        }
        let now = objects(wanted);
        let before = former.map_or_else(|| optional(wanted), |former| former.objects.clone());
        let known = if former.is_some_and(|former| former.whole) { &before[..] } else { &[] };
        let stale: Vec<Object> = before.iter().filter(|former| !now.iter().any(|kept| kept.is_called_as(former))).cloned().collect();
        // Whatever fails meanwhile, what was there before is not forgotten.
        let all = now.iter().cloned().chain(stale.clone()).collect();
        let outcome = bring(client, wanted, &now, known, &stale).await;
        let (objects, whole) = if outcome.is_ok() { (now, true) } else { (all, false) };
        self.applied.insert(wanted.of.clone(), Applied { wanted: wanted.clone(), objects, whole });
        outcome
    }

    /// Forgets what was made: it is gone with its owners, or somebody deleted it and the next [`Self::apply`] puts it right.
    pub fn forget(&mut self, of: &For) {
        self.applied.remove(of);
    }

    /// What was wanted for it last.
    #[must_use]
    pub fn former(&self, of: &For) -> Option<&Wanted> {
        self.applied.get(of).map(|applied| &applied.wanted)
    }

    /// What was made.
    pub fn applied(&self) -> impl Iterator<Item = &Wanted> {
        self.applied.values().map(|applied| &applied.wanted)
    }

    /// What was made and taken whole.
    pub fn whole(&self) -> impl Iterator<Item = &Wanted> {
        self.applied.values().filter(|applied| applied.whole).map(|applied| &applied.wanted)
    }

    /// Takes away what was made for Gateways that are still there, but no longer want it.
    ///
    /// # Errors
    /// What the cluster refused.
    pub async fn withdraw(&mut self, client: &Client, of: &For) -> Result<(), String> {
        let Some(Applied { wanted, objects, .. }) = self.applied.get(of) else { return Ok(()) };
        for object in objects {
            remove(client, &owners(wanted), object).await?;
        }
        self.applied.remove(of);
        Ok(())
    }
}

/// Puts what is wanted, but for what is known to be there, and takes away the rest.
async fn bring(client: &Client, wanted: &Wanted, now: &[Object], known: &[Object], stale: &[Object]) -> Result<(), String> {
    for object in now.iter().filter(|object| !known.contains(object)) {
        if !known.iter().any(|former| former.is_called_as(object)) {
            refuse_foreign(client, wanted, object).await?;
        }
        put(client, wanted, object).await?;
    }
    for object in stale {
        remove(client, &owners(wanted), object).await?;
    }
    Ok(())
}

fn owners(wanted: &Wanted) -> Vec<Owner> {
    let owner = |uid: &String| Owner { namespace: wanted.namespace().clone(), uid: uid.clone() };
    wanted.owners.values().map(owner).collect()
}

/// Takes away what was made under that name for Gateways that have something else by now: the Service, the Envoys, or both.
///
/// # Errors
/// What the cluster refused.
pub async fn sweep(client: &Client, owners: &[Owner], name: &str, what: Sweep) -> Result<(), String> {
    let (service, envoys) = match what {
        Sweep::Service => (true, false),
        Sweep::Envoys => (false, true),
    };
    let service = service.then_some(SERVICE);
    let envoys = ENVOYS.into_iter().chain(OPTIONAL).filter(|_| envoys);
    for kind in service.into_iter().chain(envoys) {
        let namespace = owners.first().map_or("", |owner| &*owner.namespace);
        remove(client, owners, &Object::named(kind, namespace, name)).await?;
    }
    Ok(())
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The way to Envoys.
    Service,
    /// Envoys, with all that they need.
    Envoys,
}

/// Who sends traffic goes first.
const SERVICE: (&str, &str, &str) = ("v1", "Service", "services");

/// What all Envoys are made of.
const ENVOYS: [(&str, &str, &str); 3] =
    [("apps/v1", "Deployment", "deployments"), ("v1", "ConfigMap", "configmaps"), ("v1", "ServiceAccount", "serviceaccounts")];

/// What may be there from before a restart, and is not wanted by everybody.
const OPTIONAL: [(&str, &str, &str); 2] = [
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

fn optional(wanted: &Wanted) -> Vec<Object> {
    OPTIONAL.into_iter().map(|kind| Object::named(kind, wanted.namespace(), &wanted.name())).collect()
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

/// Something of that name that somebody else made is not taken over: it would be deleted with its owner here.
async fn refuse_foreign(client: &Client, wanted: &Wanted, object: &Object) -> Result<(), String> {
    let name = object.name();
    let failed = |error: kube::Error| format!("{} {name} cannot be read: {}", object.kind, explain(&error));
    let Some(there) = api(client, wanted.namespace(), object).get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
    let owners = there.metadata.owner_references.unwrap_or_default();
    if owners.iter().any(|owner| wanted.owners.values().any(|uid| *uid == owner.uid)) {
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
    let api = api(client, wanted.namespace(), object);
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
async fn remove(client: &Client, owners: &[Owner], object: &Object) -> Result<(), String> {
    let Some(Owner { namespace, .. }) = owners.first() else { return Ok(()) };
    let api = api(client, namespace, object);
    let name = object.name();
    let failed = |error: kube::Error| format!("{} {name} cannot be deleted: {}", object.kind, explain(&error));
    let Some(there) = api.get_metadata_opt(name).await.map_err(failed)? else { return Ok(()) };
    let of = there.metadata.owner_references.unwrap_or_default();
    if !of.iter().any(|of| owners.iter().any(|owner| owner.uid == of.uid)) {
        return Ok(());
    }
    match api.delete(name, &DeleteParams::background()).await {
        Err(error) if code(&error) != Some(404) => Err(failed(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}
