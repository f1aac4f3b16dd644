//! What the status of each object says, from the plan and from what proxies acknowledged. The leader writes it, each once for
//! each real change; what an object says was planned before its generation is claimed.

mod compose;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use tokio_util::sync::CancellationToken;
use windrose_kube::events::Events;
use windrose_kube::source::{Seen, World, has_status};
use windrose_kube::status::{self, Outcome};
use windrose_vocab::{Kind, ObjectRef};

use super::Sight;
use crate::pipeline::Picture;
use compose::Known;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused a write.
const RETRY: Duration = Duration::from_secs(5);
/// Writes at a time.
const WRITES_AT_ONCE: usize = 16;

type Write = BoxFuture<'static, (ObjectRef, Outcome)>;

/// Follows everything until the end, and writes while this replica leads.
pub(crate) async fn follow(mut sight: Sight, events: Events, end: CancellationToken) {
    let mut writer = Writer::default();
    let mut writes: FuturesUnordered<Write> = FuturesUnordered::new();
    loop {
        let due = async {
            tokio::select! {
                told = sight.changed() => told.map(|()| None),
                Some(done) = writes.next() => Ok(Some(done)),
                () = tokio::time::sleep(RETRY), if writer.failed => Ok(None),
            }
        };
        let Some(Ok(done)) = end.run_until_cancelled(due).await else { return };
        let was_write = done.is_some();
        if let Some((object, outcome)) = done {
            writer.done(object, outcome);
        }
        if !sight.leads() {
            writer = Writer { open: writer.open, ..Writer::default() };
            continue;
        }
        if !was_write {
            writer.look(&sight);
        }
        while writes.len() < WRITES_AT_ONCE
            && let Some((object, seen, status)) = writer.next(&sight)
        {
            let client = sight.client.clone();
            let events = events.clone();
            writes.push(Box::pin(async move {
                let outcome = status::write(&client, &object, &seen, &status).await;
                if outcome == Outcome::Written {
                    events.tell(&object, &seen, &status).await;
                }
                (object, outcome)
            }));
        }
        if !was_write {
            end.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

/// What is known of the statuses.
#[derive(Default)]
struct Writer {
    looked: Looked,
    /// Objects to look at.
    due: BTreeSet<ObjectRef>,
    /// Objects whose plan is not that of what the cluster has now.
    ahead: BTreeSet<ObjectRef>,
    /// Writes that are on their way.
    open: BTreeSet<ObjectRef>,
    /// In which resource version of each object our last write went there.
    written: BTreeMap<ObjectRef, String>,
    /// Something could not be written.
    failed: bool,
    again: BTreeSet<ObjectRef>,
}

/// What was looked at last; maps that share what did not change.
#[derive(Default)]
struct Looked {
    world: Arc<World>,
    picture: Arc<Picture>,
}

impl Writer {
    /// Finds what may say something else now, at the cost of what changed; Gateways are looked at each time.
    fn look(&mut self, sight: &Sight) {
        let now = Looked { world: sight.worlds.borrow().clone(), picture: sight.reports.picture.load_full() };
        if now.picture.generation == 0 || !now.world.complete {
            return;
        }
        let former = std::mem::replace(&mut self.looked, now);
        let now = &self.looked;
        differing(&former.world.seen, &now.world.seen).for_each(|object| _ = self.due.insert(object.clone()));
        differing(&former.world.problems, &now.world.problems).for_each(|object| _ = self.due.insert(object.clone()));
        let (before, after) = (&former.picture.plan, &now.picture.plan);
        differing(&before.verdicts, &after.verdicts).for_each(|subject| _ = self.due.insert(subject.object.clone()));
        differing(&before.attached_routes, &after.attached_routes).for_each(|subject| _ = self.due.insert(subject.object.clone()));
        let refused = differing(&former.picture.refused.objects, &now.picture.refused.objects);
        refused.for_each(|version| _ = self.due.insert(version.object.clone()));
        let declared = &now.picture.declared;
        let key = |kind: Kind| move |key: &windrose_vocab::ObjectKey| ObjectRef { kind, key: key.clone() };
        self.due.extend(declared.gateways.keys().map(key(Kind::Gateway)));
        self.due.extend(declared.listener_sets.keys().map(key(Kind::ListenerSet)));
        self.due.extend(declared.backend_tls.keys().map(key(Kind::BackendTLSPolicy)));
        self.due.append(&mut self.ahead);
        self.due.append(&mut self.again);
        self.failed = false;
    }

    /// The next status to write.
    fn next(&mut self, sight: &Sight) -> Option<(ObjectRef, Arc<Seen>, serde_json::Value)> {
        while let Some(object) = self.due.pop_first() {
            if let Some(found) = self.of(&object, sight) {
                self.open.insert(object.clone());
                self.written.insert(object.clone(), found.0.resource_version.clone());
                return Some((object, found.0, found.1));
            }
        }
        None
    }

    fn of(&mut self, object: &ObjectRef, sight: &Sight) -> Option<(Arc<Seen>, serde_json::Value)> {
        if !has_status(object.kind) {
            return None;
        }
        let Looked { world, picture } = &self.looked;
        let Some(seen) = world.seen.get(object) else {
            self.written.remove(object);
            return None;
        };
        if self.open.contains(object) || self.written.get(object) == Some(&seen.resource_version) {
            // The watch has not told of our write yet.
            self.ahead.insert(object.clone());
            return None;
        }
        if world.declared.get(object) != picture.declared.get(object) {
            self.ahead.insert(object.clone());
            return None;
        }
        let (made, problems) = (sight.made.borrow().clone(), sight.problems.load_full());
        let status = sight.reports.with_progress(|progress| {
            let known = Known { world, picture, progress, made: &made, problems: &problems };
            compose::status(&known, object, seen)
        })?;
        let status = status::render(&status, &seen.status, seen.generation, SystemTime::now())?;
        Some((seen.clone(), status))
    }

    fn done(&mut self, object: ObjectRef, outcome: Outcome) {
        self.open.remove(&object);
        match outcome {
            Outcome::Written | Outcome::Outdated => {}
            Outcome::Failed(why) => {
                tracing::warn!(%object, why, "its status cannot be written; trying again");
                self.written.remove(&object);
                self.again.insert(object);
                self.failed = true;
            }
        }
    }
}

fn differing<'a, K: Ord + Clone, V: PartialEq + Clone>(former: &'a OrdMap<K, V>, now: &'a OrdMap<K, V>) -> impl Iterator<Item = &'a K> {
    former.diff(now).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    })
}
