//! Puts objects into the cluster by server-side apply, each once per content, and takes away what is no longer wanted. Each request
//! says which object it means: somebody else may have put another one in its place since it was looked at.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::timeout;
use windrose_vocab::ObjectKey;

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
    /// Makes the cluster have all that is wanted, some of it at a time, so that who is slow holds up few. Nothing is sent where it is
    /// what was applied last. Returns the first thing that the cluster refused of each, in words for the owner of a Gateway.
    pub async fn apply<'a>(&mut self, client: &Client, all: impl IntoIterator<Item = &'a Wanted>) -> BTreeMap<For, String> {
        let steps: Vec<Step> = all.into_iter().filter_map(|wanted| self.step(wanted)).collect();
        let mut open = stream::iter(steps.into_iter().map(|step| step.take(client))).buffer_unordered(limits::APPLIES_AT_ONCE);
        let mut refused = BTreeMap::new();
        while let Some((applied, outcome)) = open.next().await {
            refused.extend(outcome.err().map(|why| (applied.wanted.of.clone(), why)));
            self.applied.insert(applied.wanted.of.clone(), applied);
        }
        refused
    }

    /// What is to be done for something that is wanted; nothing where it was done.
    fn step(&self, wanted: &Wanted) -> Option<Step> {
        let former = self.applied.get(&wanted.of);
        if former.is_some_and(|former| former.whole && former.wanted == *wanted) {
            return None;
        }
        let now = objects(wanted);
        let before = former.map_or_else(|| optional(wanted), |former| former.objects.clone());
        let stale = before.iter().filter(|former| !now.iter().any(|kept| kept.is_called_as(former))).cloned().collect();
        let known = if former.is_some_and(|former| former.whole) { before } else { Vec::new() };
        Some(Step { wanted: wanted.clone(), now, known, stale })
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
}

/// What is to be done for one that is wanted.
struct Step {
    wanted: Wanted,
    now: Vec<Object>,
    /// What is known to be there.
    known: Vec<Object>,
    /// What is wanted no more.
    stale: Vec<Object>,
}

impl Step {
    /// Does it. Whatever fails meanwhile, what was there before is not forgotten.
    async fn take(self, client: &Client) -> (Applied, Result<(), String>) {
        let outcome = self.bring(client).await;
        let Self { wanted, now, known: _, stale } = self;
        let objects = if outcome.is_ok() { now } else { now.into_iter().chain(stale).collect() };
        (Applied { wanted, objects, whole: outcome.is_ok() }, outcome)
    }

    /// Puts what is wanted, but for what is known to be there, and takes away the rest.
    async fn bring(&self, client: &Client) -> Result<(), String> {
        for object in self.now.iter().filter(|object| !self.known.contains(object)) {
            put(client, &self.wanted, object).await?;
        }
        for object in &self.stale {
            remove(client, self.wanted.namespace(), &owners(&self.wanted), object).await?;
        }
        Ok(())
    }
}

fn owners(wanted: &Wanted) -> Vec<Owner> {
    let owner = |uid: &String| Owner { namespace: wanted.namespace().clone(), uid: uid.clone() };
    wanted.owners.values().map(owner).collect()
}

