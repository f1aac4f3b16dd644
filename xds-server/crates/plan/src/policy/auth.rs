//! AuthPolicy → what a request must show. Whatever cannot be understood denies; what is more general is never dropped silently.

mod keys;
mod merge;
mod rivals;
pub(super) mod siblings;

use std::collections::BTreeSet;

use windrose_api::declared::Object;
use windrose_api::policy::{AuthPolicy, JwtProvider as DeclaredProvider, TokenSource as DeclaredSource};
use windrose_ir::Extension;
use windrose_ir::extension::{AuthRule, ClaimRequirement, JwtProvider, JwtRule, JwtTable, TokenSource};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef, Text};

use super::headers::{is_reserved, is_token};
use super::{Place, PolicyOutcome, all_at, at_no_part};
use crate::limits;
use crate::plan::Coverage;
use crate::reference::field;
use crate::world::{View, nearest};

pub(crate) use windrose_ir::extension::OPEN;

/// The algorithms that the filter knows, by their JOSE names (RFC 7518, RFC 8037).
const ALGORITHMS: [&str; 12] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

/// Those that need no shared secret: the filter takes them where a provider names none.
const ASYMMETRIC: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// What one policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthPart {
    pub(crate) says: Says,
    /// Headers that it sets from claims. What clients send under them is taken off, also where nobody passes.
    pub(crate) sets: BTreeSet<Text>,
    /// Whether it stands in place of what is more general.
    pub(crate) replace: bool,
}

/// The three things a policy can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Deny,
    Public {
        reason: Text,
        approved_by: Text,
    },
    /// Providers may be empty: then those of a more general policy hold.
    Require(JwtRule),
}

/// What holds for one rule of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// Made of the policies' names, so that an edit of one changes no route.
    pub(crate) id: Text,
    pub(crate) rule: AuthRule,
    pub(crate) coverage: Coverage,
}

/// Judges one policy.
pub(crate) fn part(view: &View<'_>, policy: &Object<AuthPolicy>) -> AuthPart {
    let own = &policy.meta.object;
    let spec = &policy.spec;
    let requires =
        !(spec.jwt.is_empty() && spec.required_claims.is_empty() && spec.required_scopes.is_empty() && spec.claims_to_headers.is_empty());
    let mut says = match &spec.public {
        Some(_) if requires => {
            invalid(view, own, "spec.public", "a public policy cannot require anything; nobody passes");
            Says::Deny
        }
        Some(public) => Says::Public { reason: public.reason.as_str().into(), approved_by: public.approved_by.as_str().into() },
        None if !requires => {
            invalid(view, own, "spec", "the policy requires nothing that could be understood and is not public; nobody passes");
            Says::Deny
        }
        None => require(view, policy),
    };
    if let Says::Require(rule) = &says
        && !rule.providers.is_empty()
        && !super::passes(view, own, "spec", &alone(own, rule))
    {
        says = Says::Deny;
    }
    if rivals::judge(view, policy) {
        says = Says::Deny;
    }
    AuthPart { says, sets: sets(spec), replace: spec.replace }
}

fn sets(spec: &AuthPolicy) -> BTreeSet<Text> {
    let names = spec.claims_to_headers.iter().map(|mapping| mapping.header.to_ascii_lowercase());
    names.filter(|name| is_token(name) && !is_reserved(name)).map(Text::from).collect()
}

fn alone(policy: &ObjectRef, rule: &JwtRule) -> Extension {
    Extension::JwtAuth(JwtTable { policies: [(policy.key.to_string().into(), AuthRule::Jwt(rule.clone()))].into() })
}

fn invalid(view: &View<'_>, policy: &ObjectRef, path: &str, message: impl Into<String>) {
    view.error(policy, field(path), Code::Invalid, message);
}

fn require(view: &View<'_>, policy: &Object<AuthPolicy>) -> Says {
    let own = &policy.meta.object;
    let spec = &policy.spec;
    let mut providers: Vec<JwtProvider> = Vec::new();
    for (index, declared) in spec.jwt.iter().enumerate() {
        let path = format!("spec.jwt[{index}]");
        if providers.iter().any(|known| *known.name == *declared.name) {
            invalid(view, own, &format!("{path}.name"), format!("provider `{}` is named twice; the first holds", declared.name));
        } else {
            providers.extend(provider(view, own, &path, declared));
        }
    }
    if providers.is_empty() && !spec.jwt.is_empty() {
        return Says::Deny;
    }
    let claims =
        spec.required_claims.iter().map(|claim| ClaimRequirement { claim: claim.claim.as_str().into(), any_of: texts(&claim.any_of) });
    let Some(claims_to_headers) = claims_to_headers(view, policy) else { return Says::Deny };
    Says::Require(JwtRule {
        providers,
        claims: claims.collect(),
        scopes: texts(&spec.required_scopes),
        claims_to_headers,
        shared_claims: Vec::new(),
    })
}

/// Claims with their headers; none where one of the headers is reserved, for its service would take a client's own copy for the claim.
fn claims_to_headers(view: &View<'_>, policy: &Object<AuthPolicy>) -> Option<Vec<(Text, Text)>> {
    let mappings = policy.spec.claims_to_headers.iter().enumerate().map(|(index, mapping)| {
        let header = mapping.header.to_ascii_lowercase();
        if is_reserved(&header) {
            let message = format!("header `{header}` has a meaning of its own and is not set from a claim; nobody passes");
            invalid(view, &policy.meta.object, &format!("spec.claimsToHeaders[{index}].header"), message);
            return None;
        }
        Some((mapping.claim.as_str().into(), header.into()))
    });
    // All of them are told.
    mappings.collect::<Vec<_>>().into_iter().collect()
}

