//! What Envoy refuses, with what runs in its place, and the last good versions of objects that cannot be decoded now, in one Secret of
//! the control plane's namespace: a replica that starts knows them.
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
/// Its two entries.
const ENTRY: &str = "refused.json";
const HELD: &str = "last-good.json";

/// What is kept there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// What is refused, and what runs in its place.
    pub refused: Vec<u8>,
    /// Last good versions of what cannot be decoded.
    pub held: Vec<u8>,
}

impl std::fmt::Debug for Content {
    /// Never the content: it may quote Secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} and {} bytes", self.refused.len(), self.held.len())
    }
}

/// What is there.
///
/// # Errors
/// What the cluster refused.
pub async fn read(client: &Client, namespace: &str) -> Result<Option<Content>, String> {
    let secrets = api(client, namespace);
    let found = timeout(limits::REQUEST_TIME, secrets.get_opt(SECRET)).await;
    let found = found.map_err(|_| format!("Secret {SECRET} cannot be read: no answer"))?.map_err(|error| failed("read", &error))?;
    let Some(mut data) = found.and_then(|secret| secret.data) else { return Ok(None) };
    let mut entry = |name| data.remove(name).map(|bytes| bytes.0).unwrap_or_default();
    Ok(Some(Content { refused: entry(ENTRY), held: entry(HELD) }))
}

/// Puts that there.
///
/// # Errors
/// What the cluster refused.
pub async fn write(client: &Client, namespace: &str, content: &Content) -> Result<(), String> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "windrose.dev/refused",
        "metadata": {"name": SECRET, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
        "data": {ENTRY: ByteString(content.refused.clone()), HELD: ByteString(content.held.clone())},
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
