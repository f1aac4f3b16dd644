//! The one owner of what the watches tell.

mod selecting;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch as latest};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windrose_api::declared::{AnyObject, SetAside};
use windrose_api::{Source, decode};
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectKey, ObjectRef};

use super::kept;
use super::outside::{Kept, Outside};
use super::selection::Selection;
use super::values::Values;
use super::watch::{Told, read};
use super::{Event, Good, Seen, Unreadable, World, has_status, is_optional, is_value, protects};
use crate::client::{code, explain};
use crate::limits;

/// One read of a Secret or ConfigMap.
type Read = BoxFuture<'static, (ObjectRef, Result<Option<Value>, kube::Error>)>;

/// Takes in what the watches tell and shows the world after each burst, until the end. `keep` is handed the good versions of what
/// Envoy may refuse, before the world that has them is shown. `remembered` are versions that were good before we started, of objects
/// whose newest version may be no good. `in_place` is what versions refer to that are in effect in the place of newer ones.
pub async fn follow(
    client: Client,
    (selection, mut events): (Selection, mpsc::Receiver<Event>),
    worlds: latest::Sender<Arc<World>>,
    (remembered, keep, mut in_place): (Vec<Good>, impl Fn(Vec<Good>), latest::Receiver<Arc<BTreeSet<ObjectRef>>>),
    end: CancellationToken,
) {
    let mut owner = Owner { selection, ..Owner::remembering(remembered) };
    let mut reads: FuturesUnordered<Read> = FuturesUnordered::new();
    let mut held: Option<Instant> = None;
    owner.values.hold(in_place.borrow_and_update().clone());
    loop {
        let deadline = held.map_or_else(Instant::now, |since| since + limits::AWAIT_VALUES);
        let retry = owner.values.next_retry().filter(|_| reads.len() < limits::READS_AT_ONCE);
        let retry = retry.into_iter().chain(owner.values.next_end()).min();
        tokio::select! {
            () = end.cancelled() => return,
            () = sleep_until(deadline), if held.is_some() => owner.values.await_no_longer(),
            () = sleep_until(retry.unwrap_or(deadline)), if retry.is_some() => {}
            Ok(()) = in_place.changed() => owner.values.hold(in_place.borrow_and_update().clone()),
            Some((value, found)) = reads.next() => owner.read(&value, found, Instant::now()),
            event = events.recv() => {
                let Some(event) = event else { return };
                owner.take(event);
                for _ in 1..limits::EVENTS_AT_ONCE {
                    let Ok(event) = events.try_recv() else { break };
                    owner.take(event);
                }
            }
        }
        let (wanted, unwanted) = owner.values.take_due(limits::READS_AT_ONCE - reads.len(), Instant::now());
        for value in wanted {
            let client = client.clone();
            reads.push(Box::pin(async move {
                let found = read(&client, value.kind, &value.key.namespace, &value.key.name).await;
                (value, found)
            }));
        }
        unwanted.iter().for_each(|value| owner.remove(value));
        held = if owner.values.awaits() { held.or_else(|| Some(Instant::now())) } else { None };
        if held.is_none() && owner.take_changed() {
            keep(std::mem::take(&mut owner.good));
            worlds.send_replace(Arc::new(owner.show()));
        }
        tokio::task::yield_now().await;
    }
}

/// How far a kind has been read.
#[derive(Debug, Default)]
struct Progress {
    /// It was listed once, or the cluster does not have it.
    known: bool,
    /// The cluster does not have it.
    absent: bool,
    /// Since when it is said not to have it, and how often it was said, without another word in between.
    said_absent: Option<(Instant, u32)>,
    /// What a list that is not over has not named yet.
    missing: Option<BTreeSet<ObjectRef>>,
}

#[derive(Debug, Default)]
struct Owner {
    world: World,
    /// What was shown last while everything that protects could be read.
    shown: Option<World>,
    kinds: BTreeMap<Kind, Progress>,
    selection: Selection,
    outside: Outside,
    values: Values,
    /// Versions that were good before we started, until the object is seen.
    remembered: BTreeMap<ObjectRef, Value>,
    changed: bool,
    /// What became good or is gone since the world was shown last.
    good: Vec<Good>,
}

impl Owner {
    fn remembering(all: Vec<Good>) -> Self {
        let remembered = all.into_iter().filter_map(|good| Some((good.object, good.version?.1)));
        Self { remembered: remembered.collect(), ..Self::default() }
    }

