//! A certificate that signs others, with its private key: made, read back and checked, and used.

use std::fmt;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use windrose_vocab::Fingerprint;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroize;

use crate::check::{self, PairProblem};
use crate::template::{Validity, written};
use crate::{CertificateFacts, Error, SecretText};

/// An issuing certificate and its key.
pub(crate) struct Issuer {
    der: CertificateDer<'static>,
    facts: CertificateFacts,
    key: SigningKey,
}

/// A certificate that was just signed, with its new key.
pub(crate) struct Signed {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) key: SecretText,
}

/// A PEM text and the name of the file that people know it by.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) pem: &'a str,
}

/// Wiped when dropped.
struct SigningKey(KeyPair);

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Issuer {
    /// A new root.
    pub(crate) fn self_signed(params: &CertificateParams) -> Result<Self, Error> {
        let key = generate()?;
        let signed = params.self_signed(&key.0).map_err(crypto("sign a root certificate"))?;
        Self::assemble(signed.der().clone(), key)
    }

    /// A new issuer below this one.
    pub(crate) fn delegate(&self, params: &CertificateParams) -> Result<Self, Error> {
        let key = generate()?;
        let der = self.certify(params, &key.0)?;
        Self::assemble(der, key)
    }

    /// A new leaf below this one, with a new key.
    pub(crate) fn sign(&self, params: &CertificateParams) -> Result<Signed, Error> {
        let key = generate()?;
        let der = self.certify(params, &key.0)?;
        Ok(Signed { der, key: SecretText::new(key.0.serialize_pem()) })
    }

    /// An issuer read back: the first certificate of `chain` and the key.
    pub(crate) fn parse(chain: Source<'_>, key: Source<'_>) -> Result<Self, Error> {
        let malformed = |file: &str, problem| Error::Malformed { file: file.to_owned(), problem };
        let mut certificates = check::certificates(chain.pem, crate::limits::CHAIN_LENGTH_MAX).map_err(|p| malformed(chain.file, p))?;
        let der = certificates.swap_remove(0);
        let private = check::private_key(key.pem).map_err(|p| malformed(key.file, p))?;
        let pair = KeyPair::try_from(&private).map_err(|_| malformed(key.file, PairProblem::BadKey))?;
        let issuer = Self::assemble(der, SigningKey(pair)).map_err(|_| malformed(chain.file, PairProblem::NotCertificate(1)))?;
        if !issuer.key_matches() {
            return Err(Error::KeyMismatch { certificate: chain.file.to_owned(), key: key.file.to_owned() });
        }
        if !issuer.facts.is_authority {
            return Err(Error::NotAuthority { file: chain.file.to_owned(), subject: issuer.facts.subject });
        }
        Ok(issuer)
    }

    /// Certificate and key in one text, so that they are always written together.
    pub(crate) fn to_pem(&self) -> SecretText {
        let mut key = self.key.0.serialize_pem();
        let text = SecretText::new(format!("{}{key}", certificate_pem(&self.der)));
        key.zeroize();
        text
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    pub(crate) fn validity(&self) -> Validity {
        Validity { from: self.facts.not_before, to: self.facts.not_after }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("windrose.pki.issuer", self.der.as_ref())
    }

    /// Whether half of its life is over.
    pub(crate) fn is_past_half_life(&self, now: SystemTime) -> bool {
        let life = self.facts.not_after.duration_since(self.facts.not_before).unwrap_or_default();
        now.duration_since(self.facts.not_before).is_ok_and(|age| age >= life / 2)
    }

    fn assemble(der: CertificateDer<'static>, key: SigningKey) -> Result<Self, Error> {
        let unreadable = || Error::Malformed { file: "the certificate".to_owned(), problem: PairProblem::NotCertificate(1) };
        let facts = CertificateFacts::parse(&der).ok_or_else(unreadable)?;
        Ok(Self { der, facts, key })
    }

    fn certify(&self, params: &CertificateParams, subject: &KeyPair) -> Result<CertificateDer<'static>, Error> {
        let issuer = rcgen::Issuer::from_ca_cert_der(&self.der, &self.key.0).map_err(crypto("read the issuing certificate"))?;
        let signed = params.signed_by(subject, &issuer).map_err(crypto("sign a certificate"))?;
        Ok(signed.der().clone())
    }

    fn key_matches(&self) -> bool {
        let spki = self.key.0.subject_public_key_info();
        X509Certificate::from_der(&self.der).is_ok_and(|(_, certificate)| certificate.public_key().raw == spki)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({}, key redacted)", self.facts.subject)
    }
}

/// Whether `issuer` signed `certificate` and names match.
pub(crate) fn is_issued_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let (Ok((_, certificate)), Ok((_, issuer))) = (X509Certificate::from_der(certificate), X509Certificate::from_der(issuer)) else {
        return false;
    };
    certificate.issuer().as_raw() == issuer.subject().as_raw() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// Refuses a certificate that is not valid at `now`.
pub(crate) fn refuse_outside_validity(file: &str, facts: &CertificateFacts, now: SystemTime) -> Result<(), Error> {
    if facts.is_valid_at(now) {
        return Ok(());
    }
    Err(Error::OutsideValidity {
        file: file.to_owned(),
        subject: facts.subject.clone(),
        from: written(facts.not_before),
        to: written(facts.not_after),
        now: written(now),
    })
}

/// DER as PEM, lines of 64.
pub(crate) fn certificate_pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn generate() -> Result<SigningKey, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(SigningKey).map_err(crypto("make a key"))
}

fn crypto(action: &'static str) -> impl FnOnce(rcgen::Error) -> Error {
    move |cause| Error::Crypto { action, cause }
}
