//! The compiled configuration: everything checked and parsed, so that a request only looks up. The planner compiles too,
//! natively, to have the reason of a refusal before Envoy refuses without one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jsonwebtoken::Validation;
use windrose_filter_kit::ConfigError;
use windrose_filter_kit::policies::Policies;

use crate::config::{Algorithm, ClaimPath, ClaimToHeader, Config, JwtPolicy, Location, Policy, Provider, Requirement};
use crate::keys::KeySet;
use crate::limits::LEEWAY_SECONDS_MAX;
use crate::signature::as_theirs;

/// A checked configuration.
#[derive(Debug)]
pub struct Table {
    pub(crate) policies: Policies<Compiled>,
    /// Every header that any policy sets from claims, or would; clients never get theirs through, on any route.
    pub(crate) stripped: BTreeSet<String>,
    /// Every header in which some policy looks for a token.
    pub(crate) token_headers: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) enum Compiled {
    Public,
    Jwt(JwtRules),
}

/// One policy, ready to run.
#[derive(Debug)]
pub(crate) struct JwtRules {
    /// Number of the policy in its table; cached results are good only for it.
    pub(crate) number: u32,
    pub(crate) issuers: Vec<Issuer>,
    /// Every place where some issuer takes a token, without repetition.
    pub(crate) locations: Vec<Location>,
    pub(crate) require: Requirement,
    pub(crate) any_of: Vec<Requirement>,
    pub(crate) claims_to_headers: Vec<ClaimToHeader>,
    pub(crate) claims_to_properties: Vec<ClaimPath>,
    pub(crate) allow_cors_preflight: bool,
}

/// One provider, ready to run.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) issuer: String,
    pub(crate) validations: BTreeMap<Algorithm, Validation>,
    pub(crate) keys: Rc<KeySet>,
    pub(crate) leeway_seconds: u64,
    pub(crate) from: Vec<Location>,
    pub(crate) typ: Vec<String>,
    pub(crate) forward: bool,
}

/// Documents parsed so far, by text, algorithms and whether these were named: policies often share a provider.
type Parsed<'a> = BTreeMap<(&'a str, Vec<Algorithm>, bool), Rc<KeySet>>;

impl Config {
    /// Checks everything that can be wrong and parses the keys. The error names policy, provider and key.
    pub fn compile(&self) -> Result<Table, ConfigError> {
        for header in &self.taken_off {
            check_header(header).map_err(|reason| ConfigError::new(format!("taken_off: {reason}")))?;
        }
        let (mut policies, mut stripped, mut parsed) = (BTreeMap::new(), self.taken_off.clone(), Parsed::new());
        for (number, (id, policy)) in (0..).zip(&self.policies) {
            let compiled = match policy {
                Policy::Public {} => Ok(Compiled::Public),
                Policy::Jwt(policy) => compile_jwt(number, policy, &mut parsed).map(Compiled::Jwt),
            };
            let compiled = compiled.map_err(|reason| ConfigError::new(format!("policy {id:?}: {reason}")))?;
            if let Compiled::Jwt(rules) = &compiled {
                stripped.extend(rules.claims_to_headers.iter().map(|claim| claim.header.clone()));
            }
            policies.insert(id.clone(), Rc::new(compiled));
        }
        let token_headers = token_headers(&policies);
        if let Some((name, id)) = token_headers.iter().find(|(name, _)| stripped.contains(*name)) {
            return Err(ConfigError::new(format!("policy {id:?}: its token lies in header {name:?}, which a policy sets from a claim")));
        }
        let token_headers = token_headers.into_keys().collect();
        Ok(Table { policies: Policies::new(policies, self.closed.clone()), stripped, token_headers })
    }
}

impl JwtPolicy {
    /// Checks one policy alone, as the table it will be part of would.
    pub fn check(&self) -> Result<(), ConfigError> {
        let policies = BTreeMap::from([(String::new(), Policy::Jwt(self.clone()))]);
        let config = Config { policies, ..Config::default() };
        config.compile().map(|_| ()).map_err(|error| ConfigError::new(error.0.trim_start_matches("policy \"\": ")))
    }
}

fn compile_jwt<'a>(number: u32, policy: &'a JwtPolicy, parsed: &mut Parsed<'a>) -> Result<JwtRules, String> {
    if policy.providers.is_empty() {
        return Err("it has no provider, so no token could pass".to_owned());
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for provider in &policy.providers {
        let issuer = compile_provider(provider, parsed).map_err(|reason| format!("provider {:?}: {reason}", provider.name))?;
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            return Err(format!("provider {:?}: another provider has the same issuer {:?}", provider.name, issuer.issuer));
        }
        issuers.push(issuer);
    }
    policy.any_of.iter().chain([&policy.require]).try_for_each(check_requirement)?;
    policy.claims_to_headers.iter().try_for_each(|claim| check_header(&claim.header))?;
    let paths = policy.claims_to_headers.iter().map(|claim| &claim.claim).chain(&policy.claims_to_properties);
    paths.into_iter().try_for_each(check_path)?;
    let locations: BTreeSet<Location> = issuers.iter().flat_map(|issuer| issuer.from.iter().cloned()).collect();
    Ok(JwtRules {
        number,
        issuers,
        locations: locations.into_iter().collect(),
        require: policy.require.clone(),
        any_of: policy.any_of.clone(),
        claims_to_headers: policy.claims_to_headers.clone(),
        claims_to_properties: policy.claims_to_properties.clone(),
        allow_cors_preflight: policy.allow_cors_preflight,
    })
}

