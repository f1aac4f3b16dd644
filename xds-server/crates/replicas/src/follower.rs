//! What a follower has to tell: each stream once, and then what changed. Sets of resources that streams share are told once, and
//! the next one as its difference from the former, so that a change costs its size and not the number of streams times resources.

use std::collections::{BTreeMap, BTreeSet};

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
        let mut entries = 0;
        for stream in own() {
            if self.streams.get(&stream.id).is_some_and(|told| told.news == stream.news) {
                continue;
            }
            entries += self.tell_stream(stream, &mut said);
            if entries >= limits::ENTRIES {
                break;
            }
        }
        self.maps.iter_mut().for_each(|maps| maps.retain(|_, known| known.users > 0));
        (said != Said::default()).then_some(said)
    }

    /// Returns how many resources were named for it.
    fn tell_stream(&mut self, stream: &StreamStatus, said: &mut Said) -> usize {
        let number = stream.id.number();
        let mut told = self.streams.remove(&stream.id).unwrap_or_else(|| {
            said.opened.push(Stream::new(number, &stream.opened));
            Told { news: 0, kinds: Default::default(), numbers: Default::default() }
        });
        let mut entries = 1;
        for kind in ResourceKind::ALL {
            let (now, former) = (stream.of_kind(kind), &mut told.kinds[kind.index()]);
            if same(now, former) {
                continue;
            }
            let (sent, acked) = told.numbers[kind.index()];
            let (now_sent, of_sent) = self.number(kind, &now.sent, sent, number, said);
            // What is acknowledged is mostly what was sent before it.
            let (now_acked, of_acked) = self.number(kind, &now.acked, if acked == 0 { now_sent } else { acked }, number, said);
            self.release(kind, sent);
            self.release(kind, acked);
            told.numbers[kind.index()] = (now_sent, now_acked);
            *former = now.clone();
            entries += of_sent + of_acked + now.rejected.len();
            said.news.push(News::new(number, kind, now, (now_sent, now_acked)));
        }
        told.news = stream.news;
        self.streams.insert(stream.id, told);
        entries
    }

    /// The number of a set, told now if it was not; with how many resources that named.
    fn number(&mut self, kind: ResourceKind, map: &KindMap, base: u64, stream: u64, said: &mut Said) -> (u64, usize) {
        if map.is_empty() {
            return (0, 0);
        }
        let maps = &mut self.maps[kind.index()];
        let known = maps.iter_mut().rev().find(|(_, known)| known.map.ptr_eq(map));
        if let Some((number, known)) = known {
            known.users += 1;
            return (*number, 0);
        }
        let nothing = KindMap::new();
        let from = maps.get(&base).map_or(&nothing, |known| &known.map);
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for change in changes(from, map) {
            match change {
                Change::Added(new) => set.push(Entry::new(new)),
                Change::Updated { old, new } if old.version == new.version => {}
                Change::Updated { new, .. } => set.push(Entry::new(new)),
                Change::Removed(old) => removed.push(old.id.name.to_string()),
            }
        }
        let entries = set.len() + removed.len();
        self.newest += 1;
        let base = if from.is_empty() { 0 } else { base };
        said.maps.push(Map { number: self.newest, base, type_url: kind.type_url().to_owned(), stream, set, removed });
        maps.insert(self.newest, Known { map: map.clone(), users: 1 });
        (self.newest, entries)
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
