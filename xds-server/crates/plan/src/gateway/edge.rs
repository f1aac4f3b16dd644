//! The proxies of a Gateway: one listener for each port of TCP and of UDP, one chain for all HTTP on it, one for each HTTPS listener,
//! one for each set of server names of a route that carries connections.

mod connections;
mod datagrams;
mod own_hosts;
mod shared_port;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use windrose_ir::http::{Authorization, ClientAddress, ForwardedCertificate, HttpFilter, HttpHandler, RouteSource, Underscores};
use windrose_ir::listener::{ClientValidation, Direction, ServerTls, Transport};
use windrose_ir::{Chain, Handler, Listener};
use windrose_vocab::{Code, Hostname, Kind, ObjectKey, ObjectRef, Port, ProxyKey, ProxyRole, SpiffeId, Text};

use super::{BoundListener, Frame, Spoken, own_port, ready};
use crate::limits::MISDIRECTED_LISTENERS_MAX;
use crate::plan::OpenPort;
use crate::policy::edge::EdgeLimits;
use crate::policy::telemetry::{self, Telemetry};
use crate::policy::{authorization, edge as limits};
use crate::proxy::{ProxyParts, Runner, chain_of_filters, extension_name};
use crate::reference::field;
use crate::route::{Table, TableKey};
use crate::settings::Addresses;
use crate::world::{Filter, HostSlot, View};

/// What the proxies of a Gateway run.
pub(crate) type Edge = ProxyParts;

/// Application protocols that are offered to clients, in order.
const ALPN: [&str; 2] = ["h2", "http/1.1"];

/// Makes what its own proxies run, or those that it shares with others; none where it is not served, or not by those.
pub(crate) fn edge(view: &View<'_>, key: &ObjectKey, runner: Runner) -> Option<Edge> {
    let gateway = ObjectRef { kind: Kind::Gateway, key: key.clone() };
    view.gateway(key)?;
    let frame = view.frame_with_sources(key).filter(|frame| frame.served)?;
    let fleet = match runner {
        Runner::Own => frame.sharing.has_own().then_some(None)?,
        Runner::Shared => Some(frame.sharing.fleet()?),
    };
    let (runs_on, account) = match fleet {
        None => (ProxyKey { role: ProxyRole::Gateway, object: key.clone() }, key.name.clone()),
        // No name of an object has this character: no Gateway is taken for a fleet.
        Some(fleet) => (ProxyKey { role: ProxyRole::Fleet, object: fleet.clone() }, format!("fleet_{}", fleet.name).into()),
    };
    let identity = SpiffeId { trust_domain: view.settings().trust_domain.clone(), namespace: key.namespace.clone(), account };
    let mut parts = ProxyParts::new(runs_on, identity);
    let telemetry = telemetry::effective(view, &gateway, &format!("{}.{}", key.name, key.namespace), frame.access_log.as_ref());
    let mut ports: BTreeMap<Port, Vec<&BoundListener>> = BTreeMap::new();
    let (datagrams, others): (Vec<_>, Vec<_>) =
        frame.listeners.iter().filter(|listener| listener.usable).partition(|one| one.spoken == Spoken::Udp);
    for listener in others {
        ports.entry(listener.port).or_default().push(listener);
    }
    let bound = |port: Port| {
        let bound = match (fleet, view.settings().addresses) {
            (Some(fleet), _) => view.fleet(fleet).and_then(|ports| ports.of(key, port)),
            (None, Addresses::Assigned) => own_port(key, port, &frame.listeners),
            (None, Addresses::Bind) => Some(port),
        };
        if bound.is_none() {
            view.error(&gateway, field("spec.listeners"), Code::OutOfRange, format!("the proxies have no port left for port {port}"));
        }
        bound
    };
    for (port, listeners) in ports {
        let Some(bound) = bound(port) else { continue };
        let at = At { view, gateway: &gateway, frame, runner, port, bound, telemetry: &telemetry };
        parts.ports.insert(OpenPort { declared: port, bound, datagrams: false });
        let listener = at.listener(&listeners, &mut parts);
        parts.listeners.insert(format!("{key}/{port}").into(), Arc::new(listener));
    }
    for listener in datagrams {
        let Some(bound) = bound(listener.port) else { continue };
        let at = At { view, gateway: &gateway, frame, runner, port: listener.port, bound, telemetry: &telemetry };
        parts.ports.insert(OpenPort { declared: listener.port, bound, datagrams: true });
        let datagrams = at.datagrams(listener, &mut parts);
        parts.datagram_listeners.insert(format!("{key}/{}-udp", listener.port).into(), Arc::new(datagrams));
    }
    if !parts.listeners.is_empty() {
        parts.uses.extend(telemetry.collector);
    }
    if fleet.is_none() && view.settings().addresses == Addresses::Assigned {
        let (name, ready) = ready();
        parts.listeners.insert(name, Arc::new(ready));
    }
    Some(parts)
}

