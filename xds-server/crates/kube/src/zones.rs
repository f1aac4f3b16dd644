//! In which zone each node of the cluster is: a Pod does not know that of itself, and who serves it has to.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_vocab::Text;

use crate::{lasting, limits};

/// The label by which a cloud says where a node is.
const LABEL: &str = "topology.kubernetes.io/zone";

/// Zones by the names of nodes; a node that says none is not there.
pub type Zones = BTreeMap<Text, Text>;

/// Follows the nodes until the end. None is told before they were listed once, or it is clear that they cannot be read: then all goes on
/// as if no node had a zone.
pub async fn follow(client: Client, told: watch::Sender<Option<Arc<Zones>>>, end: CancellationToken) {
    let nodes = Api::<PartialObjectMeta<Node>>::all(client);
    let mut nodes = lasting::watch(nodes, watcher::Config::default());
    let mut known = Known::default();
    loop {
        // What is ready is taken in together: a first list becomes one copy.
        for taken in 0..limits::EVENTS_AT_ONCE {
            let next = nodes.next();
            match if taken == 0 { end.run_until_cancelled(next).await } else { next.now_or_never() } {
                None if taken == 0 => return,
                None => break,
                Some(None) => return,
                Some(Some(Ok(event))) => known.take(event),
                Some(Some(Err(error))) => known.fail(&error),
            }
        }
        if known.listed {
            told.send_if_modified(|former| {
                let differs = former.as_deref() != Some(&known.zones);
                if differs {
                    *former = Some(Arc::new(known.zones.clone()));
                }
                differs
            });
        }
    }
}

/// What is known of nodes between two words of the watch.
#[derive(Default)]
struct Known {
    zones: Zones,
    /// What the list that is being read has had so far.
    listing: Zones,
    /// All were listed once, or cannot be.
    listed: bool,
    warned: bool,
}

impl Known {
    fn take(&mut self, event: Event<PartialObjectMeta<Node>>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(node) => put(&mut self.listing, &node),
            Event::InitDone => {
                self.zones = std::mem::take(&mut self.listing);
                (self.listed, self.warned) = (true, false);
            }
            Event::Apply(node) => put(&mut self.zones, &node),
            Event::Delete(node) => drop(self.zones.remove(node.name_any().as_str())),
        }
    }

    fn fail(&mut self, error: &watcher::Error) {
        // Anything else may pass: whoever asks meanwhile waits a moment.
        self.listed |= matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404));
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(%error, "nodes cannot be followed; a Pod whose zone is unknown sends to the endpoints of all zones");
        }
    }
}

fn put(zones: &mut Zones, node: &PartialObjectMeta<Node>) {
    match node.labels().get(LABEL).filter(|zone| !zone.is_empty()) {
        Some(zone) => drop(zones.insert(node.name_any().into(), zone.as_str().into())),
        None => drop(zones.remove(node.name_any().as_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, zone: Option<&str>) -> PartialObjectMeta<Node> {
        let mut node = PartialObjectMeta::<Node>::default();
        node.metadata.name = Some(name.to_owned());
        node.metadata.labels = zone.map(|zone| [(LABEL.to_owned(), zone.to_owned())].into());
        node
    }

    fn shown(known: &Known) -> Vec<String> {
        known.zones.iter().map(|(node, zone)| format!("{node}@{zone}")).collect()
    }

    #[test]
    fn nodes_come_change_and_go() {
        let mut known = Known::default();
        for event in [Event::Init, Event::InitApply(node("one", Some("a"))), Event::InitApply(node("two", None))] {
            known.take(event);
            assert!(!known.listed);
        }
        known.take(Event::InitDone);
        assert_eq!((shown(&known), known.listed), (vec!["one@a".to_owned()], true));
        known.take(Event::Apply(node("two", Some("b"))));
        known.take(Event::Apply(node("one", Some(""))));
        assert_eq!(shown(&known), ["two@b"]);
        known.take(Event::Init);
        known.take(Event::InitApply(node("three", Some("c"))));
        assert_eq!(shown(&known), ["two@b"], "a list that is read again takes nothing away before it is over");
        known.take(Event::InitDone);
        assert_eq!(shown(&known), ["three@c"]);
        known.take(Event::Delete(node("three", None)));
        assert!(shown(&known).is_empty());
    }

    #[test]
    fn who_may_not_read_nodes_is_not_waited_for() {
        let mut known = Known::default();
        known.fail(&watcher::Error::NoResourceVersion);
        assert!(!known.listed, "that may pass");
        let forbidden = kube::core::Status::failure("no", "Forbidden").with_code(403);
        known.fail(&watcher::Error::InitialListFailed(kube::Error::Api(Box::new(forbidden))));
        assert!(known.listed && known.zones.is_empty());
    }
}