    fn take(&mut self, event: Event) {
        let kind = event.kind;
        match event.told {
            Told::Listing => self.listing(kind),
            Told::There(value) => self.there(kind, value),
            Told::Gone(value) => {
                if let Some(object) = reference(kind, &value) {
                    self.gone(&object);
                }
            }
            Told::Listed => {
                let progress = self.kinds.entry(kind).or_default();
                (progress.known, progress.absent, progress.said_absent) = (true, false, None);
                let missing = progress.missing.take().unwrap_or_default();
                missing.iter().for_each(|object| self.gone(object));
                self.cured(kind);
            }
            Told::NoSuchKind => self.no_such_kind(kind, Instant::now()),
            Told::Failed(why) => {
                self.kinds.entry(kind).or_default().said_absent = None;
                self.fails(kind, why);
            }
        }
    }

    /// A kind that comes back has not been read: what it protects is not shown before it has been.
    fn listing(&mut self, kind: Kind) {
        let there = self.all(kind);
        let progress = self.kinds.entry(kind).or_default();
        let (comes_back, was_known) = (progress.absent, progress.known);
        if comes_back {
            *progress = Progress::default();
        }
        (progress.missing, progress.said_absent) = (Some(there), None);
        if comes_back {
            self.fails(kind, "its definition is new, and its objects are being read".to_owned());
        } else if protects(kind) && was_known && !self.world.unread.contains_key(&kind) {
            // What came meanwhile is not known before the list is over.
            self.fails(kind, "its objects are being read again".to_owned());
        }
    }

    /// An API server that has just started knows no definitions for a moment: a kind is gone when it stays gone. Answers before a
    /// time without any say nothing of that time.
    fn no_such_kind(&mut self, kind: Kind, now: Instant) {
        if is_optional(kind) && self.all(kind).is_empty() {
            *self.kinds.entry(kind).or_default() = Progress { known: true, absent: true, ..Progress::default() };
            return;
        }
        let progress = self.kinds.entry(kind).or_default();
        let (since, said) = progress.said_absent.unwrap_or((now, 0));
        progress.said_absent = Some((since, said + 1));
        let (believed, often) = match progress.known {
            true => (limits::ABSENT_KIND_BELIEVED, limits::ABSENT_KIND_ANSWERS),
            false => (limits::ABSENT_KIND_AT_FIRST, limits::ABSENT_KIND_ANSWERS_AT_FIRST),
        };
        if progress.absent || (now.duration_since(since) >= believed && said + 1 >= often) {
            self.changed |= !progress.absent;
            *progress = Progress { known: true, absent: true, missing: None, ..*progress };
            self.all(kind).iter().for_each(|object| self.gone(object));
        }
        self.fails(kind, "the cluster has no such kind: its definition is not installed".to_owned());
    }

    /// What to show: everything, unless something that protects cannot be read now. Then what it may have to protect stays as it
    /// was, and only what moves by itself goes on.
    fn show(&mut self) -> World {
        self.world.kept = self.holding();
        self.world.absent = self.kinds.iter().filter(|(_, progress)| progress.absent).map(|(kind, _)| *kind).collect();
        let blind = !self.world.kept.is_empty();
        match &mut self.shown {
            Some(shown) if blind => {
                kept::go_on(shown, &self.world, &|value: &ObjectRef| self.values.version(value).is_some());
                shown.clone()
            }
            shown => {
                *shown = self.world.complete.then(|| self.world.clone());
                self.world.clone()
            }
        }
    }

    /// Kinds that cannot be read now and hold the rest back: those that protect, and every other before all was read once. One that the
    /// cluster does not have protects nothing.
    fn holding(&self) -> BTreeSet<Kind> {
        let is_known = |kind: &Kind| self.kinds.get(kind).is_some_and(|kind| kind.known);
        let is_absent = |kind: &Kind| self.kinds.get(kind).is_some_and(|kind| kind.absent && kind.said_absent.is_some());
        let holds = |kind: &&Kind| (protects(**kind) && !is_absent(kind)) || !(self.world.complete || is_known(kind));
        self.world.unread.keys().filter(holds).copied().collect()
    }

    fn fails(&mut self, kind: Kind, why: String) {
        if self.world.unread.get(&kind) != Some(&why) {
            tracing::warn!(%kind, why, "cannot be read");
            self.world.unread.insert(kind, why);
            self.changed = true;
        }
    }

    fn cured(&mut self, kind: Kind) {
        if self.world.unread.remove(&kind).is_some() {
            tracing::info!(%kind, "can be read");
            self.changed = true;
        }
    }

