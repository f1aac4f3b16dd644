//! What putting objects into a cluster would change there: the API server is asked, and nothing is written.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::{of, text};
use crate::client::explain;
use crate::install::{self, FINGERPRINT, Options, VERSION_LABEL};

/// Whose fields `kubectl apply --server-side` writes.
const KUBECTL: &str = "kubectl";

/// What would happen to one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Made,
    /// These fields become other ones.
    Changed(Vec<String>),
    /// Nothing.
    Same,
    /// The API server cannot tell, or would refuse it.
    Refused(String),
}

/// The installation that is there, and what would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The version that is there; none where nothing is.
    pub running: Option<String>,
    /// Each object, in the order of the installation.
    pub objects: Vec<(String, Change)>,
}

/// Asks what `options` would change.
///
/// # Errors
/// When the cluster cannot be asked.
pub async fn changes(client: &Client, options: &Options) -> Result<Changes, String> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    let there = deployments.get_opt(install::NAME).await.map_err(|error| explain(&error))?;
    let running = there.map(|found| found.labels().get(VERSION_LABEL).cloned().unwrap_or_else(|| "unknown".to_owned()));
    let mut objects = Vec::new();
    for object in install::objects(options) {
        let named = format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
        let change = of_object(client, &object).await.unwrap_or_else(|error| Change::Refused(explain(&error)));
        objects.push((named, change));
    }
    Ok(Changes { running, objects })
}

async fn of_object(client: &Client, object: &Value) -> Result<Change, kube::Error> {
    let resource = of(text(object, "/apiVersion"), text(object, "/kind"));
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let api: Api<DynamicObject> = if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    let Some(before) = api.get_opt(name).await? else { return Ok(Change::Made) };
    let parameters = PatchParams::apply(KUBECTL).force().dry_run();
    let after = api.patch(name, &parameters, &Patch::Apply(object)).await?;
    let fields: Vec<String> = differing(&told(&before), &told(&after)).into_iter().filter(|field| !always(field)).collect();
    Ok(if fields.is_empty() { Change::Same } else { Change::Changed(fields) })
}

/// What changes on every object, with every version.
fn always(field: &str) -> bool {
    [VERSION_LABEL, FINGERPRINT]
        .iter()
        .any(|name| field.starts_with(&format!("metadata.labels.{name}")) || field.starts_with(&format!("metadata.annotations.{name}")))
}

/// An object without what changes by itself.
fn told(object: &DynamicObject) -> Value {
    let mut value = serde_json::json!({
        "metadata": {"labels": object.labels(), "annotations": object.annotations()},
    });
    if let (Some(told), Some(data)) = (value.as_object_mut(), object.data.as_object()) {
        let said = data.iter().filter(|(name, _)| !matches!(name.as_str(), "status" | "apiVersion" | "kind" | "metadata"));
        told.extend(said.map(|(name, value)| (name.clone(), value.clone())));
    }
    value
}

/// Fields that are not the same, each by its path, and not deeper than people want to know.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    let mut found = BTreeMap::new();
    compare("", before, after, &mut found);
    found.into_iter().map(|(path, said)| format!("{path}{said}")).collect()
}

/// Lists are compared as a whole where their lengths differ.
fn compare(path: &str, before: &Value, after: &Value, found: &mut BTreeMap<String, String>) {
    let member = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(&member(name), before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{path}[{index}]"), before, after, found);
            }
        }
        (before, after) if before == after => {}
        (before, after) => drop(found.insert(path.to_owned(), said(before, after))),
    }
}

/// Short values are shown.
fn said(before: &Value, after: &Value) -> String {
    const SHOWN: usize = 60;
    let shown = |value: &Value| match value {
        Value::Null => Some("nothing".to_owned()),
        Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(text.clone()).filter(|text| text.len() <= SHOWN),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
    };
    match (shown(before), shown(after)) {
        (Some(before), Some(after)) => format!(": {before} → {after}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let before = json!({"spec": {"replicas": 2, "containers": [{"image": "a:1"}], "ports": [1]}});
        let after = json!({"spec": {"replicas": 2, "containers": [{"image": "a:2"}], "ports": [1, 2]}, "data": {}});
        assert_eq!(differing(&before, &after), ["data", "spec.containers[0].image: a:1 → a:2", "spec.ports"]);
        assert_eq!(differing(&before, &before), Vec::<String>::new());
    }
}
