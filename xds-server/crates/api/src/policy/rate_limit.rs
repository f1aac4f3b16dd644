//! RateLimitPolicy: how many requests, counted by whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;
use crate::scalar::Duration;

/// Limits how many requests come through, counted within each proxy, exactly over all its workers.
///
/// Attaches to a Gateway, a ListenerSet, a listener of either, a route or one of its rules. Limits of a Gateway and of its routes add up:
/// a request passes when all of them have room. Over a limit the answer is 429 with `RateLimit` headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitPolicy {
    /// What it limits.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// The limits; all must have room.
    #[schemars(length(min = 1, max = 16))]
    pub limits: Vec<Limit>,
    /// Counts and logs only; nobody is refused.
    #[serde(default)]
    pub shadow: bool,
    /// Tell clients by `RateLimit` and `RateLimit-Policy` headers. Yes where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<bool>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// Name, unique within the policy. It stands in `RateLimit` headers: printable ASCII without quotes and backslashes.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[ !#-\[\]-~]+$"))]
    pub name: String,
    /// What is counted apart; everything together where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub key: Vec<KeyPart>,
    /// The quota; with `plans` that of requests whose plan is not listed.
    pub quota: Quota,
    /// Quotas by billing plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<Plans>,
}

/// One part of what is counted apart. Exactly one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPart {
    /// A claim of the verified token; requests without it share one bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The trusted client address (IPv6 by /64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<bool>,
    /// A request header; requests without it share one bucket, and so do those that repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<bool>,
}

/// So many requests in a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Requests per window; 0 refuses all.
    #[schemars(range(max = 1_000_000_000))]
    pub requests: u32,
    /// The window, 1 ms to 24 h.
    pub window: Duration,
    /// Requests at once; after them one per `window / requests`. In one window pass at most `burst + requests - 1`: a burst of 1 spaces them evenly. `requests` where absent. All of them come back within 100 years: `burst × window / requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000_000))]
    pub burst: Option<u32>,
}

/// Quotas by billing plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plans {
    /// The claim of the verified token that names the plan.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// The plans.
    #[schemars(length(min = 1, max = 64))]
    pub quotas: Vec<Plan>,
}

/// One billing plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Its name, as the claim has it.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its quota.
    pub quota: Quota,
}
