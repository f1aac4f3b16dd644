//! Several AuthPolicies around one rule, from the most general to the most specific: they add up, unless one says `override`. Those on one
//! target add up always: none takes another away by its name or its age.

use std::collections::BTreeSet;

use windrose_ir::extension::{AuthRule, JwtProvider, JwtRule};
use windrose_vocab::{Code, Diagnostic, ObjectRef, Text};

use super::{ASYMMETRIC, AuthPart, Effective, Says};
use crate::plan::Coverage;
use crate::reference::field;
use crate::world::View;

/// One of several policies, and how it stands to those before it.
struct Part<'a> {
    policy: ObjectRef,
    part: &'a AuthPart,
    /// What is more general does not count.
    replaces: bool,
    /// One before it is on the same target.
    is_sibling: bool,
    /// It names a rule that is not there.
    is_lost: bool,
}

/// What they come to together. Those that are `lost` name a rule that is not there: they ask besides, and lift nothing.
pub(super) fn merge(view: &View<'_>, levels: Vec<Vec<(ObjectRef, &AuthPart)>>, lost: Vec<(ObjectRef, &AuthPart)>) -> Option<Effective> {
    let parts = levels.into_iter().flat_map(|level| {
        // None lifts for others what those leave.
        let replaces = level.iter().all(|(_, part)| part.replace);
        let part =
            move |(index, (policy, part))| Part { policy, part, replaces: replaces && index == 0, is_sibling: index > 0, is_lost: false };
        level.into_iter().enumerate().map(part)
    });
    let lost = lost.into_iter().map(|(policy, part)| Part { policy, part, replaces: false, is_sibling: true, is_lost: true });
    let mut policies: Vec<ObjectRef> = Vec::new();
    let mut id = String::new();
    let mut says: Option<Says> = None;
    let mut sets = BTreeSet::new();
    for one in parts.chain(lost) {
        if one.is_lost && policies.contains(&one.policy) {
            continue;
        }
        if says.is_none() || one.replaces {
            policies.clear();
            sets.clear();
            id.clear();
            says = Some(one.part.says.clone());
        } else if let Some(general) = says {
            // Two that stand to each other otherwise may come to something else.
            id.push(if one.is_sibling { '&' } else { '+' });
            says = Some(both(view, &one, general));
        }
        id.push_str(&one.policy.key.to_string());
        policies.push(one.policy);
        sets.extend(one.part.sets.iter().cloned());
    }
    says.map(|says| effective(view, policies, id.into(), (says, sets)))
}

fn effective(view: &View<'_>, policies: Vec<ObjectRef>, id: Text, (says, sets): (Says, BTreeSet<Text>)) -> Effective {
    match (says, policies.last()) {
        (Says::Public { reason, approved_by }, Some(policy)) => {
            let coverage = Coverage::Public { policy: policy.clone(), reason, approved_by };
            Effective { id, rule: AuthRule::Public, coverage }
        }
        (Says::Require(rule), Some(policy)) if rule.providers.is_empty() => {
            let told = Diagnostic::error(
                policy.clone(),
                field("spec.jwt"),
                Code::MissingField,
                "no provider of tokens, here or more generally; nobody passes",
            );
            view.tell(told.hint("set `jwt`, or attach a policy with providers to the Gateway"));
            Effective { id, rule: AuthRule::Deny { taken_off: sets }, coverage: Coverage::Denied(policies) }
        }
        (Says::Require(rule), _) => Effective { id, rule: AuthRule::Jwt(rule), coverage: Coverage::Protected(policies) },
        (Says::Deny | Says::Public { .. }, _) => {
            Effective { id, rule: AuthRule::Deny { taken_off: sets }, coverage: Coverage::Denied(policies) }
        }
    }
}

