//! Which versions of objects do not run on a proxy yet, and for want of which resource.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use windrose_state::{Accepted, Behind, Reason, StreamStatus, View};
use windrose_vocab::{Fingerprint, ObjectVersion, ProxyKey, ResourceId, ResourceKind};

use crate::pipeline::Picture;

/// Of a proxy that lacks more versions than this, and refused none of it, only that is said.
const MANY: usize = 256;

/// Why a version does not run on a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    /// The resource that it waits for.
    pub(crate) resource: ResourceId,
    /// The proxy's words, if it refused that.
    pub(crate) refused: Option<Reason>,
    /// When it said so.
    pub(crate) at: Option<SystemTime>,
}

/// What a stream lacks.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: BTreeMap<ObjectVersion, Lag>,
    /// So much, as when it has only just come, that they are not listed.
    pub(super) much: bool,
    /// Something is not as it should be, be it of any object or not.
    pub(super) behind: bool,
}

/// What versions of resources carry beyond others, found once for all proxies of a look.
pub(super) type Beyond = BTreeMap<(ProxyKey, ResourceId, Option<Fingerprint>), Arc<[ObjectVersion]>>;

/// The versions that do not run there.
pub(super) fn of(stream: &StreamStatus, view: &View, picture: &Picture, accepted: &Accepted, known: &mut Beyond) -> Found {
    if has_just_come(stream, view) && accepted.quarantine(&stream.opened.identity).is_empty() {
        return Found { much: true, behind: true, ..Found::default() };
    }
    if picture.unpublished.contains_key(&stream.opened.scope) {
        // It may be in step with what it is served, which is not what is planned.
        return Found { much: true, behind: true, ..Found::default() };
    }
    let behind = stream.behind(view);
    let mut found = Found { behind: !behind.is_empty(), ..Found::default() };
    let lags: BTreeMap<&ResourceId, Lag> = behind.keys().map(|id| (id, lag(id, &behind, stream, accepted))).collect();
    let refuses = lags.values().any(|lag| lag.refused.is_some());
    let proxy = &stream.opened.scope.proxy;
    let lacking = behind.iter().map(|(id, lack)| (id, lack.has, id)).collect::<Vec<_>>();
    let waiting = waiting(view, &behind);
    let waiting = waiting.iter().map(|(id, cause)| (id, None, cause));
    for (id, has, cause) in lacking.into_iter().chain(waiting) {
        let Some(lag) = lags.get(cause) else { continue };
        let versions = known.entry((proxy.clone(), id.clone(), has)).or_insert_with(|| beyond(picture, proxy, id, has));
        versions.iter().for_each(|version| note(&mut found.objects, version, lag));
        if !refuses && found.objects.len() > MANY {
            return Found { objects: BTreeMap::new(), much: true, behind: true };
        }
    }
    found
}

/// It has said nothing yet to what comes first.
fn has_just_come(stream: &StreamStatus, view: &View) -> bool {
    let said_nothing = |kind| stream.of_kind(kind).acked.is_empty() && stream.of_kind(kind).rejected.is_empty();
    !view.ready || !view.resources.is_empty() && said_nothing(ResourceKind::Cluster) && said_nothing(ResourceKind::Listener)
}

/// What the resource carries now and the version that the proxy has did not: the rest of it runs there already.
fn beyond(picture: &Picture, proxy: &ProxyKey, id: &ResourceId, has: Option<Fingerprint>) -> Arc<[ObjectVersion]> {
    let Some(now) = picture.plan.sources.get(proxy).and_then(|sources| sources.get(id)) else { return Arc::default() };
    match has.and_then(|version| picture.carried.by(proxy, id, version)) {
        Some(former) => now.beyond(former).cloned().collect(),
        None => now.iter().cloned().collect(),
    }
}

fn lag(id: &ResourceId, behind: &Behind, stream: &StreamStatus, accepted: &Accepted) -> Lag {
    let lack = behind.get(id);
    let said = lack.and_then(|lack| lack.refused.as_ref());
    // A version that was refused before is not sent again, so this stream says nothing to it.
    let known = || accepted.withheld(&stream.opened.identity, id, lack?.wanted);
    Lag { resource: id.clone(), refused: said.map(|one| one.reason.clone()).or_else(known), at: said.map(|one| one.at) }
}

/// A refusal says more than a delay.
fn note(objects: &mut BTreeMap<ObjectVersion, Lag>, version: &ObjectVersion, lag: &Lag) {
    let known = objects.get(version);
    if known.is_none_or(|known| known.refused.is_none() && lag.refused.is_some()) {
        objects.insert(version.clone(), lag.clone());
    }
}

/// Clusters and listeners that do not work yet because the client has no version at all of something they need: an
/// acknowledged listener opens its port only when it has its routes, secrets and extensions.
fn waiting(view: &View, behind: &Behind) -> Vec<(ResourceId, ResourceId)> {
    let is_needed = |kind| match kind {
        ResourceKind::Endpoints | ResourceKind::Secret | ResourceKind::Extension | ResourceKind::ScopedRoutes | ResourceKind::Routes => {
            true
        }
        ResourceKind::Cluster | ResourceKind::Listener => false,
    };
    let absent = behind.iter().filter(|(id, lack)| lack.has.is_none() && is_needed(id.kind)).map(|(id, _)| id);
    let mut causes: BTreeMap<&ResourceId, &ResourceId> = absent.map(|id| (id, id)).collect();
    let mut found = Vec::new();
    if causes.is_empty() {
        return found;
    }
    // Scopes first: a listener waits for the routes of its scopes too.
    for kind in [ResourceKind::ScopedRoutes, ResourceKind::Cluster, ResourceKind::Listener] {
        for resource in view.resources.iter_kind(kind) {
            let Some(cause) = resource.refs.iter().find_map(|id| causes.get(id).copied()) else { continue };
            found.push((resource.id.clone(), cause.clone()));
            if kind == ResourceKind::ScopedRoutes {
                causes.insert(&resource.id, cause);
            }
        }
    }
    found
}
