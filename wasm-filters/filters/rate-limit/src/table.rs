//! The shared table of buckets: fixed in size, so that ten million keys cost what ten do, and written by
//! compare-and-swap, so that workers never lose each other's counts. A full bucket forgets the key that is nearest to
//! having its whole quota again, so a key at its limit is the last to go.

use windrose_filter_kit::{Host, HostError};

use crate::config::Quota;
use crate::gcra::{self, Outcome};
use crate::limits;

/// Bytes of one entry: key and time, little endian.
const ENTRY: usize = 16;
/// Present once all buckets are.
const MADE: &str = "rl/made";

/// Makes all buckets if they are not there. Without it, two workers that both create one would lose a count.
pub(crate) fn prepare(host: &dyn Host) -> Result<(), HostError> {
    if host.shared_data(MADE).is_some() {
        return Ok(());
    }
    for index in 0..limits::BUCKETS {
        let name = name(index);
        if host.shared_data(&name).is_none() {
            host.set_shared_data(&name, b"", None)?;
        }
    }
    host.set_shared_data(MADE, b"1", None)
}

/// Takes one request of `quota` from the bucket of `key`, or says that there is no room. Contention beyond
/// [`limits::WRITE_ATTEMPTS`] and a host that fails refuse.
pub(crate) fn take(host: &dyn Host, key: u64, quota: &Quota, now: u64) -> Outcome {
    let mut outcome = Outcome::Refused { retry_after: None };
    let written = update(host, key, now, |full_at| {
        outcome = gcra::admit(quota, full_at, now);
        match outcome {
            Outcome::Admitted { full_at, .. } => Some(full_at),
            Outcome::Refused { .. } => None,
        }
    });
    if written { outcome } else { Outcome::Refused { retry_after: None } }
}

/// What [`take`] would say, without taking.
pub(crate) fn peek(host: &dyn Host, key: u64, quota: &Quota, now: u64) -> Outcome {
    let bytes = host.shared_data(&name(key % limits::BUCKETS)).map(|value| value.bytes).unwrap_or_default();
    gcra::admit(quota, Bucket::read(&bytes).full_at(key), now)
}

/// Gives back what [`take`] took, because another limit had no room.
pub(crate) fn give_back(host: &dyn Host, key: u64, quota: &Quota, now: u64) {
    update(host, key, now, |full_at| Some(full_at.saturating_sub(gcra::cost(quota))));
}

/// Changes the time of `key` by compare-and-swap; `None` from `change` leaves it. False when it could not be written.
fn update(host: &dyn Host, key: u64, now: u64, mut change: impl FnMut(u64) -> Option<u64>) -> bool {
    let name = name(key % limits::BUCKETS);
    for _ in 0..limits::WRITE_ATTEMPTS {
        let found = host.shared_data(&name);
        let mut bucket = Bucket::read(found.as_ref().map_or(&[], |value| &value.bytes));
        let Some(full_at) = change(bucket.full_at(key)) else { return true };
        bucket.put(key, full_at, now);
        match host.set_shared_data(&name, &bucket.bytes(), found.map(|value| value.cas)) {
            Ok(()) => return true,
            Err(HostError::CasMismatch) => {}
            Err(HostError::NotFound | HostError::BadArgument | HostError::Other(_)) => return false,
        }
    }
    false
}

fn name(index: u64) -> String {
    format!("rl/{index}")
}

/// The entries of one bucket.
struct Bucket(Vec<(u64, u64)>);

impl Bucket {
    fn read(bytes: &[u8]) -> Self {
        let number = |part: &[u8]| part.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let entries = bytes.chunks_exact(ENTRY).take(limits::ENTRIES_PER_BUCKET);
        Self(entries.map(|entry| entry.split_at(ENTRY / 2)).map(|(key, time)| (number(key), number(time))).collect())
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(key, time)| key.to_le_bytes().into_iter().chain(time.to_le_bytes())).collect()
    }

    fn full_at(&self, key: u64) -> u64 {
        self.0.iter().find(|(entry, _)| *entry == key).map_or(0, |(_, time)| *time)
    }

    /// Entries whose bucket is full again say nothing that an absent one does not.
    fn put(&mut self, key: u64, full_at: u64, now: u64) {
        self.0.retain(|(entry, time)| *entry != key && *time > now);
        if self.0.len() >= limits::ENTRIES_PER_BUCKET {
            let emptiest = self.0.iter().enumerate().min_by_key(|(_, (_, time))| *time).map(|(position, _)| position);
            emptiest.map(|position| self.0.swap_remove(position));
        }
        self.0.push((key, full_at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_filter_kit::fake::FakeHost;

    const QUOTA: Quota = Quota { requests: 5, window_ms: 60_000, burst: 5 };

    fn admitted(host: &FakeHost, key: u64) -> bool {
        matches!(take(host, key, &QUOTA, host.monotonic_ns()), Outcome::Admitted { .. })
    }

    #[test]
    fn a_key_gets_its_quota_and_no_more() {
        let host = FakeHost::new();
        prepare(&host).unwrap();
        assert_eq!((0..8).filter(|_| admitted(&host, 7)).count(), 5);
    }

    #[test]
    fn ten_thousand_other_keys_do_not_reset_a_key_at_its_limit() {
        let host = FakeHost::new();
        prepare(&host).unwrap();
        while admitted(&host, 7) {}
        for other in 0..10_000 {
            admitted(&host, 7 + limits::BUCKETS * (1 + other));
        }
        assert!(!admitted(&host, 7));
        assert!(host.shared_data(&name(7)).unwrap().bytes.len() <= ENTRY * limits::ENTRIES_PER_BUCKET);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let host = FakeHost::new();
        prepare(&host).unwrap();
        while admitted(&host, 7) {}
        give_back(&host, 7, &QUOTA, host.monotonic_ns());
        assert!(admitted(&host, 7));
        assert!(!admitted(&host, 7));
    }

    #[test]
    fn damaged_shared_data_is_read_as_far_as_it_goes() {
        assert_eq!(Bucket::read(&[1, 2, 3]).0, []);
        assert_eq!(Bucket::read(&[0; 40]).0.len(), 2);
    }
}
