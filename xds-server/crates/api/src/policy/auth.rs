//! AuthPolicy: who may come in, by JSON Web Token, and what is public by whose word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TargetRef;
use crate::scalar::Duration;

/// Requires a JSON Web Token (RFC 7519), or says by whose word none is needed.
///
/// Attaches to a Gateway, a ListenerSet, a listener of either, a route or one of its rules. Policies around a rule add up: a request has to
/// satisfy all of them, unless a more specific one says `override` and stands in the place of those that are more general. Those on one
/// target add up always; `override` counts where all of them say it. Where no token can satisfy two policies nobody passes. One for a rule
/// that the route does not have holds, until it has, for each of its rules that no AuthPolicy names: a rule that is renamed is not open for
/// that.
/// What no policy covers is open, and `windrose check --coverage` says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthPolicy {
    /// What it protects.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// Token issuers; a token of any of them is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub jwt: Vec<JwtProvider>,
    /// Claims that a token must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub required_claims: Vec<RequiredClaim>,
    /// Scopes that a token must have, all of them (`scope` or `scp`, RFC 8693).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub required_scopes: Vec<String>,
    /// Claims that the service gets as headers. Copies that a client sends are taken off, always. A token is refused where one of these claims is empty, begins or ends with white space, or has control characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub claims_to_headers: Vec<ClaimToHeader>,
    /// No token is needed, and somebody said so. Excludes every field but `targetRefs` and `override`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Public>,
    /// This policy replaces a less specific one instead of adding to it.
    #[serde(default, rename = "override")]
    pub replace: bool,
}

/// Why a route needs no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Public {
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Who approved it: a name or an address.
    #[schemars(length(min = 1, max = 256))]
    pub approved_by: String,
}

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtProvider {
    /// Name, unique within the policy.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The `iss` claim, exactly.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// The `aud` claim must have one of these.
    #[schemars(length(min = 1, max = 32))]
    pub audiences: Vec<String>,
    /// The keys.
    pub jwks: KeySource,
    /// Algorithms that are taken: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512. Where empty, every asymmetric one that a key is for: PS* only with a key whose `alg` says so, HS* never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12))]
    pub algorithms: Vec<String>,
    /// Clock difference forgiven in `exp` and `nbf`, at most 5 minutes. 60 seconds where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Duration>,
    /// Where the token may be. A request with more than one is refused, and so is one that repeats the header of a token. `Authorization: Bearer` where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub from: Vec<TokenSource>,
    /// Whether the service gets the token too. No where absent.
    #[serde(default)]
    pub forward: bool,
}

/// Whether that is a JSON Web Key Set with at least one key (RFC 7517); each key is for the filter to judge. One that is none would deny
/// everybody, or its author has something else in mind.
///
/// # Errors
/// What it is not, to be put behind what it is called; never a part of it.
pub fn check_key_set(document: &[u8]) -> Result<(), String> {
    let parsed: serde_json::Value = serde_json::from_slice(document)
        .map_err(|error| format!("is not JSON: line {}, column {} of the document", error.line(), error.column()))?;
    let keys = parsed.get("keys").and_then(serde_json::Value::as_array).ok_or("is not a JSON Web Key Set: it has no list `keys`")?;
    if keys.is_empty() { Err("has no keys".to_owned()) } else { Ok(()) }
}

/// Where the keys are (RFC 7517). Exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySource {
    /// The JWKS document itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A file, relative to the file that declares the policy; followed when it changes. Files mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A Secret or ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<KeyObject>,
}

/// A value in a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyObject {
    /// Secret or ConfigMap.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Key within it. `jwks.json` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Where a token is. Exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSource {
    /// A header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// What stands before the token in that header, such as `Bearer `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A query parameter; it is taken off before the request goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
}

/// A claim that must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequiredClaim {
    /// Name, or a path with dots: `realm_access.roles`.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// The claim must be, or contain, one of these. Any value where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub any_of: Vec<String>,
}

/// A claim that the service gets as a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimToHeader {
    /// Name, or a path with dots.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// Header. What clients send under its name is taken off on every route of the Gateway's port, so it is none with a meaning of its own,
    /// such as `host`, `authorization`, `content-type`, `accept` or `x-forwarded-for` (such a policy is refused), and none in which an older policy at the same
    /// Gateway looks for tokens.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^[a-z0-9-]+$"))]
    pub header: String,
}
