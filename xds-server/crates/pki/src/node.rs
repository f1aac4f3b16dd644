//! Who may open an xDS stream. Node credentials come from a root of their own that is in no mesh bundle, and name a proxy
//! in a form that is no workload identity: what opens the stream opens nothing else, and an SVID does not open the stream.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use windrose_vocab::{ProxyKey, Text, TrustDomain};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::authority::open_root;
use crate::issuer::{Issuer, certificate_pem, is_issued_by};
use crate::template::{self, Validity};
use crate::{CertificateFacts, Directory, Entropy, Error, SecretText, ServerCertificate, TokenKey, limits};

const NODE_ROOT: &str = "node-root.pem";
/// The DNS name in a replica's certificate; it resolves nowhere.
const REPLICA: &str = "replica.windrose.internal";

/// The one owner of the node root and the token key; it is not changed after it was opened, and can be shared.
#[derive(Debug)]
pub struct NodeAuthority {
    trust_domain: TrustDomain,
    root: Issuer,
    tokens: TokenKey,
}

/// Who a credential says its bearer is, after everything was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The proxy it may be.
    pub proxy: ProxyKey,
    /// The trust domain that issued it.
    pub trust_domain: TrustDomain,
    /// The credential: serial number or token id, in hexadecimal. No secret.
    pub credential: Text,
    /// When it was issued.
    pub issued_at: SystemTime,
    /// When the stream that it opened must end.
    pub expires_at: SystemTime,
}

/// A client certificate for the xDS stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCertificate {
    /// The certificate in PEM; the node root issued it directly.
    pub certificate: String,
    /// Its private key in PEM.
    pub key: SecretText,
    /// Whom it names.
    pub identity: NodeIdentity,
}

/// Why a credential opens no stream. Safe to tell the stranger: says nothing that the credential does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    /// Not a certificate or token at all.
    #[error("the credential is malformed")]
    Malformed,
    /// Signed by somebody else.
    #[error("the credential was not issued by this authority")]
    Foreign,
    /// Its time is over, or has not come.
    #[error("the credential has expired or is not yet valid")]
    OutsideValidity,
    /// Made for another purpose: a server certificate, an SVID, a token for another audience.
    #[error("the credential is for another purpose")]
    Purpose,
    /// It does not name exactly one proxy.
    #[error("the credential does not name exactly one proxy")]
    Name,
    /// It was taken back.
    #[error("the credential was revoked")]
    Revoked,
}

impl NodeAuthority {
    /// The authority in `directory`, made when there is none.
    ///
    /// # Errors
    /// When files cannot be read or written, are damaged or for another trust domain, or the root is not valid at `now`.
    pub fn open(directory: &Directory, trust_domain: &TrustDomain, now: SystemTime, entropy: &dyn Entropy) -> Result<Self, Error> {
        let root = open_root(directory, NODE_ROOT, trust_domain, "node", now, entropy)?;
        let tokens = TokenKey::open(directory, trust_domain, entropy)?;
        Ok(Self { trust_domain: trust_domain.clone(), root, tokens })
    }

