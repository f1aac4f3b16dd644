//! What the status of each object says, from the plan and from what proxies acknowledged. The leader writes it, each once for
//! each real change; what an object says was planned before its generation is claimed.

mod compose;
mod features;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windrose_kube::deploy::Made;
use windrose_kube::events::Events;
use windrose_kube::source::{Seen, World, has_status};
use windrose_kube::status::{self, Outcome};
use windrose_kube::surroundings::Surroundings;
use windrose_vocab::{Kind, ObjectRef, Text};

use super::Sight;
use super::deploy::Problems;
use crate::pipeline::Picture;
use compose::Known;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused a write.
const RETRY: Duration = Duration::from_secs(5);
/// After it took the lead a replica waits for the others to tell what their proxies say, before it says that something runs.
const OTHERS_ARE_HEARD: Duration = Duration::from_secs(4);
/// Writes at a time.
const WRITES_AT_ONCE: usize = 16;
/// Statuses that are composed and wait to be written; of thousands that are due the others wait as names.
const READY_MAX: usize = 512;

type Write = BoxFuture<'static, (ObjectRef, Outcome)>;

/// Follows everything until the end, and writes while this replica leads.
pub(crate) async fn follow(mut sight: Sight, events: Events, end: CancellationToken) {
    let mut writer = Writer::default();
    let mut writes: FuturesUnordered<Write> = FuturesUnordered::new();
    let (mut led, mut next_look): (Option<Instant>, Instant) = (None, Instant::now());
    loop {
        // Writes go on between two looks: where something changes all the time, what is to be said of it would come ever later.
        let due = async {
            tokio::select! {
                biased;
                Some(done) = writes.next() => Ok(Some(done)),
                told = after(next_look, sight.changed()) => told.map(|()| None),
                () = at(writer.look_at.map(|at| at.max(next_look))) => Ok(None),
            }
        };
        let Some(Ok(done)) = end.run_until_cancelled(due).await else { return };
        let was_write = done.is_some();
        match done {
            Some((object, outcome)) => writer.done(object, outcome),
            None => next_look = Instant::now() + PAUSE,
        }
        if !sight.leads() {
            (writer, led) = (Writer { open: writer.open, ..Writer::default() }, None);
            continue;
        }
        let heard = *led.get_or_insert_with(Instant::now) + OTHERS_ARE_HEARD;
        if Instant::now() < heard {
            writer.look_at = Some(heard);
            continue;
        }
        if !was_write {
            // Composing thousands of statuses is work for the processor: other tasks go on meanwhile.
            let seen = sight.clone();
            let looked = tokio::task::spawn_blocking(move || {
                writer.look(&seen);
                writer
            });
            match looked.await {
                Ok(looked) => writer = looked,
                Err(error) => return tracing::error!(%error, "what statuses say cannot be found"),
            }
            next_look = Instant::now() + PAUSE;
        }
        while writes.len() < WRITES_AT_ONCE
            && sight.leads()
            && let Some((object, seen, status)) = writer.next()
        {
            let client = sight.client.clone();
            let events = events.clone();
            writes.push(Box::pin(async move {
                let outcome = status::write(&client, &object, &seen, &status).await;
                if matches!(outcome, Outcome::Written(_)) {
                    events.tell(&object, &seen, &status);
                }
                (object, outcome)
            }));
        }
    }
}

/// That, but not before this moment.
async fn after<T>(moment: Instant, what: impl Future<Output = T>) -> T {
    tokio::time::sleep_until(moment).await;
    what.await
}

