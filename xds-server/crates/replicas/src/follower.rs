//! What a follower has to tell: each stream once, and then what changed. Sets of resources that streams share are told once, and
//! the next one as its difference from the former, so that a change costs its size and not the number of streams times resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use windrose_state::{Change, KindMap, KindStatus, StreamId, StreamStatus, changes};
use windrose_vocab::ResourceKind;

use crate::limits;
use crate::message::{Entry, Map, News, Said, Stream};

const KINDS: usize = ResourceKind::ALL.len();

/// What the leader was told.
#[derive(Debug, Default)]
pub struct Teller {
    streams: BTreeMap<StreamId, Told>,
    /// Sets that were told, by kind and number.
    maps: [BTreeMap<u64, Known>; KINDS],
    /// The number of the newest set.
    newest: u64,
}

/// What was told of a stream.
#[derive(Debug)]
struct Told {
    news: u64,
    kinds: [KindStatus; KINDS],
    /// What was sent and what was acknowledged, by the number of the set.
    numbers: [(u64, u64); KINDS],
}

#[derive(Debug)]
struct Known {
    map: KindMap,
    /// Streams that have it, each once for what was sent and once for what was acknowledged.
    users: usize,
}

/// A message that is being written.
struct Draft {
    said: Said,
    /// Of what stands in it, about.
    bytes: usize,
}

impl Draft {
    fn is_full(&self) -> bool {
        self.bytes >= limits::TOLD
    }

    fn open(&mut self, stream: Stream) {
        self.bytes += stream.encoded_len();
        self.said.opened.push(stream);
    }

    fn news(&mut self, news: News) {
        self.bytes += news.encoded_len();
        self.said.news.push(news);
    }

    /// Writes what makes `to` of `from`, as far as there is room, and returns what that comes to.
    fn map(&mut self, mut said: Map, from: &KindMap, to: &KindMap) -> KindMap {
        self.bytes += said.encoded_len();
        let mut rest = changes(from, to);
        for change in rest.by_ref() {
            match change {
                Change::Updated { old, new } if old.version == new.version => continue,
                Change::Added(new) | Change::Updated { new, .. } => said.set.push(Entry::new(new)),
                Change::Removed(old) => said.removed.push(old.id.name.to_string()),
            }
            self.bytes += change.name().len() + limits::ENTRY;
            if self.is_full() {
                break;
            }
        }
        let is_whole = rest.next().is_none();
        let reached = if is_whole { to.clone() } else { part(&said, from, to) };
        self.said.maps.push(said);
        reached
    }
}

/// What becomes of `from` by what is said of `to`.
fn part(said: &Map, from: &KindMap, to: &KindMap) -> KindMap {
    let mut reached = from.clone();
    for resource in said.set.iter().filter_map(|entry| to.get(entry.name.as_str())) {
        reached.insert(resource.id.name.clone(), Arc::clone(resource));
    }
    for name in &said.removed {
        reached.remove(name.as_str());
    }
    reached
}

impl Teller {
    /// The next message, until there is nothing more to tell.
    pub fn tell(&mut self, streams: &[StreamStatus]) -> Option<Said> {
        let mut said = Said::default();
        let own = || streams.iter().filter(|stream| stream.opened.replica.is_none());
        let there: BTreeSet<StreamId> = own().map(|stream| stream.id).collect();
        let gone: Vec<StreamId> = self.streams.keys().filter(|id| !there.contains(id)).copied().collect();
        for id in gone {
            said.closed.push(id.number());
            let numbers = self.streams.remove(&id).map(|told| told.numbers).unwrap_or_default();
            for (kind, (sent, acked)) in ResourceKind::ALL.into_iter().zip(numbers) {
                self.release(kind, sent);
                self.release(kind, acked);
            }
        }
        let mut draft = Draft { said, bytes: 0 };
        for stream in own() {
            if self.streams.get(&stream.id).is_some_and(|told| told.news == stream.news) {
                continue;
            }
            self.tell_stream(stream, &mut draft);
            if draft.is_full() {
                break;
            }
        }
        self.maps.iter_mut().for_each(|maps| maps.retain(|_, known| known.users > 0));
        (draft.said != Said::default()).then_some(draft.said)
    }

