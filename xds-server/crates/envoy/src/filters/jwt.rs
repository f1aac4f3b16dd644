//! `ir::extension::JwtTable` → the configuration of the filter `jwt-auth`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windrose_ir::extension::{AuthRule, ClaimRequirement, JwtProvider, JwtRule, JwtTable, TokenSource};
use windrose_jwt_auth::{
    Algorithm, ClaimPath, ClaimRule, ClaimToHeader, Config, JwtPolicy, Location, Policy, Provider, Requirement, can_carry_a_claim,
};
use windrose_vocab::Text;

/// The table as JSON. An id that denies is closed, and so is that of a rule which the filter would refuse. The headers that those set
/// from claims stay among what is taken off.
pub(crate) fn configuration(table: &JwtTable) -> Option<String> {
    let written = |(id, rule): (&Text, &AuthRule)| Some((id.to_string(), policy(rule).filter(|policy| refusal(policy).is_none())?));
    let policies: BTreeMap<_, _> = table.policies.iter().filter_map(written).collect();
    let taken_off = taken_off(table, &policies);
    let closed = super::closed(&table.policies, &policies);
    serde_json::to_string(&Config { policies, closed, taken_off }).ok()
}

/// Names that only policies which are left out would set. Without those in which a policy that is there looks for its token: with such a
/// name the filter would refuse them all.
fn taken_off(table: &JwtTable, written: &BTreeMap<String, Policy>) -> BTreeSet<String> {
    let absent = table.policies.iter().filter(|(id, _)| !written.contains_key(&***id));
    let names = absent.flat_map(|(_, rule)| would_set(rule)).filter(|name| can_carry_a_claim(name));
    let sources = written.values().flat_map(providers).flat_map(|provider| &provider.from);
    let tokens: BTreeSet<&str> = sources.filter_map(header_of).collect();
    names.filter(|name| !tokens.contains(name)).map(str::to_owned).collect()
}

fn would_set(rule: &AuthRule) -> Vec<&str> {
    match rule {
        AuthRule::Public => Vec::new(),
        AuthRule::Jwt(rule) => rule.claims_to_headers.iter().map(|(_, header)| &**header).collect(),
        AuthRule::Deny { taken_off } => taken_off.iter().map(|header| &**header).collect(),
    }
}

fn providers(policy: &Policy) -> &[Provider] {
    match policy {
        Policy::Public {} => &[],
        Policy::Jwt(policy) => &policy.providers,
    }
}

fn header_of(location: &Location) -> Option<&str> {
    match location {
        Location::Header { name, .. } => Some(name),
        Location::Query { .. } | Location::Cookie { .. } => None,
    }
}

/// The filter's own word on each policy.
pub(crate) fn check(table: &JwtTable) -> Vec<(String, String)> {
    let refused = |(id, rule): (&Text, &AuthRule)| {
        let reason = match (rule, policy(rule)) {
            (AuthRule::Deny { .. }, _) => None,
            (AuthRule::Public | AuthRule::Jwt(_), None) => Some("no provider has keys and an algorithm that can be used".to_owned()),
            (AuthRule::Public | AuthRule::Jwt(_), Some(policy)) => refusal(&policy),
        };
        Some((id.to_string(), reason?))
    };
    table.policies.iter().filter_map(refused).collect()
}

fn refusal(policy: &Policy) -> Option<String> {
    match policy {
        Policy::Public {} => None,
        Policy::Jwt(policy) => policy.check().err().map(|error| error.to_string()),
    }
}

fn policy(rule: &AuthRule) -> Option<Policy> {
    match rule {
        AuthRule::Public => Some(Policy::Public {}),
        AuthRule::Jwt(rule) => jwt(rule).map(Policy::Jwt),
        AuthRule::Deny { .. } => None,
    }
}

fn jwt(rule: &JwtRule) -> Option<JwtPolicy> {
    let header = |(claim, header): &(Text, Text)| ClaimToHeader { claim: claim_path(claim), header: header.to_string() };
    let providers: Vec<_> = rule.providers.iter().filter_map(provider).collect();
    (!providers.is_empty()).then(|| JwtPolicy {
        providers,
        require: Requirement { claims: rule.claims.iter().map(claim_rule).collect(), scopes: texts(&rule.scopes) },
        any_of: vec![],
        claims_to_headers: rule.claims_to_headers.iter().map(header).collect(),
        claims_to_properties: rule.shared_claims.iter().map(|claim| claim_path(claim)).collect(),
        allow_cors_preflight: false,
    })
}