fn both(view: &View<'_>, one: &Part<'_>, general: Says) -> Says {
    match (general, &one.part.says) {
        (Says::Deny, _) | (_, Says::Deny) => Says::Deny,
        (Says::Public { .. }, specific) => specific.clone(),
        (Says::Require(rule), Says::Public { .. }) => {
            let (message, hint) = if one.is_sibling {
                ("another policy on the same target requires a token, and this one does not lift that", "take one of the two away")
            } else {
                ("a more general policy requires a token, and this one does not lift that", "set `override: true`")
            };
            let told = Diagnostic::warning(one.policy.clone(), field("spec.public"), Code::Conflicted, message);
            view.tell(told.hint(hint));
            Says::Require(rule)
        }
        (Says::Require(general), Says::Require(specific)) => required(view, one, general, specific),
    }
}

fn required(view: &View<'_>, one: &Part<'_>, general: JwtRule, specific: &JwtRule) -> Says {
    let providers = if specific.providers.is_empty() {
        general.providers
    } else if general.providers.is_empty() {
        specific.providers.clone()
    } else if one.is_sibling {
        common(&specific.providers, &general.providers)
    } else {
        common(&general.providers, &specific.providers)
    };
    if providers.is_empty() {
        let (other, hint) = if one.is_sibling {
            ("another one beside it", "name the providers of both in one policy to take the tokens of either")
        } else {
            ("a more general one", "leave `jwt` out to use the general providers, or set `override: true`")
        };
        let message = format!(
            "no token can satisfy both this policy and {other}: no issuer with equal keys, algorithm and audience in both; nobody passes"
        );
        view.tell(Diagnostic::error(one.policy.clone(), field("spec.jwt"), Code::Conflicted, message).hint(hint));
        return Says::Deny;
    }
    let mut claims = general.claims;
    claims.extend(specific.claims.iter().filter(|claim| !claims.contains(claim)).cloned().collect::<Vec<_>>());
    let mut scopes = general.scopes;
    scopes.extend(specific.scopes.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
    // The more specific one says what a header holds, and of two on one target the older.
    let (first, then) = if one.is_sibling {
        (general.claims_to_headers, specific.claims_to_headers.clone())
    } else {
        (specific.claims_to_headers.clone(), general.claims_to_headers)
    };
    let more: Vec<_> = then.into_iter().filter(|(_, header)| !first.iter().any(|(_, known)| known == header)).collect();
    let claims_to_headers = if one.is_sibling { first.into_iter().chain(more).collect() } else { more.into_iter().chain(first).collect() };
    Says::Require(JwtRule { providers, claims, scopes, claims_to_headers, shared_claims: Vec::new() })
}

/// The providers of whom a token satisfies both sides.
fn common(general: &[JwtProvider], specific: &[JwtProvider]) -> Vec<JwtProvider> {
    let pairs = specific.iter().flat_map(|one| general.iter().map(move |other| (one, other)));
    let same = pairs.filter(|(one, other)| one.issuer == other.issuer && one.jwks == other.jwks);
    same.filter_map(|(one, other)| {
        let audiences: Vec<Text> = one.audiences.iter().filter(|audience| other.audiences.contains(audience)).cloned().collect();
        let algorithms = intersect(&one.algorithms, &other.algorithms)?;
        (!audiences.is_empty()).then(|| JwtProvider {
            audiences,
            algorithms,
            leeway: one.leeway.min(other.leeway),
            forward: one.forward && other.forward,
            ..one.clone()
        })
    })
    .collect()
}

/// Algorithms that both take; a list that is empty takes those that need no shared secret.
fn intersect(one: &[Text], other: &[Text]) -> Option<Vec<Text>> {
    if one.is_empty() && other.is_empty() {
        return Some(Vec::new());
    }
    let [one, other] = [one, other].map(|list| if list.is_empty() { ASYMMETRIC.map(Text::from).to_vec() } else { list.to_vec() });
    let both: Vec<Text> = one.into_iter().filter(|name| other.contains(name)).collect();
    (!both.is_empty()).then_some(both)
}
