//! What a sidecar takes from others: one listener for each port that its workload serves, with mutual TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use windrose_api::declared::workload::Serves;
use windrose_api::policy::MtlsMode;
use windrose_ir::cluster::{Limits, LoadBalancing, Pool, UpstreamProtocol};
use windrose_ir::endpoint::{Address, Endpoint, Health, Locality, Zones};
use windrose_ir::http::{Authorization, ForwardedCertificate};
use windrose_ir::listener::{ClientValidation, Direction, ServerTls, TcpHandler, TlsVersion, Transport};
use windrose_ir::route::{Forward, HeaderChanges, PathMatch, Rewrite, Route, RouteAction, RouteMatch, WeightedBackend};
use windrose_ir::secret::{MESH_TRUST, WORKLOAD_SVID};
use windrose_ir::{Chain, Cluster, Discovery, EndpointSet, Handler, Listener, RouteTable, VirtualHost};
use windrose_vocab::{Code, Hostname, Kind, ObjectKey, ObjectRef, Port, Text};

use super::sidecar::{Sidecar, connection_limits};
use crate::backend::AppProtocol;
use crate::limits;
use crate::policy::{self, authorization, mesh};
use crate::proxy::ProxyParts;
use crate::reference::{field, missing};

/// Puts them into `parts`.
pub(super) fn listeners(sidecar: Sidecar<'_, '_>, parts: &mut ProxyParts) {
    let mut taken: BTreeMap<Port, usize> = BTreeMap::new();
    for (index, serves) in sidecar.workload.spec.serves.iter().enumerate() {
        if let Some(first) = taken.get(&serves.listen) {
            let message = format!("port {} is already that of spec.serves[{first}]", serves.listen);
            sidecar.view.error(&sidecar.object(), field(&format!("spec.serves[{index}].listen")), Code::ListenerConflict, message);
            continue;
        }
        taken.insert(serves.listen, index);
        listener(sidecar, index, serves, parts);
    }
}

fn listener(sidecar: Sidecar<'_, '_>, index: usize, serves: &Serves, parts: &mut ProxyParts) {
    let name: Text = format!("{}/inbound/{}", sidecar.workload.meta.object.key, serves.listen).into();
    let (protocol, port_name) = served(sidecar, index, serves);
    let opaque = protocol == AppProtocol::Opaque || protocol.is_tls();
    let rules = rules(sidecar, serves, port_name);
    let handler = if opaque {
        Handler::Tcp(TcpHandler {
            stat_name: name.clone(),
            clusters: vec![(name.clone(), 1)],
            idle_timeout: limits::CONNECTION_IDLE,
            authorization: rules.map(authorization::of_connections),
            access_log: sidecar.telemetry.access_log.clone(),
        })
    } else {
        parts.routes.insert(name.clone(), Arc::new(table(&name)));
        Handler::Http(sidecar.handler(name.clone(), rules, &BTreeSet::new(), ForwardedCertificate::Set))
    };
    parts.clusters.insert(name.clone(), Arc::new(cluster(&name, serves, protocol)));
    let mut chains =
        vec![Chain { name: "mtls".into(), server_names: Vec::new(), transport: tls(sidecar, opaque), handler: handler.clone() }];
    if mesh::mode(sidecar.view, &sidecar.object(), serves.listen) == MtlsMode::Permissive {
        chains.push(Chain { name: "plain".into(), server_names: Vec::new(), transport: Transport::Plain, handler });
    }
    let listener = Listener {
        addresses: vec![SocketAddr::new(sidecar.workload.spec.address, serves.listen.get())],
        direction: Direction::Inbound,
        inspect_tls: true,
        chains,
        limits: connection_limits(),
        access_log: None,
    };
    parts.listeners.insert(name, Arc::new(listener));
}

/// What the Service's port speaks, and its name. A Service that is not there is told, and its instance served all the same.
fn served(sidecar: Sidecar<'_, '_>, index: usize, serves: &Serves) -> (AppProtocol, Option<Text>) {
    let view = sidecar.view;
    let target = service(sidecar, serves);
    let Some(service) = view.service(&target.key) else {
        let path = field(&format!("spec.serves[{index}].service"));
        view.tell(missing(view, "BackendNotFound", &target).at(&sidecar.object(), path));
        return (AppProtocol::Unsaid, None);
    };
    match service.spec.ports.iter().find(|port| port.port == serves.port && !port.udp) {
        Some(port) => (AppProtocol::parse(port.app_protocol.as_deref()), Some(port.name.clone())),
        None => {
            let path = field(&format!("spec.serves[{index}].port"));
            view.error(&sidecar.object(), path, Code::RefNotFound, format!("{target} has no TCP port {}", serves.port));
            (AppProtocol::Unsaid, None)
        }
    }
}

