//! What comes in from a client and what goes out to it, without protobuf: requests of both variants, one response.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windrose_vocab::{Fingerprint, ResourceKind, Text};

use crate::limits;
use crate::resources::Resources;

/// Monotonic time since an origin that the owner of the sessions fixes.
pub type Moment = Duration;

/// What a client says of itself: claims, which prove nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeClaim {
    /// `node.id`.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `node.client_features`.
    pub features: BTreeSet<String>,
}

/// `error_detail` of a request: its presence is what makes a NACK.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The gRPC status code.
    pub code: i32,
    /// The client's text. A secret until it is reduced: it can contain a whole resource.
    pub message: String,
}

impl std::fmt::Debug for Failure {
    /// Never the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Failure(code {}, {} B)", self.code, self.message.len())
    }
}

/// `DiscoveryRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SotwRequest {
    /// `node`; with the first request.
    pub node: Option<NodeClaim>,
    /// `type_url`.
    pub type_url: String,
    /// `resource_names`.
    pub resource_names: Vec<String>,
    /// `version_info`: the last version the client accepted.
    pub version_info: String,
    /// `response_nonce`.
    pub response_nonce: String,
    /// `error_detail`.
    pub error_detail: Option<Failure>,
}

/// `DeltaDiscoveryRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaRequest {
    /// `node`; with the first request.
    pub node: Option<NodeClaim>,
    /// `type_url`.
    pub type_url: String,
    /// `resource_names_subscribe`.
    pub subscribe: Vec<String>,
    /// `resource_names_unsubscribe`.
    pub unsubscribe: Vec<String>,
    /// `initial_resource_versions`.
    pub initial_resource_versions: BTreeMap<String, String>,
    /// `response_nonce`.
    pub response_nonce: String,
    /// `error_detail`.
    pub error_detail: Option<Failure>,
}

/// `DiscoveryResponse` or `DeltaDiscoveryResponse`. Every name occurs once over the three lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Gives the `type_url`.
    pub kind: ResourceKind,
    /// `nonce`, unique on this stream.
    pub nonce: Text,
    /// `version_info` (state of the world) or `system_version_info` (delta, for people).
    pub version: Text,
    /// The resources, in order of name. The version of each one is `resource.version` as text.
    pub resources: Resources,
    /// `removed_resources`; delta only.
    pub removed: Vec<Text>,
    /// Resources that only live on: to be sent without a body; delta only.
    pub heartbeats: Vec<(Text, Fingerprint)>,
    /// `ttl` of every resource in this response.
    pub ttl: Option<Duration>,
    /// State of the world only: whether each resource is to be wrapped in `envoy.service.discovery.v3.Resource`.
    pub wrapped: bool,
}

/// Why a stream ends. The texts hold nothing that the client sent, except names within the limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// `INVALID_ARGUMENT`.
    #[error("type_url is empty")]
    EmptyType,
    /// `INVALID_ARGUMENT`.
    #[error("the first request names no node")]
    NoNode,
    /// `INVALID_ARGUMENT`.
    #[error("the node differs from that of the first request")]
    OtherNode,
    /// `PERMISSION_DENIED`.
    #[error("a wildcard subscription to secrets is refused")]
    SecretWildcard,
    /// `INVALID_ARGUMENT`.
    #[error("{what} has {count} bytes, at most {max} are taken")]
    TooLong {
        /// Which part of the request.
        what: &'static str,
        /// How long it is.
        count: usize,
        /// How long it may be.
        max: usize,
    },
    /// `RESOURCE_EXHAUSTED`.
    #[error("{count} {what}, at most {max} are taken")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// `INVALID_ARGUMENT`: the request is of the other variant than the stream.
    #[error("a request of the other protocol variant")]
    OtherProtocol,
}

impl StreamError {
    /// The gRPC status code that says it.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::EmptyType | Self::NoNode | Self::OtherNode | Self::TooLong { .. } | Self::OtherProtocol => 3,
            Self::SecretWildcard => 7,
            Self::TooMany { .. } => 8,
        }
    }
}

impl SotwRequest {
    /// Refuses what is beyond the limits, before anything of it is kept.
    pub(crate) fn check(&self) -> Result<(), StreamError> {
        check_node(self.node.as_ref())?;
        check_texts([&self.type_url, &self.version_info, &self.response_nonce])?;
        check_names(self.resource_names.len(), self.resource_names.iter())
    }
}

impl DeltaRequest {
    /// Refuses what is beyond the limits, before anything of it is kept.
    pub(crate) fn check(&self) -> Result<(), StreamError> {
        check_node(self.node.as_ref())?;
        check_texts([&self.type_url, &self.response_nonce])?;
        check_texts(self.initial_resource_versions.values())?;
        check_names(self.initial_resource_versions.len(), self.initial_resource_versions.keys())?;
        check_names(self.subscribe.len(), self.subscribe.iter())?;
        check_names(self.unsubscribe.len(), self.unsubscribe.iter())
    }
}

fn check_node(node: Option<&NodeClaim>) -> Result<(), StreamError> {
    let Some(node) = node else { return Ok(()) };
    check_texts([&node.id, &node.cluster])?;
    check_texts(&node.features)?;
    at_most("client features", node.features.len(), limits::FEATURES)
}

fn check_texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<(), StreamError> {
    texts.into_iter().try_for_each(|text| not_longer("a text", text, limits::TEXT_BYTES))
}

fn check_names<'a>(count: usize, mut names: impl Iterator<Item = &'a String>) -> Result<(), StreamError> {
    at_most("names in one request", count, limits::NAMES_PER_REQUEST)?;
    names.try_for_each(|name| not_longer("a resource name", name, limits::NAME_BYTES))
}

fn not_longer(what: &'static str, text: &str, max: usize) -> Result<(), StreamError> {
    if text.len() > max { Err(StreamError::TooLong { what, count: text.len(), max }) } else { Ok(()) }
}

pub(crate) fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), StreamError> {
    if count > max { Err(StreamError::TooMany { what, count, max }) } else { Ok(()) }
}
