//! The mesh's authority: a root that is used once a year, an intermediate that signs workload certificates,
//! and the bundle everybody trusts. Made at first start, read back at the next, or given by the user.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use windrose_vocab::{Fingerprint, SpiffeId, TrustDomain};

use crate::bundle::TrustBundle;
use crate::given::Given;
use crate::issuer::{Issuer, Source, certificate_pem, is_issued_by, refuse_outside_validity};
use crate::template::{self, Validity};
use crate::workload::{WorkloadCertificate, leaf_version, renewal_slot};
use crate::{CertificateFacts, Directory, Entropy, Error, check, limits};

const ROOT: &str = "root.pem";
const NEXT_ROOT: &str = "next-root.pem";
const PREVIOUS_ROOT: &str = "previous-root.pem";
const INTERMEDIATE: &str = "intermediate.pem";

/// The one owner of the mesh's keys. Others get certificates and the bundle.
#[derive(Debug)]
pub struct Authority {
    trust_domain: TrustDomain,
    bundle: TrustBundle,
    issuer: Issuer,
    /// What a leaf is sent with: the issuer and what is above it, without roots.
    intermediates: Vec<CertificateDer<'static>>,
    own: Option<Own>,
}

/// The part that exists only when the root is ours.
#[derive(Debug)]
struct Own {
    directory: Directory,
    root: Issuer,
    next: Option<Issuer>,
    previous: Option<CertificateDer<'static>>,
}

