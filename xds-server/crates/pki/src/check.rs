//! Whether Envoy would take these texts as a certificate chain with its key, or as a bundle of roots.
//! Pure: no files, and no clock (ask [`CertificateFacts::is_valid_at`]).

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::facts::{CertificateFacts, Key};
use crate::limits;

/// Why a chain, a key or a bundle cannot be used. Never holds key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairProblem {
    /// More bytes than anybody needs.
    #[error("is longer than {} bytes", limits::PEM_BYTES_MAX)]
    TooLong,
    /// The text has no certificate in it.
    #[error("has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// More certificates than anybody needs.
    #[error("has more than {0} certificates")]
    TooMany(usize),
    /// PEM framing or base64 is broken.
    #[error("is not well-formed PEM")]
    Pem,
    /// A block that is not an X.509 certificate.
    #[error("certificate {0} is not an X.509 certificate")]
    NotCertificate(usize),
    /// The text has no private key in it.
    #[error("has no private key in PEM (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    /// The key has a password.
    #[error("the private key is encrypted; decrypt it first")]
    EncryptedKey,
    /// Not a key, or of a kind that cannot sign.
    #[error("the private key is malformed or of an unsupported kind")]
    BadKey,
    /// A certificate from before 1996, as `openssl x509 -req` without extensions still makes them; it names no host.
    #[error(
        "the certificate is of X.509 version 1, which names no host that a client could ask for; make one of version 3, with subjectAltName"
    )]
    OldVersion,
    /// The key belongs to another certificate.
    #[error("the private key does not match the certificate")]
    Mismatch,
    /// The key belongs to a certificate further down.
    #[error("the private key matches certificate {0}, not the first: the leaf comes first")]
    LeafNotFirst(usize),
    /// Envoy refuses keys of that kind or size, or (Ed25519) hardly a client takes them.
    #[error("{0} keys cannot be used: RSA of at least {min} bits, or ECDSA on P-256, P-384 or P-521", min = limits::RSA_BITS_MIN)]
    WeakKey(Key),
}

/// Checks a chain (leaf first) and its key; returns what the leaf says.
///
/// # Errors
/// The first thing that would make Envoy refuse the secret or clients refuse the chain's order.
pub fn check_pair(chain_pem: &str, key_pem: &str) -> Result<CertificateFacts, PairProblem> {
    let chain = certificates(chain_pem, limits::CHAIN_LENGTH_MAX)?;
    let facts = all_facts(&chain)?;
    let key = private_key(key_pem)?;
    let signer = any_supported_type(&key).map_err(|_| PairProblem::BadKey)?;
    let matches = |certificate: &CertificateDer<'static>| CertifiedKey::new(vec![certificate.clone()], signer.clone()).keys_match().is_ok();
    match chain.iter().position(matches) {
        Some(0) => {}
        Some(other) => return Err(PairProblem::LeafNotFirst(other + 1)),
        None if chain.first().is_some_and(|leaf| CertificateFacts::is_old(leaf)) => return Err(PairProblem::OldVersion),
        None => return Err(PairProblem::Mismatch),
    }
    let leaf = facts.into_iter().next().ok_or(PairProblem::NoCertificate)?;
    refuse_weak(&leaf.key)?;
    Ok(leaf)
}

/// Checks a bundle of trusted certificates; returns what each says.
///
/// # Errors
/// When it holds none, too many, or something else.
pub fn check_bundle(bundle_pem: &str) -> Result<Vec<CertificateFacts>, PairProblem> {
    all_facts(&certificates(bundle_pem, limits::BUNDLE_LENGTH_MAX)?)
}

/// The names in the first certificate of a chain, for people, where it is for no host of `hostname` (lower case; `*.parent` for all below).
/// None also where it cannot be read, which [`check_pair`] tells.
#[must_use]
pub fn other_names(chain_pem: &str, hostname: &str) -> Option<String> {
    const NAMED: usize = 4;
    let leaf = check_bundle(chain_pem).ok()?.into_iter().next().filter(|leaf| !leaf.serves(hostname))?;
    let names: Vec<String> = leaf.dns_names.iter().take(NAMED).map(|name| format!("`{}`", name.escape_debug())).collect();
    let more = if leaf.dns_names.len() > NAMED { ", …" } else { "" };
    Some(if names.is_empty() { "no host".to_owned() } else { names.join(", ") + more })
}

/// The certificates in `pem`, at least one.
pub(crate) fn certificates(pem: &str, length_max: usize) -> Result<Vec<CertificateDer<'static>>, PairProblem> {
    if pem.len() > limits::PEM_BYTES_MAX {
        return Err(PairProblem::TooLong);
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        found.push(certificate.map_err(|_| PairProblem::Pem)?);
        if found.len() > length_max {
            return Err(PairProblem::TooMany(length_max));
        }
    }
    if found.is_empty() { Err(PairProblem::NoCertificate) } else { Ok(found) }
}

/// The first private key in `pem`.
pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PairProblem> {
    if pem.len() > limits::PEM_BYTES_MAX {
        return Err(PairProblem::TooLong);
    }
    if pem.contains("ENCRYPTED") {
        return Err(PairProblem::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => PairProblem::NoKey,
        _ => PairProblem::Pem,
    })
}

