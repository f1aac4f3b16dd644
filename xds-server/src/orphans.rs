//! Proxies that prove who they are and are turned away, for they are not declared or their credential was revoked: nobody serves them, and
//! they may go on with what they had. Each is remembered as long as it keeps asking.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use windrose_admin::report::{DiagnosticReport, ProxyReport};
use windrose_pki::NodeIdentity;
use windrose_vocab::{ProxyKey, ProxyRole, Severity, Text};

use crate::ends::seconds;

/// One that has not asked for so long has ended: an Envoy of ours asks again within seconds, one with a bootstrap of its own within 30 s.
const SILENT_MAX: Duration = Duration::from_secs(90);
/// More are not remembered: so many are named by no person one by one.
const MOST: usize = 1_000;

/// What can be done about one. Ten minutes after what it runs for is gone, its credentials are good no more.
const CURE: &str =
    "end this proxy, or declare that again (windrose check says what cannot be read); ten minutes after it went it needs a new bootstrap";

/// What can be done about one whose credential was revoked.
const CURE_REVOKED: &str = "where it runs, `windrose bootstrap --renew` gives it a new one; end it where it is none of yours";

/// Why one is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    Undeclared,
    Revoked,
}

/// Those that asked lately, by credential.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    asked: BTreeMap<(ProxyKey, Text), Orphan>,
    /// Counts who came and went.
    revision: u64,
}

#[derive(Clone, Debug)]
struct Orphan {
    turned: Turned,
    since: SystemTime,
    last: SystemTime,
    expires_at: SystemTime,
}

impl Orphans {
    /// One that proved to be this asked, and was turned away.
    pub(crate) fn asked(&self, who: &NodeIdentity, turned: Turned, now: SystemTime) {
        let mut known = self.lock();
        let key = (who.proxy.clone(), who.credential.clone());
        if let Some(orphan) = known.asked.get_mut(&key).filter(|orphan| orphan.turned == turned) {
            orphan.last = now;
        } else if known.asked.contains_key(&key) || known.asked.len() < MOST {
            known.asked.insert(key, Orphan { turned, since: now, last: now, expires_at: who.expires_at });
            known.revision += 1;
        }
    }

    /// Forgets those that are declared now.
    pub(crate) fn forget(&self, declared: impl Fn(&ProxyKey) -> bool) {
        self.lock().retain(|proxy, orphan| orphan.turned == Turned::Revoked || !declared(proxy));
    }

    /// One of its credentials is good: those of before are over, unless somebody goes on showing them.
    pub(crate) fn came(&self, proxy: &ProxyKey) {
        self.lock().retain(|known, orphan| orphan.turned == Turned::Undeclared || known != proxy);
    }

    /// Equal numbers, equal orphans.
    pub(crate) fn revision(&self, now: SystemTime) -> u64 {
        self.heard(now).revision
    }

    /// A row for each that is heard of at `now`.
    pub(crate) fn proxies(&self, now: SystemTime) -> Vec<ProxyReport> {
        let row = |((proxy, credential), orphan): (&(ProxyKey, Text), &Orphan)| ProxyReport {
            proxy: proxy.to_string(),
            identity: format!("{proxy}#{credential}"),
            connected: seconds(orphan.since),
            credential_expires: Some(seconds(orphan.expires_at)),
            orphaned: Some(why(proxy, orphan.turned).to_owned()),
            ..ProxyReport::default()
        };
        self.heard(now).asked.iter().map(row).collect()
    }

    /// A word for each in the status.
    pub(crate) fn told(&self, now: SystemTime) -> Vec<DiagnosticReport> {
        let one = |((proxy, credential), orphan): (&(ProxyKey, Text), &Orphan)| {
            let why = why(proxy, orphan.turned);
            let (code, cure) = match orphan.turned {
                Turned::Undeclared => ("Orphaned", CURE),
                Turned::Revoked => ("Revoked", CURE_REVOKED),
            };
            DiagnosticReport {
                severity: Severity::Warning.to_string(),
                code: code.into(),
                message: format!("{proxy}#{credential} is turned away: {why}, and it may go on with what it had"),
                hint: Some(cure.into()),
                ..DiagnosticReport::default()
            }
        };
        self.heard(now).asked.iter().map(one).collect()
    }