impl Authority {
    /// The authority in `directory`, made when there is none. An intermediate that is not valid is replaced; one that is past half its
    /// life is [`Self::renew`]'s to replace, by whoever decides for all that share the directory.
    ///
    /// # Errors
    /// When files cannot be read or written, do not fit together, are for another trust domain, or the root is not valid at `now`.
    pub fn open(directory: Directory, trust_domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Self, Error> {
        let root = open_root(&directory, ROOT, trust_domain, "mesh", now, entropy)?;
        let next = read_issuer(&directory, NEXT_ROOT)?;
        let previous = read_certificate(&directory, PREVIOUS_ROOT)?;
        let own = Own { directory, root, next, previous };
        let issuer = own.open_intermediate(trust_domain, now, entropy)?;
        Ok(Self::of_own(trust_domain.clone(), own, issuer))
    }

    /// The authority that the user gave.
    ///
    /// # Errors
    /// When the files do not fit together, a certificate is no authority, or one is not valid at `now`; the file is named.
    pub fn given(given: &Given, trust_domain: &TrustDomain, now: SystemTime) -> Result<Self, Error> {
        let (bundle, intermediates, issuer) = given.check(now)?;
        Ok(Self { trust_domain: trust_domain.clone(), bundle, issuer, intermediates, own: None })
    }

    /// The trust domain it speaks for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What everybody in the mesh trusts.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// What the issuing certificate says, for status.
    #[must_use]
    pub fn issuer(&self) -> &CertificateFacts {
        self.issuer.facts()
    }

    /// Whether [`Self::renew`] replaces the issuing certificate; of an authority that the user gave it cannot.
    #[must_use]
    pub fn renews_issuer(&self) -> bool {
        self.own.is_some()
    }

    /// The version that [`Self::issue`] would give: known without signing anything.
    #[must_use]
    pub fn version(&self, identity: &SpiffeId, now: SystemTime) -> Fingerprint {
        leaf_version(identity, self.issuer.fingerprint(), renewal_slot(identity, now))
    }

    /// A new key and certificate for `identity`, valid for the slot of `now` and as long again.
    ///
    /// # Errors
    /// When the identity is of another trust domain, our own certificate is not valid at `now`, or randomness or the library fails.
    pub fn issue(&self, identity: &SpiffeId, now: SystemTime, entropy: &dyn Entropy) -> Result<WorkloadCertificate, Error> {
        if identity.trust_domain != self.trust_domain {
            return Err(Error::Foreign { identity: identity.to_string(), trust_domain: self.trust_domain.to_string() });
        }
        refuse_outside_validity("the issuing certificate", self.issuer.facts(), now)?;
        let slot = renewal_slot(identity, now);
        let validity = slot.validity().within(self.issuer.validity());
        let signed = self.issuer.sign(&template::workload(identity, validity, entropy)?)?;
        let facts = CertificateFacts::parse(&signed.der).ok_or(Error::Name(identity.to_string()))?;
        let chain = std::iter::once(&signed.der).chain(&self.intermediates).map(certificate_pem).collect();
        Ok(WorkloadCertificate { chain, key: signed.key, facts, version: leaf_version(identity, self.issuer.fingerprint(), slot), slot })
    }

    /// Replaces the intermediate when half of its life is over, or when the clock was set to a time before it. Returns whether it
    /// did; all leaves have new versions then.
    ///
    /// # Errors
    /// As [`Self::open`]. The former intermediate stays in use.
    pub fn renew(&mut self, now: SystemTime, entropy: &dyn Entropy) -> Result<bool, Error> {
        let Some(own) = &self.own else { return Ok(false) };
        if !self.issuer.is_past_half_life(now) && self.issuer.facts().is_valid_at(now) {
            return Ok(false);
        }
        refuse_outside_validity("the root", own.root.facts(), now)?;
        let issuer = own.new_intermediate(&self.trust_domain, now, entropy)?;
        self.adopt(issuer);
        Ok(true)
    }

    /// Takes the intermediate that somebody else put into the directory, where several servers share one authority and one of them
    /// renews it. Returns whether there was another one.
    ///
    /// # Errors
    /// As [`Self::open`]. The former intermediate stays in use.
    pub fn follow(&mut self, now: SystemTime) -> Result<bool, Error> {
        let Some(own) = &self.own else { return Ok(false) };
        let Some(found) = read_issuer(&own.directory, INTERMEDIATE)? else { return Ok(false) };
        if found.fingerprint() == self.issuer.fingerprint() {
            return Ok(false);
        }
        refuse_outside_validity("the intermediate", found.facts(), now)?;
        if !is_issued_by(found.der(), own.root.der()) {
            let path = |name| own.directory.path(name).display().to_string();
            return Err(Error::NotIssued { file: path(INTERMEDIATE), subject: found.facts().subject.clone(), issuers: path(ROOT) });
        }
        self.adopt(found);
        Ok(true)
    }

    /// Root rotation, first step: a new root joins the bundle; the old one still signs.
    ///
    /// # Errors
    /// When the root is not ours, or a rotation is under way.
    pub fn introduce_root(&mut self, now: SystemTime, entropy: &dyn Entropy) -> Result<(), Error> {
        let own = self.own.as_mut().ok_or(GIVEN)?;
        if own.next.is_some() || own.previous.is_some() {
            return Err(Error::Rotation("one is under way already"));
        }
        own.next = Some(open_root(&own.directory, NEXT_ROOT, &self.trust_domain, "mesh", now, entropy)?);
        self.bundle = own.bundle();
        Ok(())
    }

    /// Second step, when every proxy has the new bundle: the new root signs; the old one is still trusted.
    ///
    /// # Errors
    /// When no new root was introduced. After a crash in the middle the step can be repeated.
    pub fn activate_root(&mut self, now: SystemTime, entropy: &dyn Entropy) -> Result<(), Error> {
        let own = self.own.as_mut().ok_or(GIVEN)?;
        if own.next.is_none() {
            return Err(Error::Rotation("no new root was introduced"));
        }
        own.directory.write(PREVIOUS_ROOT, &certificate_pem(own.root.der()), entropy)?;
        own.directory.rename(NEXT_ROOT, ROOT)?;
        if let Some(next) = own.next.take() {
            own.previous = Some(std::mem::replace(&mut own.root, next).der().clone());
        }
        let issuer = own.new_intermediate(&self.trust_domain, now, entropy)?;
        self.adopt(issuer);
        Ok(())
    }

    /// Third step, when every leaf of the old root was replaced: the old root leaves the bundle.
    ///
    /// # Errors
    /// When no old root is left, or the file system refuses.
    pub fn retire_root(&mut self) -> Result<(), Error> {
        let own = self.own.as_mut().ok_or(GIVEN)?;
        if own.previous.is_none() {
            return Err(Error::Rotation("no old root is left"));
        }
        own.directory.remove(PREVIOUS_ROOT)?;
        own.previous = None;
        self.bundle = own.bundle();
        Ok(())
    }

    fn of_own(trust_domain: TrustDomain, own: Own, issuer: Issuer) -> Self {
        let intermediates = vec![issuer.der().clone()];
        Self { trust_domain, bundle: own.bundle(), issuer, intermediates, own: Some(own) }
    }

    fn adopt(&mut self, issuer: Issuer) {
        self.intermediates = vec![issuer.der().clone()];
        self.issuer = issuer;
        if let Some(own) = &self.own {
            self.bundle = own.bundle();
        }
    }
}

const GIVEN: Error = Error::Rotation("the authority was given by files: put both roots into the file of roots, then change the others");

impl Own {
    fn bundle(&self) -> TrustBundle {
        let next = self.next.iter().map(Issuer::der);
        TrustBundle::new(std::iter::once(self.root.der()).chain(next).chain(&self.previous).cloned())
    }

