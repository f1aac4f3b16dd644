//! `ir::Secret` → SDS secrets, and the two secrets that the authority makes.

use std::collections::BTreeSet;

use windrose_ir::Secret;
use windrose_ir::secret::{MESH_TRUST, WORKLOAD_SVID};
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind, Sensitive};

use crate::pack;
use crate::pb;

/// The SVID of one identity: chain and key in PEM. The caller gives the version: fingerprint(identity, issuer, slot).
#[must_use]
pub fn render_svid(chain: &str, key: &Sensitive, version: Fingerprint) -> Resource {
    let id = ResourceId::new(ResourceKind::Secret, WORKLOAD_SVID);
    pack::sealed(id, version, &certificate(WORKLOAD_SVID, chain, key), BTreeSet::new())
}

/// The mesh's trust bundle in PEM. The caller gives the version.
#[must_use]
pub fn render_trust(bundle: &str, version: Fingerprint) -> Resource {
    let id = ResourceId::new(ResourceKind::Secret, MESH_TRUST);
    pack::sealed(id, version, &trust(MESH_TRUST, bundle), BTreeSet::new())
}

pub(crate) fn message(name: &str, secret: &Secret) -> pb::tls::Secret {
    match secret {
        Secret::Certificate { chain, key } => certificate(name, chain, key),
        Secret::Trust { bundle } => trust(name, bundle),
    }
}

fn certificate(name: &str, chain: &str, key: &Sensitive) -> pb::tls::Secret {
    let pair = pb::tls::TlsCertificate {
        certificate_chain: Some(pb::inline_text(chain)),
        private_key: Some(pb::inline_bytes(key.expose())),
        ..Default::default()
    };
    pb::tls::Secret { name: name.to_owned(), r#type: Some(pb::tls::secret::Type::TlsCertificate(pair)) }
}

fn trust(name: &str, bundle: &str) -> pb::tls::Secret {
    let context = pb::tls::CertificateValidationContext { trusted_ca: Some(pb::inline_text(bundle)), ..Default::default() };
    pb::tls::Secret { name: name.to_owned(), r#type: Some(pb::tls::secret::Type::ValidationContext(context)) }
}