fn all_facts(chain: &[CertificateDer<'static>]) -> Result<Vec<CertificateFacts>, PairProblem> {
    let parsed =
        |(position, der): (usize, &CertificateDer<'static>)| CertificateFacts::parse(der).ok_or(PairProblem::NotCertificate(position + 1));
    chain.iter().enumerate().map(parsed).collect()
}

fn refuse_weak(key: &Key) -> Result<(), PairProblem> {
    match key {
        Key::Rsa(bits) if *bits >= limits::RSA_BITS_MIN => Ok(()),
        Key::Ec(256 | 384 | 521) => Ok(()),
        Key::Rsa(_) | Key::Ec(_) | Key::Other(_) => Err(PairProblem::WeakKey(key.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};

    fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
        let key = match algorithm == &PKCS_RSA_SHA256 {
            true => KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048).unwrap(),
            false => KeyPair::generate_for(algorithm).unwrap(),
        };
        let certificate = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_matching_pair_tells_its_names() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            let (chain, key) = pair(algorithm);
            assert_eq!(check_pair(&chain, &key).unwrap().dns_names, ["shop.example"]);
        }
    }

    #[test]
    fn a_certificate_for_other_hosts_says_for_which() {
        let chain = pair(&rcgen::PKCS_ECDSA_P256_SHA256).0;
        assert_eq!(other_names(&chain, "shop.example"), None);
        assert_eq!(other_names(&chain, "bank.example").unwrap(), "`shop.example`");
        let key = KeyPair::generate().unwrap();
        let nameless = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        assert_eq!(other_names(&nameless, "shop.example").unwrap(), "no host");
        assert_eq!(other_names("no certificate", "shop.example"), None);
    }

    #[test]
    fn each_way_to_be_wrong_is_told_apart() {
        let (chain, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (other_chain, other_key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (ed_chain, ed_key) = pair(&PKCS_ED25519);
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let broken = chain.replacen('M', "!", 1);
        let not_x509 = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let not_key = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n";
        let cases = [
            (chain.as_str(), other_key.as_str(), PairProblem::Mismatch),
            (&format!("{other_chain}{chain}"), &key, PairProblem::LeafNotFirst(2)),
            (&format!("{chain}{not_x509}"), &key, PairProblem::NotCertificate(2)),
            (&chain.repeat(11), &key, PairProblem::TooMany(10)),
            ("", &key, PairProblem::NoCertificate),
            (&key, &key, PairProblem::NoCertificate),
            (&broken, &key, PairProblem::Pem),
            (&chain, &chain, PairProblem::NoKey),
            (&chain, "", PairProblem::NoKey),
            (&chain, &encrypted, PairProblem::EncryptedKey),
            (&chain, not_key, PairProblem::BadKey),
            (&" ".repeat(limits::PEM_BYTES_MAX + 1), &key, PairProblem::TooLong),
        ];
        for (chain, key, problem) in cases {
            assert_eq!(check_pair(chain, key).unwrap_err(), problem);
        }
        assert!(matches!(check_pair(&ed_chain, &ed_key), Err(PairProblem::WeakKey(Key::Other(_)))));
    }

    #[test]
    fn a_certificate_of_version_1_is_called_so() {
        assert_eq!(check_pair(OLD.0, OLD.1), Err(PairProblem::OldVersion));
    }

    /// Made by `openssl x509 -req -signkey`, and used nowhere.
    const OLD: (&str, &str) = (
        "-----BEGIN CERTIFICATE-----\n\
         MIIBJzCBzwIUQ6OJjKBehLGgYhhrlXDxh+vaUPEwCgYIKoZIzj0EAwIwFjEUMBIG\n\
         A1UEAwwLb2xkLmV4YW1wbGUwIBcNMjYxMTMwMDc0MDQzWhgPMjEyNjExMDYwNzQw\n\
         NDNaMBYxFDASBgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
         AQcDQgAE+n6GZWdWiNX0QOBTRXTg+YFBdw0PaXUymQsjLhh+1UoN4+KEmaPP0cdC\n\
         8AU4R4Hd0RtXfyPmygSqltUXBWleEjAKBggqhkjOPQQDAgNHADBEAiBMGc4EI6O9\n\
         LBwrS7XsPNnp4iEmKN+I2qVdU4hRbQHbjwIgP2OrDDnufF392xly0CO35m5kttIp\n\
         ZfO3GUsgX7ypxV8=\n\
         -----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n\
         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3MB+liI/Dbt+XQPl\n\
         kLtdSSlifa4JEDZbIiHwBGD47MehRANCAAT6foZlZ1aI1fRA4FNFdOD5gUF3DQ9p\n\
         dTKZCyMuGH7VSg3j4oSZo8/Rx0LwBThHgd3RG1d/I+bKBKqW1RcFaV4S\n\
         -----END PRIVATE KEY-----\n",
    );

    #[test]
    fn a_bundle_tells_each_of_its_certificates() {
        let (one, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(check_bundle(&format!("# comment\n{one}{one}")).unwrap().len(), 2);
        assert_eq!(check_bundle("nothing"), Err(PairProblem::NoCertificate));
    }
}
