//! TLS for the xDS port: version 1.2 or later, HTTP/2 only, client certificates asked for and not demanded (a bearer
//! token may come instead). The server's own certificate can be replaced while connections live.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a listener needs for its handshakes.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificate: Arc<Current>,
}

/// Why TLS cannot be set up. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key is not PEM, or not a private key.
    #[error("the server's private key cannot be read")]
    Key,
    /// Certificate and key do not fit, or a certificate is malformed.
    #[error("the server's certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// No root for client certificates, or a malformed one.
    #[error("the roots for client certificates cannot be used")]
    ClientRoots,
}

impl Tls {
    /// A server with this certificate (leaf first) and key in PEM, which takes client certificates under `client_roots`.
    ///
    /// # Errors
    /// [`TlsError`], by cause.
    pub fn new(chain: Vec<CertificateDer<'static>>, key_pem: &str, client_roots: &[CertificateDer<'static>]) -> Result<Self, TlsError> {
        let certificate = Arc::new(Current(RwLock::new(certified(chain, key_pem)?)));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for root in client_roots {
            roots.add(root.clone()).map_err(|_| TlsError::ClientRoots)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated().build();
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions).map_err(TlsError::Certificate)?;
        let verified = builder.with_client_cert_verifier(verifier.map_err(|_| TlsError::ClientRoots)?);
        let mut config = verified.with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        // No resumption: each connection proves itself anew, and there are no tickets to keep or to leak.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), certificate })
    }

    /// Takes another certificate for handshakes from now on.
    ///
    /// # Errors
    /// [`TlsError`], by cause; the former certificate stays.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key_pem: &str) -> Result<(), TlsError> {
        let new = certified(chain, key_pem)?;
        *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(key redacted)")
    }
}

/// The certificate of the moment.
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(key redacted)")
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key_pem: &str) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TlsError::Key)?;
    let provider = aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Certificate)
}
