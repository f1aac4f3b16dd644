//! AuthorizationPolicy: who of the mesh may call what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;

/// Allows or denies requests by the verified identity of the caller.
///
/// Attaches to Workloads or Services of its namespace, or to a Gateway, a ListenerSet or a listener of either. At a listener it judges the
/// requests for that listener's hosts, whether they find a route or not. Where `targetRefs` is empty it holds for what comes in at all
/// sidecars of the namespace; in the namespace `windrose-system`, of the whole mesh. Gateways are covered by policies that name them, and
/// by no others: who comes there is a stranger.
///
/// Deny rules win. As soon as one Allow policy covers a workload, what none allows is denied; an Allow policy without rules therefore
/// denies everything. Where Allow policies are of several namespaces, each of these has to allow what passes: at a ListenerSet its own and
/// that of its Gateway, at a sidecar its own and `windrose-system`. An Allow policy of the whole mesh without rules is the default: it
/// denies what comes to workloads of which no other Allow policy says whom to let in.
///
/// At a Gateway nobody is let in by an identity of our own trust domain: clients' certificates are signed there by others, who could sign
/// that one too. Deny rules hold for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationPolicy {
    /// What it protects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Allow or Deny.
    pub action: Action,
    /// Rules; one that matches is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<AuthorizationRule>,
    /// Counts what it would do (`rbac.audit.shadow_denied`, `rbac.audit_deny.shadow_denied`) and tells it in the access log
    /// (`audit`, `audit_deny`: `allowed` or `denied`, by which rule), and does nothing.
    #[serde(default)]
    pub audit: bool,
}

/// What happens to requests that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// They pass, and others do not.
    Allow,
    /// They get 403.
    Deny,
}

/// One rule: all its parts must match; a part that is empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationRule {
    /// Callers: any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub from: Vec<Source>,
    /// HTTP methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub methods: Vec<String>,
    /// Paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub paths: Vec<PathPattern>,
    /// Ports on which the sidecar listens, or of the Gateway's listeners as they are declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

/// Callers. Exactly one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A SPIFFE identity: `spiffe://windrose.local/ns/shop/sa/orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// All of a namespace of our trust domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A service account of the policy's namespace, or `namespace/account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Whoever has an identity of the mesh; at a Gateway, whoever shows a verified certificate with a SPIFFE identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// A network of client addresses: `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// A path. Exactly one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathPattern {
    /// Exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// By whole segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}
