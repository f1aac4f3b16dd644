//! Secrets and ConfigMaps: which are referred to, which have been read, and in which version.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use windrose_api::declared::AnyObject;
use windrose_vocab::ObjectRef;

use crate::limits;

/// Who needs which values.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// What each object refers to.
    needs: BTreeMap<ObjectRef, BTreeSet<ObjectRef>>,
    /// How many refer to it.
    needed: BTreeMap<ObjectRef, usize>,
    /// What versions refer to that are in effect in the place of newer ones.
    in_place: Arc<BTreeSet<ObjectRef>>,
    /// What nobody refers to any more, and since when.
    left: BTreeMap<ObjectRef, Instant>,
    /// What is there, in which resource version.
    there: BTreeMap<ObjectRef, String>,
    /// What was read or is being read, in which resource version it was there then.
    read: BTreeMap<ObjectRef, String>,
    /// What is being read.
    open: BTreeSet<ObjectRef>,
    /// What changed while it was being read.
    again: BTreeSet<ObjectRef>,
    /// What to look at.
    due: BTreeSet<ObjectRef>,
    /// What waits for its turn to be read, each once.
    queue: VecDeque<ObjectRef>,
    queued: BTreeSet<ObjectRef>,
    /// What somebody began to refer to, and is there, and has not been read yet.
    awaited: BTreeSet<ObjectRef>,
    /// What could not be read last time, how often in a row, and when it is tried again.
    failing: BTreeMap<ObjectRef, (u32, Instant)>,
    /// The same, the first first; without those whose try is under way.
    retries: BTreeSet<(Instant, ObjectRef)>,
}

impl Values {
    /// Takes in what `object` refers to now; nothing where it is gone.
    pub(super) fn refer(&mut self, object: &ObjectRef, now: Option<&AnyObject>) {
        let now = now.map(windrose_api::declared::values).unwrap_or_default();
        let before = if now.is_empty() { self.needs.remove(object) } else { self.needs.insert(object.clone(), now.clone()) };
        let before = before.unwrap_or_default();
        for value in now.difference(&before) {
            *self.needed.entry(value.clone()).or_default() += 1;
            // What fails is not waited for: it may fail for ever.
            if self.there.contains_key(value) && !self.read.contains_key(value) && !self.failing.contains_key(value) {
                self.awaited.insert(value.clone());
            }
            self.due.insert(value.clone());
        }
        for value in before.difference(&now) {
            if let Some(count) = self.needed.get_mut(value) {
                *count -= 1;
                if *count == 0 {
                    self.needed.remove(value);
                }
            }
            self.due.insert(value.clone());
        }
    }

    /// Takes in what versions refer to that are in effect in the place of newer ones.
    pub(super) fn hold(&mut self, now: Arc<BTreeSet<ObjectRef>>) {
        let former = std::mem::replace(&mut self.in_place, now);
        self.due.extend(former.symmetric_difference(&self.in_place).cloned());
    }

    /// A value is there in this version, or gone.
    pub(super) fn there(&mut self, value: ObjectRef, version: Option<String>) {
        match version {
            Some(version) => drop(self.there.insert(value.clone(), version)),
            None => drop(self.there.remove(&value)),
        }
        self.due.insert(value);
    }

    /// Values of a kind that are there.
    pub(super) fn known(&self, kind: windrose_vocab::Kind) -> impl Iterator<Item = &ObjectRef> {
        self.there.keys().filter(move |value| value.kind == kind)
    }

    /// In which version a value is there.
    pub(super) fn version(&self, value: &ObjectRef) -> Option<&String> {
        self.there.get(value)
    }

    /// Whether everything that is needed has been read, as far as it can be.
    pub(super) fn is_settled(&self) -> bool {
        let is_hopeless = |value: &ObjectRef| self.failing.get(value).is_some_and(|(times, _)| *times >= limits::TRIES_AWAITED);
        self.due.iter().chain(&self.queue).chain(&self.open).chain(self.failing.keys()).all(is_hopeless)
    }

    /// Whether something is about to be read that was not there for anybody before: who refers to it should not be seen without.
    pub(super) fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// What is awaited takes too long.
    pub(super) fn await_no_longer(&mut self) {
        self.awaited.clear();
    }

