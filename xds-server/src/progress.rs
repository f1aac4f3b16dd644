//! Since when each version of an object runs on the proxies that it concerns, followed from look to look at the cost of what
//! changed. It reads what is planned, published and acknowledged, and decides nothing about what is served.
//!
//! A version runs on a proxy when the proxy has acknowledged every resource that carries it, each in a version that
//! carries it, and has all that those need to work. It is programmed once all proxies that are there have it; from
//! then on only a refusal ends that, not a proxy that comes later.

mod change;
mod concerns;
mod lag;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use windrose_state::{Accepted, DesiredReader, Scope, StreamId, StreamStatus, View};
use windrose_vocab::{ObjectVersion, ProxyKey, Text};

pub(crate) use lag::Lag;

use crate::pipeline::Picture;
use change::Changes;
use concerns::Concerns;

/// What is known at one moment.
pub(crate) struct Moment<'a> {
    pub(crate) picture: &'a Arc<Picture>,
    pub(crate) streams: &'a [StreamStatus],
    pub(crate) desired: &'a DesiredReader,
    pub(crate) accepted: &'a Accepted,
    pub(crate) now: SystemTime,
}

/// The memory from look to look.
#[derive(Default)]
pub(crate) struct Progress {
    picture: Arc<Picture>,
    concerns: Concerns,
    conditions: BTreeMap<ObjectVersion, Condition>,
    /// Those that do not hold.
    unsettled: BTreeSet<ObjectVersion>,
    lagging: BTreeMap<ObjectVersion, BTreeMap<StreamId, Lag>>,
    streams: BTreeMap<StreamId, Followed>,
    present: BTreeMap<ProxyKey, Present>,
    refused: BTreeMap<ObjectVersion, SystemTime>,
    changes: Changes,
    looked: Option<SystemTime>,
    revision: u64,
}

/// Whether a version is programmed.
struct Condition {
    holds: bool,
    since: SystemTime,
    /// The change that it came with, while that waits for it.
    change: Option<u64>,
}

/// A stream as it was seen last.
struct Followed {
    scope: Scope,
    identity: Text,
    news: u64,
    view: Arc<View>,
    objects: BTreeSet<ObjectVersion>,
    /// It lacks so much that all is said in one word.
    joining: bool,
    behind_since: Option<SystemTime>,
    acked_at: Option<SystemTime>,
}

/// The streams of a proxy.
#[derive(Default)]
struct Present {
    streams: BTreeSet<StreamId>,
    joining: usize,
}

/// How far one version of an object is.
pub(crate) struct Standing<'a> {
    /// Streams that it concerns.
    pub(crate) targets: usize,
    /// Those that have it.
    pub(crate) acknowledged: usize,
    pub(crate) holds: bool,
    /// Since when that is so.
    pub(crate) since: SystemTime,
    /// Why others have not.
    pub(crate) lags: Option<&'a BTreeMap<StreamId, Lag>>,
    /// Why a proxy that it concerns is not even served it.
    pub(crate) unpublished: Option<&'a str>,
}

/// What a look found that may change how far something is.
struct Touched {
    versions: BTreeSet<ObjectVersion>,
    /// Proxies that carry something else, or of which a stream came, went, or has joined: whatever of them is not settled may be now.
    proxies: BTreeSet<ProxyKey>,
}

impl Progress {
    /// Takes in what is new.
    pub(crate) fn look(&mut self, moment: &Moment<'_>) {
        let (dirty, fresh, left) = self.take_picture(moment);
        // What is there already may concern another proxy than before.
        let moved = dirty.iter().filter(|proxy| self.present.get(*proxy).is_some_and(|present| !present.streams.is_empty()));
        let mut touched = Touched { versions: fresh.union(&left).cloned().collect(), proxies: moved.cloned().collect() };
        self.drop_gone(moment.streams, &mut touched);
        let mut known = lag::Beyond::new();
        for stream in moment.streams {
            if self.differs(stream, moment, &dirty) {
                let (followed, lags) = self.follow(stream, moment, &mut known);
                self.replace(stream.id, Some(followed), lags, &mut touched);
            }
        }
        self.await_all(&fresh);
        if !touched.proxies.is_empty() {
            let concerned = |version: &&ObjectVersion| self.concerns.proxies(version).any(|proxy| touched.proxies.contains(proxy));
            touched.versions.extend(self.unsettled.iter().filter(concerned).cloned());
        }
        for version in touched.versions {
            self.judge(&version, moment.now);
        }
        self.looked = Some(moment.now);
    }

