//! The shared tables of buckets, one for each namespace that limits: fixed in size, so that ten million keys cost what ten do, and written by
//! compare-and-swap, so that workers never lose each other's counts.
//!
//! Nothing in it is forgotten that still limits. A bucket without room for one more key puts the key of its class (limit and
//! plan) that lacks least into the rest of the class, which remembers the most that any of its keys lacks. A key without an
//! entry of its own begins where the rest of its class stands: never with more room than it has, and with less where
//! strangers flood the table. Keys of other classes never count against it.

use windrose_filter_kit::{CAS_ABSENT, Host, HostError};

use crate::config::Quota;
use crate::gcra::{self, Outcome};
use crate::key::Key;
use crate::limits;

/// Bytes of one entry: class, key and time, little endian.
const ENTRY: usize = 24;
/// Stands for the key in the rest of a class.
const REST: u64 = 0;

/// Takes one request of `quota` from the bucket of `key`, or says that there is no room. Contention beyond
/// [`limits::WRITE_ATTEMPTS`] and a host that fails refuse.
pub(crate) fn take(host: &dyn Host, key: Key, quota: &Quota, now: u64) -> Outcome {
    let mut outcome = Outcome::Refused { retry_after: None };
    let written = update(host, key, quota, now, |level| {
        outcome = gcra::admit(quota, level.full_at, now);
        match outcome {
            Outcome::Admitted { full_at, .. } => Some(full_at),
            Outcome::Refused { .. } => None,
        }
    });
    if written { outcome } else { Outcome::Refused { retry_after: None } }
}

/// What [`take`] would say, without taking.
pub(crate) fn peek(host: &dyn Host, key: Key, quota: &Quota, now: u64) -> Outcome {
    let mut outcome = Outcome::Refused { retry_after: None };
    let written = update(host, key, quota, now, |level| {
        outcome = gcra::admit(quota, level.full_at, now);
        None
    });
    if written { outcome } else { Outcome::Refused { retry_after: None } }
}

/// Gives back what [`take`] took, because another limit had no room. A key that went into the rest of its class meanwhile
/// gets nothing back: what the rest lacks may be another key's.
pub(crate) fn give_back(host: &dyn Host, key: Key, quota: &Quota, now: u64) {
    update(host, key, quota, now, |level| level.is_own.then(|| level.full_at.saturating_sub(gcra::cost(quota))));
}

/// Changes the time of `key` by compare-and-swap; `None` from `change` leaves it. False when it could not be written.
fn update(host: &dyn Host, key: Key, quota: &Quota, now: u64, mut change: impl FnMut(Level) -> Option<u64>) -> bool {
    let name = format!("rate/{:x}/{}", key.owner, key.own % limits::BUCKETS);
    // A quota of 0 says nothing about what was taken under another one.
    let most = if quota.requests == 0 { u64::MAX } else { now.saturating_add(gcra::capacity(quota)) };
    for _ in 0..limits::WRITE_ATTEMPTS {
        let found = host.shared_data(&name);
        let mut bucket = Bucket::read(found.as_ref().map_or(&[], |value| &value.bytes));
        let eased = bucket.ease(key.class, most);
        match change(bucket.level(key)) {
            Some(full_at) if bucket.put(key, full_at, now) => {}
            Some(_) => return false,
            None if eased => {}
            None => return true,
        }
        match host.set_shared_data(&name, &bucket.bytes(), Some(found.map_or(CAS_ABSENT, |value| value.cas))) {
            Ok(()) => return true,
            Err(HostError::CasMismatch) => {}
            Err(HostError::NotFound | HostError::BadArgument | HostError::Other(_)) => return false,
        }
    }
    false
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    full_at: u64,
    /// Whether by an entry of its own.
    is_own: bool,
}

/// When the bucket of a key, or of the rest of a class, would be full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    class: u64,
    own: u64,
    full_at: u64,
}

/// The entries of one bucket.
struct Bucket(Vec<Entry>);

impl Bucket {
    fn read(bytes: &[u8]) -> Self {
        let number = |part: Option<&[u8]>| part.and_then(|part| part.try_into().ok()).map(u64::from_le_bytes).unwrap_or_default();
        let entries = bytes.chunks_exact(ENTRY).take(limits::SLOTS.saturating_add(limits::RESTS)).map(|entry| {
            let mut numbers = entry.chunks_exact(ENTRY / 3);
            let mut next = || number(numbers.next());
            Entry { class: next(), own: next(), full_at: next() }
        });
        Self(entries.collect())
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|entry| [entry.class, entry.own, entry.full_at]).flat_map(u64::to_le_bytes).collect()
    }

    fn level(&self, key: Key) -> Level {
        let of = |own: u64| self.0.iter().find(|entry| (entry.class, entry.own) == (key.class, own)).map(|entry| entry.full_at);
        of(key.own).map_or_else(|| Level { full_at: of(REST).unwrap_or(0), is_own: false }, |full_at| Level { full_at, is_own: true })
    }

    /// A class whose quota was changed keeps no debt that the new quota cannot make: what lacks more lacks all of it.
    /// Whether there was such.
    fn ease(&mut self, class: u64, most: u64) -> bool {
        let of_earlier = |entry: &&mut Entry| entry.class == class && entry.full_at > most.saturating_add(limits::CLOCK_LAG_NS);
        self.0.iter_mut().filter(of_earlier).map(|entry| entry.full_at = most).count() > 0
    }

    /// Writes one key, dropping entries whose bucket is full again: they say nothing that an absent one does not. False where
    /// there is no room to remember what had to make room.
    fn put(&mut self, key: Key, full_at: u64, now: u64) -> bool {
        self.0.retain(|entry| entry.full_at > now && (entry.class, entry.own) != (key.class, key.own));
        self.0.push(Entry { class: key.class, own: key.own, full_at });
        if self.0.iter().filter(|entry| entry.own != REST).count() <= limits::SLOTS {
            return true;
        }
        let own_class = self.0.iter().enumerate().filter(|(_, entry)| entry.class == key.class && entry.own != REST);
        let least = own_class.min_by_key(|(_, entry)| entry.full_at).map(|(position, _)| position);
        match least.map(|position| self.0.swap_remove(position)) {
            Some(entry) => self.join(entry),
            None => true,
        }
    }

    /// Makes an entry part of the rest of its class.
    fn join(&mut self, entry: Entry) -> bool {
        if let Some(rest) = self.0.iter_mut().find(|other| (other.class, other.own) == (entry.class, REST)) {
            rest.full_at = rest.full_at.max(entry.full_at);
            return true;
        }
        let has_room = self.0.iter().filter(|entry| entry.own == REST).count() < limits::RESTS;
        if has_room {
            self.0.push(Entry { own: REST, ..entry });
        }
        has_room
    }
}

#[cfg(test)]
mod tests;
