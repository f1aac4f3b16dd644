//! A certificate authority of the test's own, apart from the product's: for public certificates and for strangers.

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

use crate::tls::Identity;

/// An authority that lives as long as the test.
#[derive(Debug)]
pub struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

impl TestAuthority {
    /// A new root with this common name.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let root = params.self_signed(&key).expect("a root can sign itself");
        Self { root_pem: root.pem(), issuer: Issuer::new(params, key) }
    }

    /// The root, as PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Its private key, as PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A root whose time was over in 2021, and its key, as PEM.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    pub fn expired() -> (String, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        (params.self_signed(&key).expect("a root can sign itself").pem(), key.serialize_pem())
    }

    /// A certificate for these names: a name with `://` becomes a URI, any other a DNS name or an IP address.
    ///
    /// # Panics
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        let key = KeyPair::generate().expect("a key can be made");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf can be signed");
        Identity { chain_pem: leaf.pem(), key_pem: key.serialize_pem() }
    }
}

fn alternative(name: &str) -> SanType {
    let text = || Ia5String::try_from(name).expect("a name is ASCII");
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text()),
        Err(_) => SanType::DnsName(text()),
    }
}
