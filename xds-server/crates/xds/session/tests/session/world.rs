//! Resources and views in one line of text: `CDS a@1 -> EDS a; EDS a@1` is a cluster and what it refers to.

use std::sync::Arc;

use bytes::Bytes;
use windrose_state::{KindMap, ResourceSet, View};
use windrose_vocab::{Fingerprint, NodeClass, Resource, ResourceId, ResourceKind};

pub(crate) fn kind(short: &str) -> ResourceKind {
    ResourceKind::ALL.into_iter().find(|kind| kind.short() == short).unwrap_or_else(|| panic!("{short} is no kind"))
}

pub(crate) fn id(text: &str) -> ResourceId {
    let (short, name) = text.trim().split_once(' ').unwrap();
    ResourceId::new(kind(short), name)
}

pub(crate) fn resource(text: &str) -> Arc<Resource> {
    let (what, refs) = text.split_once("->").unwrap_or((text, ""));
    let (what, version) = what.trim().split_once('@').unwrap();
    let mut refs: Vec<_> = refs.split(',').filter(|one| !one.trim().is_empty()).map(id).collect();
    refs.sort();
    Arc::new(Resource {
        id: id(what),
        version: Fingerprint::from_bits(version.parse().unwrap()),
        bytes: Bytes::from(text.trim().to_owned()),
        refs: refs.into(),
    })
}

pub(crate) fn world(text: &str) -> ResourceSet {
    let set: ResourceSet = text.split(';').filter(|one| !one.trim().is_empty()).map(resource).collect();
    assert_eq!(set.dangling(), [], "a published view is closed");
    set
}

pub(crate) fn view(set: ResourceSet, spare: KindMap) -> Arc<View> {
    Arc::new(View::ready(NodeClass::default(), set).with_spare(spare))
}
