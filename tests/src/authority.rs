//! A certificate authority of the test's own, apart from the product's: for public certificates and for strangers.

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

use crate::tls::Identity;

/// An authority that lives as long as the test.
#[derive(Debug)]
pub struct TestAuthority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
    /// What leaves are sent with.
    between_pem: String,
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
        Self { root_pem: root.pem(), issuer: Issuer::new(params, key), between_pem: String::new() }
    }

    /// An authority under this one: what it issues is sent with its own certificate.
    ///
    /// # Panics
    /// Never, as long as keys can be made.
    pub fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can be signed");
        Self { root_pem: self.root_pem.clone(), between_pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A thief who has the files of another authority: its roots, and an issuing certificate with its key, as PEM.
    ///
    /// # Panics
    /// When the files hold something else.
    pub fn stolen(roots_pem: &str, issuing_pem: &str) -> Self {
        let key = issuing_pem.find("-----BEGIN PRIVATE KEY").expect("a key is there");
        let certificate = issuing_pem.find("-----BEGIN CERTIFICATE").expect("a certificate is there");
        let key = KeyPair::from_pem(&issuing_pem[key..]).expect("the key can be read");
        let issuer = Issuer::from_ca_cert_pem(&issuing_pem[certificate..], key).expect("the certificate can be read");
        Self { issuer, root_pem: certificates_only(roots_pem), between_pem: certificates_only(issuing_pem) }
    }

    /// The root, as PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// What stands between the root and what it issues, as PEM: its own certificate, if it is not the root.
    pub fn between_pem(&self) -> &str {
        &self.between_pem
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
        self.sign(&leaf(names))
    }

    /// The same, and its time is over.
    ///
    /// # Panics
    /// When a name is none.
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = leaf(names);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 1, 2));
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf can be signed");
        Identity { chain_pem: leaf.pem() + &self.between_pem, key_pem: key.serialize_pem() }
    }
}

/// A certificate that nobody but its own key signed.
///
/// # Panics
/// When a name is none.
pub fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().expect("a key can be made");
    let leaf = leaf(names).self_signed(&key).expect("a leaf can sign itself");
    Identity { chain_pem: leaf.pem(), key_pem: key.serialize_pem() }
}

fn leaf(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
    params
}

fn certificates_only(pem: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    let blocks = pem.split_inclusive(END).filter_map(|block| block.find("-----BEGIN CERTIFICATE").map(|at| &block[at..]));
    blocks.filter(|block| block.ends_with(END)).collect()
}

fn alternative(name: &str) -> SanType {
    let text = || Ia5String::try_from(name).expect("a name is ASCII");
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text()),
        Err(_) => SanType::DnsName(text()),
    }
}
