//! What the leader makes of what a follower tells: streams beside its own, in the same `Observed`, and what they accepted or
//! refused in the same `Accepted`. Resources are told by name and version; those that the leader has too are its own, with bytes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use windrose_state::{Accepted, DesiredReader, Fault, Feed, KindMap, KindStatus, Observed, Opened, StreamId, View};
use windrose_vocab::{ProxyKey, Resource, ResourceId, ResourceKind};

use crate::message::{Map, News, Said, known_by_name};

const KINDS: usize = ResourceKind::ALL.len();

/// What the leader knows by itself.
#[derive(Clone, Debug)]
pub struct Known {
    /// What proxies should have.
    pub desired: DesiredReader,
    /// What they said.
    pub observed: Arc<Observed>,
    /// What they accepted and refused.
    pub accepted: Arc<Accepted>,
}

/// What a follower said makes no sense, so nothing of it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(&'static str);

/// One follower's streams; they are gone with it.
#[derive(Debug)]
pub struct Mirror {
    known: Known,
    /// What the follower is called.
    replica: String,
    streams: BTreeMap<u64, Mirrored>,
    /// Streams that there was no room for: what they have is kept for others that have it too, and not shown.
    left_out: BTreeMap<u64, LeftOut>,
    maps: BTreeMap<u64, Held>,
    /// That streams are left out was told.
    told: bool,
}

#[derive(Debug)]
struct Mirrored {
    id: StreamId,
    opened: Opened,
    kinds: [KindStatus; KINDS],
    /// What was sent and what was acknowledged, by the number of the set.
    numbers: [(u64, u64); KINDS],
    /// Sees to it that we have what the proxies of its scope should have.
    _feed: Feed,
}

#[derive(Debug)]
struct LeftOut {
    proxy: ProxyKey,
    numbers: [(u64, u64); KINDS],
}

#[derive(Debug)]
struct Held {
    map: KindMap,
    /// Resources of it that we know by name only.
    strange: Vec<Resource>,
    /// Streams that have it, each once for what was sent and once for what was acknowledged.
    users: usize,
}

impl Held {
    /// Goes over to the map of what we want where it is equal: what grew from one map is compared at the cost of what differs, and two
    /// that grew each by itself have nothing in common.
    fn share(&mut self, desired: &KindMap) {
        if self.strange.is_empty() && windrose_state::changes(&self.map, desired).next().is_none() {
            self.map = desired.clone();
        }
    }
}

