//! One row for each connected proxy: what it should have, what of that it has acknowledged, and what it refused.

use std::time::SystemTime;

use windrose_admin::report::{ProxyReport, RefusalReport, TypeReport};
use windrose_state::{Accepted, Behind, StreamStatus, View};
use windrose_vocab::ResourceKind;

use crate::ends::seconds;
use crate::pipeline::Picture;

/// What people call it: which proxy it is, and what it calls itself.
pub(super) fn name(stream: &StreamStatus) -> String {
    format!("{} ({})", stream.opened.scope.proxy, stream.opened.node)
}

/// What the rows are made of.
pub(super) struct Known<'a> {
    pub(super) picture: &'a Picture,
    pub(super) accepted: &'a Accepted,
}

/// The row; `view` is what it should have, `behind_since` since when it has not.
pub(super) fn report(stream: &StreamStatus, view: Option<&View>, known: &Known<'_>, behind_since: Option<SystemTime>) -> ProxyReport {
    let proxy = &stream.opened.scope.proxy;
    let behind = view.map(|view| stream.behind(view)).unwrap_or_default();
    let ready = view.is_some_and(|view| view.ready);
    let kinds = ResourceKind::ALL.into_iter().filter_map(|kind| {
        let wanted = view?.of_kind(kind).len();
        (wanted > 0).then(|| (kind.short().to_owned(), TypeReport { acknowledged: wanted - lacking(&behind, kind), wanted }))
    });
    ProxyReport {
        proxy: proxy.to_string(),
        stream: stream.id.number(),
        node: stream.opened.node.to_string(),
        envoy: stream.opened.version.as_ref().map(ToString::to_string),
        zone: stream.opened.scope.class.zone.as_ref().map(ToString::to_string),
        identity: stream.opened.identity.to_string(),
        spiffe_id: known.picture.plan.identities.get(proxy).map(ToString::to_string),
        replica: stream.opened.replica.as_ref().map(ToString::to_string),
        connected: seconds(stream.opened.since),
        credential_expires: Some(seconds(stream.opened.credential_expires)),
        types: kinds.collect(),
        behind_since: behind_since.map(seconds),
        refused: refused(stream, &behind, known.accepted).collect(),
        orphaned: None,
        synced: ready && behind.is_empty() && !known.picture.unpublished.contains_key(&stream.opened.scope),
    }
}

fn lacking(behind: &Behind, kind: ResourceKind) -> usize {
    behind.keys().filter(|id| id.kind == kind).count()
}

/// What it refuses of what it should have, now or in an earlier life; what it refused of other versions concerns nobody any more.
fn refused<'a>(stream: &'a StreamStatus, behind: &'a Behind, accepted: &'a Accepted) -> impl Iterator<Item = RefusalReport> + 'a {
    let whole = ResourceKind::ALL.into_iter().filter_map(|kind| {
        let rejection = stream.of_kind(kind).rejected_response.as_ref()?;
        Some((format!("{kind} (a whole response)"), rejection.reason.clone()))
    });
    let named = behind.iter().filter_map(|(id, lack)| {
        let said = lack.refused.as_ref().map(|rejection| rejection.reason.clone());
        Some((id.to_string(), said.or_else(|| accepted.withheld(&stream.opened.identity, id, lack.wanted))?))
    });
    named.chain(whole).map(|(resource, reason)| RefusalReport { proxy: name(stream), resource, reason: reason.as_str().to_owned() })
}
