//! The keys of the control plane, in one Secret of its own namespace: every replica has the same, and the first that starts makes them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::client::{code, explain};
use crate::deploy::MANAGER;

/// The name of the Secret.
pub const SECRET: &str = "windrose-keys";

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The keys that are there.
///
/// # Errors
/// What the cluster refused.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Files>, String> {
    let found = api(client, namespace).get_opt(SECRET).await.map_err(|error| failed("read", &error))?;
    Ok(found.map(|secret| secret.data.unwrap_or_default().into_iter().map(|(name, bytes)| (name, bytes.0)).collect()))
}

/// Puts keys there, unless somebody else did: whether these are the ones now.
///
/// # Errors
/// What the cluster refused.
pub async fn create(client: &Client, namespace: &str, files: &Files) -> Result<bool, String> {
    let labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())]);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(SECRET.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        data: Some(files.iter().map(|(name, bytes)| (name.clone(), ByteString(bytes.clone()))).collect()),
        type_: Some("windrose.dev/keys".to_owned()),
        ..Secret::default()
    };
    match api(client, namespace).create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(409) => Ok(false),
        Err(error) => Err(failed("written", &error)),
    }
}

/// Puts changed keys there.
///
/// # Errors
/// What the cluster refused.
pub async fn update(client: &Client, namespace: &str, files: &Files) -> Result<(), String> {
    let data: BTreeMap<&String, ByteString> = files.iter().map(|(name, bytes)| (name, ByteString(bytes.clone()))).collect();
    let patch = json!({"data": data});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api(client, namespace).patch(SECRET, &parameters, &Patch::Merge(&patch)).await.map(drop).map_err(|error| failed("written", &error))
}

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn failed(done: &str, error: &kube::Error) -> String {
    format!("Secret {SECRET} cannot be {done}: {}", explain(error))
}
