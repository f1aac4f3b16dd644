//! Limits of the admin API.

use std::time::Duration;

/// Requests under way at once; a scrape, a CLI and a few people fit, a flood does not.
pub const CONCURRENT_REQUESTS: usize = 16;
/// Time for one answer; the largest report takes well under a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
