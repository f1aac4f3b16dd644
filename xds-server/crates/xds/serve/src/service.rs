//! What the listeners serve: everything a stream needs to know, shared by all of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use windrose_state::{Accepted, DesiredReader, Observed};
use windrose_vocab::{ProxyKey, Text};
use windrose_xds_session::{Diagnosis, Moment};

use crate::counters::Counters;
use crate::identity::Identify;
use crate::limits;
use crate::message::{Room, UNIT};
use crate::shares::Shares;
use crate::telling::Told;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Times that an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How old a connection may become, more or less [`limits::CONNECTION_AGE_JITTER`] percent.
    pub connection_age: Duration,
    /// How long what is in flight may take to end when the server stops.
    pub grace: Duration,
    /// The lifetime given to resources for clients that support it; `None` for none.
    pub resource_ttl: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connection_age: limits::CONNECTION_AGE, grace: limits::GRACE, resource_ttl: None }
    }
}

/// The discovery service, and a status service in which a client sees itself.
#[derive(Clone)]
pub struct Xds {
    /// What clients should have.
    pub desired: DesiredReader,
    /// What they accepted and rejected; sessions write and read it.
    pub accepted: Arc<Accepted>,
    /// What they said.
    pub observed: Arc<Observed>,
    /// Who they are.
    pub identify: Arc<dyn Identify>,
    /// What time it is.
    pub clock: Clock,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Times.
    pub settings: Settings,
}

/// The status service for operators: all clients, no credential asked, so it belongs on loopback.
#[derive(Clone)]
pub struct Status {
    /// What clients said.
    pub observed: Arc<Observed>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Times.
    pub settings: Settings,
}

/// What all streams of one listener share.
pub(crate) struct Shared {
    pub(crate) xds: Xds,
    /// For large requests.
    pub(crate) room: Room,
    /// CSDS answers in memory.
    pub(crate) answers: Arc<Shares<ProxyKey>>,
    origin: Instant,
    streams: AtomicU64,
    /// When, in whole seconds since the origin and one more, a stranger was last written about.
    told: AtomicU64,
    /// What was written about clients.
    told_of: Mutex<Told>,
}

impl Shared {
    pub(crate) fn new(xds: Xds) -> Self {
        let room = Shares::new(limits::REQUEST_BYTES_OF_PROXY / UNIT, limits::REQUEST_BYTES_OF_ALL / UNIT);
        let answers = Shares::new(limits::STATUS_ANSWERS_OF_PROXY, limits::STATUS_ANSWERS_OF_ALL);
        Self { xds, room, answers, origin: Instant::now(), streams: AtomicU64::new(0), told: AtomicU64::new(0), told_of: Mutex::default() }
    }

    /// Monotonic time for sessions.
    pub(crate) fn moment(&self) -> Moment {
        self.origin.elapsed()
    }

    /// When that moment is.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.xds.clock)()
    }

    /// Whether a line about a stranger may be logged: one a second, for strangers come in floods, and the counters count them all.
    pub(crate) fn may_tell(&self) -> bool {
        let second = self.origin.elapsed().as_secs() + 1;
        self.told.fetch_max(second, Ordering::Relaxed) < second
    }

    /// The same about a client that is known: besides, a few lines of each sort a minute.
    pub(crate) fn may_tell_of(&self, peer: &Text, diagnosis: &Diagnosis) -> bool {
        let minute = self.origin.elapsed().as_secs() / 60;
        let is_news = self.told_of.lock().unwrap_or_else(PoisonError::into_inner).is_news(peer, diagnosis, minute);
        is_news || self.may_tell()
    }

    /// A number that no other stream has.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Debug for Xds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xds").field("settings", &self.settings).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("counters", &self.counters).finish_non_exhaustive()
    }
}
