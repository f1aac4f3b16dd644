//! Versions that a client's surroundings kept out, such as a listener whose port another process holds, or that it never
//! answered: when each is sent again. The wait doubles with every refusal, so what stays impossible costs little.

use std::collections::BTreeMap;
use std::time::Duration;

use windrose_state::KindMap;
use windrose_vocab::{Fingerprint, ResourceId, ResourceKind, Text};

use crate::limits;
use crate::message::Moment;

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    /// This version was not refused before.
    pub(crate) first: bool,
    /// Another version waited, and is nobody's concern any more: it may be wanted again.
    pub(crate) displaced: Option<Fingerprint>,
}

/// The first wait and the longest.
pub(crate) type Waits = (Duration, Duration);

/// What waits to be sent again, by resource.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    waiting: BTreeMap<ResourceId, Retry>,
}

#[derive(Debug)]
struct Retry {
    version: Fingerprint,
    wait: Duration,
    /// None while the client has not answered the newest attempt.
    at: Option<Moment>,
}

impl Retries {
    /// Takes note of a refusal.
    pub(crate) fn refused(&mut self, id: &ResourceId, version: Fingerprint, (shortest, longest): Waits, now: Moment) -> Noted {
        let known = self.waiting.get(id).filter(|known| known.version == version);
        let wait = known.map_or(shortest, |known| (known.wait * 2).clamp(shortest, longest));
        let first = known.is_none();
        let former = self.waiting.insert(id.clone(), Retry { version, wait, at: Some(now + wait) });
        let displaced = former.map(|former| former.version).filter(|former| *former != version);
        if self.waiting.len() > limits::REJECTED_RESOURCES {
            self.waiting.pop_first();
        }
        Noted { first, displaced }
    }

    /// A version that was refused for its own sake after all is not tried again.
    pub(crate) fn forget(&mut self, id: &ResourceId, version: Fingerprint) {
        if self.waiting.get(id).is_some_and(|known| known.version == version) {
            self.waiting.remove(id);
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.waiting.values().filter_map(|retry| retry.at).min()
    }

    /// What is due, each once until it is refused again.
    pub(crate) fn take_due(&mut self, now: Moment) -> Vec<(ResourceId, Fingerprint)> {
        let due = self.waiting.iter_mut().filter(|(_, retry)| retry.at.is_some_and(|at| now >= at));
        due.map(|(id, retry)| {
            retry.at = None;
            (id.clone(), retry.version)
        })
        .collect()
    }

    /// The names of a kind that waited and are now among what the client accepted; they wait no longer.
    pub(crate) fn take_accepted(&mut self, kind: ResourceKind, acked: &KindMap) -> Vec<Text> {
        let is_in = |id: &ResourceId, retry: &Retry| acked.get(&*id.name).is_some_and(|one| one.version == retry.version);
        let mut accepted = Vec::new();
        self.waiting.retain(|id, retry| {
            let done = id.kind == kind && is_in(id, retry);
            accepted.extend(done.then(|| id.name.clone()));
            !done
        });
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    const HELD: Waits = (limits::RETRY_FIRST, limits::RETRY_LONGEST);

    fn listener(n: usize) -> ResourceId {
        ResourceId::new(ResourceKind::Listener, format!("l{n}"))
    }

    #[test]
    fn the_wait_doubles_up_to_half_a_minute_and_another_version_begins_anew() {
        let (mut retries, mut now, version) = (Retries::default(), Moment::ZERO, Fingerprint::from_bits(1));
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(retries.refused(&listener(0), version, HELD, now), Noted { first: wait == 1, displaced: None });
            assert_eq!(retries.next(), Some(now + seconds(wait)));
            now += seconds(wait);
            assert_eq!(retries.take_due(now), [(listener(0), version)]);
            assert_eq!((retries.next(), retries.take_due(now)), (None, Vec::new()), "it is out");
        }
        assert_eq!(retries.refused(&listener(0), Fingerprint::from_bits(2), HELD, now), Noted { first: true, displaced: Some(version) });
        assert_eq!(retries.next(), Some(now + seconds(1)));
        retries.forget(&listener(0), version);
        assert_eq!(retries.next(), Some(now + seconds(1)), "that one waits no longer");
        retries.forget(&listener(0), Fingerprint::from_bits(2));
        assert_eq!(retries.next(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut retries = Retries::default();
        for n in 0..=limits::REJECTED_RESOURCES {
            retries.refused(&listener(n), Fingerprint::from_bits(1), HELD, Moment::ZERO);
        }
        assert_eq!(retries.waiting.len(), limits::REJECTED_RESOURCES);
    }
}