/// For ever where there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What is known of the statuses.
#[derive(Default)]
struct Writer {
    looked: Looked,
    /// Objects to look at.
    due: BTreeSet<ObjectRef>,
    /// Objects whose plan is not that of what the cluster has now, or whose last write has not been told back.
    ahead: BTreeSet<ObjectRef>,
    /// What is to be written.
    ready: BTreeMap<ObjectRef, (Arc<Seen>, serde_json::Value)>,
    /// Writes that are on their way, with what they write.
    open: BTreeMap<ObjectRef, (Arc<Seen>, serde_json::Value)>,
    /// In which resource version of each object our last write went there.
    written: BTreeMap<ObjectRef, String>,
    /// Statuses that the cluster takes and does not keep, in an object's resource version: it knows less fields than we write.
    unkept: BTreeMap<ObjectRef, (String, serde_json::Value)>,
    /// What could not be written, and when to try again.
    again: BTreeMap<ObjectRef, Instant>,
    /// When to look again although nothing was told.
    look_at: Option<Instant>,
}

/// What was looked at last; maps that share what did not change.
#[derive(Default)]
struct Looked {
    world: Arc<World>,
    picture: Arc<Picture>,
    surroundings: Option<Arc<Surroundings>>,
    made: Arc<Made>,
    problems: Arc<Problems>,
    /// How far proxies were.
    progress: u64,
}

impl Looked {
    /// Whether anything changed that Gateways speak of, or what is attached to them.
    fn differs_from(&self, former: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.picture, &former.picture)
            && self.progress == former.progress
            && Arc::ptr_eq(&self.made, &former.made)
            && Arc::ptr_eq(&self.problems, &former.problems)
            && differing(&former.world.seen, &self.world.seen).all(|object| object.kind != Kind::Gateway);
        !is_same
    }
}

impl Writer {
    /// Finds what may say something else now, at the cost of what changed; Gateways are all looked at when proxies or their Pods changed.
    fn look(&mut self, sight: &Sight) {
        self.look_at = None;
        let now = Looked {
            world: sight.worlds.borrow().clone(),
            picture: sight.reports.picture.load_full(),
            surroundings: sight.surroundings.borrow().clone(),
            made: sight.made.borrow().clone(),
            problems: sight.problems.borrow().clone(),
            progress: 0,
        };
        if now.picture.generation == 0 || !now.world.complete || !now.made.complete {
            return;
        }
        let former = std::mem::replace(&mut self.looked, now);
        sight.reports.with_progress(|progress| {
            self.looked.progress = progress.revision();
            self.find_due(&former);
            let looked = std::mem::take(&mut self.looked);
            let known = Known {
                world: &looked.world,
                picture: &looked.picture,
                progress,
                made: &looked.made,
                problems: &looked.problems,
                surroundings: looked.surroundings.as_deref(),
            };
            self.compose(|writer, object| writer.of(object, &known));
            self.looked = looked;
        });
        if !(self.again.is_empty() && self.ahead.is_empty()) {
            self.look_within(RETRY);
        }
    }

    /// Composes what is due: first what waits to be written and would be older than what is known, then as much as there is room for.
    fn compose(&mut self, mut of: impl FnMut(&mut Self, &ObjectRef) -> Option<(Arc<Seen>, serde_json::Value)>) {
        let mut due = std::mem::take(&mut self.due);
        let old: Vec<ObjectRef> = self.ready.keys().filter(|object| due.contains(*object)).cloned().collect();
        for object in old {
            self.ready.remove(&object);
            if let Some(found) = of(self, &object) {
                self.ready.insert(object.clone(), found);
            }
            due.remove(&object);
        }
        while self.ready.len() < READY_MAX
            && let Some(object) = due.pop_first()
        {
            if let Some(found) = of(self, &object) {
                self.ready.insert(object, found);
            }
        }
        // Whatever became due meanwhile is in `ahead`.
        self.due = due;
    }

    fn look_within(&mut self, time: Duration) {
        let latest = Instant::now() + time;
        self.look_at = Some(self.look_at.map_or(latest, |at| at.min(latest)));
    }

