//! The generic cell rate algorithm: one number per key, the time at which its bucket would be full again.
//! Times are nanoseconds of a clock that never steps.

use crate::config::Quota;
use crate::limits::FILL_NS_MAX;

/// What a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is room.
    Admitted {
        /// The new number to remember.
        full_at: u64,
        /// Requests that would still be admitted now.
        remaining: u64,
        /// Nanoseconds until the bucket is full again.
        reset: u64,
    },
    /// There is none.
    Refused {
        /// Nanoseconds until there is; `None` for a quota of 0.
        retry_after: Option<u64>,
    },
}

/// The cost of one request, in nanoseconds of the bucket's time; at least 1, so that every request costs something.
pub(crate) fn cost(quota: &Quota) -> u64 {
    let window = quota.window_ms.saturating_mul(1_000_000);
    window.div_ceil(u64::from(quota.requests.max(1))).max(1)
}

/// The most that a bucket can lack, in nanoseconds of its time: never so much that a time which cannot be told has room.
pub(crate) fn capacity(quota: &Quota) -> u64 {
    fill(quota).unwrap_or(FILL_NS_MAX)
}

/// How long an empty bucket takes to become full, in nanoseconds; `None` for longer than [`FILL_NS_MAX`].
pub(crate) fn fill(quota: &Quota) -> Option<u64> {
    cost(quota).checked_mul(u64::from(quota.burst)).filter(|fill| *fill <= FILL_NS_MAX)
}

/// One request at `now`, when the bucket would be full again at `full_at` (0 for a key never seen).
pub(crate) fn admit(quota: &Quota, full_at: u64, now: u64) -> Outcome {
    if quota.requests == 0 {
        return Outcome::Refused { retry_after: None };
    }
    let (cost, capacity) = (cost(quota), capacity(quota));
    let after = full_at.max(now).saturating_add(cost);
    let used = after.saturating_sub(now);
    if used > capacity {
        return Outcome::Refused { retry_after: Some(used - capacity) };
    }
    Outcome::Admitted { full_at: after, remaining: (capacity - used) / cost, reset: used }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(quota: &Quota, times: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let mut full_at = 0;
        times
            .into_iter()
            .map(|now| match admit(quota, full_at, now) {
                Outcome::Admitted { full_at: next, .. } => {
                    full_at = next;
                    true
                }
                Outcome::Refused { .. } => false,
            })
            .collect()
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_per_interval() {
        let quota = Quota { requests: 2, window_ms: 1_000, burst: 3 };
        let now = 7 * SECOND;
        assert_eq!(admitted(&quota, [now, now, now, now]), [true, true, true, false]);
        assert_eq!(
            admitted(&quota, [now, now, now, now + SECOND / 2 - 1, now + SECOND / 2, now + SECOND / 2]),
            [true, true, true, false, true, false]
        );
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let quota = Quota { requests: 1, window_ms: 10_000, burst: 1 };
        let Outcome::Admitted { full_at, remaining, reset } = admit(&quota, 0, SECOND) else { panic!("refused") };
        assert_eq!((full_at, remaining, reset), (11 * SECOND, 0, 10 * SECOND));
        assert_eq!(admit(&quota, full_at, 4 * SECOND), Outcome::Refused { retry_after: Some(7 * SECOND) });
    }

    #[test]
    fn a_quota_of_zero_admits_nobody() {
        assert_eq!(admit(&Quota { requests: 0, window_ms: 1, burst: 9 }, 0, 0), Outcome::Refused { retry_after: None });
    }

    #[test]
    fn a_time_that_cannot_be_told_is_refused_and_never_free() {
        let quota = Quota { requests: 1, window_ms: 86_400_000, burst: 1_000_000_000 };
        for full_at in [u64::MAX, u64::MAX - 1, u64::MAX - cost(&quota)] {
            assert!(matches!(admit(&quota, full_at, SECOND), Outcome::Refused { .. }), "{full_at}");
        }
        assert!(matches!(admit(&quota, 0, SECOND), Outcome::Admitted { .. }));
    }

    #[test]
    fn a_window_admits_its_requests_and_a_burst_beside_them_less_one() {
        for (requests, burst) in [(5, 5), (5, 1), (10, 3), (1, 1)] {
            let quota = Quota { requests, window_ms: 1_000, burst };
            let every_millisecond = (0..1_000).flat_map(|step| [7 * SECOND + step * 1_000_000; 10]);
            let count = admitted(&quota, every_millisecond).iter().filter(|admitted| **admitted).count();
            assert_eq!(count, usize::try_from(requests + burst - 1).unwrap(), "{quota:?}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(requests in 1u32..50, burst in 1u32..50, window_ms in 1u64..5_000, gaps in prop::collection::vec(0u64..400_000_000, 1..200)) {
            let quota = Quota { requests, window_ms, burst };
            let times: Vec<u64> = gaps.iter().scan(SECOND, |t, gap| { *t += gap; Some(*t) }).collect();
            let count = admitted(&quota, times.iter().copied()).iter().filter(|a| **a).count() as u64;
            let span = times.last().unwrap() - times.first().unwrap();
            prop_assert!(count <= u64::from(burst) + span / cost(&quota) + 1);
        }
    }
}