/// Without an algorithm that the filter knows, a provider that names some is no provider: an empty list means all of them.
fn provider(provider: &JwtProvider) -> Option<Provider> {
    let algorithms: Vec<Algorithm> = provider.algorithms.iter().filter_map(|name| name.parse().ok()).collect();
    let known = provider.algorithms.is_empty() || !algorithms.is_empty();
    let jwks = std::str::from_utf8(provider.jwks.expose()).ok().filter(|_| known)?;
    Some(Provider {
        name: provider.name.to_string(),
        issuer: provider.issuer.to_string(),
        audiences: texts(&provider.audiences),
        jwks: jwks.to_owned(),
        algorithms,
        leeway_seconds: u32::try_from(provider.leeway.as_secs()).unwrap_or(u32::MAX),
        from: provider.sources.iter().map(location).collect(),
        typ: vec![],
        forward: provider.forward,
    })
}

fn location(source: &TokenSource) -> Location {
    match source {
        TokenSource::Header(name, prefix) => {
            let scheme = Some(prefix.trim()).filter(|scheme| !scheme.is_empty());
            Location::Header { name: name.to_ascii_lowercase(), scheme: scheme.map(ToOwned::to_owned) }
        }
        TokenSource::Query(name) => Location::Query { name: name.to_string() },
        TokenSource::Cookie(name) => Location::Cookie { name: name.to_string() },
    }
}

fn claim_rule(requirement: &ClaimRequirement) -> ClaimRule {
    ClaimRule { claim: claim_path(&requirement.claim), any_of: requirement.any_of.iter().flat_map(|text| values(text)).collect() }
}

/// A declared value is a text; the claim may be a number or a boolean that is written so.
fn values(text: &str) -> Vec<Value> {
    let typed = serde_json::from_str::<Value>(text).ok().filter(|value| value.is_boolean() || value.is_number());
    std::iter::once(Value::from(text)).chain(typed).collect()
}

/// Members with dots between them; a claim that is named by a URL is one member.
fn claim_path(claim: &str) -> ClaimPath {
    if claim.contains("://") { ClaimPath::top(claim) } else { ClaimPath(claim.split('.').map(str::to_owned).collect()) }
}

fn texts(texts: &[Text]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_vocab::{Duration, Sensitive};

    fn rule(keys: &'static str, source: TokenSource, header: &str) -> AuthRule {
        let provider = JwtProvider {
            name: "main".into(),
            issuer: "https://id.example".into(),
            audiences: vec!["shop".into()],
            jwks: Sensitive::new(keys.as_bytes()),
            algorithms: vec!["HS256".into()],
            leeway: Duration::ZERO,
            sources: vec![source],
            forward: false,
        };
        let claims_to_headers = vec![("sub".into(), header.into())];
        AuthRule::Jwt(JwtRule { providers: vec![provider], claims: vec![], scopes: vec![], claims_to_headers, shared_claims: vec![] })
    }

    /// Which policies are written, and what is taken off beside theirs.
    fn written(rules: [(&str, AuthRule); 3]) -> (Vec<String>, Vec<String>) {
        let table = JwtTable { policies: rules.into_iter().map(|(id, rule)| (id.into(), rule)).collect() };
        let config: Config = serde_json::from_str(&configuration(&table).unwrap()).unwrap();
        assert!(config.compile().is_ok());
        (config.policies.into_keys().collect(), config.taken_off.into_iter().collect())
    }

    #[test]
    fn what_policies_that_are_left_out_would_set_is_taken_off_unless_a_token_lies_there() {
        const KEYS: &str = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA","alg":"HS256"}]}"#;
        let bearer = || TokenSource::Header("authorization".into(), "Bearer ".into());
        let closed = AuthRule::Deny { taken_off: ["x-user".into(), "x-token".into(), "host".into()].into() };
        let good = rule(KEYS, TokenSource::Header("x-token".into(), "".into()), "x-good");
        let (ids, taken_off) = written([("closed", closed), ("good", good), ("refused", rule("{}", bearer(), "x-tenant"))]);
        assert_eq!(ids, ["good"]);
        assert_eq!(taken_off, ["x-tenant", "x-user"]);
    }
}
