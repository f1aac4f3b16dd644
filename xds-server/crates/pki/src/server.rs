//! The certificate of the xDS server itself.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::SecretText;

/// A certificate that clients of the xDS server check against the node root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The certificate; the node root issued it directly.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key in PEM.
    pub key: SecretText,
    /// Half of its life: replace it then.
    pub renew_at: SystemTime,
    /// End of its life.
    pub not_after: SystemTime,
}
