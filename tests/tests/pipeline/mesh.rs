//! The authority of the cases' mesh: what a proxy gets besides what its program holds. Made anew in each run, so it is
//! in no golden file.

use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use windrose_envoy::{render_svid, render_trust};
use windrose_pki::{Authority, Directory, SystemEntropy};
use windrose_vocab::{Resource, Sensitive, SpiffeId, TrustDomain};

use crate::rendered::TRUST_DOMAIN;

/// A real authority in a temporary folder.
pub(crate) struct Mesh {
    authority: Authority,
    _folder: TempDir,
}

impl Mesh {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("pki")).unwrap();
        let trust_domain = TrustDomain::parse(TRUST_DOMAIN).unwrap();
        let authority = Authority::open(directory, &trust_domain, SystemTime::now(), &SystemEntropy).unwrap();
        Self { authority, _folder: folder }
    }

    /// The SVID of an identity and the trust bundle.
    pub(crate) fn secrets(&self, identity: &SpiffeId) -> Vec<Arc<Resource>> {
        let issued = self.authority.issue(identity, SystemTime::now(), &SystemEntropy).unwrap();
        let key = Sensitive::new(issued.key.expose().as_bytes().to_vec());
        let bundle = self.authority.bundle();
        vec![Arc::new(render_svid(&issued.chain, &key, issued.version)), Arc::new(render_trust(bundle.pem(), bundle.version()))]
    }
}
