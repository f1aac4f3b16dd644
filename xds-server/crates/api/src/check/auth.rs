//! AuthPolicy.

use std::time::Duration;

use windrose_vocab::Code;

use super::{Check, exactly_one, header_name, target, unique, within};
use crate::decode::{Path, Report, nearest};
use crate::header::is_reserved;
use crate::policy::{AuthPolicy, JwtProvider, KeySource, TokenSource, check_key_set};

/// What a filter can verify. `none` and ES512 are not among them.
const ALGORITHMS: [&str; 12] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

const LEEWAY: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(300));

impl Check for AuthPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        let rest =
            self.jwt.is_empty() && self.required_claims.is_empty() && self.required_scopes.is_empty() && self.claims_to_headers.is_empty();
        if self.public.is_some() && !rest {
            report.error(&at.field("public"), Code::Invalid, "excludes `jwt`, `requiredClaims`, `requiredScopes` and `claimsToHeaders`");
        }
        // Claims, scopes and headers alone add to the providers of a more general policy.
        if self.public.is_none() && rest {
            let message = "one of `jwt`, `requiredClaims`, `requiredScopes`, `claimsToHeaders`, `public` must be there";
            report.error(&at.field("jwt"), Code::MissingField, message);
        }
        let at_jwt = at.field("jwt");
        unique(self.jwt.iter().map(|provider| provider.name.as_str()), "name", &at_jwt, report);
        self.jwt.iter().enumerate().for_each(|(index, provider)| jwt(provider, &at_jwt.index(index), report));
        let at_headers = at.field("claimsToHeaders");
        unique(self.claims_to_headers.iter().map(|entry| entry.header.as_str()), "header", &at_headers, report);
        for (index, entry) in self.claims_to_headers.iter().enumerate().filter(|(_, entry)| is_reserved(&entry.header.to_ascii_lowercase()))
        {
            let message = format!("header `{}` has a meaning of its own and is not set from a claim", entry.header.escape_debug());
            report.error(&at_headers.index(index).field("header"), Code::Invalid, message);
        }
    }
}

fn jwt(provider: &JwtProvider, at: &Path<'_>, report: &mut Report) {
    keys(&provider.jwks, &at.field("jwks"), report);
    let at_algorithms = at.field("algorithms");
    for (index, algorithm) in provider.algorithms.iter().enumerate().filter(|(_, name)| !ALGORITHMS.contains(&name.as_str())) {
        let at = at_algorithms.index(index);
        let message = format!("algorithm `{}` is not supported", algorithm.escape_debug());
        let hint = match nearest(algorithm, ALGORITHMS) {
            Some(best) => format!("did you mean `{best}`?"),
            None => format!("known here: {}", ALGORITHMS.join(", ")),
        };
        report.error_with_hint(&at, Code::Unsupported, message, hint);
    }
    if let Some(leeway) = provider.leeway {
        within(leeway.0, LEEWAY, &at.field("leeway"), report);
    }
    for (index, audience) in provider.audiences.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
        report.error(&at.field("audiences").index(index), Code::OutOfRange, format!("`{audience}` is empty"));
    }
    let at_from = at.field("from");
    provider.from.iter().enumerate().for_each(|(index, from)| token(from, &at_from.index(index), report));
}

fn keys(source: &KeySource, at: &Path<'_>, report: &mut Report) {
    let KeySource { inline, file, object } = source;
    exactly_one(&[("inline", inline.is_some()), ("file", file.is_some()), ("object", object.is_some())], at, report);
    if let Some(object) = object.as_ref().filter(|object| !matches!(object.kind.as_str(), "Secret" | "ConfigMap")) {
        let at = at.field("object");
        report.error(&at.field("kind"), Code::InvalidKind, format!("`{}` is neither Secret nor ConfigMap", object.kind.escape_debug()));
    }
    // What a file says was checked when it was read, where its name is known.
    if let Some(Err(why)) = inline.as_ref().map(|inline| check_key_set(inline.as_bytes())) {
        report.error(&at.field("inline"), Code::Invalid, why);
    }
}

fn token(from: &TokenSource, at: &Path<'_>, report: &mut Report) {
    let TokenSource { header, prefix, query, cookie } = from;
    exactly_one(&[("header", header.is_some()), ("query", query.is_some()), ("cookie", cookie.is_some())], at, report);
    if prefix.is_some() && header.is_none() {
        report.error(&at.field("prefix"), Code::Invalid, "belongs to `header`");
    }
    if let Some(header) = header {
        header_name(header, &at.field("header"), report);
    }
}
