//! Certificates and trust that a reference names, checked before any listener or cluster may name them.

use std::sync::Arc;

use windrose_api::declared::backend::ObjectReference;
use windrose_ir::Secret;
use windrose_vocab::{Code, Kind, ObjectRef, Text};

use crate::reference::{Problem, key_of, kind_of, missing, permitted, wrong_kind};
use crate::world::View;

const REASON: &str = "InvalidCertificateRef";

/// A certificate with its key, as a resource.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) name: Text,
    pub(crate) secret: Arc<Secret>,
    /// What is wrong with the newest version of its Secret, whose former pair this is.
    pub(crate) stale: Option<Problem>,
}

/// The certificate and key in the Secret that `reference` names from `owner`.
///
/// # Errors
/// With the reason `RefNotPermitted` or `InvalidCertificateRef`.
pub(crate) fn certificate(view: &View<'_>, owner: &ObjectRef, reference: &ObjectReference) -> Result<Certificate, Problem> {
    if kind_of(reference) != Some(Kind::Secret) {
        return Err(wrong_kind(reference, REASON, "a Secret of type kubernetes.io/tls"));
    }
    let target = ObjectRef { kind: Kind::Secret, key: key_of(reference, &owner.key.namespace) };
    permitted(view, owner, &target)?;
    let secret = view.secret(&target.key).ok_or_else(|| missing(view, REASON, &target))?;
    let part = |key: &str| {
        let text = secret.spec.data.get(key).and_then(|value| std::str::from_utf8(value.expose()).ok());
        text.ok_or_else(|| Problem::new(REASON, Code::InvalidCertificate, format!("{target} has no text `{key}`")))
    };
    let (chain, key) = (part("tls.crt")?, part("tls.key")?);
    let unusable = |why: String| Problem::new(REASON, Code::InvalidCertificate, format!("{target} {why}"));
    view.settings().certificates.pair(chain, key).map_err(unusable)?;
    let key = secret.spec.data.get("tls.key").cloned().ok_or_else(|| unusable("has no text `tls.key`".to_owned()))?;
    let stale = view.stale(&target).map(|why| {
        let message = format!("{target} cannot be used as it is, and its former certificate goes on: {why}");
        Problem::new(REASON, Code::InvalidCertificate, message)
    });
    Ok(Certificate { name: target.to_string().into(), secret: Arc::new(Secret::Certificate { chain: chain.into(), key }), stale })
}

/// The CA certificates in the ConfigMap or Secret that `reference` names from `owner`, under the key `ca.crt`, or in the
/// ClusterTrustBundle, which is everybody's.
///
/// # Errors
/// With the reason `RefNotPermitted`, `kind_reason` for another kind, or `reason`.
pub(crate) fn trust(
    view: &View<'_>,
    owner: &ObjectRef,
    reference: &ObjectReference,
    [kind_reason, reason]: [&'static str; 2],
) -> Result<Text, Problem> {
    let kind = kind_of(reference).filter(|kind| matches!(kind, Kind::ConfigMap | Kind::Secret | Kind::ClusterTrustBundle));
    let kind =
        kind.ok_or_else(|| wrong_kind(reference, kind_reason, "a ConfigMap or a Secret with the key `ca.crt`, or a ClusterTrustBundle"))?;
    if kind == Kind::ClusterTrustBundle {
        return trust_bundle(view, reference, reason);
    }
    let target = ObjectRef { kind, key: key_of(reference, &owner.key.namespace) };
    permitted(view, owner, &target)?;
    let bytes = if kind == Kind::ConfigMap {
        let map = view.config_map(&target.key).ok_or_else(|| missing(view, reason, &target))?;
        map.spec.data.get("ca.crt").cloned()
    } else {
        let secret = view.secret(&target.key).ok_or_else(|| missing(view, reason, &target))?;
        secret.spec.data.get("ca.crt").map(|value| value.expose().clone())
    };
    let text = bytes.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| Problem::new(reason, Code::InvalidCertificate, format!("{target} has no text `ca.crt`")))?;
    bundle(view, &target, text, reason)
}

fn trust_bundle(view: &View<'_>, reference: &ObjectReference, reason: &'static str) -> Result<Text, Problem> {
    let target = ObjectRef::new(Kind::ClusterTrustBundle, "", reference.name.clone());
    if reference.namespace.is_some() {
        return Err(Problem::new(reason, Code::Invalid, format!("{target} is in no namespace: leave `namespace` out")));
    }
    let found = view.trust_bundle(&target.key).ok_or_else(|| missing(view, reason, &target))?;
    bundle(view, &target, &found.spec.certificates, reason)
}

fn bundle(view: &View<'_>, target: &ObjectRef, text: &str, reason: &'static str) -> Result<Text, Problem> {
    let unusable = |why: String| Problem::new(reason, Code::InvalidCertificate, format!("{target} {why}"));
    view.settings().certificates.bundle(text).map_err(unusable)?;
    Ok(text.into())
}