/// One port of a Gateway.
#[derive(Debug, Clone, Copy)]
struct At<'a, 'v> {
    view: &'a View<'v>,
    gateway: &'a ObjectRef,
    frame: &'a Frame,
    runner: Runner,
    port: Port,
    /// The port that the proxies open for it.
    bound: Port,
    telemetry: &'a Telemetry,
}

impl At<'_, '_> {
    fn listener(self, listeners: &[&BoundListener], parts: &mut ProxyParts) -> Listener {
        let limits = self.of_port(listeners);
        let mut chains: Vec<Chain> = Vec::new();
        let plain: Vec<&BoundListener> = listeners.iter().filter(|listener| listener.spoken == Spoken::Http).copied().collect();
        if !plain.is_empty() {
            chains.push(self.http(&plain, &limits, parts));
        }
        // A server name belongs to the most specific listener that names it; a proxy refuses two chains for one name.
        let mut by_specificity = listeners.to_vec();
        by_specificity.sort_by_key(|listener| std::cmp::Reverse(listener.hostname.specificity()));
        let mut taken: BTreeSet<Hostname> =
            listeners.iter().filter(|listener| listener.spoken == Spoken::Https).map(|listener| listener.hostname.clone()).collect();
        chains.extend(self.closed_names(listeners, &mut taken));
        for listener in by_specificity {
            match listener.spoken {
                Spoken::Http | Spoken::Udp | Spoken::Unknown => {}
                Spoken::Https => chains.extend(self.https(listener, parts)),
                Spoken::TlsTerminated | Spoken::TlsPassthrough | Spoken::Tcp => {
                    chains.extend(self.connections(listener, &mut taken, parts));
                }
            }
        }
        if chains.is_empty() {
            chains.push(Chain { name: "none".into(), server_names: Vec::new(), transport: Transport::Plain, handler: Handler::Close });
        }
        chains.sort_by(|a, b| a.name.cmp(&b.name));
        let inspect_tls = chains.iter().any(|chain| chain.transport != Transport::Plain);
        Listener {
            addresses: self.addresses(),
            direction: Direction::Inbound,
            inspect_tls,
            chains,
            limits: limits.connections,
            access_log: None,
        }
    }

    fn addresses(self) -> Vec<SocketAddr> {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let addresses = if self.frame.addresses.is_empty() { &any[..] } else { &self.frame.addresses };
        addresses.iter().map(|address| SocketAddr::new(*address, self.bound.get())).collect()
    }

    fn http(self, listeners: &[&BoundListener], limits: &EdgeLimits, parts: &mut ProxyParts) -> Chain {
        let table = TableKey::from(Table::Edge { gateway: self.gateway.key.clone(), port: self.port, listener: None });
        let closed = self.frame.closed(Spoken::Http, self.port);
        if listeners.len() > 1 || listeners.iter().any(|listener| listener.is_guarded()) {
            // Each listener's own host, so that its requests meet no other listener where it has no routes, and its own filters.
            parts.hosts.extend(listeners.iter().map(|listener| HostSlot { table: table.clone(), host: listener.hostname.clone() }));
        }
        parts.hosts.extend(closed.map(|listener| HostSlot { table: table.clone(), host: listener.hostname.clone() }));
        let handler = self.handler(&table, listeners, limits, ForwardedCertificate::Sanitize, parts);
        Chain { name: "http".into(), server_names: Vec::new(), transport: Transport::Plain, handler }
    }

    fn https(self, listener: &BoundListener, parts: &mut ProxyParts) -> Option<Chain> {
        let limits = limits::effective(self.view, self.gateway, Some(&listener.id));
        let transport = self.tls(listener, &limits, &ALPN, parts)?;
        let table = TableKey::from(Table::Edge { gateway: self.gateway.key.clone(), port: self.port, listener: Some(listener.id.clone()) });
        let own = listener.is_guarded().then(|| listener.hostname.clone());
        let closed = self.frame.closed(Spoken::Https, self.port).map(|one| &one.hostname);
        let closed = closed.filter(|host| listener.hostname.covers(host) && **host != listener.hostname).cloned();
        parts
            .hosts
            .extend(self.hosts_beside(listener).into_iter().chain(own).chain(closed).map(|host| HostSlot { table: table.clone(), host }));
        // What was not verified is told to nobody: a service could not tell it from what was.
        let verified = listener.tls.as_ref().and_then(|tls| tls.client.as_ref()).is_some_and(|client| client.required);
        let certificate = if verified { ForwardedCertificate::Set } else { ForwardedCertificate::Sanitize };
        let handler = self.handler(&table, &[listener], &limits, certificate, parts);
        Some(Chain { name: listener.id.to_string().into(), server_names: names(&listener.hostname), transport, handler })
    }

