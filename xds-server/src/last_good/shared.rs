//! What is refused, as one replica tells another and as it stands in the cluster: with the versions that run in place of it, since
//! whoever has just started has no memory of its own.

use serde::{Deserialize, Serialize};
use windrose_api::declared::AnyObject;
use windrose_plan::{Refusal, Refused};
use windrose_vocab::ObjectVersion;

use super::LastGood;
use super::record::{Record, RefusedVersion};

#[derive(Serialize, Deserialize)]
struct Shared {
    refused: RefusedVersion,
    /// The version that runs in its place; none where the object is left out, or where there was no room.
    in_place: Option<Record>,
}

impl LastGood {
    /// What is refused, in at most `room` bytes: where that is too little, without the versions that run in its place.
    pub(crate) fn share(&self, refused: &Refused, room: usize) -> Vec<u8> {
        let all = |with_content: bool| {
            let shared = refused.objects.iter().map(|(version, refusal)| {
                let good = refusal.last_good.as_ref().map(|object| object.meta().identity());
                let refused = RefusedVersion::new(version, &refusal.reason, good.as_ref().map(|good| good.version));
                let kept = good.filter(|_| with_content).and_then(|good| self.find(&good));
                Shared { refused, in_place: kept.as_ref().map(Record::good) }
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
}

/// What is refused, from [`LastGood::share`]. A version whose content is not told is asked of `known`; where nobody knows it, the
/// refused version is tried again. Nothing where the content makes no sense.
pub(crate) fn take(content: &[u8], known: impl Fn(&ObjectVersion) -> Option<AnyObject>) -> Option<Refused> {
    let all: Vec<Shared> = serde_json::from_slice(content).ok()?;
    let refusal = |one: Shared| {
        let last_good = match one.refused.last_good() {
            Some(version) => Some(one.in_place.and_then(Record::into_kept).and_then(|kept| kept.decode()).or_else(|| known(&version))?),
            None => None,
        };
        Some((one.refused.identity()?, Refusal { reason: one.refused.reason.clone(), last_good }))
    };
    Some(Refused { objects: all.into_iter().filter_map(refusal).collect() })
}
