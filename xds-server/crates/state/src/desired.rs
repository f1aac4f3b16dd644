//! What every proxy should have. One writer publishes closed sets per scope; any number of streams read the newest
//! and are woken when it changes. A set that is not closed under reference is refused and the last good one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use windrose_vocab::{ProxyKey, ResourceId, ResourceKind};

use crate::closure::Closure;
use crate::limits;
use crate::scope::Scope;
use crate::set::{Dangling, KindMap, ResourceSet};
use crate::slot::{Feed, Slot};
use crate::view::View;

/// The writer's side; there is one.
#[derive(Debug)]
pub struct Desired {
    shared: Arc<Shared>,
    published: BTreeMap<Scope, Publication>,
}

/// The readers' side; cheap to clone.
#[derive(Clone, Debug)]
pub struct DesiredReader {
    shared: Arc<Shared>,
}

/// What a publication did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Readers were woken.
    Changed,
    /// Equal to what was there: nobody was woken.
    Unchanged,
}

/// Why a set was refused; the last good one stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the resources for {scope} are refused: {} ({count} such references)", .dangling.first().map(ToString::to_string).unwrap_or_default())]
pub struct NotClosed {
    /// For whom it was meant.
    pub scope: Scope,
    /// One reference to each missing resource, at most [`limits::MISSING_NAMES`].
    pub dangling: Vec<Dangling>,
    /// How many resources are missing.
    pub count: usize,
}

/// A proxy key has too many classes or zones; see [`limits::CLASSES_PER_PROXY`] and [`limits::ZONES_PER_PROXY`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} asked for more than {max} classes or {zones} zones", max = limits::CLASSES_PER_PROXY, zones = limits::ZONES_PER_PROXY)]
pub struct TooManyScopes(pub Scope);

#[derive(Debug)]
struct Shared {
    slots: Mutex<BTreeMap<Scope, Arc<Slot>>>,
    asked: Mutex<BTreeSet<Scope>>,
    demand: watch::Sender<u64>,
}

struct Publication {
    base: Arc<Closure>,
    secrets: KindMap,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} resources, {} own secrets", self.base.set().len(), self.secrets.len())
    }
}

impl Shared {
    /// A panic of another thread leaves the map whole: every change to it is one insert or remove.
    fn slots(&self) -> MutexGuard<'_, BTreeMap<Scope, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, BTreeSet<Scope>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Desired {
    fn default() -> Self {
        Self::new()
    }
}