    /// Everything of a kind that we know of.
    fn all(&self, kind: Kind) -> BTreeSet<ObjectRef> {
        if is_value(kind) {
            return self.values.known(kind).chain(self.outside.of_kind(kind)).cloned().collect();
        }
        let declared = self.world.declared.of_kind(kind);
        let first = ObjectRef { kind, key: ObjectKey::new("", "") };
        let seen = self.world.seen.range(first..).map(|(object, _)| object).take_while(|object| object.kind == kind);
        let aside = self.world.declared.set_aside.keys().filter(|object| object.kind == kind);
        declared.into_iter().chain(seen.cloned()).chain(aside.cloned()).chain(self.outside.of_kind(kind).cloned()).collect()
    }

    fn there(&mut self, kind: Kind, value: Value) {
        let Some(object) = reference(kind, &value) else { return };
        let progress = self.kinds.entry(kind).or_default();
        // Within a list nothing is cured: it is not known yet what else it has.
        match &mut progress.missing {
            Some(missing) => drop(missing.remove(&object)),
            None => self.cured(kind),
        }
        if kind == Kind::Namespace {
            self.select(&object.key.name, Some(&value));
        }
        let is_outside = !self.selection.takes(&object);
        if is_value(kind) {
            let version = text(&value, "/metadata/resourceVersion");
            return match is_outside {
                true => self.keep_outside(object, Kept::Value(version)),
                false => self.values.there(object, Some(version)),
            };
        }
        if is_outside {
            return self.keep_outside(object, Kept::told(&value));
        }
        self.put(object, value);
    }

    fn gone(&mut self, object: &ObjectRef) {
        self.remembered.remove(object);
        if object.kind == Kind::Namespace {
            self.select(&object.key.name, None);
        }
        match self.outside.remove(object) {
            Some(Kept::InEffect(_)) => return self.forget(object),
            Some(Kept::Told(_) | Kept::Value(_)) => return,
            None => {}
        }
        if is_value(object.kind) {
            return self.values.there(object.clone(), None);
        }
        self.remove(object);
    }

    fn remove(&mut self, object: &ObjectRef) {
        let was_there = self.take_out(object);
        if was_there {
            self.forget(object);
        }
    }

    /// Nobody asks for the good version of an object that is gone.
    fn forget(&mut self, object: &ObjectRef) {
        if may_be_refused(object.kind) {
            self.good.push(Good { object: object.clone(), version: None });
            self.changed = true;
        }
    }

    /// Takes an object out of the world; whether anything was declared of it.
    fn take_out(&mut self, object: &ObjectRef) -> bool {
        let was_there = self.world.declared.get(object).is_some() || self.world.declared.set_aside.contains_key(object);
        self.world.declared.remove(object);
        self.world.unreadable.remove(object);
        let seen = self.world.seen.remove(object).is_some();
        let problems = self.world.problems.remove(object).is_some();
        self.changed |= was_there || seen || problems;
        if !is_value(object.kind) {
            self.values.refer(object, None);
        }
        was_there
    }

    /// A value was read, or could not be.
    fn read(&mut self, value: &ObjectRef, found: Result<Option<Value>, kube::Error>, now: Instant) {
        match found.as_ref().err().map(code) {
            None => self.values.over(value),
            Some(Some(403)) => self.values.forbidden(value, now),
            Some(_) => self.values.failed(value, now),
        }
        match found {
            Ok(Some(content)) if self.values.is_needed(value) => self.put(value.clone(), content),
            Ok(Some(_)) => {
                self.values.is_not_kept(value);
                self.remove(value);
            }
            Ok(None) => self.remove(value),
            Err(error) => {
                let message = format!("cannot be read: {}", explain(&error));
                let told = Diagnostic::error(value.clone(), FieldPath::root(), Code::File, message);
                if self.world.declared.get(value).is_none() {
                    self.changed |= self.world.declared.set_aside.insert(value.clone(), SetAside::default()).is_none();
                }
                self.tell(value, vec![told]);
            }
        }
    }

    fn put(&mut self, object: ObjectRef, mut value: Value) {
        if self.world.seen.get(&object).is_some_and(|seen| seen.uid != text(&value, "/metadata/uid")) {
            // Of the former object of that name nothing is left, its last good version neither.
            self.remove(&object);
        }
        let unchanged = has_status(object.kind) && self.see(&object, &mut value);
        if unchanged {
            return;
        }
        let kept = may_be_refused(object.kind).then(|| value.clone());
        // One that was good counts only for the same object, not for another of its name.
        let former = self.remembered.remove(&object).filter(|former| text(former, "/metadata/uid") == text(&value, "/metadata/uid"));
        let plain = has_status(object.kind).then(|| Unreadable::of(object.kind, &value));
        let decoded = decode(value, Source::Cluster);
        match plain.filter(|_| decoded.object.is_none()) {
            Some(plain) => drop(self.world.unreadable.insert(object.clone(), Arc::new(plain))),
            None => drop(self.world.unreadable.remove(&object)),
        }
        if let Some(former) = former.filter(|_| decoded.object.is_none() && self.world.declared.get(&object).is_none()) {
            self.remember(&object, former);
        }
        let mut told = decoded.diagnostics;
        match decoded.object.map(|good| self.marked(good)) {
            Some(good) if self.world.declared.get(&object).as_ref() != Some(&good) => {
                self.values.refer(&object, Some(&good));
                if let Some(kept) = kept {
                    self.good.push(Good { object: object.clone(), version: Some((good.meta().version, kept)) });
                }
                self.world.declared.insert(good);
                self.changed = true;
            }
            Some(_) => {}
            None if self.world.declared.get(&object).is_some() => {
                let message = format!("the last good version of {object} stays in effect");
                told.push(Diagnostic::warning(object.clone(), FieldPath::root(), Code::LastGood, message));
            }
            None => {
                self.world.declared.set_aside.insert(object.clone(), decoded.aside);
                self.changed = true;
            }
        }
        self.tell(&object, told);
    }

