//! Who may open a stream: whoever shows a credential of our node authority for a proxy that is still declared, issued after
//! the last moment that the proxy's credentials were taken back at. Deleting a Workload or Gateway ends its streams at once.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use windrose_pki::{CredentialProblem, NodeAuthority, NodeIdentity};
use windrose_vocab::{ProxyKey, Text};
use windrose_xds_serve::{Identify, Peer, Refusal};

use crate::orphans::{Orphans, Turned};
use crate::revocations::Revoked;

/// The credentials that are good now.
pub(crate) struct Nodes {
    authority: Arc<NodeAuthority>,
    /// `None` until the first complete world: until then nobody is revoked, and nobody gets anything either.
    declared: RwLock<Option<BTreeSet<ProxyKey>>>,
    /// Credentials that were issued before this are refused.
    revoked: RwLock<Revoked>,
    /// Those that are turned away although they prove who they are.
    orphans: Arc<Orphans>,
    changes: watch::Sender<u64>,
}

impl Nodes {
    pub(crate) fn new(authority: Arc<NodeAuthority>, revoked: Revoked) -> Self {
        let (declared, revoked) = (RwLock::new(None), RwLock::new(revoked));
        Self { authority, declared, revoked, orphans: Arc::default(), changes: watch::Sender::new(0) }
    }

    /// When the root of all node credentials ends.
    pub(crate) fn root_end(&self) -> SystemTime {
        self.authority.facts().not_after
    }

    /// Who is turned away although it proves who it is.
    pub(crate) fn orphans(&self) -> Arc<Orphans> {
        Arc::clone(&self.orphans)
    }

    /// Makes these the proxies that may connect.
    pub(crate) fn declare(&self, proxies: BTreeSet<ProxyKey>) {
        let mut declared = self.declared.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if declared.as_ref() != Some(&proxies) {
            self.orphans.forget(|proxy| proxies.contains(proxy));
            *declared = Some(proxies);
            drop(declared);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Refuses what was issued before these moments, from now on.
    pub(crate) fn revoke(&self, revoked: Revoked) {
        *self.revoked.write().unwrap_or_else(std::sync::PoisonError::into_inner) = revoked;
        self.changes.send_modify(|count| *count += 1);
    }

    /// Makes every stream ask again.
    pub(crate) fn ask_again(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn was_revoked(&self, proxy: &ProxyKey, issued_at: SystemTime) -> bool {
        let revoked = self.revoked.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        revoked.get(proxy).is_some_and(|moment| issued_at < moment)
    }

    fn is_declared(&self, proxy: &ProxyKey) -> bool {
        let declared = self.declared.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        declared.as_ref().is_none_or(|proxies| proxies.contains(proxy))
    }

    /// Whether nothing of it is declared; remembered if so, unless it is declared meanwhile.
    fn is_orphan(&self, identity: &NodeIdentity, now: SystemTime) -> bool {
        let declared = self.declared.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_orphan = declared.as_ref().is_some_and(|proxies| !proxies.contains(&identity.proxy));
        if is_orphan {
            self.orphans.asked(identity, Turned::Undeclared, now);
        }
        is_orphan
    }

    fn admit(&self, identity: Result<NodeIdentity, CredentialProblem>, now: SystemTime) -> Result<Peer, Refusal> {
        let identity = identity.map_err(|problem| match problem {
            CredentialProblem::OutsideValidity | CredentialProblem::Revoked => Refusal::Outdated(problem.to_string()),
            CredentialProblem::Malformed | CredentialProblem::Foreign | CredentialProblem::Purpose | CredentialProblem::Name => {
                Refusal::Wrong(problem.to_string())
            }
        })?;
        let is_orphan = self.is_orphan(&identity, now);
        if self.was_revoked(&identity.proxy, identity.issued_at) {
            if !is_orphan {
                self.orphans.asked(&identity, Turned::Revoked, now);
            }
            return Err(Refusal::Outdated(CredentialProblem::Revoked.to_string()));
        }
        if is_orphan {
            return Err(Refusal::Wrong(format!("{} is not declared", identity.proxy)));
        }
        self.orphans.came(&identity.proxy);
        Ok(Peer {
            identity: Text::from(format!("{}#{}", identity.proxy, identity.credential)),
            proxy: identity.proxy,
            credential: identity.credential,
            issued_at: identity.issued_at,
            expires_at: identity.expires_at,
            zone: None,
        })
    }
}

impl Identify for Nodes {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(self.admit(self.authority.identify_certificate(certificate, now), now)).boxed()
    }

    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(self.admit(self.authority.identify_token(token, now), now)).boxed()
    }

    fn is_revoked(&self, peer: &Peer) -> bool {
        !self.is_declared(&peer.proxy) || self.was_revoked(&peer.proxy, peer.issued_at)
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::pem::PemObject;
    use windrose_pki::{Directory, SystemEntropy};
    use windrose_vocab::TrustDomain;

    use super::*;
    use crate::revocations::Revocations;

    #[tokio::test]
    async fn a_credential_from_before_the_revocation_is_refused_and_one_from_after_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::parse("windrose.local").unwrap();
        // Certificates and revocations count whole seconds.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let directory = Directory::open(folder.path().join("state")).unwrap();
        let authority = Arc::new(NodeAuthority::open(&directory, &domain, now, &SystemEntropy).unwrap());
        let nodes = Nodes::new(authority.clone(), Revoked::default());
        let proxy = ProxyKey::parse("workload/shop/orders").unwrap();
        let month = Duration::from_secs(30 * 86_400);
        let token = |at| authority.issue_token(&proxy, month, at, &SystemEntropy).unwrap();
        let certificate = |at| {
            let made = authority.issue_certificate(&proxy, month, at, &SystemEntropy).unwrap();
            CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()
        };
        let (moment, later) = (now + Duration::from_secs(60), now + Duration::from_secs(61));
        let (old, new) = ((token(now), certificate(now)), (token(moment), certificate(moment)));
        let peer = nodes.by_certificate(&old.1, later).await.unwrap();

        let revocations = Revocations::open(folder.path()).unwrap();
        revocations.revoke(&proxy, moment).unwrap();
        nodes.revoke(revocations.all().unwrap());
        assert!(nodes.is_revoked(&peer), "its stream ends");
        assert!(nodes.by_certificate(&old.1, later).await.is_err());
        assert!(nodes.by_token(old.0.expose(), later).await.is_err());
        let peer = nodes.by_certificate(&new.1, later).await.unwrap();
        assert!(!nodes.is_revoked(&peer));
        assert!(nodes.by_token(new.0.expose(), later).await.is_ok());
    }
}