fn compile_provider<'a>(provider: &'a Provider, parsed: &mut Parsed<'a>) -> Result<Issuer, String> {
    if provider.issuer.is_empty() {
        return Err("issuer is empty".to_owned());
    }
    if provider.audiences.is_empty() || provider.audiences.iter().any(String::is_empty) {
        return Err("audiences must name at least one audience, and none of them empty".to_owned());
    }
    if provider.leeway_seconds > LEEWAY_SECONDS_MAX {
        return Err(format!("leeway_seconds is {}, at most {LEEWAY_SECONDS_MAX} are taken", provider.leeway_seconds));
    }
    let from = if provider.from.is_empty() { vec![Location::bearer()] } else { provider.from.clone() };
    from.iter().try_for_each(check_location)?;
    let algorithms = algorithms(provider);
    Ok(Issuer {
        issuer: provider.issuer.clone(),
        validations: algorithms.iter().map(|algorithm| (*algorithm, validation(provider, *algorithm))).collect(),
        keys: keys(provider, algorithms, parsed).map_err(|reason| format!("jwks: {reason}"))?,
        leeway_seconds: u64::from(provider.leeway_seconds),
        from,
        typ: provider.typ.iter().map(|typ| typ.to_ascii_lowercase()).collect(),
        forward: provider.forward,
    })
}

fn algorithms(provider: &Provider) -> Vec<Algorithm> {
    let allowed = |algorithm: &Algorithm| match provider.algorithms.as_slice() {
        [] => !algorithm.is_symmetric(),
        named => named.contains(algorithm),
    };
    Algorithm::ALL.into_iter().filter(allowed).collect()
}

fn keys<'a>(provider: &'a Provider, algorithms: Vec<Algorithm>, parsed: &mut Parsed<'a>) -> Result<Rc<KeySet>, String> {
    let known = (provider.jwks.as_str(), algorithms, !provider.algorithms.is_empty());
    if let Some(keys) = parsed.get(&known) {
        return Ok(Rc::clone(keys));
    }
    let keys = Rc::new(KeySet::parse(known.0, &known.1, known.2)?);
    parsed.insert(known, Rc::clone(&keys));
    Ok(keys)
}

/// What `jsonwebtoken` checks: algorithm, issuer and audience, all required. Times are ours, by the host's clock.
fn validation(provider: &Provider, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(as_theirs(algorithm));
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&provider.issuer]);
    validation.set_audience(&provider.audiences);
    validation.validate_exp = false;
    validation
}

fn check_requirement(requirement: &Requirement) -> Result<(), String> {
    for rule in &requirement.claims {
        check_path(&rule.claim)?;
        if rule.any_of.iter().any(|value| value.is_array() || value.is_object() || value.is_null()) {
            return Err(format!("claim {}: any_of must name strings, numbers or booleans", rule.claim));
        }
    }
    match requirement
        .scopes
        .iter()
        .find(|scope| scope.is_empty() || scope.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"'))
    {
        Some(scope) => Err(format!("scope {scope:?} is not a scope (RFC 6749, section 3.3)")),
        None => Ok(()),
    }
}

fn check_path(path: &ClaimPath) -> Result<(), String> {
    let fine = !path.0.is_empty() && path.0.iter().all(|segment| !segment.is_empty() && !segment.contains('\0'));
    if fine { Ok(()) } else { Err(format!("claim path \"{path}\" has an empty name or a NUL in it")) }
}

/// Whether a header can carry a claim, so that what clients send under its name can be taken off.
#[must_use]
pub fn can_carry_a_claim(header: &str) -> bool {
    check_header(header).is_ok()
}

fn check_header(header: &str) -> Result<(), String> {
    /// Headers that carry the connection or Envoy's own word.
    const TAKEN: [&str; 9] =
        ["host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "trailer", "cookie", "authorization"];
    if !is_header_name(header) {
        return Err(format!("header {header:?} is not a header name in lower case"));
    }
    if TAKEN.contains(&header) || header.starts_with("x-envoy-") || header.starts_with("x-forwarded-") {
        return Err(format!("header {header:?} has a meaning of its own and cannot carry a claim"));
    }
    Ok(())
}

fn check_location(location: &Location) -> Result<(), String> {
    let fine = match location {
        Location::Header { name, scheme } => is_header_name(name) && scheme.as_deref().is_none_or(is_token),
        Location::Query { name } => !name.is_empty() && !name.contains(['&', '=', '#', '?']),
        Location::Cookie { name } => is_token(name),
    };
    if fine { Ok(()) } else { Err(format!("{location:?} is not a place where a token can lie")) }
}

/// The headers in which tokens lie, each with the first policy that says so.
fn token_headers(policies: &BTreeMap<String, Rc<Compiled>>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (id, policy) in policies {
        let Compiled::Jwt(rules) = &**policy else { continue };
        for location in &rules.locations {
            if let Location::Header { name, .. } = location {
                all.entry(name.clone()).or_insert_with(|| id.clone());
            }
        }
    }
    all
}

fn is_header_name(name: &str) -> bool {
    is_token(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// `token` of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
