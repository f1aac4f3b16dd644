//! Who may open a stream: whoever shows a credential of our node authority for a proxy that is still declared.
//! Deleting a Workload or Gateway takes its credentials back at once.

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

/// The credentials that are good now.
pub(crate) struct Nodes {
    authority: Arc<NodeAuthority>,
    /// `None` until the first complete world: until then nobody is revoked, and nobody gets anything either.
    declared: RwLock<Option<BTreeSet<ProxyKey>>>,
    changes: watch::Sender<u64>,
}

impl Nodes {
    pub(crate) fn new(authority: Arc<NodeAuthority>) -> Self {
        Self { authority, declared: RwLock::new(None), changes: watch::Sender::new(0) }
    }

    /// Makes these the proxies that may connect.
    pub(crate) fn declare(&self, proxies: BTreeSet<ProxyKey>) {
        let mut declared = self.declared.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if declared.as_ref() != Some(&proxies) {
            *declared = Some(proxies);
            drop(declared);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn is_declared(&self, proxy: &ProxyKey) -> bool {
        let declared = self.declared.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        declared.as_ref().is_none_or(|proxies| proxies.contains(proxy))
    }

    fn admit(&self, identity: Result<NodeIdentity, CredentialProblem>) -> Result<Peer, Refusal> {
        let identity = identity.map_err(|problem| Refusal::Wrong(problem.to_string()))?;
        if !self.is_declared(&identity.proxy) {
            return Err(Refusal::Wrong(format!("{} is not declared", identity.proxy)));
        }
        Ok(Peer {
            identity: Text::from(format!("{}#{}", identity.proxy, identity.credential)),
            proxy: identity.proxy,
            credential: identity.credential,
            issued_at: identity.issued_at,
            expires_at: identity.expires_at,
        })
    }
}

impl Identify for Nodes {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(self.admit(self.authority.identify_certificate(certificate, now))).boxed()
    }

    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(self.admit(self.authority.identify_token(token, now))).boxed()
    }

    fn is_revoked(&self, peer: &Peer) -> bool {
        !self.is_declared(&peer.proxy)
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
