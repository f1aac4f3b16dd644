//! Workload certificates (X.509 SVIDs) and when they are renewed: equal for every replica and every restart.

use std::time::{Duration, SystemTime};

use windrose_vocab::{Fingerprint, SpiffeId};

use crate::template::{Validity, unix_seconds};
use crate::{CertificateFacts, SecretText, limits};

/// A certificate of one workload, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadCertificate {
    /// Leaf and intermediates in PEM, leaf first, without the root.
    pub chain: String,
    /// The leaf's private key in PEM.
    pub key: SecretText,
    /// What the leaf says.
    pub facts: CertificateFacts,
    /// Fingerprint of (identity, issuer, slot).
    pub version: Fingerprint,
    /// When it is to be replaced.
    pub slot: Slot,
}

/// The stretch of time for which one certificate of an identity is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Counts up by one from slot to slot.
    pub number: u64,
    /// First moment.
    pub from: SystemTime,
    /// First moment of the next slot: renew then.
    pub until: SystemTime,
}

/// The slot of `identity` at `now`. Slots of different identities begin at different moments, spread over
/// [`limits::WORKLOAD_SLOT`], so that a fleet does not renew at once.
#[must_use]
pub fn renewal_slot(identity: &SpiffeId, now: SystemTime) -> Slot {
    let length = limits::WORKLOAD_SLOT.as_secs();
    let shift = u64::try_from(Fingerprint::of("windrose.pki.slot", identity).bits() % u128::from(length)).unwrap_or(0);
    let number = unix_seconds(now).saturating_add(shift) / length;
    let from = moment((number * length).saturating_sub(shift));
    Slot { number, from, until: moment(((number + 1) * length).saturating_sub(shift)) }
}

/// The version of the certificate of `identity` in `slot`, when `issuer` signs it.
#[must_use]
pub fn leaf_version(identity: &SpiffeId, issuer: Fingerprint, slot: Slot) -> Fingerprint {
    Fingerprint::of("windrose.pki.leaf", &((identity, issuer), slot.number))
}

impl Slot {
    /// A certificate that is made anywhere in the slot is valid from its start and for the same stretch after its end.
    pub(crate) fn validity(self) -> Validity {
        Validity::starting(self.from, limits::WORKLOAD_LIFETIME)
    }
}

fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(account: usize) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://cluster.local/ns/shop/sa/a{account}")).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_slot_holds_its_moment_and_the_next_begins_where_it_ends() {
        for account in 0..50 {
            let slot = renewal_slot(&identity(account), at(1_800_000_000));
            assert!(slot.from <= at(1_800_000_000) && at(1_800_000_000) < slot.until);
            assert_eq!(slot.until.duration_since(slot.from).unwrap(), limits::WORKLOAD_SLOT);
            let next = renewal_slot(&identity(account), slot.until);
            assert_eq!((next.number, next.from), (slot.number + 1, slot.until));
            assert_eq!(renewal_slot(&identity(account), slot.until - Duration::from_secs(1)), slot);
        }
    }

    #[test]
    fn a_fleet_does_not_renew_at_once() {
        let hour = |account| {
            let slot = renewal_slot(&identity(account), at(1_800_000_000));
            unix_seconds(slot.until) / 3600
        };
        let mut by_hour = std::collections::BTreeMap::new();
        (0..1200).for_each(|account| *by_hour.entry(hour(account)).or_insert(0) += 1);
        assert!(by_hour.values().all(|&count| count < 200), "{by_hour:?}");
    }

    #[test]
    fn half_a_day_is_left_when_the_next_one_comes() {
        let slot = renewal_slot(&identity(1), at(1_800_000_000));
        assert_eq!(slot.validity().to.duration_since(slot.until).unwrap(), limits::WORKLOAD_LIFETIME / 2);
    }

    #[test]
    fn a_clock_before_1970_or_far_away_still_has_a_slot() {
        for now in [SystemTime::UNIX_EPOCH - Duration::from_secs(9), SystemTime::UNIX_EPOCH, at(u64::from(u32::MAX) * 1000)] {
            let slot = renewal_slot(&identity(1), now);
            assert!(slot.from < slot.until);
        }
    }
}
