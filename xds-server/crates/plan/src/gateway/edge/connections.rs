//! Listeners that carry connections: TLS by server name, passed through or ended here, and TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_ir::cluster::{Limits, LoadBalancing, Pool, UpstreamProtocol};
use windrose_ir::listener::{TcpHandler, Transport};
use windrose_ir::{Chain, Cluster, Discovery, EndpointSet, Handler};
use windrose_vocab::{Code, Diagnostic, Hostname, ObjectKey, ObjectRef, Text};

use super::{At, BoundListener, Spoken, names};
use crate::backend::{ClusterKey, Flavor};
use crate::limits;
use crate::plan::{Coverage, Covered};
use crate::policy::{authorization, closed, edge as edge_limits};
use crate::proxy::{ProxyParts, Runner};
use crate::reference::field;
use crate::route::{Connection, client_of};

/// The name of a cluster without endpoints: the share of connections that goes there is refused. As all that a Gateway brings, it is
/// named after it: others that share its proxies bring their own. No namespace of a Service begins so.
fn nowhere_of(gateway: &ObjectKey) -> Text {
    format!("Nowhere/{gateway}").into()
}

impl At<'_, '_> {
    /// The chains of a listener, for the hosts that are not in `taken`; its hosts are put there.
    pub(super) fn connections(self, listener: &BoundListener, taken: &mut BTreeSet<Hostname>, parts: &mut ProxyParts) -> Vec<Chain> {
        let mut won = self.winners(listener);
        for (route, hosts) in &mut won {
            hosts.retain(|host| self.is_own(listener, route, host) && taken.insert(host.clone()));
        }
        won.retain(|_, hosts| !hosts.is_empty());
        let mut chains = Vec::new();
        for (route, host) in won.iter().flat_map(|(route, hosts)| hosts.iter().map(move |host| (route, host))) {
            let Some(transport) = self.transport(listener, parts) else { continue };
            let handler = self.tcp(listener, route, parts);
            // One for each: connections by a name that stays are not cut when another comes.
            let name = format!("{}/{route}{}", listener.id, if host.is_any() { String::new() } else { format!("/{host}") });
            chains.push(Chain { name: name.into(), server_names: names(host), transport, handler });
        }
        // What no route of its own takes is no wider listener's.
        if (won.is_empty() || self.has_wider(listener))
            && taken.insert(listener.hostname.clone())
            && let Some(transport) = self.transport(listener, parts)
        {
            let (name, server_names) = (listener.id.to_string().into(), names(&listener.hostname));
            chains.push(Chain { name, server_names, transport, handler: Handler::Close });
        }
        chains
    }

    /// A chain that takes no connection for each name of a TLS listener that cannot be served, where connections to a wider one are not
    /// looked into: nothing else would tell them apart.
    pub(super) fn closed_names(self, served: &[&BoundListener], taken: &mut BTreeSet<Hostname>) -> Vec<Chain> {
        let blind = served.iter().filter(|one| matches!(one.spoken, Spoken::TlsTerminated | Spoken::TlsPassthrough));
        let mut chains = Vec::new();
        for wide in blind {
            let closed = self.within(wide).filter(|closed| served.iter().all(|one| one.hostname != closed.hostname));
            for closed in closed {
                if taken.insert(closed.hostname.clone()) {
                    let (name, server_names) = (closed.id.to_string().into(), names(&closed.hostname));
                    chains.push(Chain { name, server_names, transport: Transport::Passthrough, handler: Handler::Close });
                }
            }
        }
        chains
    }

