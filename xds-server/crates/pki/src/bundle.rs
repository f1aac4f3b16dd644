//! The roots that members of the mesh believe in. During a rotation there are two.

use std::fmt;

use rustls_pki_types::CertificateDer;
use windrose_vocab::Fingerprint;

use crate::issuer::certificate_pem;

/// A set of root certificates, in an order that depends on nothing but the set.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    pem: String,
    version: Fingerprint,
}

impl TrustBundle {
    /// The bundle of these roots; one named twice is there once.
    #[must_use]
    pub fn new(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut roots: Vec<_> = roots.into_iter().collect();
        roots.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        roots.dedup();
        let pem = roots.iter().map(certificate_pem).collect();
        let version = Fingerprint::of("windrose.pki.bundle", &roots.iter().map(|root| root.to_vec()).collect::<Vec<_>>());
        Self { roots, pem, version }
    }

    /// All roots in PEM, for a `trusted_ca`.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Equal for equal sets of roots.
    #[must_use]
    pub fn version(&self) -> Fingerprint {
        self.version
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustBundle({} roots, {})", self.roots.len(), self.version)
    }
}
