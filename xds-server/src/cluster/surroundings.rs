//! Looks now and then at what decides how our classes are served beside what is declared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_kube::Client;
use windrose_kube::lease::Leadership;
use windrose_kube::source::World;
use windrose_kube::surroundings::{Surroundings, look};
use windrose_vocab::Kind;

/// Between two looks: definitions and installations change by hand.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks while the cluster does not answer.
const RETRY: Duration = Duration::from_secs(5);

/// Follows until the end; none is told before the first look.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    (worlds, leads): (watch::Receiver<Arc<World>>, watch::Receiver<Leadership>),
    telling: watch::Sender<Option<Arc<Surroundings>>>,
    end: CancellationToken,
) {
    let (mut warned, mut kept) = (Vec::new(), BTreeSet::new());
    loop {
        let Some(found) = end.run_until_cancelled(look(&client, &namespace)).await else { return };
        let pause = match found {
            Ok(mut found) => {
                found.unread = lasting(&worlds.borrow(), &mut kept);
                if *leads.borrow() == Leadership::Ours && found.others != warned {
                    warned.clone_from(&found.others);
                    tell(&warned);
                }
                telling.send_if_modified(|former| {
                    let differs = former.as_deref() != Some(&found);
                    if differs {
                        *former = Some(Arc::new(found));
                    }
                    differs
                });
                LOOK
            }
            Err(error) => {
                tracing::warn!(error, "other installations cannot be seen; trying again");
                RETRY
            }
        };
        if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Of the kinds that hold everything back, those that did at the last look too: one that is read again after a pause is no news.
fn lasting(now: &World, before: &mut BTreeSet<Kind>) -> BTreeMap<Kind, String> {
    let before = std::mem::replace(before, now.kept.clone());
    let why = |kind: &Kind| Some((*kind, now.unread.get(kind)?.clone()));
    now.kept.intersection(&before).filter_map(why).collect()
}

fn tell(others: &[String]) {
    match others {
        [] => tracing::info!("no other installation is left"),
        others => tracing::error!(
            namespaces = others.join(", "),
            "Windrose is installed there too: both write the status of every Gateway, and what is cluster-wide is one for both"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_read_again_within_a_minute_is_no_news() {
        let world = |kinds: &[Kind]| World {
            kept: kinds.iter().copied().collect(),
            unread: kinds.iter().map(|kind| (*kind, "forbidden".to_owned())).collect(),
            ..World::default()
        };
        let (mut before, policy) = (BTreeSet::new(), Kind::AuthPolicy);
        assert!(lasting(&world(&[policy]), &mut before).is_empty());
        assert_eq!(lasting(&world(&[policy, Kind::EdgePolicy]), &mut before), [(policy, "forbidden".to_owned())].into());
        assert!(lasting(&world(&[]), &mut before).is_empty());
        assert!(lasting(&world(&[policy]), &mut before).is_empty());
    }
}