impl Desired {
    /// A state in which every scope is cold.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { slots: Mutex::default(), asked: Mutex::default(), demand: watch::Sender::new(0) };
        Self { shared: Arc::new(shared), published: BTreeMap::new() }
    }

    /// A reader of this state.
    #[must_use]
    pub fn reader(&self) -> DesiredReader {
        DesiredReader { shared: Arc::clone(&self.shared) }
    }

    /// Makes `resources`, and on top of them `secrets` (those of the scope's own identity), what the proxies of
    /// `scope` should have. Those of `secrets` that no resource refers to are spare: no client would ask for them, and
    /// one that never comes for what it should have looks like one that is behind. Costs the difference from the last
    /// publication where the set was made by editing the former one (see [`ResourceSet::rebased_on`]); scopes that share
    /// a set share the work.
    ///
    /// # Errors
    /// [`NotClosed`] when a resource refers to one that is not there; the last good view stays.
    pub fn publish(&mut self, scope: &Scope, resources: &ResourceSet, secrets: &KindMap) -> Result<Published, NotClosed> {
        let base = self.closure_of(scope, resources);
        refuse_dangling(scope, &base, secrets)?;
        let own = secrets.iter().map(|(name, secret)| (name.clone(), Arc::clone(secret)));
        let (needed, spare): (Vec<_>, Vec<_>) = own.partition(|(_, secret)| base.is_referred_to(&secret.id));
        let all = with_secrets(base.set(), &needed.into_iter().collect());
        let view = View::ready(scope.class.clone(), all).with_spare(spare.into_iter().collect());
        self.published.insert(scope.clone(), Publication { base, secrets: secrets.clone() });
        Ok(self.show(scope, view))
    }

    /// Replaces the scope's own secrets and nothing else: the path of a rotation. A scope that was never published
    /// stays cold.
    ///
    /// # Errors
    /// [`NotClosed`] when a resource refers to a secret that would be gone; the last good view stays.
    pub fn publish_secrets(&mut self, scope: &Scope, secrets: &KindMap) -> Result<Published, NotClosed> {
        let Some(former) = self.published.get(scope) else { return Ok(Published::Unchanged) };
        let resources = former.base.set().clone();
        self.publish(scope, &resources, secrets)
    }

    /// Forgets a scope whose proxy is no longer declared. Its streams get an empty view.
    pub fn withdraw(&mut self, scope: &Scope) {
        if self.published.remove(scope).is_some() {
            self.show(scope, View::ready(scope.class.clone(), ResourceSet::new()));
        }
        self.shared.slots().retain(|at, slot| at != scope || slot.has_feeds());
    }

    /// Forgets a scope whose proxy is somebody else's from now on. Its streams keep what they have: they are to end, and what runs there
    /// goes on.
    pub fn hand_over(&mut self, scope: &Scope) {
        self.published.remove(scope);
        self.shared.slots().retain(|at, slot| at != scope || slot.has_feeds());
    }

    /// Forgets a scope that [`DesiredReader::scopes_of`] names no longer. Who asks for it again finds it cold.
    pub fn forget(&mut self, scope: &Scope) {
        self.published.remove(scope);
    }

    /// The scopes that were published, sorted.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.published.keys()
    }

    /// The resources last published for a scope, without its own secrets: the set to edit for the next publication.
    #[must_use]
    pub fn base(&self, scope: &Scope) -> Option<&ResourceSet> {
        self.published.get(scope).map(|former| former.base.set())
    }

    /// Thousands of scopes are published with one set after another: the neighbour's closure serves too.
    fn closure_of(&self, scope: &Scope, resources: &ResourceSet) -> Arc<Closure> {
        let former = self.published.get(scope).map(|former| &former.base);
        if let Some(same) = former.filter(|former| former.set().is_same(resources)) {
            return Arc::clone(same);
        }
        let neighbours = self.published.range(..scope).rev().take(1).chain(self.published.range(scope..).take(2));
        let shared = neighbours.map(|(_, one)| &one.base).find(|one| one.set().is_same(resources));
        match (shared, former) {
            (Some(shared), _) => Arc::clone(shared),
            (None, Some(former)) => Arc::new(former.advanced_to(resources)),
            // Of a zone, only the endpoints are others.
            (None, None) => match self.published.get(&scope.anywhere()) {
                Some(anywhere) => Arc::new(anywhere.base.advanced_to(resources)),
                None => Arc::new(Closure::default().advanced_to(resources)),
            },
        }
    }

    fn show(&self, scope: &Scope, view: View) -> Published {
        let mut slots = self.shared.slots();
        let slot = slots.entry(scope.clone()).or_insert_with(|| Slot::new(View::cold(scope.class.clone())));
        if slot.show(view) { Published::Changed } else { Published::Unchanged }
    }
}

impl DesiredReader {
    /// The feed of a scope and that scope, or, where there is no room for one more zone, the scope of its class anywhere.
    ///
    /// # Errors
    /// See [`Self::subscribe`].
    pub fn subscribe_near(&self, scope: &Scope) -> Result<(Scope, Feed), TooManyScopes> {
        let tried = self.subscribe(scope).map(|feed| (scope.clone(), feed));
        if tried.is_ok() || scope.class.zone.is_none() {
            return tried;
        }
        let anywhere = scope.anywhere();
        self.subscribe(&anywhere).map(|feed| (anywhere, feed))
    }

