//! The filter's configuration as JSON: a table from policy id to policy. The control plane writes it with these very
//! types and compiles it ([`Config::compile`]) before Envoy sees it, so a mistake has a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything one listener's filter knows: which policy id means what. An id that is not here is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Policies by the id that routes name in their metadata.
    pub policies: BTreeMap<String, Policy>,
    /// Ids under which nobody passes, whatever they were before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<String>,
    /// Headers that policies which are not here would set from claims, in lower case. What a client sends under these names is removed
    /// on every route of the listener too: that a policy admits nobody opens its headers on no other route.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taken_off: BTreeSet<String>,
}

/// What a route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Policy {
    /// Everybody may come; a token, if there is one, is not looked at.
    Public {},
    /// A verified token, always.
    Jwt(JwtPolicy),
}

/// What a token must be and say, and who hears of its claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtPolicy {
    /// Whose tokens are taken, at least one; the token's `iss` chooses. No two have the same issuer.
    pub providers: Vec<Provider>,
    /// What every token must say.
    #[serde(default, skip_serializing_if = "Requirement::is_empty")]
    pub require: Requirement,
    /// If not empty, at least one of these must hold as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Requirement>,
    /// Verified claims that the upstream sees as headers. What a client sends under these names is removed on every route
    /// of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims_to_headers: Vec<ClaimToHeader>,
    /// Verified claims that later filters, access logs and Envoy's own matchers may read as properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims_to_properties: Vec<ClaimPath>,
    /// Whether a CORS preflight passes without a token (browsers never send one with it).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_cors_preflight: bool,
}

/// One issuer of tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name for messages to operators.
    pub name: String,
    /// Exactly the token's `iss`.
    pub issuer: String,
    /// The token's `aud` must contain one of these, exactly; at least one.
    pub audiences: Vec<String>,
    /// The keys: a JWKS document (RFC 7517) as text.
    pub jwks: String,
    /// Which algorithms are taken; empty means every asymmetric one, PSS only with keys whose `alg` says so. HMAC must be
    /// named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<Algorithm>,
    /// Clock difference forgiven for `exp`, `nbf` and `iat`, in seconds, at most 300.
    #[serde(default = "default_leeway_seconds")]
    pub leeway_seconds: u32,
    /// Where the token may lie; empty means `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Location>,
    /// Which `typ` is taken, without `application/`, in any case. Empty means `JWT`, `at+jwt` or none; if not empty, the
    /// token must name one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub typ: Vec<String>,
    /// Whether the upstream still gets the token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}

/// A place where a client puts its token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Location {
    /// A header; with a scheme (`Bearer`) its value is `scheme SP token`, without it the token alone.
    Header {
        /// Header name, lower case.
        name: String,
        /// Authentication scheme, compared in any case.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheme: Option<String>,
    },
    /// A query parameter.
    Query {
        /// Parameter name, compared byte by byte after decoding.
        name: String,
    },
    /// A cookie.
    Cookie {
        /// Cookie name, compared byte by byte.
        name: String,
    },
}

/// Claims and scopes that must all be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Claims with the values that are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimRule>,
    /// Scopes, from `scope` (separated by spaces) and `scp` (the same, or an array).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

/// One claim and its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// Which claim.
    pub claim: ClaimPath,
    /// The claim equals one of these strings, numbers or booleans, or is an array that contains one. Empty: anything but null.
    pub any_of: Vec<Value>,
}

/// A claim that becomes a request header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimToHeader {
    /// Which claim; absent or null, there is no header. One that is empty, begins or ends with white space or has control
    /// characters refuses the token. A string is sent as it is, commas too.
    pub claim: ClaimPath,
    /// Header name, lower case.
    pub header: String,
}

/// The way to a claim: member names from the outside in. Written `"realm_access.roles"`, or as an array where a name
/// itself has a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "ClaimPathText", into = "ClaimPathText")]
pub struct ClaimPath(pub Vec<String>);

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ClaimPathText {
    Dotted(String),
    Segments(Vec<String>),
}

