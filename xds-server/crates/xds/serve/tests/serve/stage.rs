//! One server on a free port, with an authority, a state to publish into, and a clock that can be moved.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windrose_pki::{Directory, NodeAuthority, NodeIdentity, SystemEntropy};
use windrose_state::{Accepted, Desired, KindMap, Observed, ResourceSet};
use windrose_vocab::{Fingerprint, ProxyKey, Resource, ResourceId, ResourceKind, Text, TrustDomain};
use windrose_xds_serve::{Counters, Identify, Peer, Refusal, Settings, Tls, Xds, bind, serve};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) desired: Desired,
    pub(crate) observed: Arc<Observed>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Tls,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    xds: Xds,
    later: Arc<AtomicU64>,
}

/// The authority behind the port, as the binary connects them.
pub(crate) struct Nodes {
    pub(crate) authority: NodeAuthority,
    /// Ends every credential so long after it was shown, if set.
    pub(crate) short: Option<Duration>,
    revoked: Mutex<BTreeSet<ProxyKey>>,
    leaving: Mutex<BTreeSet<ProxyKey>>,
    zone: Mutex<Option<Text>>,
    changes: watch::Sender<u64>,
}

impl Nodes {
    pub(crate) fn revoke(&self, proxy: &ProxyKey) {
        self.revoked.lock().unwrap().insert(proxy.clone());
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whoever comes from now on is known to be there.
    pub(crate) fn is_in(&self, zone: &str) {
        *self.zone.lock().unwrap() = Some(zone.into());
    }

    pub(crate) fn leave(&self, proxy: &ProxyKey) {
        self.leaving.lock().unwrap().insert(proxy.clone());
        self.changes.send_modify(|count| *count += 1);
    }

    fn peer(&self, identity: NodeIdentity, now: SystemTime) -> Peer {
        Peer {
            identity: identity.to_string().into(),
            proxy: identity.proxy,
            credential: identity.credential,
            issued_at: identity.issued_at,
            expires_at: self.short.map_or(identity.expires_at, |short| now + short),
            zone: self.zone.lock().unwrap().clone(),
        }
    }
}

impl Identify for Nodes {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        async move {
            let identity = self.authority.identify_certificate(certificate, now);
            identity.map(|identity| self.peer(identity, now)).map_err(|problem| Refusal::Wrong(problem.to_string()))
        }
        .boxed()
    }

    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        async move {
            let identity = self.authority.identify_token(token, now);
            identity.map(|identity| self.peer(identity, now)).map_err(|problem| Refusal::Wrong(problem.to_string()))
        }
        .boxed()
    }

    fn is_revoked(&self, peer: &Peer) -> bool {
        self.revoked.lock().unwrap().contains(&peer.proxy)
    }

    fn is_leaving(&self, peer: &Peer) -> bool {
        self.leaving.lock().unwrap().contains(&peer.proxy)
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

pub(crate) fn orders() -> ProxyKey {
    ProxyKey::workload("shop", "orders")
}

pub(crate) fn catalog() -> ProxyKey {
    ProxyKey::workload("shop", "catalog")
}

pub(crate) fn resource(kind: ResourceKind, name: &str, bytes: impl Into<Bytes>) -> Resource {
    let bytes = bytes.into();
    Resource { id: ResourceId::new(kind, name), version: Fingerprint::of("test", &bytes[..]), bytes, refs: Arc::from([]) }
}

pub(crate) fn cluster(name: &str, bytes: impl Into<Bytes>) -> Resource {
    resource(ResourceKind::Cluster, name, bytes)
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), None).await
    }

    pub(crate) async fn with(settings: Settings, short: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("pki")).unwrap();
        let authority = NodeAuthority::open(&directory, &domain(), SystemTime::now(), &SystemEntropy).unwrap();
        let server = authority.issue_server(&["127.0.0.1".into(), "localhost".into()], SystemTime::now(), &SystemEntropy).unwrap();
        let tls = Tls::new(server.chain, server.key.expose(), &[authority.root().clone()]).unwrap();
        let nodes = Arc::new(Nodes {
            authority,
            short,
            revoked: Mutex::default(),
            leaving: Mutex::default(),
            zone: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let later = Arc::new(AtomicU64::new(0));
        let (desired, observed, counters) = (Desired::new(), Arc::new(Observed::new()), Arc::new(Counters::default()));
        let xds = Xds {
            desired: desired.reader(),
            accepted: Arc::new(Accepted::new()),
            observed: observed.clone(),
            identify: nodes.clone(),
            clock: Arc::new({
                let later = later.clone();
                move || SystemTime::now() + Duration::from_secs(later.load(Ordering::Relaxed))
            }),
            counters: counters.clone(),
            settings,
        };
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, tls.clone(), xds.clone(), stop.clone()));
        Self { folder, nodes, desired, observed, counters, address, tls, stop, task, xds, later }
    }

    /// The server ends and another begins on the same port, with the same state.
    pub(crate) async fn restart(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
        self.stop = CancellationToken::new();
        let listener = bind(self.address).await.unwrap();
        self.task = tokio::spawn(serve(listener, self.tls.clone(), self.xds.clone(), self.stop.clone()));
    }

    /// The server's clock goes forward.
    pub(crate) fn move_clock(&self, by: Duration) {
        self.later.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn publish(&mut self, proxy: &ProxyKey, resources: impl IntoIterator<Item = Resource>) {
        let mut set = ResourceSet::new();
        resources.into_iter().for_each(|one| drop(set.insert(one)));
        self.desired.publish(&proxy.clone().into(), &set, &KindMap::new()).unwrap();
    }

    pub(crate) fn token(&self, proxy: &ProxyKey) -> String {
        self.nodes.authority.issue_token(proxy, DAY, SystemTime::now(), &SystemEntropy).unwrap().expose().to_owned()
    }
}

/// Waits until something is so, 10 s at most.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(10), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