    /// The feed of a scope; cold until it is published. Asking makes the scope known to [`Self::demand`]. Zones that nobody is in any
    /// more make room.
    ///
    /// # Errors
    /// [`TooManyScopes`] when clients of that proxy key already ask for the most classes or zones allowed.
    pub fn subscribe(&self, scope: &Scope) -> Result<Feed, TooManyScopes> {
        let mut slots = self.shared.slots();
        if let Some(slot) = slots.get(scope) {
            return Ok(slot.follow());
        }
        let may_go = |at: &Scope, slot: &Slot| at.class.zone.is_some() || !slot.view().ready;
        let idle = |at: &Scope, slot: &Slot| at.proxy == scope.proxy && !slot.has_feeds() && may_go(at, slot);
        let mut asked = self.shared.asked();
        slots.retain(|at, slot| {
            let keep = !idle(at, slot);
            if !keep {
                asked.remove(at);
            }
            keep
        });
        if !has_room(slots.keys().filter(|at| at.proxy == scope.proxy), scope) {
            return Err(TooManyScopes(scope.clone()));
        }
        let slot = Slot::new(View::cold(scope.class.clone()));
        let feed = slot.follow();
        slots.insert(scope.clone(), slot);
        asked.insert(scope.clone());
        drop((asked, slots));
        self.shared.demand.send_modify(|count| *count = count.wrapping_add(1));
        Ok(feed)
    }

    /// The newest view of a scope, if it was ever published or asked for.
    #[must_use]
    pub fn current(&self, scope: &Scope) -> Option<Arc<View>> {
        self.shared.slots().get(scope).map(|slot| slot.view())
    }

    /// The scopes of a proxy key that were published or asked for, sorted: what a publisher should render.
    #[must_use]
    pub fn scopes_of(&self, proxy: &ProxyKey) -> Vec<Scope> {
        let first = Scope::from(proxy.clone());
        self.shared.slots().range(first..).map(|(scope, _)| scope).take_while(|scope| scope.proxy == *proxy).cloned().collect()
    }

    /// The scopes that were asked for while they were unknown, since the last call: what a publisher has not rendered yet.
    #[must_use]
    pub fn take_asked(&self) -> BTreeSet<Scope> {
        std::mem::take(&mut *self.shared.asked())
    }

    /// Changes whenever a scope is asked for that was unknown.
    #[must_use]
    pub fn demand(&self) -> watch::Receiver<u64> {
        self.shared.demand.subscribe()
    }
}

/// Whether there may be one more beside those of the same proxy. A zone brings its class along, which is published for all of them.
fn has_room<'a>(there: impl Iterator<Item = &'a Scope>, scope: &Scope) -> bool {
    let (mut classes, mut zones) = (BTreeSet::from([scope.class.anywhere()]), usize::from(scope.class.zone.is_some()));
    for at in there {
        classes.insert(at.class.anywhere());
        zones += usize::from(at.class.zone.is_some());
    }
    classes.len() <= limits::CLASSES_PER_PROXY && (scope.class.zone.is_none() || zones <= limits::ZONES_PER_PROXY)
}

fn with_secrets(base: &ResourceSet, own: &KindMap) -> ResourceSet {
    let mut all = base.clone();
    let shared = base.of_kind(ResourceKind::Secret);
    if shared.is_empty() {
        all.set_kind(ResourceKind::Secret, own.clone());
    } else if !own.is_empty() {
        all.set_kind(ResourceKind::Secret, own.clone().union(shared.clone()));
    }
    all
}

