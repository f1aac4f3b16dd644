//! What is refused, as one replica tells another and as it stands in the cluster: with the versions that run in place of it, since
//! whoever has just started has no memory of its own. Beside it in the cluster: what is in effect of objects that cannot be read now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrose_api::declared::AnyObject;
use windrose_files::Kept;
use windrose_plan::{Refusal, Refused, RefusedBy};
use windrose_vocab::ObjectVersion;

use super::record::{Record, RefusedVersion};
use super::{LastGood, lock};

#[derive(Serialize, Deserialize)]
struct Shared {
    refused: RefusedVersion,
    /// The version that runs in its place; none where the object is left out, or where there was no room.
    in_place: Option<Record>,
}

impl LastGood {
    /// What is refused, in at most `room` bytes: where that is too little, without the versions that run in its place, and then not all.
    pub(crate) fn share(&self, refused: &Refused, room: usize) -> Vec<u8> {
        let in_place = refused.by_envoy().filter_map(|(_, refusal)| Some(refusal.last_good.as_ref()?.meta().identity()));
        let kept: BTreeMap<ObjectVersion, Kept> = in_place.filter_map(|version| Some((version.clone(), self.find(&version)?))).collect();
        self.pin(kept.clone());
        let all = |with_content: bool, most: usize| {
            let shared = refused.by_envoy().take(most).map(|(version, refusal)| {
                let good = refusal.last_good.as_ref().map(|object| object.meta().identity());
                let refused = RefusedVersion::new(version, &refusal.reason, good.as_ref().map(|good| good.version));
                let kept = good.filter(|_| with_content).and_then(|good| kept.get(&good));
                Shared { refused, in_place: kept.map(Record::good) }
            });
            serde_json::to_vec(&shared.collect::<Vec<_>>()).unwrap_or_default()
        };
        let whole = all(true, usize::MAX);
        if whole.len() <= room {
            return whole;
        }
        tracing::warn!(bytes = whole.len(), room, "what is refused is too much to be kept with all that runs in its place");
        let mut most = refused.objects.len();
        loop {
            let some = all(false, most);
            if some.len() <= room || most == 0 {
                return some;
            }
            most /= 2;
            tracing::warn!(room, kept = most, "not even all that is refused can be kept: a replica that starts tries the others again");
        }
    }

    /// What is refused, from [`Self::share`]; the versions that run in its place are remembered, to be shared again. One whose content
    /// is not told is asked of `known`; where nobody knows it, the refused version is tried again. Nothing where the content makes no
    /// sense.
    pub(crate) fn take(&self, content: &[u8], known: impl Fn(&ObjectVersion) -> Option<AnyObject>) -> Option<Refused> {
        let all: Vec<Shared> = serde_json::from_slice(content).ok()?;
        let mut pinned = BTreeMap::new();
        let mut refused = Refused::default();
        for one in all {
            let Some(identity) = one.refused.identity() else { continue };
            let last_good = match one.refused.last_good() {
                Some(version) => {
                    let told = one.in_place.and_then(Record::into_kept).filter(|kept| kept.identity() == version);
                    let kept = told.or_else(|| self.find(&version));
                    let Some(object) = kept.as_ref().and_then(Kept::decode).or_else(|| known(&version)) else { continue };
                    pinned.extend(kept.map(|kept| (version, kept)));
                    Some(object)
                }
                None => None,
            };
            refused.objects.insert(identity, Refusal { by: RefusedBy::Envoy, reason: one.refused.reason, last_good });
        }
        self.pin(pinned);
        Some(refused)
    }

