//! The server without the rooms before it: a state to publish into, an authority, one proxy, and restarts of the server
//! that keep what it writes to disk and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windrose_envoy::bootstrap::{self, AdminPages, Identity, Server, Settings as Bootstrap};
use windrose_pki::{Directory, NodeAuthority, NodeIdentity, SystemEntropy};
use windrose_state::{Accepted, Desired, KindMap, Ledger, Observed, Protocol, ResourceSet, StreamStatus};
use windrose_tests::address::Loopback;
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess};
use windrose_tests::wait::wait_until;
use windrose_vocab::{ProxyKey, Resource, ResourceKind, Text, TrustDomain};
use windrose_xds_serve::{Counters, Identify, Peer, Refusal, Settings, Tls, Xds, bind, serve};

use crate::log;

/// How long a change may take to show, on a machine that is busy: only what never comes is to be found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The end of a server that must not wait for its clients.
const GRACE: Duration = Duration::from_secs(1);

/// Where the server listens, at the address of the stage.
pub(crate) const XDS_PORT: u16 = 18_000;

/// How long the credential of a proxy is good.
const DAY: Duration = Duration::from_secs(86_400);

/// A running server for one proxy.
pub(crate) struct Stage {
    pub(crate) home: Loopback,
    pub(crate) proxy: ProxyKey,
    pub(crate) protocol: Protocol,
    pub(crate) counters: Arc<Counters>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) accepted: Arc<Accepted>,
    nodes: Arc<Nodes>,
    tls: Tls,
    desired: Desired,
    published: BTreeMap<ProxyKey, Published>,
    running: Running,
    place: TempDir,
}

/// What a proxy should have, and its own secrets.
#[derive(Clone, Default)]
struct Published {
    shared: ResourceSet,
    own: KindMap,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The authority behind the port.
struct Nodes {
    authority: NodeAuthority,
    revocations: watch::Sender<u64>,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Peer, Refusal>> + Send + 'a>>;

impl Identify for Nodes {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> Answer<'a> {
        let identity = self.authority.identify_certificate(certificate, now);
        Box::pin(async move { identity.map(peer).map_err(|problem| Refusal::Wrong(problem.to_string())) })
    }

    fn by_token<'a>(&'a self, _token: &'a str, _now: SystemTime) -> Answer<'a> {
        Box::pin(async { Err(Refusal::Wrong("proxies of this stage show certificates".to_owned())) })
    }

    fn is_revoked(&self, _peer: &Peer) -> bool {
        false
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }
}

fn peer(identity: NodeIdentity) -> Peer {
    Peer {
        identity: identity.to_string().into(),
        proxy: identity.proxy,
        credential: identity.credential,
        issued_at: identity.issued_at,
        expires_at: identity.expires_at,
        zone: None,
    }
}

impl Stage {
    /// A server that has published nothing, at an address of its own.
    pub(crate) async fn set(protocol: Protocol) -> Self {
        log::keep();
        let (home, place) = (Loopback::claim(), tempfile::tempdir().unwrap());
        let directory = Directory::open(place.path().join("pki")).unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let authority = NodeAuthority::open(&directory, &domain, SystemTime::now(), &SystemEntropy).unwrap();
        let server = authority.issue_server(&[home.ip().to_string()], SystemTime::now(), &SystemEntropy).unwrap();
        let tls = Tls::new(server.chain, server.key.expose(), &[authority.root().clone()]).unwrap();
        let nodes = Arc::new(Nodes { authority, revocations: watch::Sender::new(0) });
        let (desired, accepted) = (Desired::new(), Arc::new(Accepted::new()));
        let (observed, counters) = (Arc::new(Observed::new()), Arc::new(Counters::default()));
        let xds = xds(&desired, &accepted, &observed, &counters, &nodes);
        let running = Running::start(home.port(XDS_PORT), &tls, xds).await;
        let proxy = ProxyKey::workload("shop", "orders");
        let published = BTreeMap::new();
        Self { home, proxy, protocol, counters, observed, accepted, nodes, tls, desired, published, running, place }
    }

    /// What the proxy should have from now on.
    pub(crate) fn publish(&mut self, resources: impl IntoIterator<Item = Resource>) {
        let proxy = self.proxy.clone();
        self.publish_for(&proxy, resources, []);
    }

    /// What that proxy should have from now on, and the secrets of its own identity.
    pub(crate) fn publish_for(
        &mut self,
        proxy: &ProxyKey,
        shared: impl IntoIterator<Item = Resource>,
        own: impl IntoIterator<Item = Resource>,
    ) {
        let mut set = ResourceSet::new();
        shared.into_iter().for_each(|one| drop(set.insert(one)));
        self.show(proxy, Published { shared: set, own: by_name(own) });
    }

    /// The secrets of that proxy's own identity from now on, and nothing else changes.
    pub(crate) fn rotate(&mut self, proxy: &ProxyKey, own: impl IntoIterator<Item = Resource>) {
        let own = by_name(own);
        self.desired.publish_secrets(&proxy.clone().into(), &own).unwrap();
        self.published.entry(proxy.clone()).or_default().own = own;
    }

    fn show(&mut self, proxy: &ProxyKey, what: Published) {
        self.desired.publish(&proxy.clone().into(), &what.shared, &what.own).unwrap();
        self.published.insert(proxy.clone(), what);
    }

    /// Another server at the same address, which knows what the former wrote to disk, and counts from zero.
    pub(crate) async fn restart(&mut self) {
        self.running.stop.cancel();
        (&mut self.running.task).await.unwrap();
        self.accepted = Arc::new(Accepted::restored(self.accepted.records(&Ledger::default()).0).unwrap());
        (self.observed, self.counters) = (Arc::new(Observed::new()), Arc::new(Counters::default()));
        self.desired = Desired::new();
        for (proxy, what) in std::mem::take(&mut self.published) {
            self.show(&proxy, what);
        }
        let xds = xds(&self.desired, &self.accepted, &self.observed, &self.counters, &self.nodes);
        self.running = Running::start(self.home.port(XDS_PORT), &self.tls, xds).await;
    }

