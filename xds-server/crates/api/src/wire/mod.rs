//! Objects as they are written, once their schema holds, into our own words. Wire types end here.
//! Kubernetes' own types come from `k8s-openapi`. Those of Gateway API are ours: the `gateway-api` crate lags behind v1.7.0 or repeats one
//! struct for each place where it is used, and for the three kinds that it covers it brings a client of Kubernetes along.

mod backend;
mod files;
mod gateway;
mod kubernetes;
mod policy;
mod reference;
mod route;
mod tls;
mod workload;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windrose_vocab::{Code, Kind, Severity};

pub use backend::{Address, Backend, BackendProtocol, BackendTls};
pub(crate) use files::read_files;
pub use reference::{CertificateKind, CertificateRef, SecretRef};
pub use workload::{Call, Serve, Workload};

use crate::declared::{AnyObject, Meta, Object};
use crate::decode::{Path, Report};

/// The envelope of every kind that has a `spec`.
#[derive(Deserialize)]
struct Enveloped<T> {
    spec: T,
}

/// The object in our words; nothing where `report` got an error.
pub(crate) fn convert(node: Value, meta: Meta, report: &mut Report) -> Option<AnyObject> {
    macro_rules! kinds {
        ($($kind:ident => $variant:ident($convert:path)),* $(,)?) => {
            match meta.object.kind {
                $(Kind::$kind => $convert(read(node, report)?, &meta, report).map(|spec| AnyObject::$variant(Arc::new(Object { meta, spec }))),)*
            }
        };
    }
    kinds! {
        GatewayClass => GatewayClass(gateway::class),
        Gateway => Gateway(gateway::gateway),
        ListenerSet => ListenerSet(gateway::listener_set),
        HTTPRoute => Route(route::route),
        GRPCRoute => Route(route::route),
        TLSRoute => Route(route::route),
        TCPRoute => Route(route::route),
        UDPRoute => Route(route::route),
        ReferenceGrant => Grant(reference::grant),
        BackendTLSPolicy => BackendTls(tls::policy),
        Namespace => Namespace(kubernetes::namespace),
        Service => Service(kubernetes::service),
        EndpointSlice => EndpointSlice(kubernetes::endpoint_slice),
        Secret => Secret(kubernetes::secret),
        ConfigMap => ConfigMap(kubernetes::config_map),
        ClusterTrustBundle => ClusterTrustBundle(kubernetes::trust_bundle),
        Backend => Backend(backend::backend),
        Workload => Workload(workload::workload),
        AuthPolicy => AuthPolicy(policy::checked),
        RateLimitPolicy => RateLimitPolicy(policy::checked),
        TranscodingPolicy => TranscodingPolicy(policy::checked),
        TrafficPolicy => TrafficPolicy(policy::checked),
        EdgePolicy => EdgePolicy(policy::checked),
        MeshPolicy => MeshPolicy(policy::checked),
        AuthorizationPolicy => AuthorizationPolicy(policy::checked),
        TelemetryPolicy => TelemetryPolicy(policy::checked),
        GatewayParameters => GatewayParameters(policy::checked),
    }
}

/// Options are words between a user and one implementation, and this one has none: each is told, none is guessed at.
fn no_options<'a>(names: impl Iterator<Item = &'a String>, at: &Path<'_>, report: &mut Report) {
    let at = at.field("options");
    for name in names {
        let message = "no option of that name is known, and it is left out".to_owned();
        report.tell(&at.field(name), Severity::Warning, Code::Unsupported, message, None);
    }
}

/// The schema has checked what the type asks; where they differ all the same, that is told and not passed over.
fn read<T: DeserializeOwned>(node: Value, report: &mut Report) -> Option<T> {
    match serde_json::from_value(node) {
        Ok(value) => Some(value),
        Err(error) => {
            let quiet = report.object().kind == Kind::Secret;
            let message = if quiet { "cannot be read".to_owned() } else { format!("cannot be read: {error}") };
            report.error(&Path::ROOT, Code::WrongType, message);
            None
        }
    }
}