    /// These versions, as many as there is room for in `room` bytes.
    pub(crate) fn share_held(&self, held: &BTreeSet<ObjectVersion>, room: usize) -> Vec<u8> {
        // Two brackets, and a comma after each.
        let (mut left, mut records, mut lost) = (room.saturating_sub(2), Vec::new(), 0);
        for record in held.iter().filter_map(|version| self.find(version)).map(|kept| Record::good(&kept)) {
            match left.checked_sub(record.to_bytes().len() + 1) {
                Some(now) => {
                    left = now;
                    records.push(record);
                }
                None => lost += 1,
            }
        }
        if lost > 0 {
            tracing::warn!(lost, room, "there is no room for all last good versions; a replica that starts serves without those objects");
        }
        serde_json::to_vec(&records).unwrap_or_default()
    }

    /// Versions from [`Self::share_held`]; none where the content makes no sense.
    pub(crate) fn take_held(content: &[u8]) -> Vec<Kept> {
        let all: Vec<Record> = serde_json::from_slice(content).unwrap_or_default();
        all.into_iter().filter_map(Record::into_kept).collect()
    }

    fn pin(&self, pinned: BTreeMap<ObjectVersion, Kept>) {
        *lock(&self.pinned) = pinned;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use windrose_vocab::Kind;

    use super::*;
    use crate::test_world::{SHOP, declared, route};

    #[test]
    fn what_is_refused_is_told_as_far_as_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, _) = LastGood::open(folder.path(), Path::new("kubernetes"));
        let routes: String = (0..8).map(|n| route(&format!("r{n}"), "/")).collect();
        let world = declared(&format!("{SHOP}{routes}"));
        let of_kind = world.iter().map(|object| object.meta().identity()).filter(|version| version.object.kind == Kind::HTTPRoute);
        let refusal = |by| Refusal { by, reason: "no".into(), last_good: None };
        let mut refused = Refused { objects: of_kind.map(|version| (version, refusal(RefusedBy::Envoy))).collect() };
        let whole = memory.share(&refused, usize::MAX);
        assert_eq!(memory.take(&whole, |_| None).unwrap(), refused);
        let half = memory.take(&memory.share(&refused, whole.len() - 1), |_| None).unwrap();
        assert_eq!(half.objects.len(), 4);
        assert_eq!(memory.share(&refused, 1), b"[]");
        // A bug of ours may be mended in who is told.
        refused.objects = refused.objects.keys().map(|version| (version.clone(), refusal(RefusedBy::Ourselves))).collect();
        assert_eq!(memory.share(&refused, usize::MAX), b"[]");
    }

    #[test]
    fn versions_that_are_held_are_told_as_far_as_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, _) = LastGood::open(folder.path(), Path::new("kubernetes"));
        let world = declared(&format!("{SHOP}{}{}", route("a", "/a"), route("b", "/b")));
        let version = |name: &str| world.get(&windrose_vocab::ObjectRef::new(Kind::HTTPRoute, "shop", name)).unwrap().meta().identity();
        let held = BTreeSet::from([version("a"), version("b")]);
        let kept = |version: &ObjectVersion| {
            let name = version.object.key.name.to_string();
            let content = serde_json::json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "parentRefs": [{"name": "edge"}],
                    "rules": [{
                        "matches": [{"path": {"value": format!("/{name}")}}],
                        "backendRefs": [{"name": "one", "port": 80}],
                    }],
                },
            });
            Kept::of(version.clone(), Path::new("kubernetes").into(), content).unwrap()
        };
        memory.note(held.iter().map(|version| (version.object.clone(), Some(kept(version)))).collect());

        let told = |room| LastGood::take_held(&memory.share_held(&held, room));
        let whole = memory.share_held(&held, usize::MAX);
        assert_eq!(told(whole.len() + 1), held.iter().map(kept).collect::<Vec<_>>());
        assert!(told(usize::MAX).iter().all(|kept| kept.decode().is_some() && kept.content().is_some()), "it can be planned");
        assert_eq!(told(whole.len() - 1).len(), 1);
        assert!(memory.share_held(&held, whole.len() - 1).len() < whole.len());
        assert_eq!(memory.share_held(&held, 2), b"[]");
        assert!(LastGood::take_held(b"").is_empty() && LastGood::take_held(b"no").is_empty());
    }
}
