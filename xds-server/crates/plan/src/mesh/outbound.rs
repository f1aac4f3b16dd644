//! What a sidecar takes from its workload: a listener where `calls[].listen` says, and one for all calls that name none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use windrose_api::declared::workload::Calls;
use windrose_ir::http::{ForwardedCertificate, HttpFilter, HttpHandler};
use windrose_ir::listener::{Direction, TcpHandler, Transport};
use windrose_ir::{Chain, Handler, Listener};
use windrose_vocab::{Code, Diagnostic, Hostname, Kind, ObjectKey, ObjectRef, Port, Text};

use super::sidecar::{Sidecar, connection_limits};
use crate::backend::{AppProtocol, BackendId, ClusterKey, Flavor};
use crate::limits;
use crate::proxy::{ComposedHost, ProxyParts};
use crate::reference::{field, missing};
use crate::route::{Table, TableKey};
use crate::world::{Filter, HostSlot, Index};

/// One port of a Service that the workload calls.
#[derive(Clone, Debug)]
struct Called {
    service: ObjectKey,
    port: Port,
    protocol: AppProtocol,
    /// Names and addresses under which it is called, with and without the port.
    authorities: Vec<Text>,
    /// Where the Workload says so.
    field: String,
}

/// Puts them into `parts`.
pub(super) fn listeners(sidecar: Sidecar<'_, '_>, parts: &mut ProxyParts) {
    let mut all: BTreeMap<SocketAddr, Vec<Called>> = BTreeMap::new();
    let shared = shared_address(sidecar);
    match &sidecar.workload.spec.calls {
        None => {
            let services = sidecar.view.index(Index::Kind(Kind::Service));
            let called = services.iter().flat_map(|service| ports(sidecar, &service.key, None, "spec"));
            all.entry(shared).or_default().extend(called.filter(|called| called.protocol != AppProtocol::Opaque));
        }
        Some(calls) => {
            for (index, call) in calls.iter().enumerate() {
                let at = call.listen.map_or(shared, |(address, port)| SocketAddr::new(address, port.get()));
                all.entry(at).or_default().extend(called(sidecar, index, call));
            }
        }
    }
    for (address, called) in all.into_iter().filter(|(_, called)| !called.is_empty()) {
        let path = || field(called.first().map_or("spec.calls", |called| &called.field));
        if parts.listeners.values().any(|listener| listener.addresses.contains(&address)) {
            let message = format!("{address} is where the workload is served");
            sidecar.view.error(&sidecar.object(), path(), Code::ListenerConflict, message);
            continue;
        }
        // Unless the proxy is all the application there is, one of the two cannot have the port.
        if sidecar.workload.spec.serves.iter().any(|serves| SocketAddr::new(serves.application.0, serves.application.1.get()) == address) {
            let message = format!("{address} is where its application listens");
            sidecar.view.warn(&sidecar.object(), path(), Code::ListenerConflict, message);
        }
        listener(sidecar, address, &called, parts);
    }
}

/// Beside the application, where no other workload of the machine listens.
fn shared_address(sidecar: Sidecar<'_, '_>) -> SocketAddr {
    let beside = sidecar.workload.spec.serves.first().map(|serves| serves.application.0).filter(IpAddr::is_loopback);
    SocketAddr::new(beside.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), limits::OUTBOUND_PORT)
}

fn called(sidecar: Sidecar<'_, '_>, index: usize, call: &Calls) -> Vec<Called> {
    let namespace = call.namespace.as_ref().unwrap_or(&sidecar.workload.meta.object.key.namespace);
    let target = ObjectRef { kind: Kind::Service, key: ObjectKey::new(namespace.clone(), call.service.clone()) };
    let path = format!("spec.calls[{index}]");
    if sidecar.view.service(&target.key).is_none() {
        let problem = missing(sidecar.view, "BackendNotFound", &target);
        sidecar.view.tell(problem.at(&sidecar.object(), field(&format!("{path}.service"))));
        return Vec::new();
    }
    let found = ports(sidecar, &target.key, call.port, &path);
    if found.is_empty() {
        let message = match call.port {
            Some(port) => format!("{target} has no TCP port {port}"),
            None => format!("{target} has no TCP port"),
        };
        sidecar.view.error(&sidecar.object(), field(&format!("{path}.port")), Code::RefNotFound, message);
    }
    found
}

fn ports(sidecar: Sidecar<'_, '_>, key: &ObjectKey, only: Option<Port>, path: &str) -> Vec<Called> {
    let Some(service) = sidecar.view.service(key).filter(|service| service.spec.external_name.is_none()) else { return Vec::new() };
    let tcp: Vec<_> = service.spec.ports.iter().filter(|port| !port.udp).collect();
    let domain = &sidecar.view.settings().cluster_domain;
    let (namespace, name) = (&key.namespace, &key.name);
    let mut names = vec![format!("{name}.{namespace}"), format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.{domain}")];
    if *namespace == sidecar.workload.meta.object.key.namespace {
        names.push(name.to_string());
    }
    names.extend(service.spec.cluster_ips.iter().map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }));
    let wanted = tcp.iter().filter(|port| only.is_none_or(|only| only == port.port));
    wanted
        .map(|port| {
            let bare = tcp.len() == 1 || port.port.get() == 80;
            let with_port = names.iter().map(|name| format!("{name}:{}", port.port));
            let without = names.iter().filter(|_| bare).cloned();
            let mut authorities: Vec<Text> = with_port.chain(without).map(Text::from).collect();
            authorities.sort();
            let protocol = AppProtocol::parse(port.app_protocol.as_deref());
            Called { service: key.clone(), port: port.port, protocol, authorities, field: path.to_owned() }
        })
        .collect()
}

