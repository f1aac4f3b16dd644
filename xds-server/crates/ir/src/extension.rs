//! The tables of our own filters: policies by id, one table per filter and listener. Routes name ids; an unknown id is denied.

use std::collections::{BTreeMap, BTreeSet};

use windrose_vocab::{Duration, Sensitive, Text, canonical};

/// The configuration of one filter of ours on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// JWT authentication.
    JwtAuth(JwtTable),
    /// Rate limiting within one proxy.
    RateLimit(RateLimitTable),
    /// REST to gRPC.
    Transcoder(TranscoderTable),
}

/// The entry of routes that no policy speaks of.
pub const OPEN: &str = "open";

/// Authentication policies by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JwtTable {
    /// What each id requires.
    pub policies: BTreeMap<Text, AuthRule>,
}

/// What a request must show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthRule {
    /// Nothing; somebody signed that off.
    Public,
    /// A token of one of these providers.
    Jwt(JwtRule),
    /// Nobody passes: the policy could not be understood.
    Deny {
        /// Headers that it would set from claims: clients' own copies are taken off on every route all the same.
        taken_off: BTreeSet<Text>,
    },
}

/// A token of one of some providers, with claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JwtRule {
    /// Providers, in the order they were declared.
    pub providers: Vec<JwtProvider>,
    /// All of these must hold.
    pub claims: Vec<ClaimRequirement>,
    /// All of these scopes must be there.
    pub scopes: Vec<Text>,
    /// Claims copied to request headers: claim path, header. Clients' own copies are always taken off.
    pub claims_to_headers: Vec<(Text, Text)>,
    /// Claims, by path, that the filters behind read (limits by claim, plans). Sorted.
    pub shared_claims: Vec<Text>,
}

/// Who issues tokens, and by which keys they are checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JwtProvider {
    /// Name.
    pub name: Text,
    /// `iss`, exactly.
    pub issuer: Text,
    /// `aud` must have one of them; never empty.
    pub audiences: Vec<Text>,
    /// JWKS document; may hold symmetric keys.
    pub jwks: Sensitive,
    /// Algorithms that are taken, by their JOSE names; those of the keys where empty.
    pub algorithms: Vec<Text>,
    /// Clock difference forgiven.
    pub leeway: Duration,
    /// Where the token is looked for, in order; `authorization: Bearer` where empty.
    pub sources: Vec<TokenSource>,
    /// Whether the token is sent on.
    pub forward: bool,
}

/// Where a token is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// A header, after this prefix.
    Header(Text, Text),
    /// A query parameter.
    Query(Text),
    /// A cookie.
    Cookie(Text),
}

/// A claim and the values of which it must have one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimRequirement {
    /// Path of members, with dots.
    pub claim: Text,
    /// Values; present with any value where empty.
    pub any_of: Vec<Text>,
}

/// Rate limits by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateLimitTable {
    /// What each id allows: all its limits must have room.
    pub policies: BTreeMap<Text, Vec<RateLimit>>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Name, for headers and statistics.
    pub name: Text,
    /// What is counted apart: one bucket per combination of values.
    pub key: Vec<KeyPart>,
    /// Quotas by value of the plan claim; `default` where it has none of them.
    pub plans: Option<Plans>,
    /// Quota where there are no plans.
    pub default: Quota,
    /// Counted and told in headers of logs, never enforced.
    pub shadow: bool,
    /// Whether `RateLimit` headers tell the client.
    pub headers: bool,
}

/// Quotas by billing plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plans {
    /// The claim that names the plan.
    pub claim: Text,
    /// Quota by plan.
    pub quotas: BTreeMap<Text, Quota>,
}

/// So many requests in a window, with so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Requests per window. 0: none.
    pub requests: u32,
    /// The window.
    pub window: Duration,
    /// Requests at once; at least `requests` where it is smaller the bucket holds that many.
    pub burst: u32,
}

/// One part of a limit's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart {
    /// A verified claim.
    Claim(Text),
    /// The trusted client address; IPv6 by its /64.
    ClientAddress,
    /// A header.
    Header(Text),
    /// The route.
    Route,
}

/// Transcoding by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TranscoderTable {
    /// `FileDescriptorSet`s by the fingerprint of their bytes.
    pub descriptors: BTreeMap<Text, bytes::Bytes>,
    /// What each id transcodes; none where the policy cannot be used.
    pub policies: BTreeMap<Text, Option<TranscoderRule>>,
}

/// Which services are spoken as REST, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TranscoderRule {
    /// Key into the descriptors.
    pub descriptor: Text,
    /// Full names of services.
    pub services: Vec<Text>,
    /// Print fields that have their default value.
    pub always_print_primitive_fields: bool,
    /// Print enums as numbers.
    pub enums_as_integers: bool,
    /// Print the names of the `.proto` file instead of camelCase.
    pub preserve_proto_field_names: bool,
    /// Drop unknown JSON fields instead of answering 400.
    pub ignore_unknown_fields: bool,
    /// Largest JSON body.
    pub max_request_bytes: u32,
    /// Largest message of the service.
    pub max_response_bytes: u32,
}

canonical!(
    enum Extension {
        JwtAuth(t),
        RateLimit(t),
        Transcoder(t),
    }
);
canonical!(struct JwtTable { policies });
canonical!(
    enum AuthRule {
        Public,
        Jwt(rule),
        Deny { taken_off },
    }
);
canonical!(struct JwtRule { providers, claims, scopes, claims_to_headers, shared_claims });
canonical!(struct JwtProvider { name, issuer, audiences, jwks, algorithms, leeway, sources, forward });
canonical!(
    enum TokenSource {
        Header(name, prefix),
        Query(name),
        Cookie(name),
    }
);
canonical!(struct ClaimRequirement { claim, any_of });
canonical!(struct RateLimitTable { policies });
canonical!(struct RateLimit { name, key, plans, default, shadow, headers });
canonical!(struct Plans { claim, quotas });
canonical!(struct Quota { requests, window, burst });
canonical!(
    enum KeyPart {
        Claim(c),
        ClientAddress,
        Header(h),
        Route,
    }
);
canonical!(struct TranscoderTable { descriptors, policies });
canonical!(struct TranscoderRule { descriptor, services, always_print_primitive_fields, enums_as_integers, preserve_proto_field_names, ignore_unknown_fields, max_request_bytes, max_response_bytes });
