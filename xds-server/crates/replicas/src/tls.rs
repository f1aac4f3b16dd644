//! TLS 1.3 with both ends proven: the leader by its server certificate, a follower by one that only replicas have.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Why TLS cannot be set up. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key is not PEM, or not a private key.
    #[error("the private key cannot be read")]
    Key,
    /// Certificate, key or root cannot be used.
    #[error("the certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// Nobody could be trusted with that root.
    #[error("the root cannot be used")]
    Root,
}

/// The leader's end, which takes nobody whose certificate is not under `root`.
///
/// # Errors
/// [`TlsError`], by cause.
pub fn acceptor(chain: Vec<CertificateDer<'static>>, key_pem: &str, root: &CertificateDer<'static>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(only(root)?), provider.clone()).build();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let verified = builder.map_err(TlsError::Certificate)?.with_client_cert_verifier(verifier.map_err(|_| TlsError::Root)?);
    let config = verified.with_single_cert(chain, key(key_pem)?).map_err(TlsError::Certificate)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A follower's end.
///
/// # Errors
/// [`TlsError`], by cause.
pub fn connector(chain: Vec<CertificateDer<'static>>, key_pem: &str, root: &CertificateDer<'static>) -> Result<TlsConnector, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(TlsError::Certificate)?;
    let config = builder.with_root_certificates(only(root)?).with_client_auth_cert(chain, key(key_pem)?);
    Ok(TlsConnector::from(Arc::new(config.map_err(TlsError::Certificate)?)))
}

fn only(root: &CertificateDer<'static>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(|_| TlsError::Root)?;
    Ok(roots)
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::Key)
}
