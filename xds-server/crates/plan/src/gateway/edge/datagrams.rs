//! Listeners of datagrams: one route each, and one cluster for all its backends.

use windrose_ir::DatagramListener;
use windrose_vocab::{ObjectRef, Text};

use super::{At, BoundListener};
use crate::backend::{BackendId, ClusterKey, Flavor};
use crate::limits;
use crate::policy::{authorization, edge as edge_limits, traffic};
use crate::proxy::ProxyParts;

impl At<'_, '_> {
    /// The listener; one without a route, or whose backends are all lost, drops what comes.
    pub(super) fn datagrams(self, listener: &BoundListener, parts: &mut ProxyParts) -> DatagramListener {
        let route = self.winners(listener).into_keys().next();
        let key = route.as_ref().and_then(|route| self.sessions_go_to(route));
        route.iter().for_each(|route| self.covers(listener, route, "datagrams"));
        let traffic = key.as_ref().map(|key| traffic::of_sessions(self.view, key)).unwrap_or_default();
        let cluster = key.as_ref().map(ClusterKey::name);
        parts.uses.extend(key);
        let limits = edge_limits::effective(self.view, self.gateway, Some(&listener.id));
        let rules = self.authorization(Some(listener)).map(authorization::of_connections);
        DatagramListener {
            addresses: self.addresses(),
            stat_name: Text::from(format!("{}/{}/{}", self.gateway.key, self.port, listener.id)),
            cluster,
            authorization: authorization::both(limits.addresses, rules),
            idle_timeout: traffic.idle.unwrap_or(limits::SESSION_IDLE),
            hash_source: traffic.hash.contains(&windrose_ir::route::HashOn::SourceAddress),
            access_log: self.telemetry.access_log.clone(),
        }
    }

    /// Proxies choose a cluster for datagrams without weights, so several backends are one cluster, whose endpoints carry the weights.
    fn sessions_go_to(self, route: &ObjectRef) -> Option<ClusterKey> {
        let declared = self.view.route(route)?.spec.rules.first()?;
        let resolved = self.view.resolved(route)?.rules.first()?;
        let both = declared.backends.iter().zip(&resolved.backends);
        let shares: Vec<_> = both.filter(|(backend, _)| backend.weight.get() > 0).map(|(_, resolved)| resolved.as_ref()).collect();
        let backend = match &shares[..] {
            [Some(only)] => only.id.clone(),
            several if several.iter().any(Option::is_some) => BackendId::Split(route.clone()),
            _ => return None,
        };
        Some(ClusterKey { owner: traffic::owner_of_sessions(self.view, route, &backend), ..ClusterKey::new(backend, Flavor::Udp) })
    }
}