    /// Hosts that the table of an HTTPS listener must tell apart besides those of its routes: those of the others on its port, for which
    /// a client reuses a connection that it should not (RFC 9110, section 15.5.20), and its own, where one of those covers it.
    fn hosts_beside(self, listener: &BoundListener) -> BTreeSet<Hostname> {
        let others: Vec<&Hostname> =
            self.frame.speaking(Spoken::Https, self.port).map(|other| &other.hostname).filter(|host| **host != listener.hostname).collect();
        // Where another one takes all hosts, whatever is not within this one's is another's.
        let any = others.iter().any(|host| host.is_any());
        let all = !any && others.len() < MISDIRECTED_LISTENERS_MAX;
        let wanted = others.into_iter().filter(|host| all || host.is_any() || listener.hostname.covers(host));
        let mut hosts: BTreeSet<Hostname> = wanted.cloned().collect();
        if hosts.iter().any(|host| host.covers(&listener.hostname)) {
            hosts.insert(listener.hostname.clone());
        }
        hosts
    }

    fn tls(self, listener: &BoundListener, limits: &EdgeLimits, alpn: &[&str], parts: &mut ProxyParts) -> Option<Transport> {
        let tls = listener.tls.as_ref()?;
        parts.secrets.extend(tls.certificates.iter().cloned());
        let client = tls.client.as_ref().map(|check| {
            parts.secrets.insert(check.trust.0.clone(), Arc::clone(&check.trust.1));
            ClientValidation { trust: check.trust.0.clone(), required: check.required, uri_prefixes: Vec::new() }
        });
        Some(Transport::Tls(ServerTls {
            certificates: tls.certificates.iter().map(|(name, _)| name.clone()).collect(),
            client,
            minimum: limits.minimum_tls,
            alpn: alpn.iter().map(|protocol| Text::from(*protocol)).collect(),
            ciphers: Vec::new(),
        }))
    }

    fn handler(
        self,
        table: &TableKey,
        listeners: &[&BoundListener],
        limits: &EdgeLimits,
        client_certificate: ForwardedCertificate,
        parts: &mut ProxyParts,
    ) -> Handler {
        parts.tables.insert(table.clone());
        let name = Text::from(table.to_string());
        // Each has its place from the first day: a policy that comes changes no listener, and reaches connections that are open already.
        let scope = Text::from(table.scope());
        let extensions: BTreeSet<(Text, Filter)> = Filter::ALL.into_iter().map(|filter| (scope.clone(), filter)).collect();
        let asks = listeners.iter().flat_map(|listener| &listener.filters);
        parts.uses.extend(asks.filter_map(|filter| filter.asked(self.view, &self.gateway.key).1));
        let places = listeners.iter().map(|listener| listener.filters.len()).max().unwrap_or_default();
        let before_routing = (0..u32::try_from(places).unwrap_or_default()).map(HttpFilter::ListenerAuth);
        let chain = chain_of_filters(true, [], &extensions);
        let mut filters: Vec<HttpFilter> = self.taken_off(listeners).into_iter().chain(before_routing).chain(chain).collect();
        if self.view.has_sessions(table) {
            // A path that is looked at is the one that was sent.
            let transcoder = HttpFilter::Extension(extension_name(&scope, Filter::Transcoder));
            let before = filters.iter().position(|filter| *filter == transcoder).unwrap_or(filters.len());
            filters.insert(before, HttpFilter::Sessions);
        }
        // Right behind CORS, which answers preflights whoever asks.
        let behind = filters.iter().position(|filter| *filter == HttpFilter::Cors).map_or(0, |cors| cors + 1);
        filters.splice(behind..behind, self.who_may_come(listeners));
        parts.extensions.extend(extensions);
        Handler::Http(Box::new(HttpHandler {
            stat_name: name.clone(),
            routes: RouteSource::Table(name),
            filters,
            limits: limits.http,
            client_address: ClientAddress::Edge { trusted_hops: limits.trusted_hops },
            underscores: Underscores::Reject,
            client_certificate,
            paths: limits.paths,
            websocket: false,
            tracing: self.telemetry.tracing.clone(),
            access_log: self.telemetry.access_log.clone(),
            metrics: self.telemetry.metrics,
        }))
    }

    /// Who may come in at this port, as policies of the Gateway and of this listener say; of the Gateway alone where there is none.
    fn authorization(self, listener: Option<&BoundListener>) -> Option<Authorization> {
        let own = listener.into_iter().flat_map(|listener| listener.id.targets());
        let targets: Vec<_> = std::iter::once((self.gateway.clone(), None)).chain(own).collect();
        let rules = authorization::effective(self.view, &targets, None)?;
        let domain = &self.view.settings().trust_domain;
        Some(authorization::of_strangers(authorization::at_port(rules, self.port), domain))
    }
}

fn names(host: &Hostname) -> Vec<Hostname> {
    if host.is_any() { Vec::new() } else { vec![host.clone()] }
}
