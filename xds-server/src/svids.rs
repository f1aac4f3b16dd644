//! The secrets that the authority makes: each identity's SVID for its current slot, and the mesh's trust bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use imbl::OrdMap;
use windrose_admin::report::CertificateReport;
use windrose_pki::{Authority, SystemEntropy};
use windrose_state::KindMap;
use windrose_vocab::{Fingerprint, Resource, Sensitive, SpiffeId};

use crate::ends;

/// Certificates by identity, each issued once per slot.
pub(crate) struct Svids {
    authority: Authority,
    issued: BTreeMap<SpiffeId, (Fingerprint, Arc<Resource>, SystemTime)>,
    /// Whether an end of validity is another one than was told last.
    ends_changed: bool,
}

impl Svids {
    pub(crate) fn new(authority: Authority) -> Self {
        Self { authority, issued: BTreeMap::new(), ends_changed: true }
    }

    /// The secrets of `identity` at `now`. One that cannot be made keeps its former version, and is told in the log.
    pub(crate) fn of(&mut self, identity: &SpiffeId, now: SystemTime) -> KindMap {
        let trust = windrose_envoy::render_trust(self.authority.bundle().pem(), self.authority.bundle().version());
        let mut secrets: KindMap = OrdMap::new();
        secrets.insert(trust.id.name.clone(), Arc::new(trust));
        if let Some(svid) = self.svid(identity, now) {
            secrets.insert(svid.id.name.clone(), svid);
        }
        secrets
    }

    /// The identities whose certificate of `now` is another one than was issued last.
    pub(crate) fn due(&self, now: SystemTime) -> BTreeSet<SpiffeId> {
        let due = self.issued.iter().filter(|(identity, (version, ..))| self.authority.version(identity, now) != *version);
        due.map(|(identity, _)| identity.clone()).collect()
    }

    /// Replaces the intermediate when its half life is over. Everything is issued anew then.
    pub(crate) fn renew_authority(&mut self, now: SystemTime) {
        match self.authority.renew(now, &SystemEntropy) {
            Ok(true) => {
                self.ends_changed = true;
                tracing::info!("the intermediate certificate was renewed");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the intermediate certificate cannot be renewed; the former one stays in use"),
        }
    }

    /// Takes the intermediate that another replica renewed. Everything is issued anew then.
    pub(crate) fn follow_authority(&mut self, now: SystemTime) {
        match self.authority.follow(now) {
            Ok(found) => self.ends_changed |= found,
            Err(error) => tracing::error!(%error, "the renewed intermediate certificate cannot be used; the former one stays in use"),
        }
    }

    /// Forgets identities that are no longer declared.
    pub(crate) fn retain(&mut self, keep: impl Fn(&SpiffeId) -> bool) {
        let before = self.issued.len();
        self.issued.retain(|identity, _| keep(identity));
        self.ends_changed |= self.issued.len() != before;
    }

    /// Whether [`Self::take_ends`] has something to tell.
    pub(crate) fn has_other_ends(&self) -> bool {
        self.ends_changed
    }

    /// When each certificate ends, the issuing one included; none if that is what was told last.
    pub(crate) fn take_ends(&mut self) -> Option<Vec<CertificateReport>> {
        let leaves = self.issued.iter().map(|(identity, (_, _, end))| ends::report("svid", identity.to_string(), *end, true));
        let (subject, end) = ("the mesh's issuing certificate".to_owned(), self.authority.issuer().not_after);
        let issuer = ends::report("authority", subject, end, self.authority.renews_issuer());
        std::mem::take(&mut self.ends_changed).then(|| leaves.chain([issuer]).collect())
    }

    fn svid(&mut self, identity: &SpiffeId, now: SystemTime) -> Option<Arc<Resource>> {
        let version = self.authority.version(identity, now);
        if let Some((issued, resource, _)) = self.issued.get(identity)
            && *issued == version
        {
            return Some(Arc::clone(resource));
        }
        match self.authority.issue(identity, now, &SystemEntropy) {
            Ok(made) => {
                let key = Sensitive::new(made.key.expose().as_bytes().to_vec());
                let resource = Arc::new(windrose_envoy::render_svid(&made.chain, &key, made.version));
                self.ends_changed = true;
                self.issued.insert(identity.clone(), (version, Arc::clone(&resource), made.facts.not_after));
                Some(resource)
            }
            Err(error) => {
                tracing::error!(%identity, %error, "no certificate can be issued; the former one stays in use");
                self.issued.get(identity).map(|(_, resource, _)| Arc::clone(resource))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windrose_pki::{Directory, Given};
    use windrose_vocab::TrustDomain;

    use super::*;

    #[test]
    fn a_clock_that_jumps_takes_nobodys_certificate_away_and_all_is_well_when_it_is_right_again() {
        let folder = tempfile::tempdir().unwrap();
        let (now, years) = (SystemTime::now(), |count: u64| Duration::from_secs(count * 365 * 86_400));
        let directory = Directory::open(folder.path().join("state")).unwrap();
        let authority = Authority::open(directory, &TrustDomain::parse("windrose.local").unwrap(), now, &SystemEntropy).unwrap();
        let mut svids = Svids::new(authority);
        let identity = SpiffeId::parse("spiffe://windrose.local/ns/shop/sa/orders").unwrap();
        for at in [now, now + years(2), now - years(2), now + years(30), now] {
            svids.renew_authority(at);
            assert_eq!(svids.of(&identity, at).len(), 2, "an SVID and the bundle");
        }
        assert!(svids.due(now).is_empty(), "its slot has only begun");
        assert!(svids.due(now + Duration::from_secs(86_400)).contains(&identity));
        let ends = svids.take_ends().unwrap();
        let [leaf, issuer] = &ends[..] else { panic!("{ends:?}") };
        let (now, day) = (ends::seconds(now), 86_400);
        assert!(now < leaf.not_after && leaf.not_after <= now + day && now + day < issuer.not_after, "{ends:?}");
        assert!(leaf.renewed_automatically && issuer.renewed_automatically, "{ends:?}");
    }

    #[test]
    fn an_authority_that_was_given_is_renewed_by_whoever_gave_it() {
        let folder = tempfile::tempdir().unwrap();
        let (now, domain) = (SystemTime::now(), TrustDomain::parse("windrose.local").unwrap());
        let state = folder.path().join("state");
        drop(Authority::open(Directory::open(&state).unwrap(), &domain, now, &SystemEntropy).unwrap());
        let read = |name: &str| std::fs::read_to_string(state.join(name)).unwrap();
        let (root, issuer) = (read("root.pem"), read("intermediate.pem"));
        let given = Given::from_texts(("roots", root), ("chain", issuer.clone()), ("key", issuer));
        let mut svids = Svids::new(Authority::given(&given, &domain, now).unwrap());
        let ends = svids.take_ends().unwrap();
        assert_eq!(ends.iter().map(|one| (one.kind.as_str(), one.renewed_automatically)).collect::<Vec<_>>(), [("authority", false)]);
    }
}
