//! The gate of a proxy's Pod: open when its Envoy runs what it should. Traffic comes only then.

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use windrose_vocab::ObjectKey;

use crate::client::{code, explain};
use crate::deploy::{MANAGER, READY_GATE};
use crate::limits;
use crate::status::timestamp;

/// Opens or closes the gate of a Pod, if it is still the same one.
///
/// # Errors
/// What the cluster refused.
pub async fn set(client: &Client, pod: &ObjectKey, uid: &str, open: bool, message: &str, now: SystemTime) -> Result<(), String> {
    let condition = json!({
        "type": READY_GATE,
        "status": if open { "True" } else { "False" },
        "reason": if open { "Programmed" } else { "Pending" },
        "message": message,
        "lastTransitionTime": timestamp(now),
    });
    let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Strategic(&patch);
    let sent = tokio::time::timeout(limits::REQUEST_TIME, api.patch_status(&pod.name, &parameters, &patch)).await;
    match sent.map_err(|_| "no answer in time".to_owned())? {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(explain(&error)),
    }
}
