//! The keys of the control plane, in one Secret of its own namespace: every replica has the same, and the first that starts makes them.
//! Where the Secret is gone while replicas run, theirs are the keys all the same, and the one that leads puts them back.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::client::{code, explain};
use crate::deploy::MANAGER;
use crate::lease::LEASE;

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

/// Puts the keys of a running control plane back where nobody has any; whether that was so.
///
/// # Errors
/// What the cluster refused.
pub async fn restore(client: &Client, namespace: &str, files: &Files) -> Result<bool, String> {
    match read(client, namespace).await? {
        Some(_) => Ok(false),
        None => create(client, namespace, files).await,
    }
}

/// Puts keys there that the Secret lacks, and no others: whether it lacks none of them now, and they are these. Not so where somebody
/// else wrote it meanwhile, or it is gone.
///
/// # Errors
/// What the cluster refused.
pub async fn complete(client: &Client, namespace: &str, files: &Files) -> Result<bool, String> {
    let Some(secret) = api(client, namespace).get_opt(SECRET).await.map_err(|error| failed("read", &error))? else { return Ok(false) };
    let there = secret.data.unwrap_or_default();
    let lacking = files.iter().filter(|(name, _)| !there.contains_key(*name));
    let lacking: BTreeMap<&String, ByteString> = lacking.map(|(name, bytes)| (name, ByteString(bytes.clone()))).collect();
    if lacking.is_empty() {
        return Ok(true);
    }
    let patch = json!({"metadata": {"resourceVersion": secret.metadata.resource_version}, "data": lacking});
    match write(client, namespace, &patch).await {
        Ok(()) => Ok(true),
        Err(error) if code(&error) == Some(409) => Ok(false),
        Err(error) => Err(failed("written", &error)),
    }
}

/// Whoever holds the Lease of the control plane, and the version of its last renewal: a replica that runs has keys.
///
/// # Errors
/// What the cluster refused.
pub async fn holder(client: &Client, namespace: &str) -> Result<Option<(String, String)>, String> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(LEASE).await.map_err(|error| format!("Lease {LEASE} cannot be read: {}", explain(&error)))?;
    let Some(lease) = found else { return Ok(None) };
    let holder = lease.spec.and_then(|spec| spec.holder_identity).filter(|holder| !holder.is_empty());
    Ok(holder.map(|holder| (holder, lease.metadata.resource_version.unwrap_or_default())))
}

/// Puts changed keys there.
///
/// # Errors
/// What the cluster refused.
pub async fn update(client: &Client, namespace: &str, files: &Files) -> Result<(), String> {
    let data: BTreeMap<&String, ByteString> = files.iter().map(|(name, bytes)| (name, ByteString(bytes.clone()))).collect();
    write(client, namespace, &json!({"data": data})).await.map_err(|error| failed("written", &error))
}

async fn write(client: &Client, namespace: &str, patch: &serde_json::Value) -> Result<(), kube::Error> {
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api(client, namespace).patch(SECRET, &parameters, &Patch::Merge(patch)).await.map(drop)
}

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn failed(done: &str, error: &kube::Error) -> String {
    format!("Secret {SECRET} cannot be {done}: {}", explain(error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::client::tests::listening;

    /// Answers each request with the next of these, on one connection, and returns the first line and the body of each.
    async fn serve(listener: tokio::net::TcpListener, answers: Vec<(&str, serde_json::Value)>) -> Vec<String> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        for (status, body) in answers {
            let mut read = vec![0; 65_536];
            let count = stream.read(&mut read).await.unwrap();
            asked.push(String::from_utf8_lossy(&read[..count]).into_owned());
            let body = body.to_string();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    }

    fn files() -> Files {
        Files::from([("node-root.pem".to_owned(), b"root".to_vec())])
    }

    #[tokio::test]
    async fn keys_that_somebody_deleted_are_put_back_and_others_are_left_alone() {
        let gone = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
        let there = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": {"other.pem": "eA=="}});
        let (listener, client) = listening().await;
        let served = tokio::spawn(serve(listener, vec![("404 Not Found", gone), ("201 Created", there.clone())]));
        assert_eq!(restore(&client, "own", &files()).await, Ok(true));
        let asked = served.await.unwrap();
        assert!(asked[0].starts_with("GET /api/v1/namespaces/own/secrets/windrose-keys "), "{}", asked[0]);
        assert!(asked[1].starts_with("POST /api/v1/namespaces/own/secrets?"), "{}", asked[1]);
        assert!(asked[1].contains("node-root.pem"), "{}", asked[1]);

        let (listener, client) = listening().await;
        let served = tokio::spawn(serve(listener, vec![("200 OK", there)]));
        assert_eq!(restore(&client, "own", &files()).await, Ok(false));
        assert_eq!(served.await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_entry_that_is_lacking_is_put_there_unless_somebody_else_was_faster() {
        let there = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "resourceVersion": "7"}, "data": {"other.pem": "eA=="},
        });
        let faster = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "message": "modified", "code": 409});
        for (status, answer, expected) in [("200 OK", there.clone(), true), ("409 Conflict", faster, false)] {
            let (listener, client) = listening().await;
            let served = tokio::spawn(serve(listener, vec![("200 OK", there.clone()), (status, answer)]));
            let all = Files::from([("other.pem".to_owned(), b"ours".to_vec()), ("node-root.pem".to_owned(), b"root".to_vec())]);
            assert_eq!(complete(&client, "own", &all).await, Ok(expected));
            let asked = served.await.unwrap();
            assert!(asked[1].starts_with("PATCH ") && asked[1].contains(r#""resourceVersion":"7""#), "{}", asked[1]);
            assert!(asked[1].contains("node-root.pem") && !asked[1].contains("other.pem"), "{}", asked[1]);
        }
    }

    #[tokio::test]
    async fn a_lease_that_was_given_back_has_no_holder() {
        for (holder, expected) in [("", None), ("windrose-a", Some(("windrose-a".to_owned(), "7".to_owned())))] {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE, "resourceVersion": "7"},
                "spec": {"holderIdentity": holder},
            });
            let (listener, client) = listening().await;
            let served = tokio::spawn(serve(listener, vec![("200 OK", lease)]));
            assert_eq!(super::holder(&client, "own").await, Ok(expected));
            served.await.unwrap();
        }
    }
}
