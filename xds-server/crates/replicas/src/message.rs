//! The messages. Fields are only ever added: two versions of the control plane talk while one replaces the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::bytes::Bytes;
use windrose_state::{Fault, KindStatus, Missing, Opened, Protocol, Reason, Rejection, Scope};
use windrose_vocab::{Fingerprint, NodeClass, ProxyKey, Resource, ResourceId, ResourceKind};

/// Anything that either end says; nothing at all is a sign of life.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Word {
    /// From the follower.
    #[prost(message, optional, tag = "1")]
    pub(crate) said: Option<Said>,
    /// From the leader.
    #[prost(message, optional, tag = "2")]
    pub(crate) verdicts: Option<Verdicts>,
}

/// What the leader refuses.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Verdicts {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) content: Bytes,
    /// Some of it is being tried, and nobody keeps it who loses the leader.
    #[prost(bool, tag = "2")]
    pub(crate) on_trial: bool,
}

/// What changed in what a follower's streams said, since its last such message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Said {
    /// Streams that are gone.
    #[prost(uint64, repeated, tag = "1")]
    pub(crate) closed: Vec<u64>,
    /// Streams that came.
    #[prost(message, repeated, tag = "2")]
    pub(crate) opened: Vec<Stream>,
    /// Sets of resources that streams have, each once however many streams have it.
    #[prost(message, repeated, tag = "3")]
    pub(crate) maps: Vec<Map>,
    /// What streams said.
    #[prost(message, repeated, tag = "4")]
    pub(crate) news: Vec<News>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stream {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(string, tag = "2")]
    node: String,
    #[prost(string, tag = "3")]
    identity: String,
    /// As in `gateway/shop/edge`.
    #[prost(string, tag = "4")]
    proxy: String,
    /// The folder with filter modules, of a class that has one.
    #[prost(string, optional, tag = "5")]
    modules: Option<String>,
    #[prost(bool, tag = "6")]
    delta: bool,
    /// Seconds since 1970.
    #[prost(uint64, tag = "7")]
    since: u64,
    /// Seconds since 1970.
    #[prost(uint64, tag = "8")]
    credential_expires: u64,
    /// The zone that it is in, where that is known.
    #[prost(string, optional, tag = "9")]
    zone: Option<String>,
    /// Which Envoy it is, where it says so.
    #[prost(string, optional, tag = "10")]
    version: Option<String>,
}

/// A set of resources of one kind: another one and a difference.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Map {
    /// Its number, from 1; 0 is the set without resources.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// The set that it differs from.
    #[prost(uint64, tag = "2")]
    pub(crate) base: u64,
    #[prost(string, tag = "3")]
    pub(crate) type_url: String,
    /// A stream that has it.
    #[prost(uint64, tag = "4")]
    pub(crate) stream: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) set: Vec<Entry>,
    #[prost(string, repeated, tag = "6")]
    pub(crate) removed: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "2")]
    version: Bytes,
}

/// What one stream said of one kind, whole.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct News {
    #[prost(uint64, tag = "1")]
    pub(crate) stream: u64,
    #[prost(string, tag = "2")]
    pub(crate) type_url: String,
    /// Numbers of sets.
    #[prost(uint64, tag = "3")]
    pub(crate) sent: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) acked: u64,
    /// Milliseconds since 1970; 0 for never.
    #[prost(uint64, tag = "5")]
    acked_at: u64,
    #[prost(btree_map = "string, message", tag = "6")]
    rejected: BTreeMap<String, Refused>,
    #[prost(message, optional, tag = "7")]
    rejected_response: Option<Refused>,
    #[prost(uint64, tag = "8")]
    missing: u64,
    #[prost(string, repeated, tag = "9")]
    missing_first: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Refused {
    #[prost(bytes = "bytes", tag = "1")]
    version: Bytes,
    #[prost(string, tag = "2")]
    reason: String,
    /// Milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    at: u64,
    /// Only this one client is at fault. A follower that cannot say it yet says of nobody that he is.
    #[prost(bool, tag = "4")]
    of_client: bool,
}