    /// The TLS listeners of this port that name some of the hosts of `wide` and no other, served or not.
    fn within<'w>(self, wide: &'w BoundListener) -> impl Iterator<Item = &'w BoundListener>
    where
        Self: 'w,
    {
        let here = self.frame.listeners.iter().filter(move |one| one.port == self.port && speaks_tls(one));
        here.filter(|one| wide.hostname.covers(&one.hostname) && wide.hostname != one.hostname)
    }

    /// Whether a server name belongs to this listener, and not to one of the port that names it more narrowly.
    fn is_own(self, listener: &BoundListener, route: &ObjectRef, host: &Hostname) -> bool {
        let narrower = speaks_tls(listener).then(|| self.within(listener).find(|other| other.hostname.covers(host))).flatten();
        if let Some(narrower) = narrower {
            let message =
                format!("takes no connections for `{host}` at listener `{}`: the name is that of listener `{}`", listener.id, narrower.id);
            self.view.tell(Diagnostic::warning(route.clone(), field("spec"), Code::Shadowed, message));
        }
        narrower.is_none()
    }

    fn has_wider(self, listener: &BoundListener) -> bool {
        let mut served = self.frame.listeners.iter().filter(|one| one.usable && one.port == self.port && speaks_tls(one));
        speaks_tls(listener) && served.any(|wide| wide.hostname.covers(&listener.hostname) && wide.hostname != listener.hostname)
    }

    /// The route of each host: the one that names it most specifically, then the oldest.
    pub(super) fn winners(self, listener: &BoundListener) -> BTreeMap<ObjectRef, BTreeSet<Hostname>> {
        let mut all: Vec<&Connection> = self.view.connections(&self.gateway.key, &listener.id).collect();
        let created = |connection: &Connection| self.view.route(&connection.route).map_or(0, |route| route.meta.created);
        all.sort_by_key(|one| {
            (one.host.clone(), std::cmp::Reverse(one.declared.specificity()), created(one), one.route.key.clone(), one.route.kind)
        });
        let mut won: BTreeMap<ObjectRef, BTreeSet<Hostname>> = BTreeMap::new();
        let mut last: Option<&Connection> = None;
        for connection in all {
            match last.filter(|winner| winner.host == connection.host) {
                Some(winner) if winner.route != connection.route => {
                    let message = format!(
                        "takes no connections for `{}` at listener `{}`: {} comes first",
                        connection.host, listener.id, winner.route
                    );
                    self.view.tell(Diagnostic::warning(connection.route.clone(), field("spec"), Code::Shadowed, message));
                }
                Some(_) => {}
                None => {
                    won.entry(connection.route.clone()).or_default().insert(connection.host.clone());
                    last = Some(connection);
                }
            }
        }
        won
    }

    fn transport(self, listener: &BoundListener, parts: &mut ProxyParts) -> Option<Transport> {
        match listener.spoken {
            Spoken::TlsPassthrough => Some(Transport::Passthrough),
            Spoken::TlsTerminated => {
                let limits = edge_limits::effective(self.view, self.gateway, Some(&listener.id));
                self.tls(listener, &limits, &[], parts)
            }
            Spoken::Tcp => Some(Transport::Plain),
            Spoken::Http | Spoken::Https | Spoken::Udp | Spoken::Unknown => None,
        }
    }

    fn tcp(self, listener: &BoundListener, route: &ObjectRef, parts: &mut ProxyParts) -> Handler {
        let mut clusters: BTreeMap<Text, u32> = BTreeMap::new();
        let mut used = BTreeSet::new();
        let declared = self.view.route(route).and_then(|route| route.spec.rules.first());
        let resolved = self.view.resolved(route).and_then(|resolved| resolved.rules.first());
        let nowhere = nowhere_of(&self.gateway.key);
        let both = declared.into_iter().zip(resolved).flat_map(|(rule, resolved)| rule.backends.iter().zip(&resolved.backends));
        for (backend, resolved) in both.filter(|(backend, _)| backend.weight.get() > 0) {
            let key = resolved.as_ref().map(|resolved| ClusterKey {
                client: client_of(self.view, &self.gateway.key, resolved),
                ..ClusterKey::new(resolved.id.clone(), Flavor::Tcp)
            });
            let name = key.as_ref().map_or_else(|| nowhere.clone(), ClusterKey::name);
            *clusters.entry(name).or_insert(0) += backend.weight.get();
            used.extend(key);
        }
        if used.is_empty() {
            return Handler::Close;
        }
        parts.uses.extend(used);
        if clusters.contains_key(&nowhere) {
            parts.clusters.insert(nowhere.clone(), Arc::new(without_endpoints(nowhere)));
        }
        self.covers(listener, route, "connections");
        let limits = edge_limits::effective(self.view, self.gateway, Some(&listener.id));
        let rules = self.authorization(Some(listener)).map(authorization::of_connections);
        Handler::Tcp(TcpHandler {
            stat_name: format!("{}/{}/{}", self.gateway.key, self.port, listener.id).into(),
            clusters: clusters.into_iter().collect(),
            idle_timeout: limits.http.connection_idle_timeout,
            authorization: authorization::both(limits.addresses, rules),
            access_log: self.telemetry.access_log.clone(),
        })
    }

    /// Tells that no token is asked for: there is no place for one. Where nobody knows which proxies serve the Gateway
    /// its own tell it, once.
    pub(super) fn covers(self, listener: &BoundListener, route: &ObjectRef, what: &str) {
        if self.runner == Runner::Shared && self.frame.sharing.has_own() {
            return;
        }
        let section = Some(Text::from(listener.id.to_string()));
        let covered = Covered { route: route.clone(), parent: self.gateway.clone(), section, rule: what.into() };
        let closed = closed::at_listener(self.view, self.gateway, Some(&listener.id));
        self.view.covers(covered, Coverage::Open.closed_by(closed));
    }
}

/// Whether connections to it name a server; of what cannot be served nobody knows.
fn speaks_tls(listener: &BoundListener) -> bool {
    match listener.spoken {
        Spoken::Https | Spoken::TlsTerminated | Spoken::TlsPassthrough | Spoken::Unknown => true,
        Spoken::Http | Spoken::Tcp | Spoken::Udp => false,
    }
}

fn without_endpoints(name: Text) -> Cluster {
    Cluster {
        stat_name: name,
        discovery: Discovery::Static(EndpointSet::default()),
        protocol: UpstreamProtocol::Tcp,
        tls: None,
        connect_timeout: limits::CONNECT_TIMEOUT,
        load_balancing: LoadBalancing::RoundRobin,
        limits: Limits { connections: 1, pending_requests: 1, requests: 1, retries: 0 },
        retry_budget: None,
        outliers: None,
        health_check: None,
        pool: Pool { max_requests_per_connection: 0, idle_timeout: limits::POOL_IDLE, tcp_keepalive: None },
    }
}
