//! What every stream said: who it is, what it was sent, accepted and rejected. Written by the streams, read by
//! people; nothing that decides what to send reads it. Kept per stream, since two streams may claim one node id.

mod rejection;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use windrose_vocab::{Fingerprint, ProxyKey, ResourceKind, Text};

use crate::limits;
use crate::scope::Scope;
use crate::set::KindMap;
pub use rejection::{Fault, Reason, Rejection};

/// One stream among all that were ever opened by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The number, from 1.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The variant of the protocol a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// State of the world.
    Sotw,
    /// Incremental.
    Delta,
}

/// Who opened a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The node id, as claimed: for people only.
    pub node: Text,
    /// Which Envoy it says it is, as in `1.40.0`: for people only.
    pub version: Option<Text>,
    /// The authenticated identity.
    pub identity: Text,
    /// What it gets.
    pub scope: Scope,
    /// How it speaks.
    pub protocol: Protocol,
    /// When it was opened.
    pub since: SystemTime,
    /// When the credential that opened it expires.
    pub credential_expires: SystemTime,
    /// The replica of the server that has the stream, where it is another one; see [`Observed::mirror`].
    pub replica: Option<Text>,
}

/// Names that a client asked for and that do not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub count: usize,
    /// The first of them in order, at most [`limits::MISSING_NAMES`].
    pub first: Vec<Text>,
}

/// One piece of news about a stream; the maps are shared with the stream's own, so a piece costs the same for one
/// resource and for ten thousand.
#[derive(Clone, Debug)]
pub enum Observation {
    /// What the client should have when it has read everything.
    Sent {
        /// Of which kind.
        kind: ResourceKind,
        /// All of that kind.
        held: KindMap,
    },
    /// What the client accepted.
    Acked {
        /// Of which kind.
        kind: ResourceKind,
        /// All of that kind.
        acked: KindMap,
    },
    /// The client refused one resource, or a whole response without naming one.
    Rejected {
        /// Of which kind.
        kind: ResourceKind,
        /// Which; a response that holds several and names none has none yet.
        name: Option<Text>,
        /// The version; that of nothing where no resource is named.
        version: Fingerprint,
        /// Whose fault it is.
        fault: Fault,
        /// The client's words, reduced.
        reason: Reason,
    },
    /// The client accepted a version that its surroundings kept out before.
    Recovered {
        /// Of which kind.
        kind: ResourceKind,
        /// Which.
        name: Text,
    },
    /// The names asked for that do not exist changed.
    Missing {
        /// Of which kind.
        kind: ResourceKind,
        /// All of that kind.
        missing: Missing,
    },
}

/// What is known of one kind on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// What it was sent and should have.
    pub sent: KindMap,
    /// What it accepted.
    pub acked: KindMap,
    /// When it last accepted something.
    pub acked_at: Option<SystemTime>,
    /// The newest rejection of each name; gone when a newer version of that name is accepted, or this one after all.
    pub rejected: BTreeMap<Text, Rejection>,
    /// The newest rejection that named no resource; gone with the next acceptance.
    pub rejected_response: Option<Rejection>,
    /// What it asked for in vain.
    pub missing: Missing,
}

/// What is known of one stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Which.
    pub id: StreamId,
    /// Who.
    pub opened: Opened,
    /// Counts what it said: equal numbers, equal status.
    pub news: u64,
    kinds: [KindStatus; ResourceKind::ALL.len()],
}

impl StreamStatus {
    /// What is known of that kind.
    #[must_use]
    pub fn of_kind(&self, kind: ResourceKind) -> &KindStatus {
        &self.kinds[kind.index()]
    }

    /// When it last accepted something.
    #[must_use]
    pub fn acked_at(&self) -> Option<SystemTime> {
        self.kinds.iter().filter_map(|kind| kind.acked_at).max()
    }

    /// Whether everything sent was accepted and nothing is rejected.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.kinds.iter().all(|kind| {
            kind.rejected.is_empty() && kind.rejected_response.is_none() && (kind.sent.ptr_eq(&kind.acked) || kind.sent == kind.acked)
        })
    }
}

/// More streams than [`limits::STREAMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} streams are open", max = limits::STREAMS)]
pub struct TooManyStreams;