fn refuse_dangling(scope: &Scope, base: &Closure, secrets: &KindMap) -> Result<(), NotClosed> {
    let is_own = |id: &ResourceId| id.kind == ResourceKind::Secret && secrets.contains_key(&*id.name);
    let missing: Vec<_> = base.missing().filter(|id| !is_own(id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let dangling = missing.iter().take(limits::MISSING_NAMES).filter_map(|id| base.referrer_of(id)).collect();
    Err(NotClosed { scope: scope.clone(), dangling, count: missing.len() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use windrose_vocab::{Fingerprint, NodeClass, Resource, Text};

    use super::*;

    fn resource(kind: ResourceKind, name: &str, version: u128, refs: &[(ResourceKind, &str)]) -> Arc<Resource> {
        Arc::new(Resource {
            id: ResourceId::new(kind, name),
            version: Fingerprint::from_bits(version),
            bytes: Bytes::from(name.to_owned()),
            refs: refs.iter().map(|(kind, name)| ResourceId::new(*kind, *name)).collect(),
        })
    }

    fn scope() -> Scope {
        ProxyKey::gateway("shop", "edge").into()
    }

    fn secrets(name: &str, version: u128) -> KindMap {
        KindMap::unit(Text::from(name), resource(ResourceKind::Secret, name, version, &[]))
    }

    #[test]
    fn a_cold_view_is_not_an_empty_world() {
        let mut desired = Desired::new();
        let mut feed = desired.reader().subscribe(&scope()).unwrap();
        assert!(!feed.current().ready);
        desired.publish(&scope(), &ResourceSet::new(), &KindMap::new()).unwrap();
        assert!(feed.current().ready);
        assert!(feed.current().resources.is_empty());
    }

    #[test]
    fn equal_sets_wake_nobody() {
        let mut desired = Desired::new();
        let mut feed = desired.reader().subscribe(&scope()).unwrap();
        let build = || ResourceSet::from_iter([resource(ResourceKind::Cluster, "c", 1, &[])]);
        assert_eq!(desired.publish(&scope(), &build(), &KindMap::new()), Ok(Published::Changed));
        let first = feed.current();
        assert_eq!(desired.publish(&scope(), &build(), &KindMap::new()), Ok(Published::Unchanged));
        assert!(Arc::ptr_eq(&first, &feed.current()));
    }

    #[test]
    fn a_set_that_is_not_closed_is_refused_and_the_last_good_one_stays() {
        let mut desired = Desired::new();
        let reader = desired.reader();
        let good = ResourceSet::from_iter([resource(ResourceKind::Cluster, "c", 1, &[])]);
        desired.publish(&scope(), &good, &KindMap::new()).unwrap();
        let mut bad = good.clone();
        bad.insert(resource(ResourceKind::Routes, "r", 1, &[(ResourceKind::Cluster, "gone")]));
        let refused = desired.publish(&scope(), &bad, &KindMap::new()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the resources for gateway/shop/edge are refused: RDS r refers to CDS gone, which is not in the set (1 such references)"
        );
        assert_eq!(reader.current(&scope()).unwrap().resources, good);
    }

    #[test]
    fn the_scopes_own_secrets_close_its_set_and_rotate_alone() {
        let mut desired = Desired::new();
        let reader = desired.reader();
        let listener = resource(ResourceKind::Listener, "l", 1, &[(ResourceKind::Secret, "own")]);
        let set = ResourceSet::from_iter([listener, resource(ResourceKind::Secret, "shared", 1, &[])]);
        assert!(desired.publish(&scope(), &set, &KindMap::new()).is_err());
        desired.publish(&scope(), &set, &secrets("own", 1)).unwrap();
        assert_eq!(desired.publish_secrets(&scope(), &secrets("own", 2)), Ok(Published::Changed));
        let view = reader.current(&scope()).unwrap();
        assert_eq!(view.get(ResourceKind::Secret, "own").unwrap().version, Fingerprint::from_bits(2));
        assert!(view.get(ResourceKind::Secret, "shared").is_some());
        assert!(desired.publish_secrets(&scope(), &KindMap::new()).is_err(), "the listener still names it");
    }

    #[test]
    fn own_secrets_that_nothing_refers_to_are_spare() {
        let mut desired = Desired::new();
        let reader = desired.reader();
        let set = ResourceSet::from_iter([resource(ResourceKind::Listener, "plain", 1, &[])]);
        desired.publish(&scope(), &set, &secrets("own", 1)).unwrap();
        assert_eq!(desired.publish_secrets(&scope(), &secrets("own", 1)), Ok(Published::Unchanged));
        assert_eq!(desired.publish_secrets(&scope(), &secrets("own", 2)), Ok(Published::Changed));
        let view = reader.current(&scope()).unwrap();
        assert_eq!((view.get(ResourceKind::Secret, "own"), &view.spare), (None, &secrets("own", 2)));
        let mutual = resource(ResourceKind::Listener, "mutual", 1, &[(ResourceKind::Secret, "own")]);
        desired.publish(&scope(), &ResourceSet::from_iter([mutual]), &secrets("own", 2)).unwrap();
        let view = reader.current(&scope()).unwrap();
        assert!(view.get(ResourceKind::Secret, "own").is_some() && view.spare.is_empty());
    }

    #[test]
    fn scopes_with_one_set_share_its_nodes() {
        let mut desired = Desired::new();
        let set = ResourceSet::from_iter([resource(ResourceKind::Cluster, "c", 1, &[])]);
        let scopes: Vec<Scope> = (0..3).map(|n| ProxyKey::workload("shop", format!("w{n}")).into()).collect();
        for scope in &scopes {
            desired.publish(scope, &set, &KindMap::new()).unwrap();
        }
        let views: Vec<_> = scopes.iter().map(|scope| desired.reader().current(scope).unwrap()).collect();
        assert!(views.iter().all(|view| view.resources.is_same(&set)));
    }

    #[test]
    fn classes_invented_by_a_client_are_limited_and_idle_ones_make_room() {
        let desired = Desired::new();
        let reader = desired.reader();
        let class = |n: usize| Scope { class: NodeClass { modules: Some(format!("/{n}").into()), zone: None }, ..scope() };
        let feeds: Vec<_> = (0..limits::CLASSES_PER_PROXY).map(|n| reader.subscribe(&class(n)).unwrap()).collect();
        assert!(reader.subscribe(&class(99)).is_err());
        drop(feeds);
        assert!(reader.subscribe(&class(99)).is_ok());
        assert_eq!(reader.scopes_of(&scope().proxy).len(), 1);
        assert_eq!(reader.take_asked(), BTreeSet::from([class(99)]));
        assert!(reader.take_asked().is_empty());
    }

    #[test]
    fn a_zone_without_room_is_its_class_anywhere_and_zones_that_nobody_is_in_make_room() {
        let mut desired = Desired::new();
        let reader = desired.reader();
        let zone = |n: usize| Scope { class: NodeClass { modules: None, zone: Some(format!("z{n}").into()) }, ..scope() };
        let feeds: Vec<_> = (0..limits::ZONES_PER_PROXY).map(|n| reader.subscribe_near(&zone(n)).unwrap()).collect();
        assert!(feeds.iter().enumerate().all(|(n, (got, _))| *got == zone(n)));
        for n in 0..limits::ZONES_PER_PROXY {
            desired.publish(&zone(n), &ResourceSet::new(), &KindMap::new()).unwrap();
        }
        assert!(reader.subscribe(&zone(99)).is_err());
        assert_eq!(reader.subscribe_near(&zone(99)).unwrap().0, scope());
        drop(feeds);
        assert_eq!(reader.subscribe_near(&zone(99)).unwrap().0, zone(99));
        assert_eq!(reader.scopes_of(&scope().proxy), [zone(99)], "those without a proxy went, though they were published");
    }

    #[test]
    fn zones_bring_no_more_classes_than_are_allowed() {
        let desired = Desired::new();
        let reader = desired.reader();
        let class = |n: usize| Scope { class: NodeClass { modules: Some(format!("/{n}").into()), zone: Some("a".into()) }, ..scope() };
        let _feeds: Vec<_> = (0..limits::CLASSES_PER_PROXY).map(|n| reader.subscribe(&class(n)).unwrap()).collect();
        assert!(reader.subscribe_near(&class(99)).is_err());
    }

    #[test]
    fn a_scope_that_was_forgotten_is_cold_and_not_empty_for_who_asks_again() {
        let mut desired = Desired::new();
        let reader = desired.reader();
        let zone = |name: &str| Scope { class: NodeClass { modules: None, zone: Some(name.into()) }, ..scope() };
        drop(reader.subscribe(&zone("a")).unwrap());
        desired.publish(&zone("a"), &ResourceSet::new(), &KindMap::new()).unwrap();
        let _other = reader.subscribe(&zone("b")).unwrap();
        let mut again = reader.subscribe(&zone("a")).unwrap();
        desired.forget(&zone("a"));
        assert!(!again.current().ready);
    }
}