fn texts(declared: &[String]) -> Vec<Text> {
    declared.iter().map(|text| Text::from(text.as_str())).collect()
}

/// A provider, or none: then its tokens are refused.
fn provider(view: &View<'_>, policy: &ObjectRef, path: &str, declared: &DeclaredProvider) -> Option<JwtProvider> {
    let jwks = keys::jwks(view, policy, &format!("{path}.jwks"), &declared.jwks)?;
    let algorithms = algorithms(view, policy, path, &declared.algorithms)?;
    let leeway = declared.leeway.map_or(limits::LEEWAY, |leeway| leeway.0);
    if leeway > limits::LEEWAY_MAX {
        view.error(
            policy,
            field(&format!("{path}.leeway")),
            Code::OutOfRange,
            "leeway is more than 5 minutes; tokens of this provider are refused",
        );
        return None;
    }
    let sources = declared.from.iter().enumerate().map(|(index, source)| {
        let found = source_of(source);
        if found.is_none() {
            invalid(view, policy, &format!("{path}.from[{index}]"), "a source is exactly one of header, query and cookie");
        }
        found
    });
    let sources = sources.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()?;
    Some(JwtProvider {
        name: declared.name.as_str().into(),
        issuer: declared.issuer.as_str().into(),
        audiences: texts(&declared.audiences),
        jwks,
        algorithms,
        leeway,
        sources,
        forward: declared.forward,
    })
}

fn algorithms(view: &View<'_>, policy: &ObjectRef, path: &str, declared: &[String]) -> Option<Vec<Text>> {
    let mut known = true;
    for (index, name) in declared.iter().enumerate().filter(|(_, name)| !ALGORITHMS.contains(&name.as_str())) {
        let told = Diagnostic::error(
            policy.clone(),
            field(&format!("{path}.algorithms[{index}]")),
            Code::Unsupported,
            format!("algorithm `{name}` is not known; tokens of this provider are refused"),
        );
        let hint = nearest(ALGORITHMS.into_iter(), name).unwrap_or_else(|| format!("known are {}", ALGORITHMS.join(", ")));
        view.tell(told.hint(hint));
        known = false;
    }
    known.then(|| texts(declared))
}

fn source_of(declared: &DeclaredSource) -> Option<TokenSource> {
    match (&declared.header, &declared.query, &declared.cookie) {
        (Some(header), None, None) => {
            let prefix = declared.prefix.as_deref().unwrap_or_default();
            Some(TokenSource::Header(header.to_ascii_lowercase().into(), prefix.into()))
        }
        (None, Some(query), None) if declared.prefix.is_none() => Some(TokenSource::Query(query.as_str().into())),
        (None, None, Some(cookie)) if declared.prefix.is_none() => Some(TokenSource::Cookie(cookie.as_str().into())),
        _ => None,
    }
}

/// What holds for a rule; none where no policy speaks of it.
pub(crate) fn effective(view: &View<'_>, place: &Place<'_>) -> Option<Effective> {
    let kind = Kind::AuthPolicy;
    let parts = |policies: Vec<ObjectRef>| -> Vec<(ObjectRef, &AuthPart)> {
        let part = |policy: ObjectRef| match view.policy(&policy) {
            Some(PolicyOutcome::Auth(part)) => Some((policy, part)),
            _ => None,
        };
        policies.into_iter().filter_map(part).collect()
    };
    let targets = place.targets();
    let levels: Vec<_> = targets.iter().map(|(target, section)| parts(all_at(view, kind, target, section.as_ref()))).collect();
    // A rule that is called otherwise than its policy says is not open for that: whatever no policy names has that one.
    let is_named = place.rule.is_some() && levels.last().is_some_and(|own| !own.is_empty());
    let mut lost = if is_named { Vec::new() } else { parts(at_no_part(view, kind, place.route)) };
    lost.retain(|(_, part)| !matches!(part.says, Says::Public { .. }));
    merge::merge(view, levels, lost)
}

/// Tells once for a route that nobody protects it, or which of its rules.
pub(crate) fn warn_open(view: &View<'_>, route: &ObjectRef, open: &[(usize, Text)], rules: usize) {
    const SIGNED: &str = "nobody signed off that none is needed";
    let Some((first, _)) = open.first() else { return };
    let (at, message) = if open.len() == rules {
        (String::new(), format!("no policy protects it, and {SIGNED}"))
    } else {
        let named: Vec<String> = open.iter().take(limits::OPEN_NAMED).map(|(_, rule)| format!("`{rule}`")).collect();
        let more = if open.len() > named.len() { ", …" } else { "" };
        let message = format!("no policy protects {} of its {rules} rules, and {SIGNED}: {}{more}", open.len(), named.join(", "));
        (format!("spec.rules[{first}]"), message)
    };
    let told = Diagnostic::warning(route.clone(), field(&at), Code::Open, message);
    view.tell(told.hint("attach an AuthPolicy; for a public route one with `public: {reason, approvedBy}`"));
}
