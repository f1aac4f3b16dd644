//! How much strangers may hold of the webhook: every Pod reaches its port, and what it takes there is taken from the proxies.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use windrose_kube::admission::REVIEW_BYTES_MAX;

use super::Worlds;

/// How budgets are counted: in KiB.
const UNIT: usize = 1 << 10;

/// Times and numbers of the webhook's port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time: API servers keep few, and open.
    pub(super) connections: usize,
    /// The same of one address. A proxy in front of API servers is one address too.
    pub(super) connections_of_peer: usize,
    /// Streams of one connection at a time.
    pub(super) streams: u32,
    /// Bytes of bodies at a time: the Pod has 1 GiB for all that it does.
    pub(super) bytes: usize,
    /// The same of one address, so that it takes several to hold up the API server.
    pub(super) bytes_of_peer: usize,
    /// Time for a handshake.
    pub(super) handshake: Duration,
    /// Time for the headers of a request.
    pub(super) headers: Duration,
    /// Time to wait for room and to send a review: the API server waits no longer for all of it.
    pub(super) review: Duration,
    /// A connection on which nothing is asked ends after this.
    pub(super) idle: Duration,
    /// A connection ends after this: a certificate must come to be seen.
    pub(super) life: Duration,
    /// Time for what is in flight when a connection ends.
    pub(super) drain: Duration,
    /// Between two certificates.
    pub(super) renewal: Duration,
}

impl Limits {
    pub(super) const REAL: Self = Self {
        connections: 128,
        connections_of_peer: 32,
        streams: 16,
        bytes: 32 << 20,
        bytes_of_peer: 16 << 20,
        handshake: Duration::from_secs(5),
        headers: Duration::from_secs(5),
        review: Duration::from_secs(5),
        idle: Duration::from_secs(60),
        life: Duration::from_secs(3600),
        drain: Duration::from_secs(6),
        renewal: Duration::from_secs(86_400),
    };
}

/// What all connections share.
pub(super) struct Room {
    pub(super) limits: Limits,
    pub(super) worlds: Worlds,
    bytes: Arc<Semaphore>,
    /// JSON in memory is up to twenty times its text, so one review is judged at a time; most take microseconds.
    judging: Arc<Semaphore>,
    peers: Mutex<HashMap<IpAddr, Weak<Peer>>>,
}

/// What one address holds.
pub(super) struct Peer {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// Room for the body of one review, given back when it is dropped.
pub(super) type Held = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Room {
    pub(super) fn new(limits: Limits, worlds: Worlds) -> Arc<Self> {
        let bytes = Arc::new(Semaphore::new(limits.bytes / UNIT));
        Arc::new(Self { limits, worlds, bytes, judging: Arc::new(Semaphore::new(1)), peers: Mutex::default() })
    }

    /// A place for a connection from `address`, or none where it has all that one may have.
    pub(super) fn place(&self, address: IpAddr) -> Option<(Arc<Peer>, OwnedSemaphorePermit)> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, peer| peer.strong_count() > 0);
        let peer = peers.get(&address).and_then(Weak::upgrade).unwrap_or_else(|| {
            let places = Arc::new(Semaphore::new(self.limits.connections_of_peer));
            let peer = Arc::new(Peer { places, bytes: Arc::new(Semaphore::new(self.limits.bytes_of_peer / UNIT)) });
            peers.insert(address, Arc::downgrade(&peer));
            peer
        });
        let place = peer.places.clone().try_acquire_owned().ok()?;
        Some((peer, place))
    }

    /// Waits for room for a body of so many bytes.
    pub(super) async fn hold(&self, peer: &Peer, bytes: usize) -> Option<Held> {
        let units = u32::try_from(bytes.min(REVIEW_BYTES_MAX).div_ceil(UNIT)).ok()?;
        let of_peer = peer.bytes.clone().acquire_many_owned(units).await.ok()?;
        Some((of_peer, self.bytes.clone().acquire_many_owned(units).await.ok()?))
    }

    /// Waits until a review may be judged.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.judging.clone().acquire_owned().await.ok()
    }
}

/// Whether somebody asks on a connection.
pub(super) struct Activity(Mutex<(usize, Instant)>);

/// One request, as long as it is kept.
pub(super) struct Asked(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((0, Instant::now()))))
    }

    pub(super) fn ask(self: &Arc<Self>) -> Asked {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        Asked(self.clone())
    }

    /// Returns when nothing was asked for so long.
    pub(super) async fn rests(&self, time: Duration) {
        loop {
            let (open, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let due = if open == 0 { since } else { Instant::now() } + time;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut now = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0.saturating_sub(1), Instant::now());
    }
}
