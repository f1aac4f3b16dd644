//! The reports, as JSON has them and as the CLI prints them. Field names are stable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What runs, as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Version of the server.
    pub version: String,
    /// Number of the world that is served; grows with every change that was taken.
    pub generation: u64,
    /// Objects, by kind, namespace and name.
    pub objects: Vec<ObjectReport>,
    /// Everything that is wrong, with its place.
    pub diagnostics: Vec<DiagnosticReport>,
    /// Certificates that will run out, soonest first.
    pub certificates: Vec<CertificateReport>,
}

/// One declared object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether we understood it and took it.
    pub accepted: bool,
    /// Whether everything it refers to is there.
    pub resolved: bool,
    /// Whether it runs on every proxy that it concerns; absent for objects that become nothing on a proxy.
    pub programmed: Option<ProgrammedReport>,
    /// Which version of it is served.
    pub in_force: InForce,
    /// The reason for what is not as it should be: a word of Gateway API or of ours.
    pub reason: String,
    /// The same for a person, in Envoy's words where Envoy refused.
    pub message: String,
    /// `file:line:column` of what is wrong, where it is known.
    pub position: Option<String>,
}

impl ObjectReport {
    /// `KIND/NAMESPACE/NAME`, or `KIND/NAME` for cluster-scoped kinds.
    #[must_use]
    pub fn id(&self) -> String {
        let Self { kind, namespace, name, .. } = self;
        if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
    }
}

/// Which version of an object is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InForce {
    /// The one that is declared.
    #[default]
    Declared,
    /// The last good one, at least in part: the one that is declared cannot be read, Envoy refused it, or it names what is not there and goes
    /// on holding for what it named before.
    LastGood,
    /// None: there was no good one before.
    Nothing,
    /// None, and until there is one it lets nobody pass.
    Closed,
}

/// Whether an object runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgrammedReport {
    /// Whether all proxies that it concerns have had this version. A proxy that comes later does not end that, a refusal
    /// and a new version do.
    pub status: bool,
    /// `Programmed`, `Pending` (no proxy that it concerns was there yet), `Acknowledging`, `RefusedByEnvoy` or
    /// `InternalError` (the control plane fails on it).
    pub reason: String,
    /// Since when that is so, in seconds since 1970.
    pub since: Option<u64>,
    /// Proxies that have acknowledged everything it became, and what that needs to work.
    pub acknowledged: usize,
    /// Proxies that it concerns and that are connected.
    pub targets: usize,
    /// The first of those that have not, as `gateway/NS/NAME (node)`.
    pub behind: Vec<String>,
    /// The first of those that refused a part of it.
    pub refused: Vec<RefusalReport>,
}

/// A resource that a proxy refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalReport {
    /// The proxy, as `gateway/NS/NAME (node)`.
    pub proxy: String,
    /// Type and name of the resource.
    pub resource: String,
    /// Envoy's words, reduced so that no secret can be among them.
    pub reason: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosticReport {
    /// error, warning or info.
    pub severity: String,
    /// The stable word for the problem.
    pub code: String,
    /// `KIND/NS/NAME`, unless the document could not be read as an object.
    pub object: Option<String>,
    /// Path of the field.
    pub field: String,
    /// `file:line:column`, in files mode.
    pub position: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// A certificate that will run out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateReport {
    /// Which sort it is: `svid`, `authority`, `node_credential`, `certificate` or `ca`.
    pub kind: String,
    /// What it is.
    pub subject: String,
    /// When, in seconds since 1970.
    pub not_after: u64,
    /// Whether somebody must act, or we renew it by ourselves.
    pub renewed_automatically: bool,
}

/// One proxy: connected, or turned away because nothing of it is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// `gateway/NS/NAME` or `workload/NS/NAME`.
    pub proxy: String,
    /// Number of its stream; 0 where it has none.
    pub stream: u64,
    /// What it calls itself; a claim.
    pub node: String,
    /// Which Envoy it says it is, as in `1.40.0`.
    #[serde(default)]
    pub envoy: Option<String>,
    /// The zone whose endpoints come first for it, where it has one.
    pub zone: Option<String>,
    /// Who it proved to be.
    pub identity: String,
    /// Its SPIFFE identity in the mesh, if it has one.
    pub spiffe_id: Option<String>,
    /// The replica of the control plane that has its stream, where it is another one.
    pub replica: Option<String>,
    /// When its stream began, or it was turned away first, in seconds since 1970.
    pub connected: u64,
    /// When the credential of its stream expires, in seconds since 1970.
    pub credential_expires: Option<u64>,
    /// Resources by type: what it should have, and what of that it has acknowledged.
    pub types: BTreeMap<String, TypeReport>,
    /// Since when it lacks something, in seconds since 1970; absent while it lacks nothing.
    pub behind_since: Option<u64>,
    /// What it refuses of what it should have.
    pub refused: Vec<RefusalReport>,
    /// Whether it has acknowledged everything that it should have.
    pub synced: bool,
    /// Why it is turned away, and so may go on with what it had; absent for those that are served.
    #[serde(default)]
    pub orphaned: Option<String>,
}

/// One resource type of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeReport {
    /// Resources it acknowledged in their newest version.
    pub acknowledged: usize,
    /// Resources it should have.
    pub wanted: usize,
}
