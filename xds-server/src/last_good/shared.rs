//! What is refused, as one replica tells another and as it stands in the cluster: with the versions that run in place of it, since
//! whoever has just started has no memory of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrose_api::declared::AnyObject;
use windrose_files::Kept;
use windrose_plan::{Refusal, Refused};
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
    /// What is refused, in at most `room` bytes: where that is too little, without the versions that run in its place.
    pub(crate) fn share(&self, refused: &Refused, room: usize) -> Vec<u8> {
        let in_place = refused.objects.values().filter_map(|refusal| Some(refusal.last_good.as_ref()?.meta().identity()));
        let kept: BTreeMap<ObjectVersion, Kept> = in_place.filter_map(|version| Some((version.clone(), self.find(&version)?))).collect();
        self.pin(kept.clone());
        let all = |with_content: bool| {
            let shared = refused.objects.iter().map(|(version, refusal)| {
                let good = refusal.last_good.as_ref().map(|object| object.meta().identity());
                let refused = RefusedVersion::new(version, &refusal.reason, good.as_ref().map(|good| good.version));
                let kept = good.filter(|_| with_content).and_then(|good| kept.get(&good));
                Shared { refused, in_place: kept.map(Record::good) }
            });
            serde_json::to_vec(&shared.collect::<Vec<_>>()).unwrap_or_default()
        };
        let whole = all(true);
        if whole.len() <= room {
            return whole;
        }
        tracing::warn!(bytes = whole.len(), room, "what is refused is too much to be kept with all that runs in its place");
        all(false)
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
            refused.objects.insert(identity, Refusal { reason: one.refused.reason, last_good });
        }
        self.pin(pinned);
        Some(refused)
    }

    fn pin(&self, pinned: BTreeMap<ObjectVersion, Kept>) {
        *lock(&self.pinned) = pinned;
    }
}
