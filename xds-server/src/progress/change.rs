//! How long changes take: from their planning until the last version of an object that came with them runs everywhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The changes under way, by generation, and how long those took that are over.
#[derive(Default)]
pub(super) struct Changes {
    open: BTreeMap<u64, Change>,
    took: Vec<Duration>,
}

/// What was planned together, and waits to be acknowledged.
struct Change {
    published: SystemTime,
    waiting: usize,
    last: Option<SystemTime>,
}

impl Changes {
    /// Begins to measure a change of so many versions; one of none is over before it began.
    pub(super) fn begin(&mut self, generation: u64, published: SystemTime, versions: usize) {
        if versions > 0 {
            self.open.insert(generation, Change { published, waiting: versions, last: None });
        }
    }

    /// One version of it has arrived everywhere at that time, or has been replaced by another.
    pub(super) fn arrive(&mut self, generation: u64, at: Option<SystemTime>) {
        let Some(change) = self.open.get_mut(&generation) else { return };
        change.waiting = change.waiting.saturating_sub(1);
        change.last = change.last.max(at);
        if change.waiting == 0 {
            let done = self.open.remove(&generation);
            self.took.extend(done.and_then(|done| done.last?.duration_since(done.published).ok()));
        }
    }

    /// How long those took that are over since the last call.
    pub(super) fn take(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.took)
    }
}