    fn find_due(&mut self, former: &Looked) {
        let now = &self.looked;
        let due = &mut self.due;
        due.extend(differing(&former.world.seen, &now.world.seen).cloned());
        due.extend(differing(&former.world.problems, &now.world.problems).cloned());
        let (before, after) = (&former.picture.plan, &now.picture.plan);
        due.extend(differing(&before.verdicts, &after.verdicts).map(|subject| subject.object.clone()));
        due.extend(differing(&before.attached_routes, &after.attached_routes).map(|subject| subject.object.clone()));
        let refused = differing(&former.picture.refused.objects, &now.picture.refused.objects);
        due.extend(refused.map(|version| version.object.clone()));
        let declared = &now.picture.declared;
        let key = |kind: Kind| move |key: &windrose_vocab::ObjectKey| ObjectRef { kind, key: key.clone() };
        if now.differs_from(former) {
            due.extend(declared.gateways.keys().map(key(Kind::Gateway)));
            due.extend(declared.listener_sets.keys().map(key(Kind::ListenerSet)));
            due.extend(declared.backend_tls.keys().map(key(Kind::BackendTLSPolicy)));
        }
        // Whether one that cannot be read is ours to judge is up to its parents. There are few.
        due.extend(now.world.unreadable.keys().cloned());
        if former.surroundings != now.surroundings || former.world.absent != now.world.absent {
            due.extend(declared.gateway_classes.keys().map(key(Kind::GatewayClass)));
        }
        due.append(&mut self.ahead);
        let now = Instant::now();
        let again: Vec<ObjectRef> = self.again.iter().filter(|(_, at)| **at <= now).map(|(object, _)| object.clone()).collect();
        for object in again {
            self.again.remove(&object);
            due.insert(object);
        }
    }

    /// The next status to write.
    fn next(&mut self) -> Option<(ObjectRef, Arc<Seen>, serde_json::Value)> {
        let (object, (seen, status)) = self.ready.pop_first()?;
        if self.ready.len() < READY_MAX / 4 && !self.due.is_empty() {
            self.look_within(Duration::ZERO);
        }
        self.open.insert(object.clone(), (seen.clone(), status.clone()));
        self.written.insert(object.clone(), seen.resource_version.clone());
        Some((object, seen, status))
    }

    /// What is to be written into an object, if anything.
    fn of(&mut self, object: &ObjectRef, known: &Known<'_>) -> Option<(Arc<Seen>, serde_json::Value)> {
        if !has_status(object.kind) || self.again.contains_key(object) {
            return None;
        }
        let Some(seen) = known.world.seen.get(object) else {
            self.written.remove(object);
            self.unkept.remove(object);
            return None;
        };
        if is_ending(known.world, &object.key.namespace) {
            return None;
        }
        let untold = self.written.get(object) == Some(&seen.resource_version);
        if self.open.contains_key(object) || untold || known.world.declared.get(object) != known.picture.declared.get(object) {
            self.ahead.insert(object.clone());
            return None;
        }
        let status = compose::status(known, object, seen)?;
        let status = status::render(&status, &seen.status(), seen.generation, SystemTime::now())?;
        let unkept =
            self.unkept.get(object).is_some_and(|(version, kept)| *version == seen.resource_version && says_the_same(kept, &status));
        (!unkept).then(|| (seen.clone(), status))
    }

    fn done(&mut self, object: ObjectRef, outcome: Outcome) {
        let Some((seen, status)) = self.open.remove(&object) else { return };
        let newer = self.ahead.contains(&object) || matches!(outcome, Outcome::Outdated);
        match outcome {
            Outcome::Written(version) if version == seen.resource_version => {
                self.written.remove(&object);
                self.unkept.insert(object, (version, status));
            }
            Outcome::Written(_) => drop(self.unkept.remove(&object)),
            Outcome::Outdated => {
                self.ahead.insert(object);
            }
            Outcome::Failed(why) => {
                tracing::warn!(%object, why, "its status cannot be written; trying again");
                self.written.remove(&object);
                self.again.insert(object, Instant::now() + RETRY);
                self.look_within(RETRY);
                return;
            }
        }
        // While it was on its way there was something newer to say, and what the cluster has now may have been told by then.
        if newer {
            self.look_within(PAUSE);
        }
    }
}

/// Whether a namespace is being deleted, with all that is in it: nobody reads what would be said of each as the others go.
fn is_ending(world: &World, namespace: &Text) -> bool {
    world.seen.get(&ObjectRef::new(Kind::Namespace, "", namespace.clone())).is_some_and(|seen| seen.deleting)
}

