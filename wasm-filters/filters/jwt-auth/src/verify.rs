//! One token against one policy: from bytes to verified claims, or the first reason against. Everything a stranger can
//! choose is bounded before it is read, and nothing he names (`jku`, `x5u`, `jwk`, `x5c`) is ever followed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::errors::ErrorKind;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use windrose_filter_kit::Host;
use windrose_filter_kit::policy::claim_property;

use crate::cache::Verified;
use crate::claims::{self, Claims, Lifetime};
use crate::config::Algorithm;
use crate::json;
use crate::limits::TOKEN_BYTES_MAX;
use crate::place::Found;
use crate::refusal::Refusal;
use crate::signature::Verification;
use crate::table::{Issuer, JwtRules};

/// Header and claims as the token says them, before anything is believed.
struct Unverified {
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Claims,
}

/// Verifies a token at this moment.
pub(crate) fn verify(rules: &JwtRules, found: Found<'_>, host: &dyn Host, now_seconds: u64) -> Result<Verified, Refusal> {
    let unverified = read(found.token)?;
    let (number, issuer) = issuer_of(rules, &unverified.claims)?;
    if !issuer.from.contains(found.location) {
        return Err(Refusal::LocationRefused);
    }
    check_type(issuer, unverified.typ.as_deref())?;
    check_signature(issuer, &unverified, found.token, host)?;
    let lifetime = Lifetime::of(&unverified.claims, issuer.leeway_seconds)?;
    lifetime.check(now_seconds)?;
    claims::check(&unverified.claims, &rules.require, &rules.any_of)?;
    hand_on(rules, &unverified.claims, lifetime, number)
}

/// Size, shape, encoding, strict JSON, and the header members that change the meaning of a token.
fn read(token: &[u8]) -> Result<Unverified, Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(claims), Some(_signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::Malformed);
    };
    let header = object(header)?;
    if ["crit", "zip", "enc", "b64"].iter().any(|name| header.contains_key(*name)) || is_nested(&header)? {
        return Err(Refusal::CriticalHeader);
    }
    let algorithm = text(&header, "alg")?.and_then(|name| name.parse().ok()).ok_or(Refusal::AlgorithmRefused)?;
    let (kid, typ) = (text(&header, "kid")?.map(str::to_owned), text(&header, "typ")?.map(str::to_ascii_lowercase));
    Ok(Unverified { algorithm, kid, typ, claims: object(claims)? })
}

/// `cty: JWT` announces a token inside the token (RFC 7519, section 5.2), which we do not open.
fn is_nested(header: &Map<String, Value>) -> Result<bool, Refusal> {
    Ok(text(header, "cty")?.is_some_and(|cty| cty.eq_ignore_ascii_case("jwt")))
}

fn object(part: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    json::parse_object(&bytes).ok_or(Refusal::Malformed)
}

fn text<'a>(header: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(Refusal::Malformed),
    }
}

fn issuer_of<'a>(rules: &'a JwtRules, claims: &Claims) -> Result<(usize, &'a Issuer), Refusal> {
    let iss = claims.get("iss").and_then(Value::as_str).ok_or(Refusal::IssuerUnknown)?;
    rules.issuers.iter().enumerate().find(|(_, issuer)| issuer.issuer == iss).ok_or(Refusal::IssuerUnknown)
}

/// RFC 8725, section 3.11: a token made for one purpose is not taken for another.
fn check_type(issuer: &Issuer, typ: Option<&str>) -> Result<(), Refusal> {
    let bare = typ.map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let fine = match bare {
        None => issuer.typ.is_empty(),
        Some(typ) if issuer.typ.is_empty() => ["jwt", "at+jwt"].contains(&typ),
        Some(typ) => issuer.typ.iter().any(|allowed| allowed == typ),
    };
    if fine { Ok(()) } else { Err(Refusal::TypeRefused) }
}

/// Algorithm, key, signature, issuer and audience, by `jsonwebtoken` with the one key that fits.
fn check_signature(issuer: &Issuer, unverified: &Unverified, token: &[u8], host: &dyn Host) -> Result<(), Refusal> {
    let algorithm = unverified.algorithm;
    let validation = issuer.validations.get(&algorithm).ok_or(Refusal::AlgorithmRefused)?;
    let key = issuer.keys.select(algorithm, unverified.kid.as_deref()).ok_or(Refusal::KeyUnknown)?;
    // The claims were read strictly before, and the key is the one in scope: neither is asked of `jsonwebtoken`.
    let empty = DecodingKey::from_secret(&[]);
    let decoded = Verification { host, algorithm, key }.scope(|| jsonwebtoken::decode::<IgnoredAny>(token, &empty, validation));
    decoded.map(|_| ()).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Refusal::SignatureInvalid,
        ErrorKind::InvalidAudience => Refusal::AudienceWrong,
        ErrorKind::InvalidIssuer => Refusal::IssuerUnknown,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Refusal::AudienceWrong,
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => Refusal::TimeMalformed,
        _ => Refusal::Malformed,
    })
}

/// What later filters and the upstream hear. A claim that cannot be written in a header ends the request: leaving it out
/// would say something else than the token.
fn hand_on(rules: &JwtRules, claims: &Claims, lifetime: Lifetime, issuer: usize) -> Result<Verified, Refusal> {
    let said = |path, text: fn(&Value) -> Option<String>| match claims::find(claims, path) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text(value).map(Some).ok_or(Refusal::ClaimNotForwardable),
    };
    let mut verified = Verified { lifetime, issuer, headers: Vec::new(), properties: Vec::new() };
    for claim in &rules.claims_to_headers {
        verified.headers.extend(said(&claim.claim, claims::header_text)?.map(|text| (claim.header.clone(), text)));
    }
    for path in &rules.claims_to_properties {
        verified.properties.extend(said(path, claims::text)?.map(|text| (claim_property(&path.to_string()), text)));
    }
    Ok(verified)
}