impl Mirror {
    /// A follower that has told nothing yet.
    #[must_use]
    pub fn new(known: Known, replica: &str) -> Self {
        let (streams, left_out, maps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { known, replica: replica.to_owned(), streams, left_out, maps, told: false }
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// [`Nonsense`], and then the connection is of no more use.
    pub fn hear(&mut self, said: &Said) -> Result<(), Nonsense> {
        for number in &said.closed {
            if let Some(stream) = self.left_out.remove(number) {
                stream.numbers.into_iter().for_each(|numbers| self.count(numbers, false));
                continue;
            }
            let stream = self.streams.remove(number).ok_or(Nonsense("it closes a stream that it never opened"))?;
            stream.numbers.into_iter().for_each(|numbers| self.count(numbers, false));
            self.known.observed.close(stream.id);
        }
        for stream in &said.opened {
            let opened = stream.opened(&self.replica).ok_or(Nonsense("a stream of no possible proxy"))?;
            self.open(stream.number, opened)?;
        }
        for map in &said.maps {
            let held = self.build(map)?;
            self.maps.insert(map.number, held);
        }
        for news in &said.news {
            self.take(news)?;
        }
        // The follower forgets what no stream has, and so do we.
        self.maps.retain(|_, held| held.users > 0);
        Ok(())
    }

    /// Looks whether what was strange is known now: a follower may plan a change before we do.
    pub fn look_again(&mut self) {
        let numbers: Vec<u64> = self.maps.iter().filter(|(_, held)| !held.strange.is_empty()).map(|(number, _)| *number).collect();
        for number in numbers {
            let users = || self.streams.values().filter_map(|stream| kind_of(stream, number).map(|kind| (stream, kind)));
            let Some((scope, kind)) = users().next().map(|(stream, kind)| (stream.opened.scope.clone(), kind)) else { continue };
            let Some(view) = self.known.desired.current(&scope) else { continue };
            let Some(held) = self.maps.get_mut(&number) else { continue };
            let mut found = false;
            held.strange.retain(|resource| match own(view.of_kind(kind), resource) {
                Some(own) => {
                    held.map.insert(own.id.name.clone(), own);
                    found = true;
                    false
                }
                None => true,
            });
            if found {
                held.share(view.of_kind(kind));
                self.show_again(number, kind);
            }
        }
    }

    fn open(&mut self, number: u64, opened: Opened) -> Result<(), Nonsense> {
        if self.streams.contains_key(&number) || self.left_out.contains_key(&number) {
            return Err(Nonsense("it opens a stream twice"));
        }
        let proxy = opened.scope.proxy.clone();
        match self.mirrored(opened) {
            Ok(stream) => drop(self.streams.insert(number, stream)),
            Err(why) => {
                self.left_out.insert(number, LeftOut { proxy, numbers: Default::default() });
                self.tell_left_out(&why);
            }
        }
        Ok(())
    }

    /// What a proxy says of itself may be one class too many here, although it was not there: that is no fault of the follower's.
    fn mirrored(&self, mut opened: Opened) -> Result<Mirrored, String> {
        let (scope, feed) = self.known.desired.subscribe_near(&opened.scope).map_err(|error| error.to_string())?;
        opened.scope = scope;
        let id = self.known.observed.open(opened.clone()).map_err(|error| error.to_string())?;
        Ok(Mirrored { id, opened, kinds: Default::default(), numbers: Default::default(), _feed: feed })
    }

    fn tell_left_out(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(replica = self.replica, why, "a stream of another replica is left out");
        }
    }

    /// What the proxies of a stream should have. Of one that is left out: what its proxy has in any class, for a version is the content.
    fn view(&self, number: u64) -> Result<Option<Arc<View>>, Nonsense> {
        let scope = match (self.streams.get(&number), self.left_out.get(&number)) {
            (Some(stream), _) => stream.opened.scope.clone(),
            (None, Some(stream)) => stream.proxy.clone().into(),
            (None, None) => return Err(Nonsense("resources of no stream")),
        };
        Ok(self.known.desired.current(&scope))
    }

    fn build(&self, map: &Map) -> Result<Held, Nonsense> {
        let kind = kind(&map.type_url)?;
        let view = self.view(map.stream)?;
        let desired = view.as_ref().map(|view| view.of_kind(kind));
        let (mut now, mut strange) = match map.base {
            0 => (desired.map(|desired| named(desired, map)).unwrap_or_default(), Vec::new()),
            base => {
                let base = self.maps.get(&base).ok_or(Nonsense("resources that differ from unknown ones"))?;
                (base.map.clone(), base.strange.clone())
            }
        };
        if !strange.is_empty() {
            let removed = map.removed.iter().map(String::as_str);
            let mentioned: HashSet<&str> = removed.chain(map.set.iter().map(|entry| entry.name.as_str())).collect();
            strange.retain(|resource| !mentioned.contains(&*resource.id.name));
        }
        for name in &map.removed {
            now.remove(name.as_str());
        }
        for entry in &map.set {
            let resource = entry.resource(kind).ok_or(Nonsense("a version of a wrong length"))?;
            let own = desired.and_then(|desired| own(desired, &resource));
            match &own {
                None => strange.push(resource.clone()),
                Some(own) if now.get(&*resource.id.name).is_some_and(|there| Arc::ptr_eq(there, own)) => continue,
                Some(_) => {}
            }
            now.insert(resource.id.name.clone(), own.unwrap_or_else(|| Arc::new(resource)));
        }
        let mut held = Held { map: now, strange, users: 0 };
        if let Some(desired) = desired {
            held.share(desired);
        }
        Ok(held)
    }

    fn take(&mut self, news: &News) -> Result<(), Nonsense> {
        let kind = kind(&news.type_url)?;
        if let Some(stream) = self.left_out.get_mut(&news.stream) {
            let before = std::mem::replace(&mut stream.numbers[kind.index()], (news.sent, news.acked));
            self.count((news.sent, news.acked), true);
            self.count(before, false);
            return Ok(());
        }
        let mut status = news.status().ok_or(Nonsense("a version of a wrong length"))?;
        status.sent = self.map(news.sent)?;
        status.acked = self.map(news.acked)?;
        let stream = self.streams.get_mut(&news.stream).ok_or(Nonsense("news of a stream that it never opened"))?;
        let former = std::mem::replace(&mut stream.kinds[kind.index()], status.clone());
        let before = std::mem::replace(&mut stream.numbers[kind.index()], (news.sent, news.acked));
        self.count((news.sent, news.acked), true);
        self.count(before, false);
        let stream = &self.streams[&news.stream];
        self.note(stream, kind, &former, &status);
        self.known.observed.mirror(stream.id, [(kind, status)]);
        Ok(())
    }

    /// What blame and repair go by, whoever had the stream.
    fn note(&self, stream: &Mirrored, kind: ResourceKind, former: &KindStatus, now: &KindStatus) {
        let Opened { scope, identity, .. } = &stream.opened;
        let accepted = &self.known.accepted;
        if self.maps.get(&stream.numbers[kind.index()].1).is_none_or(|held| held.strange.is_empty()) {
            accepted.acked_all(scope, identity, kind, &now.acked);
        } else {
            let new = windrose_state::changes(&former.acked, &now.acked).filter_map(windrose_state::Change::after);
            accepted.acked(scope, identity, new.filter(|resource| !resource.bytes.is_empty()));
        }
        let new = now.rejected.iter().filter(|(name, one)| former.rejected.get(*name) != Some(one));
        for (name, rejection) in new.filter(|(_, one)| one.fault == Fault::Content) {
            let resource = known_by_name(ResourceId { kind, name: name.clone() }, rejection.version);
            accepted.rejected(identity, &resource, &rejection.reason);
        }
    }

    fn show_again(&mut self, number: u64, kind: ResourceKind) {
        let map = self.maps[&number].map.clone();
        let mut shown = Vec::new();
        for (at, stream) in &mut self.streams {
            let (sent, acked) = stream.numbers[kind.index()];
            let status = &mut stream.kinds[kind.index()];
            let former = status.clone();
            if sent == number {
                status.sent = map.clone();
            }
            if acked == number {
                status.acked = map.clone();
            }
            if sent == number || acked == number {
                shown.push((*at, former));
            }
        }
        for (at, former) in shown {
            let stream = &self.streams[&at];
            let status = stream.kinds[kind.index()].clone();
            self.note(stream, kind, &former, &status);
            self.known.observed.mirror(stream.id, [(kind, status)]);
        }
    }

    fn map(&self, number: u64) -> Result<KindMap, Nonsense> {
        if number == 0 {
            return Ok(KindMap::new());
        }
        self.maps.get(&number).map(|held| held.map.clone()).ok_or(Nonsense("resources that it never named"))
    }

    fn count(&mut self, (sent, acked): (u64, u64), comes: bool) {
        for number in [sent, acked] {
            if let Some(held) = self.maps.get_mut(&number) {
                held.users = if comes { held.users + 1 } else { held.users.saturating_sub(1) };
            }
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.streams.values().for_each(|stream| self.known.observed.close(stream.id));
    }
}

/// Ours, without what is not named: what is built on it has its nodes.
fn named(ours: &KindMap, map: &Map) -> KindMap {
    let named: HashSet<&str> = map.set.iter().map(|entry| entry.name.as_str()).collect();
    let mut left = ours.clone();
    for name in ours.keys().filter(|name| !named.contains(&***name)) {
        left.remove(name);
    }
    left
}

fn kind(type_url: &str) -> Result<ResourceKind, Nonsense> {
    ResourceKind::from_type_url(type_url).ok_or(Nonsense("an unknown type"))
}

fn kind_of(stream: &Mirrored, number: u64) -> Option<ResourceKind> {
    ResourceKind::ALL.into_iter().find(|kind| {
        let (sent, acked) = stream.numbers[kind.index()];
        sent == number || acked == number
    })
}

/// The same resource, with its bytes, if it is among ours in that version.
fn own(ours: &KindMap, resource: &Resource) -> Option<Arc<Resource>> {
    ours.get(&*resource.id.name).filter(|own| own.version == resource.version).cloned()
}
