//! Tells the API server whom to trust at our webhook: the certificate authority, in the ValidatingWebhookConfiguration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::client::explain;
use crate::deploy::MANAGER;

/// The name of the configuration.
pub const CONFIGURATION: &str = "windrose";

/// Puts `trust` (PEM) there, where a configuration is installed and says something else.
///
/// # Errors
/// What the cluster refused.
pub async fn trust(client: &Client, trust: &str) -> Result<(), String> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let Some(there) = api.get_opt(CONFIGURATION).await.map_err(|error| explain(&error))? else { return Ok(()) };
    let webhooks = there.webhooks.unwrap_or_default();
    let is_known = |bundle: &Option<k8s_openapi::ByteString>| bundle.as_ref().is_some_and(|bundle| bundle.0 == trust.as_bytes());
    if webhooks.iter().all(|webhook| is_known(&webhook.client_config.ca_bundle)) {
        return Ok(());
    }
    let bundle = STANDARD.encode(trust);
    let one = |name: &String| json!({"name": name, "clientConfig": {"caBundle": bundle}});
    let webhooks: Vec<Value> = webhooks.iter().map(|webhook| one(&webhook.name)).collect();
    let patch = json!({"webhooks": webhooks});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(CONFIGURATION, &parameters, &Patch::Strategic(&patch)).await.map(drop).map_err(|error| explain(&error))
}