impl Stream {
    pub(crate) fn new(number: u64, opened: &Opened) -> Self {
        Self {
            number,
            node: opened.node.to_string(),
            identity: opened.identity.to_string(),
            proxy: opened.scope.proxy.to_string(),
            modules: opened.scope.class.modules.as_ref().map(ToString::to_string),
            delta: opened.protocol == Protocol::Delta,
            since: milliseconds(opened.since) / 1_000,
            credential_expires: milliseconds(opened.credential_expires) / 1_000,
            zone: opened.scope.class.zone.as_ref().map(ToString::to_string),
            version: opened.version.as_ref().map(ToString::to_string),
        }
    }

    /// None where the proxy has no possible name.
    pub(crate) fn opened(&self, replica: &str) -> Option<Opened> {
        let class = NodeClass { modules: self.modules.as_deref().map(Into::into), zone: self.zone.as_deref().map(Into::into) };
        Some(Opened {
            node: self.node.as_str().into(),
            version: self.version.as_deref().map(Into::into),
            identity: self.identity.as_str().into(),
            scope: Scope::new(ProxyKey::parse(&self.proxy)?, class),
            protocol: if self.delta { Protocol::Delta } else { Protocol::Sotw },
            since: time(self.since.saturating_mul(1_000)),
            credential_expires: time(self.credential_expires.saturating_mul(1_000)),
            replica: Some(replica.into()),
        })
    }
}

impl Entry {
    pub(crate) fn new(resource: &Resource) -> Self {
        Self { name: resource.id.name.to_string(), version: version(resource.version) }
    }

    /// The resource, without its bytes.
    pub(crate) fn resource(&self, kind: ResourceKind) -> Option<Resource> {
        Some(known_by_name(ResourceId::new(kind, self.name.as_str()), fingerprint(&self.version)?))
    }
}

impl News {
    pub(crate) fn new(stream: u64, kind: ResourceKind, status: &KindStatus, (sent, acked): (u64, u64)) -> Self {
        Self {
            stream,
            type_url: kind.type_url().to_owned(),
            sent,
            acked,
            acked_at: status.acked_at.map_or(0, milliseconds),
            rejected: status.rejected.iter().map(|(name, one)| (name.to_string(), Refused::new(one))).collect(),
            rejected_response: status.rejected_response.as_ref().map(Refused::new),
            missing: status.missing.count as u64,
            missing_first: status.missing.first.iter().map(ToString::to_string).collect(),
        }
    }

    /// All but the sets of resources.
    pub(crate) fn status(&self) -> Option<KindStatus> {
        let rejected = self.rejected.iter().map(|(name, one)| Some((name.as_str().into(), one.rejection()?)));
        let first = self.missing_first.iter().take(windrose_state::limits::MISSING_NAMES).map(|name| name.as_str().into()).collect();
        Some(KindStatus {
            acked_at: (self.acked_at > 0).then(|| time(self.acked_at)),
            rejected: rejected.collect::<Option<_>>()?,
            rejected_response: match &self.rejected_response {
                Some(one) => Some(one.rejection()?),
                None => None,
            },
            missing: Missing { count: usize::try_from(self.missing).ok()?, first },
            ..KindStatus::default()
        })
    }
}

impl Refused {
    fn new(rejection: &Rejection) -> Self {
        Self {
            version: version(rejection.version),
            reason: rejection.reason.to_string(),
            at: milliseconds(rejection.at),
            of_client: rejection.fault == Fault::Client,
        }
    }

    fn rejection(&self) -> Option<Rejection> {
        let fault = if self.of_client { Fault::Client } else { Fault::Content };
        Some(Rejection { version: fingerprint(&self.version)?, fault, reason: Reason::new(&self.reason), at: time(self.at) })
    }
}

/// A resource of which we know no more than which one it is.
pub(crate) fn known_by_name(id: ResourceId, version: Fingerprint) -> Resource {
    Resource { id, version, bytes: Bytes::new(), refs: Arc::from([]) }
}

fn version(version: Fingerprint) -> Bytes {
    Bytes::copy_from_slice(&version.bits().to_be_bytes())
}

fn fingerprint(bytes: &Bytes) -> Option<Fingerprint> {
    let bytes: [u8; 16] = bytes.as_ref().try_into().ok()?;
    Some(Fingerprint::from_bits(u128::from_be_bytes(bytes)))
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// As late as times go, for one that is beyond.
fn time(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
