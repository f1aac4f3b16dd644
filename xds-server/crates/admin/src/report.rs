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
    /// The reason for what is not as it should be: a word of Gateway API or of ours.
    pub reason: String,
    /// The same for a person, in Envoy's words where Envoy refused.
    pub message: String,
}

/// Whether an object runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgrammedReport {
    /// Proxies that have acknowledged everything it became.
    pub acknowledged: usize,
    /// Proxies that it concerns and that are connected.
    pub targets: usize,
    /// Since when all have, in seconds since 1970; absent while not all have.
    pub since: Option<u64>,
    /// Proxies that refused a part of it.
    pub refused: Vec<RefusalReport>,
}

impl ProgrammedReport {
    /// Whether it runs everywhere it should, and somewhere.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.targets > 0 && self.acknowledged == self.targets
    }
}

/// A resource that a proxy refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalReport {
    /// The proxy, as `gateway/NS/NAME`, and its stream.
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
    /// What it is.
    pub subject: String,
    /// When, in seconds since 1970.
    pub not_after: u64,
    /// Whether somebody must act, or we renew it by ourselves.
    pub renewed_automatically: bool,
}

/// One connected proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// `gateway/NS/NAME` or `workload/NS/NAME`.
    pub proxy: String,
    /// Number of its stream.
    pub stream: u64,
    /// What it calls itself; a claim.
    pub node: String,
    /// Who it proved to be.
    pub identity: String,
    /// Its SPIFFE identity in the mesh, if it has one.
    pub spiffe_id: Option<String>,
    /// When its stream began, in seconds since 1970.
    pub connected: u64,
    /// When the credential of its stream expires, in seconds since 1970.
    pub credential_expires: Option<u64>,
    /// Resources by type: sent and acknowledged.
    pub types: BTreeMap<String, TypeReport>,
    /// What it refused and has not accepted since.
    pub refused: Vec<RefusalReport>,
    /// Whether it has acknowledged everything.
    pub synced: bool,
}

/// One resource type of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeReport {
    /// Resources it acknowledged in their newest version.
    pub acknowledged: usize,
    /// Resources it was sent.
    pub sent: usize,
}