    /// What the root says, for status: with its end, every node credential ends.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        self.root.facts()
    }

    /// The root in PEM: what a bootstrap trusts for the xDS server.
    #[must_use]
    pub fn root_pem(&self) -> String {
        certificate_pem(self.root.der())
    }

    /// The root: what the server trusts for client certificates.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    /// A certificate for the xDS server under these DNS names and IP addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue_server(&self, names: &[String], now: SystemTime, entropy: &dyn Entropy) -> Result<ServerCertificate, Error> {
        let validity = Validity::starting(now, limits::SERVER_LIFETIME).within(self.root.validity());
        let signed = self.root.sign(&template::server(names, validity, entropy)?)?;
        let half = validity.to.duration_since(now).unwrap_or_default() / 2;
        Ok(ServerCertificate { chain: vec![signed.der], key: signed.key, renew_at: now + half, not_after: validity.to })
    }

    /// A client certificate by which a replica of the control plane proves itself to another.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn issue_replica(&self, now: SystemTime, entropy: &dyn Entropy) -> Result<ServerCertificate, Error> {
        let validity = Validity::starting(now, limits::REPLICA_LIFETIME).within(self.root.validity());
        let signed = self.root.sign(&template::replica(REPLICA, validity, entropy)?)?;
        Ok(ServerCertificate { chain: vec![signed.der], key: signed.key, renew_at: validity.to, not_after: validity.to })
    }

    /// Whether a client certificate is one of [`Self::issue_replica`]. A proxy's is under the same root, and is none.
    #[must_use]
    pub fn is_replica(&self, der: &CertificateDer<'_>, now: SystemTime) -> bool {
        let is_named = |facts: CertificateFacts| {
            let only = facts.dns_names == [REPLICA] && facts.uris.is_empty() && facts.addresses.is_empty();
            only && facts.is_valid_at(now) && !facts.is_authority
        };
        is_issued_by(der, self.root.der()) && is_client_only(der) && CertificateFacts::parse(der).is_some_and(is_named)
    }

    /// A client certificate that lets its bearer be `proxy` for `lifetime`.
    ///
    /// # Errors
    /// When the lifetime is outside [`limits::NODE_LIFETIME_MIN`] to [`limits::NODE_LIFETIME_MAX`], or the proxy cannot be named.
    pub fn issue_certificate(
        &self,
        proxy: &ProxyKey,
        lifetime: Duration,
        now: SystemTime,
        entropy: &dyn Entropy,
    ) -> Result<NodeCertificate, Error> {
        refuse_lifetime(lifetime)?;
        let validity = Validity::starting(now, lifetime).within(self.root.validity());
        let signed = self.root.sign(&template::node(&self.name(proxy)?, validity, entropy)?)?;
        let identity = self.identify_certificate(&signed.der, now).map_err(|_| Error::Name(proxy.to_string()))?;
        Ok(NodeCertificate { certificate: certificate_pem(&signed.der), key: signed.key, identity })
    }

    /// A bearer token that lets its holder be `proxy` for `lifetime`.
    ///
    /// # Errors
    /// As [`Self::issue_certificate`].
    pub fn issue_token(&self, proxy: &ProxyKey, lifetime: Duration, now: SystemTime, entropy: &dyn Entropy) -> Result<SecretText, Error> {
        refuse_lifetime(lifetime)?;
        self.name(proxy)?;
        self.tokens.issue(proxy, lifetime, now, entropy)
    }

    /// Whom a client certificate names, when this authority issued it for that purpose and `now` is in its time.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn identify_certificate(&self, der: &CertificateDer<'_>, now: SystemTime) -> Result<NodeIdentity, CredentialProblem> {
        let facts = CertificateFacts::parse(der).ok_or(CredentialProblem::Malformed)?;
        if !is_issued_by(der, self.root.der()) {
            return Err(CredentialProblem::Foreign);
        }
        if !facts.is_valid_at(now) {
            return Err(CredentialProblem::OutsideValidity);
        }
        if facts.is_authority || !is_client_only(der) {
            return Err(CredentialProblem::Purpose);
        }
        let proxy = self.only_name(&facts)?;
        Ok(NodeIdentity {
            proxy,
            trust_domain: self.trust_domain.clone(),
            credential: facts.serial.as_str().into(),
            // Its validity begins before that, for slow clocks.
            issued_at: facts.not_before + limits::BACKDATE,
            expires_at: facts.not_after,
        })
    }

    /// Whom a bearer token names, when this authority issued it and `now` is in its time.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn identify_token(&self, token: &str, now: SystemTime) -> Result<NodeIdentity, CredentialProblem> {
        self.tokens.verify(token, now)
    }

    fn name(&self, proxy: &ProxyKey) -> Result<String, Error> {
        let plain = is_segment(&proxy.object.namespace) && is_segment(&proxy.object.name);
        if plain { Ok(uri(&self.trust_domain, proxy)) } else { Err(Error::Name(proxy.to_string())) }
    }

    fn only_name(&self, facts: &CertificateFacts) -> Result<ProxyKey, CredentialProblem> {
        let prefix = format!("spiffe://{}/windrose/node/", self.trust_domain);
        let [uri] = facts.uris.as_slice() else { return Err(CredentialProblem::Name) };
        if !facts.dns_names.is_empty() || !facts.addresses.is_empty() {
            return Err(CredentialProblem::Name);
        }
        let rest = uri.strip_prefix(&prefix).ok_or(CredentialProblem::Name)?;
        let proxy = ProxyKey::parse(rest).ok_or(CredentialProblem::Name)?;
        let plain = is_segment(&proxy.object.namespace) && is_segment(&proxy.object.name);
        if plain { Ok(proxy) } else { Err(CredentialProblem::Name) }
    }
}

impl fmt::Display for NodeIdentity {
    /// The URI that stands in the client certificate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&uri(&self.trust_domain, &self.proxy))
    }
}

fn uri(trust_domain: &TrustDomain, proxy: &ProxyKey) -> String {
    format!("spiffe://{trust_domain}/windrose/node/{proxy}")
}

/// As SPIFFE path segments are: no escape, no dots alone, nothing to normalise.
pub(crate) fn is_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text != "." && text != ".." && text.bytes().all(plain)
}

fn is_client_only(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let usage = certificate.extended_key_usage().ok().flatten();
    usage.is_some_and(|usage| usage.value.client_auth && !usage.value.server_auth && !usage.value.any)
}

fn refuse_lifetime(lifetime: Duration) -> Result<(), Error> {
    let (min, max) = (limits::NODE_LIFETIME_MIN, limits::NODE_LIFETIME_MAX);
    if (min..=max).contains(&lifetime) {
        return Ok(());
    }
    Err(Error::Lifetime { asked: lifetime.as_secs(), min: min.as_secs(), max: max.as_secs() })
}
