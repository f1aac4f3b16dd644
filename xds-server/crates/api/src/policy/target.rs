//! What a policy attaches to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object of the policy's own namespace, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// API group: `gateway.networking.k8s.io`, `windrose.dev`, or empty for a Service.
    #[serde(default)]
    pub group: String,
    /// Kind: Gateway, ListenerSet, HTTPRoute, GRPCRoute, TCPRoute, TLSRoute, Service, Backend, Workload, Namespace.
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listener of a Gateway, the rule of a route (by its name), or the port of a Service (by its name). All of it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}
