//! MeshPolicy: mutual TLS between workloads.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;

/// Whether workloads speak mutual TLS, and only that.
///
/// Without `targetRefs` it holds for its namespace; in the namespace `windrose-system`, for the whole mesh.
/// With them, for those Workloads. Without any policy the mode is Strict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshPolicy {
    /// Workloads of this namespace; all of them where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// What inbound connections must be. Strict where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls: Option<MtlsMode>,
    /// The same for single ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ports: Vec<PortMtls>,
}

/// What inbound connections must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MtlsMode {
    /// Mutual TLS with an identity of the mesh.
    Strict,
    /// Mutual TLS, or plain text, which has no identity.
    Permissive,
}

/// The mode of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortMtls {
    /// Port on which the sidecar listens.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Its mode.
    pub mtls: MtlsMode,
}