fn service(sidecar: Sidecar<'_, '_>, serves: &Serves) -> ObjectRef {
    let namespace = sidecar.workload.meta.object.key.namespace.clone();
    ObjectRef { kind: Kind::Service, key: ObjectKey::new(namespace, serves.service.clone()) }
}

fn rules(sidecar: Sidecar<'_, '_>, serves: &Serves, port: Option<Text>) -> Option<Authorization> {
    let service = service(sidecar, serves);
    // Of a port that its Service does not name nobody knows which policies are its own, and which would let whom in.
    let unplaced = port.is_none() && policy::is_any_part_named(sidecar.view, Kind::AuthorizationPolicy, &service);
    let own = port.map(|name| (service.clone(), Some(name)));
    let targets: Vec<_> = [(sidecar.object(), None), (service, None)].into_iter().chain(own).collect();
    let rules = authorization::effective(sidecar.view, &targets, Some(&sidecar.workload.meta.object.key.namespace));
    authorization::both(rules, unplaced.then(authorization::nobody))
}

fn tls(sidecar: Sidecar<'_, '_>, opaque: bool) -> Transport {
    let alpn: &[&str] = if opaque { &[] } else { &["h2", "http/1.1"] };
    Transport::Tls(ServerTls {
        certificates: vec![WORKLOAD_SVID.into()],
        client: Some(ClientValidation {
            trust: MESH_TRUST.into(),
            required: true,
            uri_prefixes: vec![format!("spiffe://{}/", sidecar.view.settings().trust_domain).into()],
        }),
        minimum: TlsVersion::Tls12,
        alpn: alpn.iter().map(|protocol| Text::from(*protocol)).collect(),
        ciphers: Vec::new(),
    })
}

fn cluster(name: &Text, serves: &Serves, protocol: AppProtocol) -> Cluster {
    let (address, port) = serves.application;
    let endpoint = Endpoint {
        address: Address::Socket(SocketAddr::new(address, port.get())),
        weight: 1,
        health: Health::Ready,
        outside: false,
        zones: Zones::default(),
    };
    let application = EndpointSet { localities: vec![Locality { zone: "".into(), priority: 0, endpoints: vec![endpoint] }] };
    Cluster {
        stat_name: name.clone(),
        discovery: Discovery::Static(application),
        protocol: match protocol {
            AppProtocol::Unsaid => UpstreamProtocol::SameAsDownstream,
            AppProtocol::Http | AppProtocol::WebSocket => UpstreamProtocol::Http1,
            AppProtocol::H2c => UpstreamProtocol::Http2,
            AppProtocol::Opaque | AppProtocol::Https | AppProtocol::SecureWebSocket => UpstreamProtocol::Tcp,
        },
        tls: None,
        connect_timeout: limits::CONNECT_TIMEOUT,
        load_balancing: LoadBalancing::RoundRobin,
        limits: Limits {
            connections: limits::CONNECTIONS,
            pending_requests: limits::CONNECTIONS,
            requests: limits::CONNECTIONS,
            retries: limits::RETRY_BUDGET_MINIMUM,
        },
        retry_budget: None,
        outliers: None,
        health_check: None,
        pool: Pool { max_requests_per_connection: 0, idle_timeout: limits::POOL_IDLE, tcp_keepalive: None },
    }
}

fn table(name: &Text) -> RouteTable {
    let forward = Forward {
        backends: vec![WeightedBackend {
            cluster: Some(name.clone()),
            weight: 1,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            host: None,
        }],
        rewrite: Rewrite::default(),
        timeout: Duration::ZERO,
        idle_timeout: None,
        retry: None,
        mirrors: Vec::new(),
        hash: Vec::new(),
        session: None,
        websocket: true,
        max_grpc_timeout: None,
    };
    let route = Route {
        name: name.clone(),
        matcher: RouteMatch { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new(), grpc: false },
        action: RouteAction::Forward(Box::new(forward)),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        cors: None,
        external_auth: None,
        buffer_bytes: 0,
        policies: Vec::new(),
        share: None,
    };
    RouteTable::from_iter([VirtualHost {
        name: "*".into(),
        hosts: vec![Hostname::any()],
        authorities: Vec::new(),
        external_auth: Vec::new(),
        routes: vec![route.into()],
        filters: Vec::new(),
    }])
}
