//! `windrose uninstall`: what takes Windrose out of a cluster, in two steps, so that no moment is unprotected.

use serde_json::{Value, json};
use windrose_kube::install::{self, Options};

use super::install::check_namespace;
use crate::args;
use crate::output::put;

pub(crate) fn run(given: &args::Uninstall) -> anyhow::Result<()> {
    check_namespace(&given.namespace)?;
    if given.definitions { definitions() } else { control_plane(&given.namespace) }
}

fn control_plane(namespace: &str) -> anyhow::Result<()> {
    // Also what only some installations have.
    let options = Options { namespace: namespace.to_owned(), webhook: true, ..Options::default() };
    let objects: Vec<Value> = install::removal(&options).iter().map(named).collect();
    put(&format!(
        "# Windrose {}: the control plane, {} objects. What was declared stays.\n\
         #   windrose uninstall | kubectl delete --ignore-not-found --cascade=foreground -f -\n\
         # Envoys of Gateways that are still there go on with what they have, and go with their Gateways.\n\
         # Namespace {namespace} stays, with what was declared in it. Where nobody needs that: kubectl delete namespace {namespace}\n{}",
        install::VERSION,
        objects.len(),
        install::documents(&objects),
    ))
}

fn definitions() -> anyhow::Result<()> {
    let objects: Vec<Value> = install::definitions().iter().map(named).collect();
    put(&format!(
        "# Windrose {}: the definitions of windrose.dev, {} objects. Everything that was declared by them goes with them.\n\
         # Only after the control plane is gone: it would tell every Envoy that the policies are.\n\
         #   windrose uninstall --definitions | kubectl delete --ignore-not-found -f -\n{}",
        install::VERSION,
        objects.len(),
        install::documents(&objects),
    ))
}

/// Kind and name are all that a deletion needs.
fn named(object: &Value) -> Value {
    let mut metadata = json!({"name": object["metadata"]["name"]});
    if let Some(namespace) = object["metadata"].get("namespace") {
        metadata["namespace"] = namespace.clone();
    }
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata})
}