/// All open streams.
#[derive(Debug)]
pub struct Observed {
    streams: Mutex<Streams>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Streams {
    opened: u64,
    open: BTreeMap<StreamId, StreamStatus>,
}

impl Default for Observed {
    fn default() -> Self {
        Self::new()
    }
}

impl Observed {
    /// Without streams.
    #[must_use]
    pub fn new() -> Self {
        Self { streams: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Registers a stream.
    ///
    /// # Errors
    /// [`TooManyStreams`] when the limit is reached.
    pub fn open(&self, opened: Opened) -> Result<StreamId, TooManyStreams> {
        let mut streams = self.streams();
        if streams.open.len() >= limits::STREAMS {
            return Err(TooManyStreams);
        }
        streams.opened += 1;
        let id = StreamId(streams.opened);
        streams.open.insert(id, StreamStatus { id, opened, news: 0, kinds: Default::default() });
        drop(streams);
        self.changed();
        Ok(id)
    }

    /// Forgets a stream and all it said: nothing is kept per node id.
    pub fn close(&self, id: StreamId) {
        let closed = self.streams().open.remove(&id).is_some();
        if closed {
            self.changed();
        }
    }

    /// Takes in news; a stream that is closed has none.
    pub fn record(&self, id: StreamId, news: impl IntoIterator<Item = Observation>, now: SystemTime) {
        let mut streams = self.streams();
        let Some(stream) = streams.open.get_mut(&id) else { return };
        let mut any = false;
        for one in news {
            any = true;
            stream.take_in(one, now);
        }
        drop(streams);
        if any {
            self.changed();
        }
    }

    /// Takes over what another replica knows of a stream that it has. A stream that is closed has nothing.
    pub fn mirror(&self, id: StreamId, kinds: impl IntoIterator<Item = (ResourceKind, KindStatus)>) {
        let mut streams = self.streams();
        let Some(stream) = streams.open.get_mut(&id) else { return };
        kinds.into_iter().for_each(|(kind, status)| stream.kinds[kind.index()] = status);
        stream.news += 1;
        drop(streams);
        self.changed();
    }

    /// All open streams in order of opening. Shares everything, so it costs the number of streams.
    #[must_use]
    pub fn snapshot(&self) -> Vec<StreamStatus> {
        self.streams().open.values().cloned().collect()
    }

    /// The open streams of one proxy, in order of opening. Costs a look at each stream, and a copy of its own.
    #[must_use]
    pub fn streams_of(&self, proxy: &ProxyKey) -> Vec<StreamStatus> {
        self.streams().open.values().filter(|stream| stream.opened.scope.proxy == *proxy).cloned().collect()
    }

    /// One stream.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<StreamStatus> {
        self.streams().open.get(&id).cloned()
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams().open.len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes with every piece of news; many pieces are one change for a slow reader.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A panic of another thread leaves a status that is at worst one piece of news behind.
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamStatus {
    fn take_in(&mut self, news: Observation, now: SystemTime) {
        self.news += 1;
        match news {
            Observation::Sent { kind, held } => self.kinds[kind.index()].sent = held,
            Observation::Acked { kind, acked } => self.kinds[kind.index()].accept(acked, now),
            Observation::Rejected { kind, name, version, fault, reason } => {
                self.kinds[kind.index()].reject(name, Rejection { version, fault, reason, at: now });
            }
            Observation::Recovered { kind, name } => drop(self.kinds[kind.index()].rejected.remove(&name)),
            Observation::Missing { kind, missing } => self.kinds[kind.index()].missing = missing,
        }
    }
}

impl KindStatus {
    /// A rejection ends when another version of that name is accepted which was not there when it was said: the
    /// last good version, sent again as a repair, ends nothing.
    fn accept(&mut self, acked: KindMap, now: SystemTime) {
        let before = &self.acked;
        self.rejected.retain(|name, rejection| match acked.get(name) {
            Some(one) => one.version == rejection.version || before.get(name).is_some_and(|old| old.version == one.version),
            None => true,
        });
        self.rejected_response = None;
        self.acked = acked;
        self.acked_at = Some(now);
    }

    fn reject(&mut self, name: Option<Text>, rejection: Rejection) {
        let Some(name) = name else {
            self.rejected_response = Some(rejection);
            return;
        };
        self.rejected.insert(name, rejection);
        if self.rejected.len() > limits::REJECTIONS_PER_KIND {
            let oldest = self.rejected.iter().min_by_key(|(_, one)| one.at).map(|(name, _)| name.clone());
            oldest.map(|name| self.rejected.remove(&name));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use windrose_vocab::{Resource, ResourceId};

    use super::*;

    pub(crate) fn opened(node: &str) -> Opened {
        Opened {
            node: node.into(),
            version: None,
            identity: "spiffe://cluster.local/ns/shop/sa/edge".into(),
            scope: ProxyKey::gateway("shop", "edge").into(),
            protocol: Protocol::Delta,
            since: SystemTime::UNIX_EPOCH,
            credential_expires: SystemTime::UNIX_EPOCH,
            replica: None,
        }
    }

    pub(crate) fn clusters(all: &[(&str, u128)]) -> KindMap {
        let resource = |(name, version): &(&str, u128)| Resource {
            id: ResourceId::new(ResourceKind::Cluster, *name),
            version: Fingerprint::from_bits(*version),
            bytes: Bytes::new(),
            refs: Arc::from([]),
        };
        all.iter().map(|one| (Text::from(one.0), Arc::new(resource(one)))).collect()
    }

    fn rejected(name: &str, version: u128) -> Observation {
        let (kind, version, fault) = (ResourceKind::Cluster, Fingerprint::from_bits(version), Fault::Content);
        Observation::Rejected { kind, name: Some(name.into()), version, fault, reason: Reason::new("bad") }
    }

    fn acked(all: &[(&str, u128)]) -> Observation {
        Observation::Acked { kind: ResourceKind::Cluster, acked: clusters(all) }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn two_streams_of_one_node_id_are_two_entries() {
        let observed = Observed::new();
        let (a, b) = (observed.open(opened("n")).unwrap(), observed.open(opened("n")).unwrap());
        observed.record(a, [acked(&[("c", 1)])], at(1));
        assert_eq!(observed.stream(a).unwrap().of_kind(ResourceKind::Cluster).acked.len(), 1);
        assert!(observed.stream(b).unwrap().of_kind(ResourceKind::Cluster).acked.is_empty());
        observed.close(a);
        assert_eq!(observed.snapshot().len(), 1);
    }

    #[test]
    fn the_streams_of_a_proxy_are_seen_without_those_of_others() {
        let observed = Observed::new();
        let other = Opened { scope: ProxyKey::gateway("shop", "other").into(), ..opened("n") };
        let ids = [opened("a"), other, opened("b")].map(|opened| observed.open(opened).unwrap());
        let seen: Vec<_> = observed.streams_of(&ProxyKey::gateway("shop", "edge")).iter().map(|stream| stream.id).collect();
        assert_eq!(seen, [ids[0], ids[2]]);
    }

    #[test]
    fn a_rejection_stays_while_the_last_good_version_is_repaired_and_ends_with_a_newer_one() {
        let observed = Observed::new();
        let id = observed.open(opened("n")).unwrap();
        let rejections = || observed.stream(id).unwrap().of_kind(ResourceKind::Cluster).rejected.len();
        observed.record(id, [acked(&[("c", 1)]), rejected("c", 2)], at(1));
        observed.record(id, [acked(&[("c", 1)])], at(2));
        assert_eq!(rejections(), 1);
        assert!(!observed.stream(id).unwrap().is_in_sync());
        observed.record(id, [acked(&[("c", 3)])], at(3));
        assert_eq!(rejections(), 0);
    }

    #[test]
    fn a_rejection_ends_when_the_same_version_was_kept_out_by_the_surroundings_and_is_accepted() {
        let observed = Observed::new();
        let id = observed.open(opened("n")).unwrap();
        let recovered = Observation::Recovered { kind: ResourceKind::Cluster, name: "c".into() };
        observed.record(id, [rejected("c", 2), acked(&[("c", 2)])], at(1));
        assert!(!observed.stream(id).unwrap().is_in_sync());
        observed.record(id, [recovered], at(2));
        assert!(observed.stream(id).unwrap().of_kind(ResourceKind::Cluster).rejected.is_empty());
    }

    #[test]
    fn rejections_are_bounded() {
        let observed = Observed::new();
        let id = observed.open(opened("n")).unwrap();
        for n in 0..2 * limits::REJECTIONS_PER_KIND {
            observed.record(id, [rejected(&format!("c{n}"), 1)], at(n as u64));
        }
        let status = observed.stream(id).unwrap();
        let kept = &status.of_kind(ResourceKind::Cluster).rejected;
        assert_eq!(kept.len(), limits::REJECTIONS_PER_KIND);
        assert!(!kept.contains_key("c0"));
    }

    #[test]
    fn readers_are_told_of_news_and_only_of_news() {
        let observed = Observed::new();
        let id = observed.open(opened("n")).unwrap();
        let mut changes = observed.changes();
        changes.mark_unchanged();
        observed.record(id, [], at(1));
        assert!(!changes.has_changed().unwrap());
        observed.record(id, [rejected("c", 1)], at(1));
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let long = Reason::new(&format!("a\nb{}", "ü".repeat(600)));
        assert!(long.as_str().starts_with("a b"));
        assert!(long.as_str().len() <= limits::REASON_BYTES);
    }
}
