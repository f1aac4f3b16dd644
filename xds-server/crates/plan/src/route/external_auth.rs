//! Authorization by services of the user's own: the filter `ExternalAuth` of rules and of listeners.

use std::collections::BTreeSet;

use windrose_api::declared::route::{AuthProtocol, ExternalAuth};
use windrose_ir::route as ir;
use windrose_vocab::{ObjectKey, ObjectRef, Text};

use super::backends::{Carries, ResolvedBackend, resolve_backend};
use super::forward::client_of;
use crate::backend::{ClusterKey, Flavor};
use crate::policy::headers::{is_reserved, is_token};
use crate::reference::Problem;
use crate::world::View;

/// The service that `from` wants asked.
///
/// # Errors
/// The problem, with the reason for the condition ResolvedRefs.
pub(crate) fn resolve(view: &View<'_>, from: &ObjectRef, declared: &ExternalAuth) -> Result<ResolvedBackend, Problem> {
    let carries = match declared.protocol {
        AuthProtocol::Grpc { .. } => Carries::Grpc,
        AuthProtocol::Http { .. } => Carries::Http,
    };
    resolve_backend(view, from, &declared.target, declared.port, carries)
}

/// The cluster of the service, as the proxies of a Gateway ask it.
pub(crate) fn cluster(view: &View<'_>, gateway: &ObjectKey, declared: &ExternalAuth, service: &ResolvedBackend) -> ClusterKey {
    let flavor = match declared.protocol {
        AuthProtocol::Grpc { .. } => Flavor::Grpc,
        AuthProtocol::Http { .. } => Flavor::Http,
    };
    ClusterKey { client: client_of(view, gateway, service), ..ClusterKey::new(service.id.clone(), flavor) }
}

/// Headers that the service sets on requests, as far as they are named, in lower case: a client that sent them would be taken for whom the
/// service spoke of. Those that mean something by themselves stay, for the service judges by them.
pub(crate) fn answered(declared: &ExternalAuth) -> BTreeSet<Text> {
    let named: &[Text] = match &declared.protocol {
        AuthProtocol::Grpc { .. } => &[],
        AuthProtocol::Http { answer_headers, .. } => answer_headers,
    };
    let lower = named.iter().map(|name| Text::from(name.to_ascii_lowercase()));
    lower.filter(|name| is_token(name) && !is_reserved(name)).collect()
}

/// What a proxy does: it takes these headers off and asks the cluster.
pub(crate) fn asked(declared: &ExternalAuth, cluster: &ClusterKey, take_off: BTreeSet<Text>) -> ir::ExternalAuth {
    let protocol = match &declared.protocol {
        AuthProtocol::Grpc { headers } => ir::AuthProtocol::Grpc { headers: headers.clone() },
        AuthProtocol::Http { path, headers, answer_headers } => {
            ir::AuthProtocol::Http { path: path.clone(), headers: headers.clone(), answer_headers: answer_headers.clone() }
        }
    };
    let take_off = take_off.into_iter().collect();
    ir::ExternalAuth::Asked(Box::new(ir::AuthService { cluster: cluster.name(), protocol, take_off, body_bytes: declared.body_bytes }))
}