/// Takes away what was made under that name for Gateways that have something else by now: the Service, the Envoys, or both. A Gateway
/// owns nothing in another namespace, whatever an object there says.
///
/// # Errors
/// What the cluster refused.
pub async fn sweep(client: &Client, owners: &[Owner], name: &ObjectKey, what: Sweep) -> Result<(), String> {
    if let Some(foreign) = owners.iter().find(|owner| owner.namespace != name.namespace) {
        return Err(format!("{name} cannot be deleted: it is not in namespace {}", foreign.namespace));
    }
    let kinds = match what {
        Sweep::Service => &[SERVICE][..],
        Sweep::Envoys => &ENVOYS[..],
    };
    for kind in kinds {
        remove(client, &name.namespace, owners, &Object::named(*kind, &name.namespace, &name.name)).await?;
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

/// What may be there from before a restart, and is not wanted by everybody.
const OPTIONAL: [(&str, &str, &str); 2] = [
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

/// What Envoys are made of. The Deployment goes last: by it we find what is left where something else could not be deleted.
const ENVOYS: [(&str, &str, &str); 5] = [
    OPTIONAL[0],
    OPTIONAL[1],
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("apps/v1", "Deployment", "deployments"),
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

/// Why something could not be done with an object.
enum Failure {
    /// The cluster refused it; a conflict where it has changed since we looked.
    Refused(kube::Error),
    Silent,
}

impl Failure {
    fn is(&self, status: u16) -> bool {
        matches!(self, Self::Refused(error) if code(error) == Some(status))
    }

    /// In words for the owner of a Gateway.
    fn told(&self, object: &Object, what: &str) -> String {
        let why = match self {
            Self::Refused(error) => explain(error),
            Self::Silent => format!("no answer in {:?}", limits::REQUEST_TIME),
        };
        format!("{} {} cannot be {what}: {why}", object.kind, object.name())
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    timeout(limits::REQUEST_TIME, request).await.map_err(|_| Failure::Silent)?.map_err(Failure::Refused)
}

/// What is there of that name.
async fn look(api: &Api<DynamicObject>, object: &Object) -> Result<Option<ObjectMeta>, String> {
    let found = in_time(api.get_metadata_opt(object.name())).await.map_err(|failure| failure.told(object, "read"))?;
    Ok(found.map(|there| there.metadata))
}

/// Something of that name that somebody else made is not taken over: it would be deleted with its owner here.
fn is_ours(wanted: &Wanted, there: &ObjectMeta) -> bool {
    let owners = there.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|owner| wanted.owners.values().any(|uid| *uid == owner.uid)) {
        return true;
    }
    let labels = there.labels.as_ref();
    let is_ours = labels.is_some_and(|labels| labels.get("app.kubernetes.io/managed-by").is_some_and(|by| by == MANAGER));
    is_ours && !owners.iter().any(|owner| owner.controller == Some(true))
}

fn foreign(object: &Object) -> String {
    format!("{} {} is there and not of this Gateway: rename the Gateway, or delete it", object.kind, object.name())
}

async fn put(client: &Client, wanted: &Wanted, object: &Object) -> Result<(), String> {
    let api = api(client, wanted.namespace(), object);
    let Some(there) = look(&api, object).await? else { return put_first(&api, object).await };
    if !is_ours(wanted, &there) {
        return Err(foreign(object));
    }
    if wanted.parameters.autoscaling.is_some() && object.kind == "Deployment" {
        hand_over_replicas(&api, object).await?;
    }
    let patch = Patch::Apply(with_uid(&object.value, there.uid));
    let applied = in_time(api.patch(object.name(), &PatchParams::apply(MANAGER).force(), &patch)).await;
    applied.map(drop).map_err(|failure| failure.told(object, "applied"))
}

/// The same for no other object than that.
fn with_uid(value: &Value, uid: Option<String>) -> Value {
    let mut value = value.clone();
    if let (Some(metadata), Some(uid)) = (value.pointer_mut("/metadata").and_then(Value::as_object_mut), uid) {
        metadata.insert("uid".to_owned(), uid.into());
    }
    value
}

/// Makes an object that was not there. Without force nothing of somebody else's is overwritten, and where somebody made one of that name
/// in the meantime, what we said of it is taken back.
async fn put_first(api: &Api<DynamicObject>, object: &Object) -> Result<(), String> {
    let parameters = PatchParams::apply(MANAGER);
    let made = match in_time(api.patch(object.name(), &parameters, &Patch::Apply(&object.value))).await {
        Ok(made) => made.metadata,
        Err(failure) if failure.is(409) => return Err(foreign(object)),
        Err(failure) => return Err(failure.told(object, "applied")),
    };
    let others = made.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() != Some(MANAGER));
    if !others {
        return Ok(());
    }
    let nothing = json!({"apiVersion": object.api_version, "kind": object.kind, "metadata": {"name": object.name()}});
    let patch = Patch::Apply(with_uid(&nothing, made.uid));
    in_time(api.patch(object.name(), &parameters, &patch)).await.map_err(|failure| failure.told(object, "left to whoever made it"))?;
    Err(foreign(object))
}

/// A number of replicas that nobody declares any more would become one, until the autoscaler has looked for the first time: until
/// then, the number that is there is declared under another name. It is the same number, so nobody who has it is contradicted.
async fn hand_over_replicas(api: &Api<DynamicObject>, object: &Object) -> Result<(), String> {
    let name = object.name();
    let there = in_time(api.get_opt(name)).await.map_err(|failure| failure.told(object, "read"))?;
    let Some(replicas) = there.and_then(|there| there.data.pointer("/spec/replicas").and_then(Value::as_u64)) else { return Ok(()) };
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas}});
    match in_time(api.patch(name, &PatchParams::apply(BEFORE_AUTOSCALING), &Patch::Apply(&patch))).await {
        // It has changed meanwhile: whoever changed it has it.
        Err(failure) if !failure.is(409) => Err(failure.told(object, "applied")),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Deletes what is there and ours, and nothing that takes its place or becomes another's meanwhile.
async fn remove(client: &Client, namespace: &str, owners: &[Owner], object: &Object) -> Result<(), String> {
    let api = api(client, namespace, object);
    for last in [false, true] {
        let Some(there) = look(&api, object).await? else { return Ok(()) };
        let of = there.owner_references.unwrap_or_default();
        if !of.iter().any(|of| owners.iter().any(|owner| owner.uid == of.uid && *owner.namespace == *namespace)) {
            return Ok(());
        }
        let preconditions = Some(Preconditions { resource_version: there.resource_version, uid: there.uid });
        let parameters = DeleteParams { preconditions, ..DeleteParams::background() };
        match in_time(api.delete(object.name(), &parameters)).await {
            // A status that was written meanwhile is no change of owner: it is looked at once more.
            Err(failure) if failure.is(409) && !last => {}
            Err(failure) if !failure.is(404) => return Err(failure.told(object, "deleted")),
            Ok(_) | Err(_) => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
