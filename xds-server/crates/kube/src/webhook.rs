//! Tells the API server whom to trust at our webhook: the certificate authority, in the ValidatingWebhookConfiguration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhook, ValidatingWebhookConfiguration};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::client::explain;
use crate::deploy::MANAGER;

/// The name of the configuration.
pub const CONFIGURATION: &str = "windrose";

/// Puts `trust` (PEM) there, where a configuration is installed and says something else. One that leads to another namespace is that of
/// another installation, which has an authority of its own.
///
/// # Errors
/// What the cluster refused.
pub async fn trust(client: &Client, namespace: &str, trust: &str) -> Result<(), String> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let Some(there) = api.get_opt(CONFIGURATION).await.map_err(|error| explain(&error))? else { return Ok(()) };
    let leads_here =
        |webhook: &ValidatingWebhook| webhook.client_config.service.as_ref().is_some_and(|service| service.namespace == namespace);
    let webhooks: Vec<ValidatingWebhook> = there.webhooks.into_iter().flatten().filter(leads_here).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(namespace: &str) -> Value {
        let client = json!({"service": {"name": "windrose", "namespace": namespace}});
        let webhook =
            json!({"name": "validate.windrose.dev", "clientConfig": client, "admissionReviewVersions": ["v1"], "sideEffects": "None"});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": CONFIGURATION}, "webhooks": [webhook],
        })
    }

    #[tokio::test]
    async fn the_configuration_of_another_installation_is_left_alone() {
        for (namespace, asked) in [("ours", vec!["GET windrose", "PATCH windrose"]), ("theirs", vec!["GET windrose"])] {
            let (client, log) = crate::fake::cluster(move |_| (200, configuration(namespace))).await;
            trust(&client, "ours", "PEM").await.unwrap();
            assert_eq!(log.lines(), asked, "{namespace}");
        }
    }
}