    /// When something that could not be read is tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// When something that nobody refers to any more is forgotten.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.left.values().min().map(|since| *since + limits::VALUES_STAY)
    }

    /// What to do next: at most `room` to read, and what to forget.
    pub(super) fn take_due(&mut self, room: usize, now: Instant) -> (Vec<ObjectRef>, Vec<ObjectRef>) {
        let (mut reads, mut forget) = (Vec::new(), Vec::new());
        self.due.extend(self.left.iter().filter(|(_, since)| now >= **since + limits::VALUES_STAY).map(|(value, _)| value.clone()));
        for value in std::mem::take(&mut self.due) {
            if self.open.contains(&value) {
                self.again.insert(value);
            } else if self.is_needed(&value) {
                self.left.remove(&value);
                if self.read.get(&value) != self.there.get(&value) && self.queued.insert(value.clone()) {
                    self.queue.push_back(value);
                }
            } else if !self.stays(&value, now) {
                self.forget(&value);
                forget.push(value);
            }
        }
        while reads.len() < room {
            let Some(value) = self.next(now) else { break };
            if self.open.contains(&value) {
                self.again.insert(value);
                continue;
            }
            let Some(version) = self.there.get(&value).filter(|_| self.is_needed(&value)) else { continue };
            if self.read.get(&value) == Some(version) {
                continue;
            }
            self.read.insert(value.clone(), version.clone());
            self.open.insert(value.clone());
            reads.push(value);
        }
        (reads, forget)
    }

    /// What has not failed yet is first, then what waits longest for another try.
    fn next(&mut self, now: Instant) -> Option<ObjectRef> {
        if let Some(value) = self.queue.pop_front() {
            self.queued.remove(&value);
            return Some(value);
        }
        let is_due = self.retries.first().is_some_and(|(at, _)| *at <= now);
        if is_due { self.retries.pop_first().map(|(_, value)| value) } else { None }
    }

    /// Whether a value that nobody refers to stays for now: the version that no longer does may be refused, and the former one needs it.
    fn stays(&mut self, value: &ObjectRef, now: Instant) -> bool {
        if !self.there.contains_key(value) || !self.read.contains_key(value) {
            return false;
        }
        let since = *self.left.entry(value.clone()).or_insert(now);
        now < since + limits::VALUES_STAY
    }

    fn forget(&mut self, value: &ObjectRef) {
        self.left.remove(value);
        self.read.remove(value);
        self.awaited.remove(value);
        self.fails_no_longer(value);
    }

    /// It was read.
    pub(super) fn over(&mut self, value: &ObjectRef) {
        self.closed(value);
        self.awaited.remove(value);
        self.fails_no_longer(value);
    }

    /// It was read for nobody and is not here: whoever refers to it next waits for another read.
    pub(super) fn is_not_kept(&mut self, value: &ObjectRef) {
        self.read.remove(value);
        self.left.remove(value);
    }

    fn fails_no_longer(&mut self, value: &ObjectRef) {
        if let Some((_, at)) = self.failing.remove(value) {
            self.retries.remove(&(at, value.clone()));
        }
    }

    /// It could not be read, which may be cured within moments; the longer it fails, the rarer it is tried.
    pub(super) fn failed(&mut self, value: &ObjectRef, now: Instant) {
        let times = self.failing.get(value).map_or(0, |(times, _)| *times);
        let pause = limits::FAILURE_RETRY * 2_u32.saturating_pow(times);
        self.retry(value, now + pause.min(limits::FORBIDDEN_RETRY), times.saturating_add(1));
    }

    /// We may not read it: nobody waits for it.
    pub(super) fn forbidden(&mut self, value: &ObjectRef, now: Instant) {
        self.awaited.remove(value);
        self.retry(value, now + limits::FORBIDDEN_RETRY, limits::TRIES_AWAITED);
    }

    fn retry(&mut self, value: &ObjectRef, at: Instant, times: u32) {
        self.closed(value);
        self.read.remove(value);
        self.fails_no_longer(value);
        self.failing.insert(value.clone(), (times, at));
        self.retries.insert((at, value.clone()));
    }

    fn closed(&mut self, value: &ObjectRef) {
        self.open.remove(value);
        if self.again.remove(value) {
            self.due.insert(value.clone());
        }
    }

    /// Whether somebody still refers to it.
    pub(super) fn is_needed(&self, value: &ObjectRef) -> bool {
        (self.needed.contains_key(value) || self.in_place.contains(value)) && self.there.contains_key(value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windrose_vocab::Kind;

    use super::*;

    const ROOM: usize = 4;

    fn secret(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::Secret, "shop", name)
    }

    /// Values that are there and needed.
    fn needed(names: impl Iterator<Item = String>) -> Values {
        let mut values = Values::default();
        for name in names {
            values.needed.insert(secret(&name), 1);
            values.there(secret(&name), Some("1".into()));
        }
        values
    }

    #[test]
    fn what_cannot_be_read_keeps_no_place_and_starves_nobody() {
        let start = Instant::now();
        let mut values = needed((0..10).map(|number| format!("a-{number}")));
        let mut tried = BTreeSet::new();
        for second in 0..4 {
            let now = start + Duration::from_secs(second);
            let (reads, _) = values.take_due(ROOM, now);
            reads.iter().for_each(|value| values.failed(value, now));
            tried.extend(reads);
        }
        assert_eq!(tried.len(), 10, "each had its turn");
        assert!(!values.is_settled(), "what fails once may be cured within moments");
        for value in &tried {
            (1..limits::TRIES_AWAITED).for_each(|_| values.failed(value, start + Duration::from_secs(3)));
        }
        assert!(values.is_settled(), "what fails for long holds nothing back");

        values.needed.insert(secret("z"), 1);
        values.there(secret("z"), Some("1".into()));
        let (reads, _) = values.take_due(ROOM, start + Duration::from_secs(4));
        assert_eq!(reads.first(), Some(&secret("z")), "in front of those whose next try is due");
    }

    #[test]
    fn what_fails_for_long_is_tried_rarely() {
        let mut now = Instant::now();
        let mut values = needed(["a".to_owned()].into_iter());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(values.take_due(ROOM, now).0, [secret("a")]);
            values.failed(&secret("a"), now);
            let retry = values.next_retry().unwrap();
            assert!(values.take_due(ROOM, retry - Duration::from_millis(1)).0.is_empty());
            pauses.push((retry - now).as_secs());
            now = retry;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        values.there(secret("a"), Some("2".into()));
        assert_eq!(values.take_due(ROOM, now - Duration::from_secs(1)).0, [secret("a")], "a new version is tried at once");
        values.over(&secret("a"));
        assert!(values.take_due(ROOM, now + Duration::from_secs(60)).0.is_empty(), "and is not read twice");
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again_and_what_goes_is_forgotten_without_room() {
        let now = Instant::now();
        let mut values = needed(["a".to_owned(), "b".to_owned()].into_iter());
        assert_eq!(values.take_due(1, now).0, [secret("a")]);
        values.there(secret("a"), Some("2".into()));
        assert!(values.take_due(0, now).0.is_empty());
        values.over(&secret("a"));
        assert!(!values.is_settled());
        values.there(secret("b"), None);
        assert_eq!(values.take_due(0, now).1, [secret("b")]);
        assert_eq!(values.take_due(ROOM, now).0, [secret("a")]);
        values.over(&secret("a"));
        assert!(values.is_settled());
    }

    #[test]
    fn what_was_read_when_nobody_referred_to_it_any_more_is_read_again_for_the_next() {
        let now = Instant::now();
        let mut values = needed(["a".to_owned()].into_iter());
        assert_eq!(values.take_due(ROOM, now).0, [secret("a")]);
        values.needed.remove(&secret("a"));
        values.due.insert(secret("a"));
        assert!(values.take_due(ROOM, now).0.is_empty());
        values.over(&secret("a"));
        values.is_not_kept(&secret("a"));
        assert_eq!(values.take_due(ROOM, now), (Vec::new(), vec![secret("a")]));
        values.needed.insert(secret("a"), 1);
        values.due.insert(secret("a"));
        assert_eq!(values.take_due(ROOM, now).0, [secret("a")]);
    }

    #[test]
    fn what_nobody_refers_to_any_more_stays_for_a_moment_and_as_long_as_a_version_in_place_does() {
        let (start, mut values) = (Instant::now(), needed(["a".to_owned()].into_iter()));
        let forgotten = |values: &mut Values, seconds| values.take_due(ROOM, start + Duration::from_secs(seconds)).1;
        assert_eq!(values.take_due(ROOM, start).0, [secret("a")]);
        values.over(&secret("a"));
        let no_longer = |values: &mut Values| {
            values.needed.clear();
            values.due.insert(secret("a"));
        };
        no_longer(&mut values);
        assert!(forgotten(&mut values, 1).is_empty(), "the newer version may be refused");
        assert_eq!(values.next_end(), Some(start + Duration::from_secs(1) + limits::VALUES_STAY));
        values.hold(Arc::new([secret("a")].into()));
        assert!(forgotten(&mut values, 500).is_empty() && values.next_end().is_none());
        values.there(secret("a"), Some("2".into()));
        assert_eq!(values.take_due(ROOM, start + Duration::from_secs(501)).0, [secret("a")], "and it is followed");
        values.over(&secret("a"));
        values.hold(Arc::default());
        assert!(forgotten(&mut values, 600).is_empty());
        assert_eq!(forgotten(&mut values, 661), [secret("a")]);
        assert!(values.next_end().is_none() && forgotten(&mut values, 900).is_empty());
    }
}