    /// A new Envoy for the proxy; it may not be ready yet.
    pub(crate) async fn envoy(&self) -> EnvoyProcess {
        self.envoy_of(&self.proxy).await
    }

    /// A new Envoy for that proxy.
    pub(crate) async fn envoy_of(&self, proxy: &ProxyKey) -> EnvoyProcess {
        self.envoy_by(proxy, XDS_PORT).await
    }

    /// A new Envoy for that proxy, which finds the server at another port.
    pub(crate) async fn envoy_by(&self, proxy: &ProxyKey, port: u16) -> EnvoyProcess {
        let folder = self.folder(proxy);
        for (name, text) in bootstrap::files(&self.bootstrap(proxy, &folder, port)) {
            std::fs::write(folder.join(name), text).unwrap();
        }
        EnvoyProcess::start_in(&folder, &EnvoyOptions { until_ready: false, ..EnvoyOptions::default() }).await
    }

    /// With a credential in it.
    fn folder(&self, proxy: &ProxyKey) -> PathBuf {
        let folder = self.place.path().join(&*proxy.object.name);
        std::fs::create_dir_all(folder.join("credential")).unwrap();
        let made = self.nodes.authority.issue_certificate(proxy, DAY, SystemTime::now(), &SystemEntropy).unwrap();
        std::fs::write(folder.join("credential/node.pem"), made.certificate).unwrap();
        std::fs::write(folder.join("credential/node.key"), made.key.expose()).unwrap();
        folder
    }

    fn bootstrap(&self, proxy: &ProxyKey, folder: &Path, port: u16) -> Bootstrap {
        let path = |name: &str| Text::from(folder.join(name).display().to_string());
        let host = Text::from(self.home.ip().to_string());
        Bootstrap {
            node_id: format!("{proxy}/1").into(),
            node_cluster: proxy.object.name.clone(),
            metadata: BTreeMap::new(),
            zone: None,
            server: Server { host: host.clone(), port, name: host, trust: self.nodes.authority.root_pem().into() },
            identity: Identity::Certificate {
                chain: path("credential/node.pem"),
                key: path("credential/node.key"),
                directory: path("credential"),
            },
            state_of_the_world: self.protocol == Protocol::Sotw,
            folder: path(""),
            admin: AdminPages::Unix(path("admin.sock")),
            max_connections: 1_000,
        }
    }

    /// The one open stream, once it is as wanted.
    pub(crate) async fn stream(&self, what: &str, wanted: impl Fn(&StreamStatus) -> bool) -> StreamStatus {
        self.stream_within(PATIENCE, what, wanted).await
    }

    /// The same, for what takes its time.
    pub(crate) async fn stream_within(&self, most: Duration, what: &str, wanted: impl Fn(&StreamStatus) -> bool) -> StreamStatus {
        wait_until(most, what, async || {
            let streams = self.observed.snapshot();
            let found = streams.iter().find(|stream| wanted(stream)).cloned();
            found.ok_or_else(|| format!("{} streams; the first: {:?}", streams.len(), streams.first().map(rejections)))
        })
        .await
    }

    /// Waits until every proxy that is connected has accepted everything.
    pub(crate) async fn in_sync(&self) {
        wait_until(PATIENCE, "everything to be accepted", async || {
            let streams = self.observed.snapshot();
            let behind: Vec<_> = streams.iter().filter(|stream| !is_complete(stream)).map(rejections).collect();
            if behind.is_empty() && !streams.is_empty() { Ok(()) } else { Err(format!("{} streams, behind: {behind:?}", streams.len())) }
        })
        .await;
    }
}

/// It has something, and all of it.
fn is_complete(stream: &StreamStatus) -> bool {
    stream.is_in_sync() && ResourceKind::ALL.into_iter().any(|kind| !stream.of_kind(kind).sent.is_empty())
}

fn by_name(own: impl IntoIterator<Item = Resource>) -> KindMap {
    own.into_iter().map(|one| (one.id.name.clone(), Arc::new(one))).collect()
}

/// What a stream refuses, for messages.
fn rejections(stream: &StreamStatus) -> Vec<String> {
    let kinds = ResourceKind::ALL.into_iter();
    let told = kinds.flat_map(|kind| {
        let status = stream.of_kind(kind);
        let behind = status.sent.len() != status.acked.len() || status.sent != status.acked;
        let named = status.rejected.iter().map(move |(name, one)| format!("{kind} {name}: {}", one.reason));
        let unnamed = status.rejected_response.iter().map(move |one| format!("{kind}: {}", one.reason));
        named.chain(unnamed).chain(behind.then(|| format!("{kind}: not all is accepted")))
    });
    told.collect()
}

fn xds(desired: &Desired, accepted: &Arc<Accepted>, observed: &Arc<Observed>, counters: &Arc<Counters>, nodes: &Arc<Nodes>) -> Xds {
    Xds {
        desired: desired.reader(),
        accepted: accepted.clone(),
        observed: observed.clone(),
        identify: nodes.clone(),
        clock: Arc::new(SystemTime::now),
        counters: counters.clone(),
        settings: Settings { grace: GRACE, ..Settings::default() },
    }
}

impl Running {
    async fn start(address: SocketAddr, tls: &Tls, xds: Xds) -> Self {
        let (listener, stop) = (bind(address).await.unwrap(), CancellationToken::new());
        let task = tokio::spawn(serve(listener, tls.clone(), xds, stop.clone()));
        Self { stop, task }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
