//! Bounds of this filter, each with its unit and reason.

/// Buckets of a shared table. With [`SLOTS`] it remembers 65,536 keys in about 3 MiB for all workers together, and never
/// takes more than 8 MiB. Each namespace whose policies limit has one, so that a flood at one closes no limit of another.
pub(crate) const BUCKETS: u64 = 8_192;
/// Keys per bucket that have an entry of their own: one host call reads and one writes them all, and 200 bytes cost no more
/// than 24.
pub(crate) const SLOTS: usize = 8;
/// Limits per bucket whose further keys share one entry. A request of yet another limit that finds no room is refused; that
/// takes so many limits that are flooded with keys at the same time.
pub(crate) const RESTS: usize = 24;
/// Attempts to write a bucket that other workers write too. Each failure is another worker's success, so with at most
/// 64 workers the bound is never met; a request that meets it is refused.
pub(crate) const WRITE_ATTEMPTS: u32 = 64;
/// Limits in one policy; the policy language allows 16 on a Gateway and 16 on a route.
pub(crate) const LIMITS_PER_POLICY: usize = 64;
/// Longest window, in nanoseconds: 24 h.
pub(crate) const WINDOW_NS_MAX: u64 = 86_400_000_000_000;
/// Longest time in which an empty bucket becomes full, in nanoseconds: 100 years of 365 days. A sum of it and the clock stays far below
/// 2^64, where a bucket would stop counting.
pub(crate) const FILL_NS_MAX: u64 = 36_500 * 86_400_000_000_000;
/// How far the clock reading of one worker may lie behind another's write, in nanoseconds. A bucket that is emptier than
/// its quota allows by more than that was filled under an earlier quota.
pub(crate) const CLOCK_LAG_NS: u64 = 1_000_000_000;
