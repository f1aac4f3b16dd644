//! One cluster: what is spoken to a backend, under whose identity, and what policies say about it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use windrose_api::declared::backend::{BackendEndpoint, BackendProtocol};
use windrose_api::declared::{Backend, Object, Workload};
use windrose_ir::cluster::{Discovery, Pool, UpstreamProtocol, UpstreamTls};
use windrose_ir::endpoint::{Address, Endpoint, Health, Locality, Zones};
use windrose_ir::{Cluster, EndpointSet, Secret};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef, Port, SpiffeId, Text};

use super::{AppProtocol, BackendId, ClusterKey, Flavor, OriginTls};
use crate::limits;
use crate::policy::{self, PolicyOutcome, traffic};
use crate::reference::field;
use crate::world::{Index, View};

/// A cluster with the secrets that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) secrets: BTreeMap<Text, Arc<Secret>>,
}

/// Makes a cluster. One whose backend is gone, or cannot be trusted, has no endpoints: whoever still names it gets 503.
pub(crate) fn cluster(view: &View<'_>, key: &ClusterKey) -> Upstream {
    let found = match &key.backend {
        BackendId::Service(service, port) if key.flavor == Flavor::Udp => of_datagrams(view, service, *port),
        BackendId::Service(service, port) => of_service(view, service, *port),
        BackendId::Split(route) => view.route(route).map(|_| (Discovery::Eds, AppProtocol::Unsaid, None)),
        BackendId::Backend(backend) => view.backend(backend).and_then(|backend| of_backend(view, backend)),
    };
    let nowhere = || (Discovery::Static(EndpointSet::default()), AppProtocol::Unsaid, None);
    let (discovery, said, tls) = found.unwrap_or_else(nowhere);
    let (tls, mut secrets) = tls.map_or((None, BTreeMap::new()), |found| (Some(found.tls), found.secrets));
    let tls = tls.map(|tls| with_client(view, key, tls, &mut secrets));
    let traffic = traffic::of_cluster(view, key);
    let cluster = Cluster {
        stat_name: key.name(),
        discovery,
        protocol: protocol(key.flavor, said),
        tls,
        connect_timeout: traffic.connect_timeout,
        load_balancing: traffic.load_balancing,
        limits: traffic.limits,
        retry_budget: Some(traffic.retry_budget),
        outliers: traffic.outliers,
        health_check: traffic.health_check,
        pool: Pool { max_requests_per_connection: 0, idle_timeout: limits::POOL_IDLE, tcp_keepalive: None },
    };
    Upstream { cluster: Arc::new(cluster), secrets }
}

type Found = (Discovery, AppProtocol, Option<OriginTls>);

fn of_service(view: &View<'_>, key: &ObjectKey, port: Port) -> Option<Found> {
    let service = view.service(key)?;
    let declared = service.spec.ports.iter().find(|known| known.port == port && !known.udp)?;
    let said = AppProtocol::parse(declared.app_protocol.as_deref());
    let target = ObjectRef { kind: Kind::Service, key: key.clone() };
    let peers = peers(view, key, port);
    let by_policy = policy::winner_for_port(view, Kind::BackendTLSPolicy, &target, &declared.name);
    let origin = match &by_policy {
        None => None,
        Some(policy) => match view.policy(policy) {
            Some(PolicyOutcome::BackendTls(Some(tls))) => Some(tls.clone()),
            // What cannot be checked is not sent to: no route names this cluster then.
            _ => return None,
        },
    };
    let tls = if peers.is_empty() {
        origin
    } else if outside(view, &target) {
        Some(mixed(peers, origin))
    } else {
        if let Some(policy) = by_policy {
            let message = format!("{target} is served by Workloads, so mesh mTLS is spoken to it instead");
            view.warn(&policy, field("spec.targetRefs"), Code::Conflicted, message);
        }
        Some(OriginTls { tls: UpstreamTls::Mesh { peers }, secrets: BTreeMap::new() })
    };
    Some((Discovery::Eds, said, tls))
}

/// Datagrams go to the instances as they came, without TLS.
fn of_datagrams(view: &View<'_>, key: &ObjectKey, port: Port) -> Option<Found> {
    view.service(key)?.spec.ports.iter().find(|known| known.port == port && known.udp)?;
    Some((Discovery::Eds, AppProtocol::Unsaid, None))
}

fn mixed(peers: Vec<SpiffeId>, outside: Option<OriginTls>) -> OriginTls {
    let (outside, secrets) = outside.map(|origin| (Box::new(origin.tls), origin.secrets)).unzip();
    OriginTls { tls: UpstreamTls::Mixed { peers, outside }, secrets: secrets.unwrap_or_default() }
}

