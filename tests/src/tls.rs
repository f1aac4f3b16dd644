//! TLS for test clients and test servers: whom they trust, what they show.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// A certificate chain and its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

/// How a test client does TLS.
#[derive(Debug, Clone)]
pub struct TlsClient {
    roots_pem: Option<String>,
    identity: Option<Identity>,
    versions: &'static [&'static SupportedProtocolVersion],
}

impl TlsClient {
    /// Trusts these roots, and wants the name it asked for in the server's certificate.
    pub fn trusting(roots_pem: &str) -> Self {
        Self { roots_pem: Some(roots_pem.to_owned()), identity: None, versions: rustls::ALL_VERSIONS }
    }

    /// Trusts anyone: to see what a server shows (`Reply::peer_certificates`), as a stranger would.
    pub fn trusting_anyone() -> Self {
        Self { roots_pem: None, identity: None, versions: rustls::ALL_VERSIONS }
    }

    /// Shows a certificate of its own.
    #[must_use]
    pub fn showing(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Offers only these versions of TLS.
    #[must_use]
    pub fn versions(mut self, versions: &'static [&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions;
        self
    }

    /// The configuration, offering `alpn`.
    ///
    /// # Panics
    /// When a PEM cannot be read or a key does not fit its certificate.
    pub fn config(&self, alpn: &[&str]) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(self.versions).expect("the provider does these versions");
        let builder = match &self.roots_pem {
            Some(pem) => builder.with_root_certificates(roots(pem)),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
        };
        let mut config = match &self.identity {
            Some(identity) => {
                let (chain, key) = parts(identity);
                builder.with_client_auth_cert(chain, key).expect("the key fits the certificate")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// The configuration of a test server that shows `identity` and, with `client_roots_pem`, wants a client certificate.
///
/// # Panics
/// When a PEM cannot be read or a key does not fit its certificate.
pub fn server_config(identity: &Identity, client_roots_pem: Option<&str>, alpn: &[&str]) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("the provider does the usual versions");
    let builder = match client_roots_pem {
        Some(pem) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem)), provider);
            builder.with_client_cert_verifier(verifier.build().expect("there are roots"))
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = parts(identity);
    let mut config = builder.with_single_cert(chain, key).expect("the key fits the certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Whether a chain, leaf first, leads up to one of these roots, as one checks it who asks clients for certificates: by no name.
///
/// # Panics
/// When the roots cannot be read.
pub fn leads_to(chain: &[CertificateDer<'_>], roots_pem: &str) -> bool {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(roots_pem)), provider).build().expect("there are roots");
    let Some((leaf, between)) = chain.split_first() else { return false };
    verifier.verify_client_cert(leaf, between, UnixTime::now()).is_ok()
}

fn roots(pem: &str) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(pem));
    assert!(!store.is_empty(), "no root certificate in the PEM");
    store
}

fn parts(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("the key can be read");
    (certificates(&identity.chain_pem), key)
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("the PEM can be read")
}

/// Accepts every certificate, but no handshake that is not signed by its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
