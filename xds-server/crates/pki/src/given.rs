//! An authority that the user brings: roots, an issuing certificate with its chain, and its key. Checked before anything trusts it.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::issuer::{Issuer, Source, is_issued_by, refuse_outside_validity};
use crate::{CertificateFacts, Error, SecretText, TrustBundle, check, limits};

/// The user's files, read.
#[derive(Clone)]
pub struct Given {
    roots: NamedPem,
    chain: NamedPem,
    key: NamedPem,
}

#[derive(Clone)]
struct NamedPem {
    file: String,
    pem: SecretText,
}

impl Given {
    /// Reads the three files: trusted roots, issuing certificate (then its intermediates, if any), and its private key.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(roots: &Path, chain: &Path, key: &Path) -> Result<Self, Error> {
        Ok(Self { roots: NamedPem::read(roots)?, chain: NamedPem::read(chain)?, key: NamedPem::read(key)? })
    }

    /// The same from texts; names are for messages. Each pair is (name, PEM).
    #[must_use]
    pub fn from_texts(roots: (&str, String), chain: (&str, String), key: (&str, String)) -> Self {
        let named = |(file, pem): (&str, String)| NamedPem { file: file.to_owned(), pem: SecretText::new(pem) };
        Self { roots: named(roots), chain: named(chain), key: named(key) }
    }

    /// The bundle, the intermediates that leaves are sent with (issuing certificate first), and the issuer.
    pub(crate) fn check(&self, now: SystemTime) -> Result<(TrustBundle, Vec<CertificateDer<'static>>, Issuer), Error> {
        let issuer = Issuer::parse(self.chain.source(), self.key.source())?;
        let roots = self.roots.certificates(limits::BUNDLE_LENGTH_MAX)?;
        let chain = self.chain.certificates(limits::CHAIN_LENGTH_MAX)?;
        for der in &roots {
            self.roots.refuse(der, now)?;
        }
        for (position, der) in chain.iter().enumerate() {
            self.chain.refuse(der, now)?;
            self.refuse_orphan(der, &chain[position + 1..], &roots)?;
        }
        let sent = chain.into_iter().filter(|der| !roots.contains(der)).collect();
        Ok((TrustBundle::new(roots), sent, issuer))
    }

    /// A certificate of the chain is issued by the next one or by a root, or is a root.
    fn refuse_orphan(
        &self,
        der: &CertificateDer<'static>,
        after: &[CertificateDer<'static>],
        roots: &[CertificateDer<'static>],
    ) -> Result<(), Error> {
        let issued = roots.contains(der) || after.first().into_iter().chain(roots).any(|issuer| is_issued_by(der, issuer));
        if issued {
            return Ok(());
        }
        let subject = CertificateFacts::parse(der).map(|facts| facts.subject).unwrap_or_default();
        Err(Error::NotIssued { file: self.chain.file.clone(), subject, issuers: self.roots.file.clone() })
    }
}

impl NamedPem {
    fn read(path: &Path) -> Result<Self, Error> {
        let read = std::fs::read_to_string(path);
        let pem = read.map_err(|cause| Error::Io { action: "read", path: path.to_owned(), cause })?;
        Ok(Self { file: path.display().to_string(), pem: SecretText::new(pem) })
    }

    fn source(&self) -> Source<'_> {
        Source { file: &self.file, pem: self.pem.expose() }
    }

    fn certificates(&self, length_max: usize) -> Result<Vec<CertificateDer<'static>>, Error> {
        check::certificates(self.pem.expose(), length_max).map_err(|problem| self.malformed(problem))
    }

    /// Refuses what is no authority or not valid now.
    fn refuse(&self, der: &CertificateDer<'static>, now: SystemTime) -> Result<(), Error> {
        let facts = CertificateFacts::parse(der).ok_or_else(|| self.malformed(check::PairProblem::NotCertificate(1)))?;
        if !facts.is_authority {
            return Err(Error::NotAuthority { file: self.file.clone(), subject: facts.subject });
        }
        refuse_outside_validity(&self.file, &facts, now)
    }

    fn malformed(&self, problem: check::PairProblem) -> Error {
        Error::Malformed { file: self.file.clone(), problem }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({}, {}, {})", self.roots.file, self.chain.file, self.key.file)
    }
}