    /// A Namespace says whether what is in it counts: who refers to something there is told.
    fn marked(&self, good: AnyObject) -> AnyObject {
        match good {
            AnyObject::Namespace(mut namespace) if !self.selection.has(&namespace.meta.object.key.name) => {
                Arc::make_mut(&mut namespace).spec.left_out = true;
                AnyObject::Namespace(namespace)
            }
            other => other,
        }
    }

    /// Puts a version in effect that was good before we started.
    fn remember(&mut self, object: &ObjectRef, former: Value) {
        let Some(good) = decode(former.clone(), Source::Cluster).object.filter(|good| good.meta().object == *object) else { return };
        tracing::info!(%object, "its newest version cannot be taken; the last good one is known from another replica");
        self.values.refer(object, Some(&good));
        self.good.push(Good { object: object.clone(), version: Some((good.meta().version, former)) });
        self.world.declared.insert(good);
        self.changed = true;
    }

    fn tell(&mut self, object: &ObjectRef, told: Vec<Diagnostic>) {
        let told: Arc<[Diagnostic]> = told.into();
        let before = self.world.problems.get(object).map_or(&[][..], |before| before);
        if *before == *told {
            return;
        }
        told.iter().for_each(|diagnostic| tracing::warn!("{diagnostic}"));
        self.changed = true;
        if told.is_empty() {
            self.world.problems.remove(object);
        } else {
            self.world.problems.insert(object.clone(), told);
        }
    }

    /// Notes what the cluster knows of an object; whether it declares what it declared before.
    fn see(&mut self, object: &ObjectRef, value: &mut Value) -> bool {
        let status = value.as_object_mut().and_then(|members| members.remove("status")).unwrap_or_default();
        let seen = Seen {
            uid: text(value, "/metadata/uid"),
            generation: value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
            resource_version: text(value, "/metadata/resourceVersion"),
            api_version: text(value, "/apiVersion"),
            class: value.pointer("/spec/gatewayClassName").and_then(Value::as_str).map(str::to_owned),
            deleting: value.pointer("/metadata/deletionTimestamp").is_some(),
            status: status.to_string().into(),
            metadata: hash(value),
        };
        let before = self.world.seen.get(object);
        let declares_the_same = before.is_some_and(|before| {
            before.generation > 0 && (&before.uid, before.generation, before.metadata) == (&seen.uid, seen.generation, seen.metadata)
        });
        if before.is_none_or(|before| **before != seen) {
            self.world.seen.insert(object.clone(), Arc::new(seen));
            self.changed = true;
        }
        declares_the_same
    }

    /// Whether there is something new to show; nothing is before all has been read once.
    fn take_changed(&mut self) -> bool {
        if !self.world.complete {
            let all = Kind::ALL.iter().all(|kind| self.kinds.get(kind).is_some_and(|progress| progress.known));
            if !all || !self.values.is_settled() || !self.holding().is_empty() {
                return std::mem::take(&mut self.changed);
            }
            tracing::info!("the cluster was read for the first time");
            (self.world.complete, self.changed) = (true, true);
        }
        std::mem::take(&mut self.changed)
    }
}

/// Kinds of which Envoy may refuse what follows from them, so that an earlier version is of use. What moves all the time is none.
fn may_be_refused(kind: Kind) -> bool {
    !matches!(kind, Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::ReferenceGrant | Kind::GatewayClass)
}

fn reference(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let name = value.pointer("/metadata/name")?.as_str()?;
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    Some(ObjectRef::new(kind, namespace, name))
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Labels and annotations; a process compares its own numbers only.
fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in ["/metadata/labels", "/metadata/annotations"] {
        value.pointer(part).map(Value::to_string).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
