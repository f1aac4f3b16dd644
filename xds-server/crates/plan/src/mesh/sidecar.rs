//! One Workload's sidecar: who it is, what it takes from others, what it takes from its workload.

use std::collections::BTreeSet;

use windrose_api::declared::{Object, Workload};
use windrose_ir::http::{
    Authorization, ClientAddress, EscapedSlashes, ForwardedCertificate, HttpHandler, HttpLimits, PathNormalization, PathParameters,
    RouteSource, Underscores,
};
use windrose_ir::listener::ConnectionLimits;
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ProxyKey, ProxyRole, Text};

use super::{inbound, outbound};
use crate::backend::identity;
use crate::limits;
use crate::policy::edge;
use crate::policy::telemetry::{self, Telemetry};
use crate::proxy::{ProxyParts, chain_of_filters};
use crate::world::{Filter, View};

/// Makes it; none where the Workload is gone.
pub(crate) fn sidecar(view: &View<'_>, key: &ObjectKey) -> Option<ProxyParts> {
    let workload = view.workload(key)?;
    let object = ObjectRef { kind: Kind::Workload, key: key.clone() };
    let named = workload.spec.serves.first().map_or(&key.name, |serves| &serves.service);
    let telemetry = telemetry::effective(view, &object, &format!("{named}.{}", key.namespace), None);
    let mut parts = ProxyParts::new(ProxyKey { role: ProxyRole::Workload, object: key.clone() }, identity(view, workload));
    let of = Sidecar { view, workload, telemetry: &telemetry };
    inbound::listeners(of, &mut parts);
    outbound::listeners(of, &mut parts);
    parts.uses.extend(telemetry.collector.clone());
    Some(parts)
}

/// What both directions need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sidecar<'a, 'v> {
    pub(super) view: &'a View<'v>,
    pub(super) workload: &'a Object<Workload>,
    pub(super) telemetry: &'a Telemetry,
}

impl Sidecar<'_, '_> {
    pub(super) fn object(self) -> ObjectRef {
        self.workload.meta.object.clone()
    }

    pub(super) fn handler(
        self,
        table: Text,
        authorization: Option<Authorization>,
        extensions: &BTreeSet<(Text, Filter)>,
        client_certificate: ForwardedCertificate,
    ) -> Box<HttpHandler> {
        let has = |wanted: Filter| extensions.iter().any(|(_, filter)| *filter == wanted);
        let guarded = has(Filter::JwtAuth) || has(Filter::RateLimit);
        // What is judged by its path, or by the rule that the path leads to, must not be spelled two ways; else a sidecar leaves paths to
        // the services.
        let by_path = guarded || authorization.as_ref().is_some_and(judges_paths);
        Box::new(HttpHandler {
            stat_name: table.clone(),
            routes: RouteSource::Table(table),
            // Routes with CORS are those that callers' sidecars apply.
            filters: chain_of_filters(client_certificate == ForwardedCertificate::Sanitize, authorization, extensions),
            limits: http_limits(),
            // What a workload forwards may be a stranger's word, by which nobody is counted.
            client_address: if guarded { ClientAddress::Connection } else { ClientAddress::Forwarded },
            underscores: if has(Filter::JwtAuth) { Underscores::Reject } else { Underscores::Keep },
            client_certificate,
            paths: PathNormalization {
                normalize: true,
                merge_slashes: by_path,
                escaped_slashes: if by_path { EscapedSlashes::Reject } else { EscapedSlashes::Keep },
                parameters: if by_path { PathParameters::Reject } else { PathParameters::Keep },
            },
            websocket: true,
            tracing: self.telemetry.tracing.clone(),
            access_log: self.telemetry.access_log.clone(),
            metrics: self.telemetry.metrics,
        })
    }
}

fn judges_paths(authorization: &Authorization) -> bool {
    let allow = authorization.allow.iter().flatten();
    authorization.deny.iter().chain(allow).any(|rule| !rule.paths.is_empty())
}

/// Services know how long their calls take: a sidecar cuts no request that keeps moving.
fn http_limits() -> HttpLimits {
    HttpLimits { max_streams: limits::MESH_STREAMS, request_timeout: std::time::Duration::ZERO, ..edge::defaults().http }
}

pub(super) fn connection_limits() -> ConnectionLimits {
    edge::defaults().connections
}
