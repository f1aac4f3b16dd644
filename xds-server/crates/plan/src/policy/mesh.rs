//! MeshPolicy → whether a workload's port takes plain text. Workload, namespace, mesh; strict where nobody says.

use windrose_api::policy::{MeshPolicy, MtlsMode};
use windrose_vocab::{Kind, ObjectRef, Port, Text};

use super::target::rank;
use super::winner;
use crate::world::{Index, View};

/// The namespace whose policies without targets hold for the whole mesh.
pub(crate) const SYSTEM_NAMESPACE: &str = "windrose-system";

/// The mode of one port of a workload.
pub(crate) fn mode(view: &View<'_>, workload: &ObjectRef, port: Port) -> MtlsMode {
    let own = winner(view, Kind::MeshPolicy, workload, None);
    let names = own.into_iter().chain(general(view, Kind::MeshPolicy, &workload.key.namespace));
    let mut policies = names.filter_map(|name| view.mesh_policy(&name.key));
    policies.find_map(|policy| of_port(&policy.spec, port)).unwrap_or(MtlsMode::Strict)
}

fn of_port(policy: &MeshPolicy, port: Port) -> Option<MtlsMode> {
    let own = policy.ports.iter().find(|known| known.port == port.get()).map(|known| known.mtls);
    own.or(policy.mtls)
}

/// Policies that name no target: the oldest of the namespace, then the oldest of the mesh.
pub(crate) fn general(view: &View<'_>, kind: Kind, namespace: &Text) -> Vec<ObjectRef> {
    let own = (**namespace != *SYSTEM_NAMESPACE).then(|| oldest_general(view, kind, namespace)).flatten();
    own.into_iter().chain(oldest_general(view, kind, &SYSTEM_NAMESPACE.into())).collect()
}

/// The oldest policy of a namespace that names no target.
pub(crate) fn oldest_general(view: &View<'_>, kind: Kind, namespace: &Text) -> Option<ObjectRef> {
    let names = view.index(Index::NamespacePolicies(kind, namespace.clone()));
    names.into_iter().filter_map(|name| view.object(&name).map(|object| rank(object.meta()))).min().map(|(_, _, name)| name)
}
