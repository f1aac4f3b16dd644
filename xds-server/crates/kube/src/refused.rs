//! What Envoy refuses, with what runs in its place, in one Secret of the control plane's namespace: a replica that starts knows it.
//! It may quote any object, so it is as secret as the most secret of them. The leader writes it.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::client::explain;
use crate::deploy::MANAGER;
use crate::limits;

/// The name of the Secret.
pub const SECRET: &str = "windrose-refused";
/// Bytes that the Secret has room for: the cluster takes one mebibyte for all of it, and base64 has no part in that.
pub const ROOM: usize = 1_000_000;
/// Its one entry.
const ENTRY: &str = "refused.json";

/// What is there.
///
/// # Errors
/// What the cluster refused.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Vec<u8>>, String> {
    let found = api(client, namespace).get_opt(SECRET).await.map_err(|error| failed("read", &error))?;
    Ok(found.and_then(|secret| secret.data?.remove(ENTRY)).map(|bytes| bytes.0))
}

/// Puts that there.
///
/// # Errors
/// What the cluster refused.
pub async fn write(client: &Client, namespace: &str, content: &[u8]) -> Result<(), String> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "windrose.dev/refused",
        "metadata": {"name": SECRET, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
        "data": {ENTRY: ByteString(content.to_vec())},
    });
    let parameters = PatchParams::apply(MANAGER).force();
    match timeout(limits::REQUEST_TIME, api(client, namespace).patch(SECRET, &parameters, &Patch::Apply(&secret))).await {
        Ok(answer) => answer.map(drop).map_err(|error| failed("written", &error)),
        Err(_) => Err(format!("Secret {SECRET} cannot be written: no answer in {:?}", limits::REQUEST_TIME)),
    }
}

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn failed(done: &str, error: &kube::Error) -> String {
    format!("Secret {SECRET} cannot be {done}: {}", explain(error))
}
