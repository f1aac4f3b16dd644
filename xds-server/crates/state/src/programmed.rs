//! Whether the proxies that should have certain resources have them: acked n of m, since when, and if not, why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use windrose_vocab::{Fingerprint, ProxyKey, ResourceId};

use crate::observed::{Observed, Reason, StreamStatus};

/// Exactly this version of this resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// Which resource.
    pub id: ResourceId,
    /// Which version.
    pub version: Fingerprint,
}

/// How far the streams of one proxy key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProgress {
    /// Streams that accepted all that is needed.
    pub acked: usize,
    /// Streams that are open.
    pub of: usize,
    /// When this was first seen to be all of them; nothing before that, and nothing where no stream is open.
    pub since: Option<SystemTime>,
    /// Why not, in the client's words: one per resource that a stream rejected, in order of resource.
    pub reasons: BTreeMap<ResourceId, Reason>,
}

impl ProxyProgress {
    /// Whether there is a stream and all have accepted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.of > 0 && self.acked == self.of
    }
}

/// Remembers per subject since when it is programmed. A subject is whatever the caller reports on, such as an object
/// at its generation.
#[derive(Clone, Debug)]
pub struct Programmed<S: Ord> {
    complete: BTreeMap<(S, ProxyKey), Complete>,
}

/// What was complete, and since when.
#[derive(Clone, Debug)]
struct Complete {
    needed: Arc<[Needed]>,
    since: SystemTime,
}

impl<S: Ord> Default for Programmed<S> {
    fn default() -> Self {
        Self { complete: BTreeMap::new() }
    }
}

impl<S: Ord + Clone> Programmed<S> {
    /// How far the proxies of `proxy` are with what `subject` needs, as of `now`. `streams` is
    /// [`Observed::snapshot`], taken once for many subjects.
    pub fn progress(
        &mut self,
        subject: &S,
        proxy: &ProxyKey,
        needed: &[Needed],
        streams: &[StreamStatus],
        now: SystemTime,
    ) -> ProxyProgress {
        let mut progress = count(proxy, needed, streams);
        let key = (subject.clone(), proxy.clone());
        if progress.is_complete() {
            let known = self.complete.get(&key).filter(|one| *one.needed == *needed).map(|one| one.since);
            progress.since = Some(known.unwrap_or(now));
            if known.is_none() {
                self.complete.insert(key, Complete { needed: needed.into(), since: now });
            }
        } else {
            self.complete.remove(&key);
        }
        progress
    }

    /// Forgets the subjects that are gone.
    pub fn retain(&mut self, mut keep: impl FnMut(&S) -> bool) {
        self.complete.retain(|(subject, _), _| keep(subject));
    }
}

impl Observed {
    /// How far the proxies of `proxy` are with `needed`, at this moment and without a memory of when.
    #[must_use]
    pub fn progress(&self, proxy: &ProxyKey, needed: &[Needed]) -> ProxyProgress {
        count(proxy, needed, &self.snapshot())
    }
}

fn count(proxy: &ProxyKey, needed: &[Needed], streams: &[StreamStatus]) -> ProxyProgress {
    let mut progress = ProxyProgress { acked: 0, of: 0, since: None, reasons: BTreeMap::new() };
    for stream in streams.iter().filter(|stream| stream.opened.scope.proxy == *proxy) {
        progress.of += 1;
        progress.acked += usize::from(needed.iter().all(|one| has(stream, one)));
        progress.reasons.extend(needed.iter().filter_map(|one| Some((one.id.clone(), refusal(stream, one)?))));
    }
    progress
}

fn has(stream: &StreamStatus, needed: &Needed) -> bool {
    let kind = stream.of_kind(needed.id.kind);
    kind.acked.get(&*needed.id.name).is_some_and(|one| one.version == needed.version)
}

fn refusal(stream: &StreamStatus, needed: &Needed) -> Option<Reason> {
    let kind = stream.of_kind(needed.id.kind);
    let of_name = kind.rejected.get(&*needed.id.name).filter(|one| one.version == needed.version);
    of_name.map(|one| one.reason.clone())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windrose_vocab::ResourceKind;

    use super::*;
    use crate::observed::Observation;
    use crate::observed::tests::{clusters, opened};

    fn needed() -> Vec<Needed> {
        vec![Needed { id: ResourceId::new(ResourceKind::Cluster, "c"), version: Fingerprint::from_bits(2) }]
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn acked(version: u128) -> [Observation; 1] {
        [Observation::Acked { kind: ResourceKind::Cluster, acked: clusters(&[("c", version)]) }]
    }

    #[test]
    fn programmed_counts_streams_keeps_the_first_time_and_says_why_not() {
        let (observed, mut programmed) = (Observed::new(), Programmed::default());
        let proxy = ProxyKey::gateway("shop", "edge");
        let (a, b) = (observed.open(opened("a")).unwrap(), observed.open(opened("b")).unwrap());
        observed.record(a, acked(2), at(1));
        let version = Fingerprint::from_bits(2);
        let refused =
            Observation::Rejected { kind: ResourceKind::Cluster, name: Some("c".into()), version, reason: Reason::new("no such thing") };
        observed.record(b, [refused], at(1));
        let mut ask = |now| programmed.progress(&"route", &proxy, &needed(), &observed.snapshot(), now);

        let half = ask(at(2));
        assert_eq!((half.acked, half.of, half.since), (1, 2, None));
        assert_eq!(half.reasons.values().map(Reason::as_str).collect::<Vec<_>>(), ["no such thing"]);

        observed.record(b, acked(2), at(3));
        assert_eq!(ask(at(3)).since, Some(at(3)));
        assert_eq!(ask(at(9)).since, Some(at(3)));
    }

    #[test]
    fn without_a_stream_nothing_is_programmed() {
        let progress = Observed::new().progress(&ProxyKey::gateway("shop", "edge"), &needed());
        assert!(!progress.is_complete());
    }
}
