//! Bounds of this filter, each with its unit and reason.

/// Buckets of the shared table. With [`ENTRIES_PER_BUCKET`] it remembers 65,536 keys in about 2 MiB for all workers together.
pub(crate) const BUCKETS: u64 = 8_192;
/// Keys per bucket: one host call reads and one writes them all, and 128 bytes cost no more than 16.
pub(crate) const ENTRIES_PER_BUCKET: usize = 8;
/// Attempts to write a bucket that other workers write too. Each failure is another worker's success, so with at most
/// 64 workers the bound is never met; a request that meets it is refused.
pub(crate) const WRITE_ATTEMPTS: u32 = 64;
/// Limits in one policy; the policy language allows 16 on a Gateway and 16 on a route.
pub(crate) const LIMITS_PER_POLICY: usize = 64;
/// Longest window, in nanoseconds: 24 h.
pub(crate) const WINDOW_NS_MAX: u64 = 86_400_000_000_000;