fn listener(sidecar: Sidecar<'_, '_>, address: SocketAddr, called: &[Called], parts: &mut ProxyParts) {
    let name: Text = format!("{}/outbound/{address}", sidecar.workload.meta.object.key).into();
    let handler = match called {
        [only] if only.protocol == AppProtocol::Opaque || only.protocol.is_tls() => tcp(sidecar, &name, only, parts),
        [only] => one(sidecar, only, parts),
        several => many(sidecar, &name, several, parts),
    };
    let chain = Chain { name: "outbound".into(), server_names: Vec::new(), transport: Transport::Plain, handler };
    let listener = Listener {
        addresses: vec![address],
        direction: Direction::Outbound,
        inspect_tls: false,
        chains: vec![chain],
        limits: connection_limits(),
        access_log: None,
    };
    parts.listeners.insert(name, Arc::new(listener));
}

fn tcp(sidecar: Sidecar<'_, '_>, name: &Text, called: &Called, parts: &mut ProxyParts) -> Handler {
    let key = ClusterKey::new(BackendId::Service(called.service.clone(), called.port), Flavor::Tcp);
    let clusters = vec![(key.name(), 1)];
    parts.uses.insert(key);
    Handler::Tcp(TcpHandler {
        stat_name: name.clone(),
        clusters,
        idle_timeout: limits::CONNECTION_IDLE,
        authorization: None,
        access_log: sidecar.telemetry.access_log.clone(),
    })
}

/// One port of one Service: whatever host the workload names, it is meant.
fn one(sidecar: Sidecar<'_, '_>, called: &Called, parts: &mut ProxyParts) -> Handler {
    let table = take(sidecar, called, parts);
    parts.tables.insert(table.clone());
    let extensions = extensions(sidecar, &table);
    parts.extensions.extend(extensions.iter().cloned());
    with_sessions(
        sidecar.view.has_sessions(&table),
        sidecar.handler(table.to_string().into(), None, &extensions, ForwardedCertificate::Sanitize),
    )
}

/// Several on one address: the host decides.
fn many(sidecar: Sidecar<'_, '_>, name: &Text, several: &[Called], parts: &mut ProxyParts) -> Handler {
    let mut hosts = Vec::new();
    for called in several {
        let problem = if called.protocol == AppProtocol::Opaque || called.protocol.is_tls() {
            Some("does not speak HTTP, so it needs a `listen` of its own")
        } else if !extensions(sidecar, &table(sidecar, called)).is_empty() {
            Some("has routes with policies for our filters, so it needs a `listen` of its own")
        } else {
            None
        };
        match problem {
            Some(problem) => {
                let message = format!("Service/{} port {} {problem}", called.service, called.port);
                let told = Diagnostic::error(sidecar.object(), field(&called.field), Code::Unsupported, message);
                sidecar.view.tell(told.hint("set `calls[].listen`"));
            }
            None => {
                let table = take(sidecar, called, parts);
                let name = format!("{}/{}", called.service, called.port).into();
                hosts.push(ComposedHost { name, authorities: called.authorities.clone(), table });
            }
        }
    }
    let sessions = hosts.iter().any(|host| sidecar.view.has_sessions(&host.table));
    parts.composed.insert(name.clone(), hosts);
    with_sessions(sessions, sidecar.handler(name.clone(), None, &BTreeSet::new(), ForwardedCertificate::Sanitize))
}

fn with_sessions(sessions: bool, mut handler: Box<HttpHandler>) -> Handler {
    handler.filters.extend(sessions.then_some(HttpFilter::Sessions));
    Handler::Http(handler)
}

fn take(sidecar: Sidecar<'_, '_>, called: &Called, parts: &mut ProxyParts) -> TableKey {
    let table = table(sidecar, called);
    parts.hosts.insert(HostSlot { table: table.clone(), host: Hostname::any() });
    table
}

/// The workload's namespace may have routes of its own for a Service of another one; then they hold alone.
fn table(sidecar: Sidecar<'_, '_>, called: &Called) -> TableKey {
    let namespace = &sidecar.workload.meta.object.key.namespace;
    let for_us = TableKey::from(Table::Mesh { service: called.service.clone(), port: called.port, consumer: Some(namespace.clone()) });
    let slot = HostSlot { table: for_us.clone(), host: Hostname::any() };
    if *namespace != called.service.namespace && sidecar.view.slot(&slot).next().is_some() {
        return for_us;
    }
    Table::Mesh { service: called.service.clone(), port: called.port, consumer: None }.into()
}

fn extensions(sidecar: Sidecar<'_, '_>, table: &TableKey) -> BTreeSet<(Text, Filter)> {
    let needed = Filter::ALL.into_iter().filter(|filter| sidecar.view.guarded(table, *filter));
    needed.map(|filter| (table.scope().into(), filter)).collect()
}