/// Identities of the Workloads that serve a Service's port, sorted.
fn peers(view: &View<'_>, service: &ObjectKey, port: Port) -> Vec<SpiffeId> {
    let all = view.index(Index::Workloads(service.clone()));
    let workloads = all.iter().filter_map(|workload| view.workload(&workload.key));
    let serving = workloads.filter(|workload| serves(workload, service, port));
    let mut peers: Vec<SpiffeId> = serving.map(|workload| identity(view, workload)).collect();
    peers.sort();
    peers.dedup();
    peers
}

fn serves(workload: &Object<Workload>, service: &ObjectKey, port: Port) -> bool {
    workload.spec.serves.iter().any(|serves| serves.service == service.name && serves.port == port)
}

/// Who a Workload is.
pub(crate) fn identity(view: &View<'_>, workload: &Object<Workload>) -> SpiffeId {
    SpiffeId {
        trust_domain: view.settings().trust_domain.clone(),
        namespace: workload.meta.object.key.namespace.clone(),
        account: workload.spec.account.clone(),
    }
}

/// Whether a Service that Workloads serve has endpoints without a sidecar too, which is told: no mesh mTLS reaches them.
fn outside(view: &View<'_>, service: &ObjectRef) -> bool {
    let slices = view.index(Index::Slices(service.key.clone()));
    for slice in &slices {
        let message = format!("{service} is served by Workloads, and these endpoints are not: no mesh mTLS is spoken to them");
        let told = Diagnostic::warning(slice.clone(), field("endpoints"), Code::Unsafe, message);
        view.tell(told.hint("declare a Workload for each of them"));
    }
    !slices.is_empty()
}

fn of_backend(view: &View<'_>, backend: &Object<Backend>) -> Option<Found> {
    let own = &backend.meta.object;
    let by_policy = policy::winner(view, Kind::BackendTLSPolicy, own, None).unwrap_or_else(|| own.clone());
    let tls = match view.policy(&by_policy) {
        Some(PolicyOutcome::BackendTls(Some(tls))) => Some(tls.clone()),
        Some(PolicyOutcome::BackendTls(None)) => return None,
        _ => None,
    };
    let said = match backend.spec.protocol {
        BackendProtocol::Http => AppProtocol::Http,
        BackendProtocol::Http2 => AppProtocol::H2c,
        BackendProtocol::Tcp => AppProtocol::Opaque,
    };
    Some((addresses(&backend.spec), said, tls))
}

fn addresses(backend: &Backend) -> Discovery {
    let address = |endpoint: &BackendEndpoint| match endpoint {
        BackendEndpoint::Ip(ip, port) => Address::Socket(SocketAddr::new(*ip, port.get())),
        BackendEndpoint::Host(host, port) => Address::Dns(host.clone(), port.get()),
        BackendEndpoint::Unix(path) => Address::Unix(path.clone()),
    };
    let mut addresses: Vec<Address> = backend.endpoints.iter().map(address).collect();
    addresses.sort();
    addresses.dedup();
    let at = |address| Endpoint { address, weight: 1, health: Health::Ready, outside: false, zones: Zones::default() };
    let looked_up = addresses.iter().any(|address| matches!(address, Address::Dns(_, _)));
    let endpoints: Vec<Endpoint> = addresses.into_iter().map(at).collect();
    let endpoints = EndpointSet { localities: vec![Locality { zone: "".into(), priority: 0, endpoints }] };
    if looked_up { Discovery::Dns { endpoints, refresh: limits::DNS_REFRESH } } else { Discovery::Static(endpoints) }
}

fn with_client(view: &View<'_>, key: &ClusterKey, tls: UpstreamTls, secrets: &mut BTreeMap<Text, Arc<Secret>>) -> UpstreamTls {
    let certificate = key.client.as_ref().and_then(|gateway| view.frame(gateway)).and_then(|frame| frame.client_certificate.clone());
    match (tls, certificate) {
        (UpstreamTls::Origin { sni, trust, subject_names, client_certificate: None }, Some((name, secret))) => {
            secrets.insert(name.clone(), secret);
            UpstreamTls::Origin { sni, trust, subject_names, client_certificate: Some(name) }
        }
        (UpstreamTls::Mixed { peers, outside: Some(outside) }, _) => {
            UpstreamTls::Mixed { peers, outside: Some(Box::new(with_client(view, key, *outside, secrets))) }
        }
        (tls, _) => tls,
    }
}

fn protocol(flavor: Flavor, said: AppProtocol) -> UpstreamProtocol {
    match (flavor, said) {
        (Flavor::Udp, _) => UpstreamProtocol::Udp,
        (Flavor::Tcp, _) => UpstreamProtocol::Tcp,
        (Flavor::Grpc, _) | (_, AppProtocol::H2c) => UpstreamProtocol::Http2,
        (Flavor::Mesh, AppProtocol::Unsaid) => UpstreamProtocol::SameAsDownstream,
        (Flavor::Mesh, AppProtocol::Opaque) => UpstreamProtocol::Tcp,
        (Flavor::Http | Flavor::Mesh, _) => UpstreamProtocol::Http1,
    }
}
