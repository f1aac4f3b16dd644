//! EdgePolicy: what a listener takes from strangers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;
use crate::scalar::Duration;

/// Limits what strangers may send. Every field has a safe default that holds without any policy.
///
/// Attaches to a Gateway or one of its listeners, or to a ListenerSet or one of its; field by field the listener's wins. `addresses` are
/// judged for the hosts of each listener. The rest a port has but once where HTTP listeners share it (`connections` and
/// `timeouts.handshake` at every protocol): there the first listener by name that says anything of its own decides, and a warning
/// tells the others what is not in force. At a ListenerSet of another namespace than its Gateway `addresses` of both hold, `paths` are as the
/// stricter of both says, and `trustedHops` as the Gateway's does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EdgePolicy {
    /// What it concerns.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// TLS floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFloor>,
    /// Connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionLimits>,
    /// Headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderLimits>,
    /// Bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyLimits>,
    /// HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<Http2Limits>,
    /// Times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeLimits>,
    /// Paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Paths>,
    /// Proxies of your own in front of this one, whose `x-forwarded-for` is believed, 0 to 10. 0 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10))]
    pub trusted_hops: Option<u32>,
    /// Client addresses that may connect at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressRules>,
}

/// TLS floor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsFloor {
    /// Lowest version. 1.2 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<TlsVersion>,
}

/// TLS versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

/// Connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionLimits {
    /// At once, per listener. 50,000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: Option<u32>,
    /// Bytes buffered for each. 32 KiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4096, max = 16_777_216))]
    pub buffer_bytes: Option<u32>,
}

/// Headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderLimits {
    /// All together, in KiB, 1 to 8,192. 60 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub max_kib: Option<u32>,
    /// How many. 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_count: Option<u32>,
}

/// Bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodyLimits {
    /// Bytes; a larger one gets 413. Unlimited where absent, and streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_bytes: Option<u64>,
}

/// HTTP/2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http2Limits {
    /// Streams at once on one connection. 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_streams: Option<u32>,
    /// Bytes in flight on one stream. 64 KiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65535, max = 2_147_483_647))]
    pub stream_window_bytes: Option<u32>,
    /// Bytes in flight on one connection. 1 MiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 65535, max = 2_147_483_647))]
    pub connection_window_bytes: Option<u32>,
}

/// Times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeLimits {
    /// For the TLS hello and handshake. 10 s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Duration>,
    /// For all request headers. 10 s where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Duration>,
    /// For a whole request with its body; `0s` is unlimited. 5 m where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// A stream without bytes, unless a TrafficPolicy says another time for its route (`timeouts.idle`). 5 m where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle: Option<Duration>,
    /// A connection without streams. 1 h where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_idle: Option<Duration>,
    /// A connection in all. Unlimited where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Duration>,
}

/// Paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Paths {
    /// Resolve `.` and `..` before matching (RFC 3986). Yes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// `//` becomes `/`. Yes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_slashes: Option<bool>,
    /// `%2F` and `%5C`. Reject where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escaped_slashes: Option<EscapedSlashes>,
    /// Parameters of segments, such as `/a;x=1`: many services take that for `/a`, while routes and rules compare it as it stands. Reject
    /// where absent. Dots with parameters (`/%2e%2e;/`) are refused always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<PathParameters>,
}

/// What happens to a path with parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathParameters {
    /// Kept as they are.
    Keep,
    /// 400.
    Reject,
}

/// What happens to an escaped slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EscapedSlashes {
    /// Kept as it is.
    Keep,
    /// 400.
    Reject,
    /// Unescaped, and the client redirected there.
    UnescapeAndRedirect,
}

/// Client addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressRules {
    /// Networks (`10.0.0.0/8`) that may; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub allow: Vec<String>,
    /// Networks that may not; wins over `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub deny: Vec<String>,
}
