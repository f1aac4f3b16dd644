//! One row for each connected proxy: what it should have, what of that it has acknowledged, and what it refused.

use std::time::SystemTime;

use windrose_admin::report::{ProxyReport, RefusalReport, TypeReport};
use windrose_plan::Plan;
use windrose_state::{Behind, StreamStatus, View};
use windrose_vocab::ResourceKind;

use super::seconds;

/// What people call it: which proxy it is, and what it calls itself.
pub(super) fn name(stream: &StreamStatus) -> String {
    format!("{} ({})", stream.opened.scope.proxy, stream.opened.node)
}

/// The row; `view` is what it should have.
pub(super) fn report(stream: &StreamStatus, view: Option<&View>, plan: &Plan, behind_since: Option<SystemTime>) -> ProxyReport {
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
        identity: stream.opened.identity.to_string(),
        spiffe_id: plan.identities.get(proxy).map(ToString::to_string),
        connected: seconds(stream.opened.since),
        credential_expires: Some(seconds(stream.opened.credential_expires)),
        types: kinds.collect(),
        behind_since: behind_since.map(seconds),
        refused: refused(stream).collect(),
        synced: ready && behind.is_empty() && stream.is_in_sync(),
    }
}

fn lacking(behind: &Behind, kind: ResourceKind) -> usize {
    behind.keys().filter(|id| id.kind == kind).count()
}

fn refused(stream: &StreamStatus) -> impl Iterator<Item = RefusalReport> {
    ResourceKind::ALL.into_iter().flat_map(move |kind| {
        let status = stream.of_kind(kind);
        let named = status.rejected.iter().map(move |(name, rejection)| (format!("{kind} {name}"), rejection));
        let whole = status.rejected_response.iter().map(move |rejection| (format!("{kind} (a whole response)"), rejection));
        named.chain(whole).map(|(resource, rejection)| RefusalReport {
            proxy: name(stream),
            resource,
            reason: rejection.reason.as_str().to_owned(),
        })
    })
}
