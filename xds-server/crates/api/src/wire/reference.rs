//! References as they are written, and ReferenceGrants.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Enveloped;
use crate::declared::backend::ObjectReference;
use crate::declared::gateway::{GrantFrom, GrantTo};
use crate::declared::{Grant, Meta};
use crate::decode::Report;

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace. That of the object where absent; another one needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// CA certificates: a ConfigMap or Secret with the key `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRef {
    /// ConfigMap or Secret.
    pub kind: CertificateKind,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace. That of the object where absent; another one needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What holds certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CertificateKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl From<SecretRef> for ObjectReference {
    fn from(reference: SecretRef) -> Self {
        Self { group: "".into(), kind: "Secret".into(), namespace: reference.namespace.map(Into::into), name: reference.name.into() }
    }
}

impl From<CertificateRef> for ObjectReference {
    fn from(reference: CertificateRef) -> Self {
        let kind = match reference.kind {
            CertificateKind::ConfigMap => "ConfigMap",
            CertificateKind::Secret => "Secret",
        };
        Self { group: "".into(), kind: kind.into(), namespace: reference.namespace.map(Into::into), name: reference.name.into() }
    }
}

/// A reference of Gateway API; the schema has filled in group and kind where they have a default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reference {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl From<Reference> for ObjectReference {
    fn from(reference: Reference) -> Self {
        Self {
            group: reference.group.into(),
            kind: reference.kind.into(),
            namespace: reference.namespace.map(Into::into),
            name: reference.name.into(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ReferenceGrantSpec {
    from: Vec<WrittenFrom>,
    to: Vec<WrittenTo>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenFrom {
    group: String,
    kind: String,
    namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenTo {
    group: String,
    kind: String,
    name: Option<String>,
}

pub(super) fn grant(written: Enveloped<ReferenceGrantSpec>, _: &Meta, _: &mut Report) -> Option<Grant> {
    let from = written.spec.from.into_iter();
    let to = written.spec.to.into_iter();
    Some(Grant {
        from: from.map(|from| GrantFrom { group: from.group.into(), kind: from.kind.into(), namespace: from.namespace.into() }).collect(),
        to: to.map(|to| GrantTo { group: to.group.into(), kind: to.kind.into(), name: to.name.map(Into::into) }).collect(),
    })
}