    /// Grows with everything that a report may show.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// How far a version is; nothing where no proxy gets anything of it.
    pub(crate) fn of(&self, version: &ObjectVersion) -> Option<Standing<'_>> {
        let condition = self.conditions.get(version)?;
        let lags = self.lagging.get(version);
        let present = || self.concerns.proxies(version).filter_map(|proxy| self.present.get(proxy));
        let targets: usize = present().map(|one| one.streams.len()).sum();
        let without = present().map(|one| one.joining).sum::<usize>() + lags.map_or(0, BTreeMap::len);
        let acknowledged = targets.saturating_sub(without);
        let unpublished = self.concerns.proxies(version).find_map(|proxy| self.picture.unpublished(proxy));
        Some(Standing { targets, acknowledged, holds: condition.holds, since: condition.since, lags, unpublished })
    }

    /// Counts what was planned, as far as it is looked at.
    pub(crate) fn generation(&self) -> u64 {
        self.picture.generation
    }

    /// Whether all streams of that proxy have a version now, and there is one; of those whose identity counts.
    pub(crate) fn runs_at(&self, proxy: &ProxyKey, version: &ObjectVersion, counts: impl Fn(&str) -> bool) -> bool {
        let (lags, present) = (self.lagging.get(version), self.present.get(proxy));
        let streams = present.into_iter().flat_map(|present| &present.streams).filter_map(|id| Some((id, self.streams.get(id)?)));
        let mut counted = streams.filter(|(_, stream)| counts(&stream.identity)).peekable();
        let has = |(id, stream): (&StreamId, &Followed)| !stream.joining && lags.is_none_or(|lags| !lags.contains_key(id));
        self.conditions.contains_key(version) && counted.peek().is_some() && counted.all(has)
    }

    /// The proxies that get something of a version.
    pub(crate) fn proxies(&self, version: &ObjectVersion) -> impl Iterator<Item = &ProxyKey> {
        self.concerns.proxies(version)
    }

    /// Since when Envoy's refusal of that version is in force.
    pub(crate) fn refused_since(&self, version: &ObjectVersion) -> Option<SystemTime> {
        self.refused.get(version).copied()
    }

    /// Since when a stream lacks something that it should have.
    pub(crate) fn behind_since(&self, stream: StreamId) -> Option<SystemTime> {
        self.streams.get(&stream)?.behind_since
    }

    /// How long changes took from their planning to the last acknowledgement, since the last call.
    pub(crate) fn take_convergence(&mut self) -> Vec<Duration> {
        self.changes.take()
    }

    /// Returns the proxies whose resources carry something else than before, the versions that are new, and those that concern a proxy
    /// less.
    fn take_picture(&mut self, moment: &Moment<'_>) -> (BTreeSet<ProxyKey>, BTreeSet<ObjectVersion>, BTreeSet<ObjectVersion>) {
        if Arc::ptr_eq(&self.picture, moment.picture) {
            return Default::default();
        }
        self.revision += 1;
        let former = std::mem::replace(&mut self.picture, Arc::clone(moment.picture));
        let published = self.picture.published.unwrap_or(moment.now);
        let differences = self.concerns.follow(&former.plan.sources, &self.picture.plan.sources);
        for version in &differences.came {
            self.conditions.insert(version.clone(), Condition { holds: false, since: published, change: None });
            self.unsettled.insert(version.clone());
        }
        for version in &differences.went {
            self.forget(version);
        }
        let mut dirty = differences.proxies;
        let fresh = differences.came;
        let moved = differences.left;
        let unpublished = [&former.unpublished, &self.picture.unpublished];
        if !Arc::ptr_eq(unpublished[0], unpublished[1]) {
            dirty.extend(unpublished.into_iter().flat_map(|all| all.keys()).map(|scope| scope.proxy.clone()));
        }
        let refused = &self.picture.refused.objects;
        self.refused.retain(|version, _| refused.contains_key(version));
        for version in refused.keys() {
            self.refused.entry(version.clone()).or_insert(published);
        }
        (dirty, fresh, moved)
    }

    fn forget(&mut self, version: &ObjectVersion) {
        self.unsettled.remove(version);
        if let Some(Condition { change: Some(change), .. }) = self.conditions.remove(version) {
            self.changes.arrive(change, None);
        }
    }

    fn drop_gone(&mut self, streams: &[StreamStatus], touched: &mut Touched) {
        let open: BTreeSet<StreamId> = streams.iter().map(|stream| stream.id).collect();
        let gone: Vec<StreamId> = self.streams.keys().filter(|id| !open.contains(id)).copied().collect();
        for id in gone {
            self.replace(id, None, BTreeMap::new(), touched);
        }
    }

    fn differs(&self, stream: &StreamStatus, moment: &Moment<'_>, dirty: &BTreeSet<ProxyKey>) -> bool {
        let Some(former) = self.streams.get(&stream.id) else { return true };
        let same_view = moment.desired.current(&former.scope).is_some_and(|view| Arc::ptr_eq(&view, &former.view));
        former.news != stream.news || !same_view || dirty.contains(&former.scope.proxy)
    }

    fn follow(&self, stream: &StreamStatus, moment: &Moment<'_>, known: &mut lag::Beyond) -> (Followed, BTreeMap<ObjectVersion, Lag>) {
        let scope = &stream.opened.scope;
        let view = moment.desired.current(scope).unwrap_or_else(|| Arc::new(View::cold(scope.class.clone())));
        let found = lag::of(stream, &view, &self.picture, moment.accepted, known);
        let former = self.streams.get(&stream.id);
        let began = former.map_or(stream.opened.since, |former| former.behind_since.unwrap_or(moment.now));
        let followed = Followed {
            scope: scope.clone(),
            identity: stream.opened.identity.clone(),
            news: stream.news,
            view,
            objects: found.objects.keys().cloned().collect(),
            joining: found.much,
            behind_since: found.behind.then_some(began),
            acked_at: stream.acked_at(),
        };
        (followed, found.objects)
    }

    /// Puts a stream in the place of what it was, which may be nothing.
    fn replace(&mut self, id: StreamId, now: Option<Followed>, mut lags: BTreeMap<ObjectVersion, Lag>, touched: &mut Touched) {
        self.revision += 1;
        let former = self.streams.remove(&id);
        let state = |followed: &Option<Followed>| followed.as_ref().map(|one| (one.scope.proxy.clone(), one.joining));
        if state(&former) != state(&now) {
            touched.proxies.extend([&former, &now].into_iter().flatten().map(|one| one.scope.proxy.clone()));
        }
        if let Some(former) = former {
            let present = self.present.entry(former.scope.proxy).or_default();
            present.streams.remove(&id);
            present.joining -= usize::from(former.joining);
            for version in former.objects {
                let Some(of_version) = self.lagging.get_mut(&version) else { continue };
                match lags.get(&version) {
                    Some(lag) if of_version.get(&id) == Some(lag) => drop(lags.remove(&version)),
                    Some(_) => {}
                    None => {
                        of_version.remove(&id);
                        if of_version.is_empty() {
                            self.lagging.remove(&version);
                        }
                        touched.versions.insert(version);
                    }
                }
            }
        }
        for (version, lag) in lags {
            self.lagging.entry(version.clone()).or_default().insert(id, lag);
            touched.versions.insert(version);
        }
        if let Some(now) = now {
            let present = self.present.entry(now.scope.proxy.clone()).or_default();
            present.streams.insert(id);
            present.joining += usize::from(now.joining);
            self.streams.insert(id, now);
        }
    }

    /// Begins to measure a change, as far as there are proxies that it concerns.
    fn await_all(&mut self, fresh: &BTreeSet<ObjectVersion>) {
        let (generation, Some(published)) = (self.picture.generation, self.picture.published) else { return };
        let aimed: Vec<&ObjectVersion> = fresh.iter().filter(|version| self.has_target(version)).collect();
        for version in &aimed {
            if let Some(condition) = self.conditions.get_mut(*version) {
                condition.change = Some(generation);
            }
        }
        self.changes.begin(generation, published, aimed.len());
    }

    fn has_target(&self, version: &ObjectVersion) -> bool {
        self.concerns.proxies(version).any(|proxy| self.present.get(proxy).is_some_and(|present| !present.streams.is_empty()))
    }

    fn is_joining(&self, version: &ObjectVersion) -> bool {
        self.concerns.proxies(version).any(|proxy| self.present.get(proxy).is_some_and(|present| present.joining > 0))
    }

    fn judge(&mut self, version: &ObjectVersion, now: SystemTime) {
        let Some(condition) = self.conditions.get(version) else { return };
        let lags = self.lagging.get(version);
        if condition.holds {
            let refusal = lags.and_then(|lags| lags.values().filter(|lag| lag.refused.is_some()).map(|lag| lag.at).max());
            if let Some(at) = refusal {
                self.set(version, false, at.unwrap_or(now));
            }
        } else if lags.is_none() && self.has_target(version) && !self.is_joining(version) {
            let answers = self.concerns.proxies(version).filter_map(|proxy| self.present.get(proxy)).flat_map(|one| &one.streams);
            let answered = answers.filter_map(|id| self.streams.get(id)?.acked_at).max();
            let since = answered.max(self.looked).map_or(now, |at| at.max(condition.since).min(now));
            let change = condition.change;
            self.set(version, true, since);
            change.into_iter().for_each(|change| self.changes.arrive(change, Some(since)));
        }
    }

    fn set(&mut self, version: &ObjectVersion, holds: bool, since: SystemTime) {
        self.revision += 1;
        if holds {
            self.unsettled.remove(version);
        } else {
            self.unsettled.insert(version.clone());
        }
        if let Some(condition) = self.conditions.get_mut(version) {
            *condition = Condition { holds, since, change: None };
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
