//! What makes keys unforeseeable: a secret of this process, drawn once and shared by its workers. Whoever knew which keys
//! meet in one bucket could fill the bucket of somebody else; with the secret nobody outside can compute that.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use windrose_filter_kit::{CAS_ABSENT, Host, HostError};

/// Where the secret lies in the shared data.
const PLACE: &str = "rate/secret";

/// A key of `SipHash`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret(u64, u64);

/// Nothing of it, in no log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Secret {
    /// A new one, from the randomness that std's own hash tables ask of the system; in Envoy that is `random_get`.
    pub(crate) fn draw() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0_u8), random.hash_one(1_u8))
    }

    /// The secret of this process. The first worker writes what it drew; all take what stands there.
    ///
    /// # Errors
    /// When the shared data cannot be written or holds something else.
    pub(crate) fn of_process(host: &dyn Host, drawn: Self) -> Result<Self, HostError> {
        match host.set_shared_data(PLACE, &drawn.bytes(), Some(CAS_ABSENT)) {
            Ok(()) | Err(HostError::CasMismatch) => {}
            Err(error) => return Err(error),
        }
        let stands = host.shared_data(PLACE).ok_or(HostError::NotFound)?;
        Self::read(&stands.bytes).ok_or(HostError::BadArgument)
    }

    /// 64 bits that only this process can foretell.
    #[expect(deprecated, reason = "std's keyed SipHash-2-4 is what is wanted; the newer DefaultHasher takes no key")]
    pub(crate) fn hash(self, what: &impl Hash) -> u64 {
        let mut hasher = std::hash::SipHasher::new_with_keys(self.0, self.1);
        what.hash(&mut hasher);
        hasher.finish()
    }

    fn bytes(self) -> Vec<u8> {
        [self.0.to_le_bytes(), self.1.to_le_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(8)?;
        Some(Self(u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(second.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_filter_kit::fake::FakeHost;

    #[test]
    fn all_workers_of_a_process_have_the_secret_that_was_there_first() {
        let host = FakeHost::new();
        let first = Secret::of_process(&host, Secret(1, 2)).unwrap();
        assert_eq!((first, Secret::of_process(&host, Secret(3, 4)).unwrap()), (Secret(1, 2), first));
    }

    #[test]
    fn another_process_counts_the_same_key_elsewhere() {
        let (one, other) = (Secret::draw(), Secret::draw());
        assert_ne!(one, other);
        assert_ne!(one.hash(&"x-tenant"), other.hash(&"x-tenant"));
        assert_eq!(one.hash(&"x-tenant"), one.hash(&"x-tenant"));
    }

    #[test]
    fn a_secret_that_is_damaged_is_an_error_and_not_a_known_one() {
        let host = FakeHost::new();
        host.set_shared_data(PLACE, b"short", None).unwrap();
        assert_eq!(Secret::of_process(&host, Secret(1, 2)), Err(HostError::BadArgument));
    }

    #[test]
    fn nothing_of_it_is_printed() {
        assert_eq!(format!("{:?}", Secret(12_345, 67_890)), "Secret { .. }");
    }
}
