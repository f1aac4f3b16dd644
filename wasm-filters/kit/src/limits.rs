//! What is bounded here, each with its unit and its reason.

/// Nanoseconds for which a policy that is gone still judges requests: longer than routes wait for what they need, while Envoy loads the
/// modules of many ports one after the other.
pub(crate) const REMEMBERED_NS: u64 = 60_000_000_000;

/// Policies that are gone and still remembered: each keeps its keys or types in memory.
pub(crate) const REMEMBERED_MAX: usize = 1000;
