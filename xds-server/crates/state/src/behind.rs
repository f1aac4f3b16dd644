//! How far a client is behind what it should have: each resource that it has not acknowledged in the wanted version.

use std::collections::BTreeMap;

use windrose_vocab::{Fingerprint, ResourceId, ResourceKind};

use crate::observed::{Rejection, StreamStatus};
use crate::set::changes;
use crate::view::View;

/// What a client lacks, by resource.
pub type Behind = BTreeMap<ResourceId, Lack>;

/// One resource that it lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The version it should have.
    pub wanted: Fingerprint,
    /// The version it acknowledged last, if it has one.
    pub has: Option<Fingerprint>,
    /// Its words, if it refused the wanted version on this stream.
    pub refused: Option<Rejection>,
}

impl StreamStatus {
    /// What the client lacks of `view`. Costs the difference where what it acknowledged grew from the view, and nothing
    /// where it is the same. What it has too much, because a removal is on its way, is no lack.
    #[must_use]
    pub fn behind(&self, view: &View) -> Behind {
        ResourceKind::ALL.into_iter().flat_map(|kind| self.behind_of(kind, view)).collect()
    }

    fn behind_of<'a>(&'a self, kind: ResourceKind, view: &'a View) -> impl Iterator<Item = (ResourceId, Lack)> + 'a {
        let status = self.of_kind(kind);
        // An Envoy whose listeners take no scopes never asks for them.
        let asks = kind != ResourceKind::ScopedRoutes || !status.sent.is_empty() || !status.acked.is_empty();
        changes(&status.acked, view.of_kind(kind)).filter_map(move |change| {
            let wanted = change.after().filter(|_| asks)?;
            let has = change.before().map(|one| one.version);
            let refused = status.rejected.get(&*wanted.id.name).filter(|one| one.version == wanted.version).cloned();
            (has != Some(wanted.version)).then(|| (wanted.id.clone(), Lack { wanted: wanted.version, has, refused }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use windrose_vocab::{NodeClass, Resource};

    use super::*;
    use crate::observed::tests::{clusters, opened};
    use crate::observed::{Fault, Observation, Observed, Reason};
    use crate::set::ResourceSet;

    fn view(all: &[(&str, u128)]) -> View {
        let mut resources = ResourceSet::new();
        resources.set_kind(ResourceKind::Cluster, clusters(all));
        View::ready(NodeClass::default(), resources)
    }

    fn behind(news: impl IntoIterator<Item = Observation>, view: &View) -> Vec<(String, Option<u128>, bool)> {
        let observed = Observed::new();
        let id = observed.open(opened("n")).unwrap();
        observed.record(id, news, SystemTime::UNIX_EPOCH);
        let behind = observed.stream(id).unwrap().behind(view);
        behind.into_iter().map(|(id, one)| (id.name.to_string(), one.has.map(Fingerprint::bits), one.refused.is_some())).collect()
    }

    fn acked(all: &[(&str, u128)]) -> Observation {
        Observation::Acked { kind: ResourceKind::Cluster, acked: clusters(all) }
    }

    #[test]
    fn a_client_is_behind_by_what_it_has_not_acknowledged_as_wanted() {
        let view = view(&[("a", 1), ("b", 2), ("c", 1)]);
        assert_eq!(behind([], &view).len(), 3);
        let lacks = behind([acked(&[("a", 1), ("b", 1), ("gone", 1)])], &view);
        assert_eq!(lacks, [("b".to_owned(), Some(1), false), ("c".to_owned(), None, false)]);
        assert_eq!(behind([acked(&[("a", 1), ("b", 2), ("c", 1)])], &view), []);
    }

    #[test]
    fn what_it_refused_of_the_wanted_version_is_told_and_of_older_ones_is_not() {
        let refused = |version: u128| Observation::Rejected {
            kind: ResourceKind::Cluster,
            name: Some("a".into()),
            version: Fingerprint::from_bits(version),
            fault: Fault::Content,
            reason: Reason::new("no"),
        };
        let view = view(&[("a", 2)]);
        assert_eq!(behind([acked(&[("a", 1)]), refused(2)], &view), [("a".to_owned(), Some(1), true)]);
        assert_eq!(behind([acked(&[("a", 0)]), refused(1)], &view), [("a".to_owned(), Some(0), false)]);
    }

    #[test]
    fn scopes_that_a_client_never_asked_for_are_no_lack() {
        let id = ResourceId::new(ResourceKind::ScopedRoutes, "a");
        let scope = Resource { id, version: Fingerprint::from_bits(1), bytes: bytes::Bytes::new(), refs: [].into() };
        let resources: ResourceSet = [scope].into_iter().collect();
        let held = resources.of_kind(ResourceKind::ScopedRoutes).clone();
        let view = View::ready(NodeClass::default(), resources);
        assert_eq!(behind([], &view), []);
        assert_eq!(behind([Observation::Sent { kind: ResourceKind::ScopedRoutes, held }], &view).len(), 1);
    }
}