impl From<ClaimPathText> for ClaimPath {
    fn from(text: ClaimPathText) -> Self {
        match text {
            ClaimPathText::Dotted(text) => Self(text.split('.').map(str::to_owned).collect()),
            ClaimPathText::Segments(segments) => Self(segments),
        }
    }
}

impl From<ClaimPath> for ClaimPathText {
    fn from(path: ClaimPath) -> Self {
        if path.0.iter().any(|segment| segment.contains('.')) { Self::Segments(path.0) } else { Self::Dotted(path.0.join(".")) }
    }
}

impl ClaimPath {
    /// The path of a claim at the top.
    pub fn top(name: impl Into<String>) -> Self {
        Self(vec![name.into()])
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A signature algorithm (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All of them, by family.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// Whether the verifier holds the signer's secret.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// Whether it is RSASSA-PSS.
    #[must_use]
    pub(crate) fn is_pss(self) -> bool {
        matches!(self, Self::PS256 | Self::PS384 | Self::PS512)
    }

    /// The hash it signs.
    #[must_use]
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::HS256 | Self::RS256 | Self::PS256 | Self::ES256 => Hash::Sha256,
            Self::HS384 | Self::RS384 | Self::PS384 | Self::ES384 => Hash::Sha384,
            Self::HS512 | Self::RS512 | Self::PS512 | Self::EdDSA => Hash::Sha512,
        }
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// A hash function of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Bytes of its output.
    #[must_use]
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Its name in BoringSSL.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

impl From<Algorithm> for &'static str {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.name()
    }
}

impl TryFrom<String> for Algorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| match name {
            "ES512" => "algorithm ES512 is not supported; ES256 and ES384 are".to_owned(),
            _ if name.eq_ignore_ascii_case("none") => "algorithm \"none\" is never accepted".to_owned(),
            _ => format!("algorithm {name:?} is unknown; known are {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

impl Requirement {
    /// Whether nothing is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.scopes.is_empty()
    }
}

impl Location {
    /// `Authorization: Bearer`, as RFC 6750 has it.
    #[must_use]
    pub fn bearer() -> Self {
        Self::Header { name: "authorization".to_owned(), scheme: Some("Bearer".to_owned()) }
    }
}

/// The JWKS can hold shared secrets, so it is left out.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn default_leeway_seconds() -> u32 {
    60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_reads_back_as_it_was_written() {
        let text = r#"{"policies":{"open":{"public":{}},"orders":{"jwt":{"providers":[{"name":"main","issuer":"https://id.example","audiences":["orders"],"jwks":"{\"keys\":[]}","algorithms":["ES256"],"leeway_seconds":5,"from":[{"header":{"name":"authorization","scheme":"Bearer"}},{"query":{"name":"access_token"}},{"cookie":{"name":"session"}}],"typ":["at+jwt"],"forward":true}],"require":{"claims":[{"claim":"realm_access.roles","any_of":["admin",1,true]}],"scopes":["orders:read"]},"any_of":[{"scopes":["a"]}],"claims_to_headers":[{"claim":["https://id.example/tier"],"header":"x-tier"}],"claims_to_properties":["sub"],"allow_cors_preflight":true}}},"closed":["left"],"taken_off":["x-user"]}"#;
        let config: Config = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = r#"{"policies":{"x":{"jwt":{"providers":[],"allow_missing":true}}}}"#;
        assert!(serde_json::from_str::<Config>(text).unwrap_err().to_string().contains("allow_missing"));
    }

    #[test]
    fn es512_and_none_are_refused_by_name() {
        assert!("ES512".parse::<Algorithm>().unwrap_err().contains("ES512 is not supported"));
        assert!("nOnE".parse::<Algorithm>().unwrap_err().contains("never accepted"));
        assert!("HS1".parse::<Algorithm>().unwrap_err().contains("EdDSA"));
    }

    #[test]
    fn debug_output_has_no_keys() {
        let provider: Provider =
            serde_json::from_str(r#"{"name":"n","issuer":"i","audiences":["a"],"jwks":"{\"k\":\"s3cret\"}"}"#).unwrap();
        assert!(!format!("{provider:?}").contains("s3cret"));
        assert_eq!(provider.leeway_seconds, 60);
    }
}