/// Whether two statuses differ in nothing but when something became so.
fn says_the_same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| name == "lastTransitionTime" || other.get(name).is_some_and(|other| says_the_same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| says_the_same(one, other))
        }
        _ => one == other,
    }
}

fn differing<'a, K: Ord + Clone, V: PartialEq + Clone>(former: &'a OrdMap<K, V>, now: &'a OrdMap<K, V>) -> impl Iterator<Item = &'a K> {
    former.diff(now).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writing() -> (Writer, ObjectRef) {
        let route = ObjectRef::new(Kind::HTTPRoute, "default", "one");
        let mut writer = Writer::default();
        writer.open.insert(route.clone(), (Arc::default(), serde_json::Value::Null));
        (writer, route)
    }

    #[test]
    fn of_thousands_some_wait_composed_each_as_it_is_known_last() {
        let names = |count: usize| (0..count).map(|index| ObjectRef::new(Kind::HTTPRoute, "default", format!("r{index:05}")));
        let composed = |version: u64| {
            move |_: &mut Writer, object: &ObjectRef| {
                // Of every tenth there is nothing to say.
                (object.key.name.as_bytes().last() != Some(&b'3')).then(|| (Arc::default(), version.into()))
            }
        };
        let mut writer = Writer { due: names(3 * READY_MAX).collect(), ..Writer::default() };
        writer.compose(composed(1));
        assert_eq!(writer.ready.len(), READY_MAX);
        writer.due.extend(names(10));
        writer.compose(composed(2));
        assert_eq!(writer.ready.values().filter(|(_, status)| *status == serde_json::json!(2)).count(), 9, "what waits is not older");
        let mut written = BTreeSet::new();
        while let Some((object, ..)) = writer.next() {
            assert!(written.insert(object), "each once");
            if writer.look_at.take().is_some() {
                writer.compose(composed(3));
            }
        }
        assert_eq!(written.len(), names(3 * READY_MAX).filter(|object| !object.key.name.ends_with('3')).count());
        assert!(writer.due.is_empty());
    }

    #[test]
    fn gateways_are_looked_at_when_something_changed_that_they_speak_of() {
        let gateway = ObjectRef::new(Kind::Gateway, "default", "edge");
        let declared = crate::test_world::declared(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: edge }\nspec: { gatewayClassName: windrose, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n",
        );
        let picture = Picture { declared, ..Picture::default() };
        let looked = || Looked { picture: Arc::new(picture.clone()), progress: 7, ..Looked::default() };
        let mut writer = Writer { looked: looked(), ..Writer::default() };
        let same = Looked { picture: writer.looked.picture.clone(), ..looked() };
        let same = Looked { made: writer.looked.made.clone(), problems: writer.looked.problems.clone(), ..same };
        writer.find_due(&same);
        assert!(writer.due.is_empty(), "{:?}", writer.due);
        writer.find_due(&Looked { progress: 6, ..same });
        assert!(writer.due.contains(&gateway));
        let mut writer = Writer { looked: looked(), ..Writer::default() };
        writer.find_due(&looked());
        assert!(writer.due.contains(&gateway), "another picture");
    }

    #[test]
    fn what_waited_for_a_write_is_looked_at_when_the_write_is_done() {
        let (mut writer, route) = writing();
        // Its news was looked at meanwhile, and the cluster has told of the write before it answered it.
        writer.ahead.insert(route.clone());
        writer.look_within(RETRY);
        writer.done(route, Outcome::Written("2".to_owned()));
        assert!(writer.look_at.is_some_and(|at| at <= Instant::now() + PAUSE), "{:?}", writer.look_at);
    }

    #[test]
    fn a_write_after_which_there_is_nothing_new_is_followed_by_no_look() {
        let (mut writer, route) = writing();
        writer.done(route, Outcome::Written("2".to_owned()));
        assert_eq!(writer.look_at, None);
    }
}
