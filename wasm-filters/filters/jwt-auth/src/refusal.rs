//! Why a request is refused, and how a client hears it: 401 with a challenge (RFC 6750, section 3), 403 for a good token that
//! says too little, 431 for one too large. Nothing that the client sent is repeated.

use windrose_filter_kit::Denial;

/// Every reason of this filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    Missing,
    Ambiguous,
    TooLarge,
    Malformed,
    CriticalHeader,
    AlgorithmRefused,
    TypeRefused,
    IssuerUnknown,
    LocationRefused,
    KeyUnknown,
    SignatureInvalid,
    AudienceWrong,
    TimeMalformed,
    Expired,
    NotYetValid,
    ClaimNotForwardable,
    ClaimMissing,
    ScopeMissing,
    HostFailed,
}

impl Refusal {
    /// The denial in words. `scopes` are those the policy asks for, for the challenge of a 403.
    pub(crate) fn denial(self, scopes: &[String]) -> Denial {
        let (status, code, message) = self.words();
        let denial = Denial::new(status, code, message);
        match self {
            Self::Missing => denial.with_header("www-authenticate", "Bearer realm=\"windrose\""),
            Self::ClaimMissing | Self::ScopeMissing | Self::ClaimNotForwardable => {
                let scope = if scopes.is_empty() { String::new() } else { format!(", scope=\"{}\"", scopes.join(" ")) };
                denial.with_header("www-authenticate", format!("Bearer realm=\"windrose\", error=\"insufficient_scope\"{scope}"))
            }
            Self::TooLarge | Self::HostFailed => denial,
            Self::Ambiguous
            | Self::Malformed
            | Self::CriticalHeader
            | Self::AlgorithmRefused
            | Self::TypeRefused
            | Self::IssuerUnknown
            | Self::LocationRefused
            | Self::KeyUnknown
            | Self::SignatureInvalid
            | Self::AudienceWrong
            | Self::TimeMalformed
            | Self::Expired
            | Self::NotYetValid => denial.with_header(
                "www-authenticate",
                format!("Bearer realm=\"windrose\", error=\"invalid_token\", error_description=\"{message}\""),
            ),
        }
    }

    fn words(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Missing => (401, "token_missing", "a bearer token is required"),
            Self::Ambiguous => (401, "token_ambiguous", "the request has more than one token, or repeats the header of one"),
            Self::TooLarge => (431, "token_too_large", "the token has more than 8192 bytes"),
            Self::Malformed => (401, "token_malformed", "the token is not a JSON Web Token in compact form"),
            Self::CriticalHeader => (401, "token_critical_header", "the token has a critical or encoding header that is not understood"),
            Self::AlgorithmRefused => (401, "token_algorithm_refused", "the token's algorithm is not allowed"),
            Self::TypeRefused => (401, "token_type_refused", "the token is of a type that is not allowed here"),
            Self::IssuerUnknown => (401, "token_issuer_unknown", "the token's issuer is not known here"),
            Self::LocationRefused => (401, "token_location_refused", "the token's issuer is not taken from this place of the request"),
            Self::KeyUnknown => (401, "token_key_unknown", "no single key of the issuer fits the token"),
            Self::SignatureInvalid => (401, "token_signature_invalid", "the token's signature is not valid"),
            Self::AudienceWrong => (401, "token_audience_wrong", "the token is not for this audience"),
            Self::TimeMalformed => (401, "token_time_malformed", "a time in the token is not a time"),
            Self::Expired => (401, "token_expired", "the token has expired"),
            Self::NotYetValid => (401, "token_not_yet_valid", "the token is not valid yet"),
            Self::ClaimNotForwardable => (403, "claim_not_forwardable", "a claim of the token cannot be sent as a header"),
            Self::ClaimMissing => (403, "claim_missing", "the token lacks a required claim"),
            Self::ScopeMissing => (403, "scope_missing", "the token lacks a required scope"),
            Self::HostFailed => (500, "filter_failed", "the request could not be prepared"),
        }
    }
}
