//! What Windrose is made of in a cluster, as objects in the order they are put there. Options in, objects out: whether
//! they arrive by `kubectl` or by Helm is not known here.

mod chart;
mod definitions;
mod objects;
mod rights;
mod yaml;

use serde_json::Value;

pub use chart::chart;
pub(crate) use definitions::GROUP;
pub use definitions::{FINGERPRINT, definitions};
pub use objects::{CONTROLLER_NAME, KEYS_FOLDER, NAMESPACE_SELECTOR, POD_SECURITY, VERSION_LABEL, WEBHOOK_NAME};
pub use rights::{Place, Right, rights};
pub use yaml::documents;

use crate::deploy;

/// Whether an admission server is there to be asked: one line for all that belongs to it.
pub const WEBHOOK: bool = true;

/// The namespace of the control plane, unless another is named.
pub const NAMESPACE: &str = "windrose-system";

/// What all objects of one installation are called.
pub const NAME: &str = "windrose";

/// The version that is installed.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The image of that version.
pub const IMAGE: &str = concat!("docker.io/windrose/windrose:", env!("CARGO_PKG_VERSION"));

/// What differs between two installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The namespace of the control plane.
    pub namespace: String,
    /// Its image.
    pub image: String,
    /// How many of it.
    pub replicas: u32,
    /// The image of Gateways' Envoys.
    pub envoy_image: String,
    /// Trust domain of the identities it issues.
    pub trust_domain: String,
    /// Labels of the namespaces whose objects count, as a selector; all where empty.
    pub namespace_selector: String,
    /// Whether the API server asks us about each object.
    pub webhook: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            image: IMAGE.to_owned(),
            replicas: 2,
            envoy_image: deploy::IMAGE.to_owned(),
            trust_domain: "windrose.local".to_owned(),
            namespace_selector: String::new(),
            webhook: WEBHOOK,
        }
    }
}

/// Everything, in the order it is put into a cluster: the definitions first.
#[must_use]
pub fn objects(options: &Options) -> Vec<Value> {
    let mut all = definitions();
    all.push(objects::namespace(options));
    all.extend(resources(options));
    all
}

/// Everything but the definitions and the namespace.
fn resources(options: &Options) -> Vec<Value> {
    let mut all = vec![objects::account(options)];
    all.extend(rights::roles(options));
    all.extend([objects::service(options), objects::disruption_budget(options), objects::deployment(options), objects::class()]);
    all.extend(options.webhook.then(|| objects::webhook(options)));
    all
}

/// Everything but the definitions and the namespace, in the order it is deleted. The namespace holds what others declared there (policies
/// for the whole mesh, parameters of classes), which would go with it. Definitions are another step, after the Pods are gone:
/// `kubectl delete` sends all deletions before it waits for any, and a control plane that still runs would tell
/// Envoys that the policies are gone.
#[must_use]
pub fn removal(options: &Options) -> Vec<Value> {
    let mut all: Vec<Value> = resources(options);
    all.reverse();
    all.extend(objects::made_by_itself(options));
    all
}

#[cfg(test)]
mod tests;