    fn open_intermediate(&self, domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Issuer, Error> {
        let Some(found) = read_issuer(&self.directory, INTERMEDIATE)? else {
            return self.first_intermediate(domain, now, entropy);
        };
        // A crash between the two files of a rotation leaves an intermediate of the previous root.
        let is_former = self.previous.as_ref().is_some_and(|previous| is_issued_by(found.der(), previous));
        if !is_former && !is_issued_by(found.der(), self.root.der()) {
            let path = |name| self.directory.path(name).display().to_string();
            return Err(Error::NotIssued { file: path(INTERMEDIATE), subject: found.facts().subject.clone(), issuers: path(ROOT) });
        }
        let is_stale = is_former && !is_issued_by(found.der(), self.root.der());
        if is_stale || !found.facts().is_valid_at(now) {
            return self.new_intermediate(domain, now, entropy);
        }
        Ok(found)
    }

    /// Of two processes that start at once, both use the one that is on the disk.
    fn first_intermediate(&self, domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Issuer, Error> {
        let made = self.sign_intermediate(domain, now, entropy)?;
        let wrote = self.directory.write_first(INTERMEDIATE, made.to_pem().expose(), entropy)?;
        if wrote { Ok(made) } else { Ok(read_issuer(&self.directory, INTERMEDIATE)?.unwrap_or(made)) }
    }

    fn new_intermediate(&self, domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Issuer, Error> {
        let made = self.sign_intermediate(domain, now, entropy)?;
        self.directory.write(INTERMEDIATE, made.to_pem().expose(), entropy)?;
        Ok(made)
    }

    fn sign_intermediate(&self, domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Issuer, Error> {
        let validity = Validity::starting(now, limits::INTERMEDIATE_LIFETIME).within(self.root.validity());
        self.root.delegate(&template::intermediate(domain, validity, entropy)?)
    }
}

/// The root in `name`, made when there is none; the one on the disk wins over one made at the same time.
pub(crate) fn open_root(
    directory: &Directory,
    name: &str,
    domain: &TrustDomain,
    role: &str,
    now: SystemTime,
    entropy: &dyn Entropy,
) -> Result<Issuer, Error> {
    if directory.read(name)?.is_none() {
        let validity = Validity::starting(now, limits::ROOT_LIFETIME);
        let made = Issuer::self_signed(&template::root(role, domain, validity, entropy)?)?;
        directory.write_first(name, made.to_pem().expose(), entropy)?;
    }
    let file = directory.path(name).display().to_string();
    let missing = || Error::Malformed { file: file.clone(), problem: check::PairProblem::NoCertificate };
    let root = read_issuer(directory, name)?.ok_or_else(missing)?;
    refuse_outside_validity(&file, root.facts(), now)?;
    refuse_other_domain(&file, root.facts(), domain)?;
    Ok(root)
}

fn read_issuer(directory: &Directory, name: &str) -> Result<Option<Issuer>, Error> {
    let Some(pem) = directory.read(name)? else { return Ok(None) };
    let file = directory.path(name).display().to_string();
    let source = Source { file: &file, pem: &pem };
    Issuer::parse(source, source).map(Some)
}

fn read_certificate(directory: &Directory, name: &str) -> Result<Option<CertificateDer<'static>>, Error> {
    let Some(pem) = directory.read(name)? else { return Ok(None) };
    let file = directory.path(name).display().to_string();
    let certificates = check::certificates(&pem, 1).map_err(|problem| Error::Malformed { file, problem })?;
    Ok(certificates.into_iter().next())
}

fn refuse_other_domain(file: &str, facts: &CertificateFacts, domain: &TrustDomain) -> Result<(), Error> {
    let wanted = format!("spiffe://{domain}");
    if facts.uris.contains(&wanted) {
        return Ok(());
    }
    let found = facts.uris.first().map_or("unknown", |uri| uri.strip_prefix("spiffe://").unwrap_or(uri));
    Err(Error::TrustDomain { file: file.to_owned(), found: found.to_owned(), wanted: domain.to_string() })
}
