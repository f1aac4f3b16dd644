//! Writes one status, on the version it was made for.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use windrose_vocab::ObjectRef;

use crate::client::{code, explain};
use crate::deploy::MANAGER;
use crate::limits;
use crate::source::{Seen, watch::resource};

/// How a write went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands there, in this resource version of the object.
    Written(String),
    /// The object was changed or deleted meanwhile: the watch tells, and it is made anew.
    Outdated,
    /// It cannot be written now, and why.
    Failed(String),
}

/// Writes `status` into `object`, unless the object is another one than was seen.
pub async fn write(client: &Client, object: &ObjectRef, seen: &Seen, status: &Value) -> Outcome {
    let version = seen.api_version.rsplit('/').next().unwrap_or("v1");
    let resource = resource(object.kind, version);
    let api: Api<DynamicObject> = if object.kind.is_cluster_scoped() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &object.key.namespace, &resource)
    };
    let mut status = status.clone();
    if let (Some(now), Some(before)) = (status.as_object_mut(), seen.status().as_object()) {
        // A merge leaves what is not named.
        for name in before.keys() {
            now.entry(name).or_insert(Value::Null);
        }
    }
    let patch = json!({"metadata": {"resourceVersion": seen.resource_version, "uid": seen.uid}, "status": status});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    let sent = api.patch_status(&object.key.name, &parameters, &patch);
    match tokio::time::timeout(limits::REQUEST_TIME, sent).await {
        Ok(Ok(object)) => Outcome::Written(object.metadata.resource_version.unwrap_or_default()),
        Ok(Err(error)) if matches!(code(&error), Some(404 | 409)) => Outcome::Outdated,
        Ok(Err(error)) => Outcome::Failed(explain(&error)),
        Err(_) => Outcome::Failed(format!("no answer in {:?}", limits::REQUEST_TIME)),
    }
}