    fn heard(&self, now: SystemTime) -> MutexGuard<'_, Known> {
        let mut known = self.lock();
        known.retain(|_, orphan| now.duration_since(orphan.last).unwrap_or_default() <= SILENT_MAX);
        known
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn retain(&mut self, stays: impl Fn(&ProxyKey, &Orphan) -> bool) {
        let before = self.asked.len();
        self.asked.retain(|(proxy, _), orphan| stays(proxy, orphan));
        self.revision += u64::from(self.asked.len() != before);
    }
}

/// Why nobody serves it.
fn why(proxy: &ProxyKey, turned: Turned) -> &'static str {
    match (turned, proxy.role) {
        (Turned::Revoked, _) => "its credential was revoked",
        (Turned::Undeclared, ProxyRole::Gateway) => "its Gateway is not declared",
        (Turned::Undeclared, ProxyRole::Workload) => "its Workload is not declared",
        (Turned::Undeclared, ProxyRole::Fleet) => "no Gateway of its class is declared",
    }
}

#[cfg(test)]
mod tests {
    use windrose_vocab::TrustDomain;

    use super::*;

    fn identity(proxy: &str, credential: &str) -> NodeIdentity {
        NodeIdentity {
            proxy: ProxyKey::parse(proxy).unwrap(),
            trust_domain: TrustDomain::parse("windrose.local").unwrap(),
            credential: credential.into(),
            issued_at: at(0),
            expires_at: at(5_000),
        }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn an_orphan_is_told_while_it_asks_and_until_it_is_declared() {
        let orphans = Orphans::default();
        orphans.asked(&identity("gateway/shop/edge", "a"), Turned::Undeclared, at(100));
        orphans.asked(&identity("workload/shop/orders", "b"), Turned::Undeclared, at(110));
        let first = orphans.revision(at(110));
        orphans.asked(&identity("gateway/shop/edge", "a"), Turned::Undeclared, at(150));
        assert_eq!(orphans.revision(at(150)), first, "it is no news that it asks again");
        let rows = orphans.proxies(at(150));
        assert_eq!((rows[0].proxy.as_str(), rows[0].connected, rows[0].credential_expires), ("gateway/shop/edge", 100, Some(5_000)));
        assert_eq!(rows[0].orphaned.as_deref(), Some("its Gateway is not declared"));
        assert_eq!((rows[1].identity.as_str(), rows[1].synced), ("workload/shop/orders#b", false));
        assert!(orphans.told(at(150))[1].message.contains("workload/shop/orders#b is turned away: its Workload is not declared"));

        assert_eq!(orphans.proxies(at(201)).len(), 1, "the other one is silent");
        assert_ne!(orphans.revision(at(201)), first);
        orphans.forget(|proxy| proxy.to_string() == "gateway/shop/edge");
        assert!(orphans.proxies(at(201)).is_empty() && orphans.told(at(201)).is_empty());
    }

    #[test]
    fn one_whose_credential_was_revoked_is_told_although_it_is_declared() {
        let orphans = Orphans::default();
        orphans.asked(&identity("gateway/shop/edge", "a"), Turned::Revoked, at(100));
        orphans.forget(|_| true);
        assert_eq!(orphans.proxies(at(101))[0].orphaned.as_deref(), Some("its credential was revoked"));
        assert_eq!(orphans.told(at(101))[0].code, "Revoked");
        orphans.came(&identity("gateway/shop/edge", "a").proxy);
        assert!(orphans.proxies(at(101)).is_empty());
        orphans.asked(&identity("gateway/shop/edge", "a"), Turned::Undeclared, at(102));
        assert_eq!(orphans.told(at(102)).iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["Orphaned"]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let orphans = Orphans::default();
        (0..=MOST).for_each(|n| orphans.asked(&identity("gateway/shop/edge", &n.to_string()), Turned::Undeclared, at(1)));
        assert_eq!(orphans.proxies(at(1)).len(), MOST);
    }
}