    /// Tells what there is room for; the rest is still to be told.
    fn tell_stream(&mut self, stream: &StreamStatus, draft: &mut Draft) {
        let mut told = self.streams.remove(&stream.id).unwrap_or_else(|| {
            draft.open(Stream::new(stream.id.number(), &stream.opened));
            Told { news: 0, kinds: Default::default(), numbers: Default::default() }
        });
        for kind in ResourceKind::ALL {
            if !draft.is_full() && !same(stream.of_kind(kind), &told.kinds[kind.index()]) {
                self.tell_kind(kind, stream, &mut told, draft);
            }
        }
        if ResourceKind::ALL.into_iter().all(|kind| same(stream.of_kind(kind), &told.kinds[kind.index()])) {
            told.news = stream.news;
        }
        self.streams.insert(stream.id, told);
    }

    fn tell_kind(&mut self, kind: ResourceKind, stream: &StreamStatus, told: &mut Told, draft: &mut Draft) {
        let (now, number) = (stream.of_kind(kind), stream.id.number());
        let (sent, acked) = told.numbers[kind.index()];
        let now_sent = self.number(kind, &now.sent, (sent, sent), number, draft);
        // What is acknowledged is mostly what was sent before it.
        let now_acked = self.number(kind, &now.acked, (acked, if acked == 0 { now_sent } else { acked }), number, draft);
        self.release(kind, sent);
        self.release(kind, acked);
        told.numbers[kind.index()] = (now_sent, now_acked);
        told.kinds[kind.index()] = KindStatus { sent: self.map(kind, now_sent), acked: self.map(kind, now_acked), ..now.clone() };
        draft.news(News::new(number, kind, now, (now_sent, now_acked)));
    }

    /// The number of a set, told now as its difference from `base` if it was not. One that there is no room for is told in parts, each a
    /// set of its own; without any room it stays at the `former` one.
    fn number(&mut self, kind: ResourceKind, map: &KindMap, (former, base): (u64, u64), stream: u64, draft: &mut Draft) -> u64 {
        if map.is_empty() {
            return 0;
        }
        let maps = &mut self.maps[kind.index()];
        let known = maps.iter_mut().rev().find(|(_, known)| known.map.ptr_eq(map)).map(|(number, _)| *number);
        if let Some(number) = known.or_else(|| draft.is_full().then_some(former)) {
            maps.entry(number).and_modify(|known| known.users += 1);
            return number;
        }
        let from = self.map(kind, base);
        self.newest += 1;
        let base = if from.is_empty() { 0 } else { base };
        let said = Map { number: self.newest, base, type_url: kind.type_url().to_owned(), stream, set: Vec::new(), removed: Vec::new() };
        let map = draft.map(said, &from, map);
        self.maps[kind.index()].insert(self.newest, Known { map, users: 1 });
        self.newest
    }

    /// The set of that number.
    fn map(&self, kind: ResourceKind, number: u64) -> KindMap {
        self.maps[kind.index()].get(&number).map(|known| known.map.clone()).unwrap_or_default()
    }

    fn release(&mut self, kind: ResourceKind, number: u64) {
        if let Some(known) = self.maps[kind.index()].get_mut(&number) {
            known.users -= 1;
        }
    }
}

/// Whether there is nothing to tell, without comparing what does not share everything.
fn same(now: &KindStatus, former: &KindStatus) -> bool {
    let shares = |one: &KindMap, other: &KindMap| one.ptr_eq(other) || one.is_empty() && other.is_empty();
    shares(&now.sent, &former.sent)
        && shares(&now.acked, &former.acked)
        && now.acked_at == former.acked_at
        && now.rejected == former.rejected
        && now.rejected_response == former.rejected_response
        && now.missing == former.missing
}
