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
}

/// What they come to together. Those that are `lost` name a rule that is not there: they ask besides, and lift nothing.
pub(super) fn merge(view: &View<'_>, levels: Vec<Vec<(ObjectRef, &AuthPart)>>, lost: Vec<(ObjectRef, &AuthPart)>) -> Option<Effective> {
    let parts = levels.into_iter().flat_map(|level| {
        // What one of them says of more general ones holds for all on its target.
        let replaces = level.iter().any(|(_, part)| part.replace);
        let part = move |(index, (policy, part))| Part { policy, part, replaces: replaces && index == 0, is_sibling: index > 0 };
        level.into_iter().enumerate().map(part)
    });
    let parts = parts.chain(lost.into_iter().map(|(policy, part)| Part { policy, part, replaces: false, is_sibling: true }));
    let mut policies: Vec<ObjectRef> = Vec::new();
    let mut says: Option<Says> = None;
    let mut sets = BTreeSet::new();
    for one in parts {
        says = Some(match says {
            Some(general) if !one.replaces => match both(view, &one, &general) {
                Some(both) => both,
                None => {
                    says = Some(general);
                    continue;
                }
            },
            _ => {
                policies.clear();
                sets.clear();
                one.part.says.clone()
            }
        });
        policies.push(one.policy);
        sets.extend(one.part.sets.iter().cloned());
    }
    says.map(|says| effective(view, policies, (says, sets)))
}

fn effective(view: &View<'_>, policies: Vec<ObjectRef>, (says, sets): (Says, BTreeSet<Text>)) -> Effective {
    let id: Text = policies.iter().map(|policy| policy.key.to_string()).collect::<Vec<_>>().join("+").into();
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

/// Nothing where the one cannot hold beside another on its target, which decides.
fn both(view: &View<'_>, one: &Part<'_>, general: &Says) -> Option<Says> {
    match (general, &one.part.says) {
        (Says::Deny, _) | (_, Says::Deny) => Some(Says::Deny),
        (Says::Public { .. }, specific) => Some(specific.clone()),
        (Says::Require(rule), Says::Public { .. }) => {
            let (message, hint) = if one.is_sibling {
                ("another policy on the same target requires a token, and none lifts that", "take that one away")
            } else {
                ("a more general policy requires a token, and this one does not lift that", "set `override: true`")
            };
            let told = Diagnostic::warning(one.policy.clone(), field("spec.public"), Code::Conflicted, message);
            view.tell(told.hint(hint));
            Some(Says::Require(rule.clone()))
        }
        (Says::Require(general), Says::Require(specific)) => required(view, one, general.clone(), specific),
    }
}

fn required(view: &View<'_>, one: &Part<'_>, general: JwtRule, specific: &JwtRule) -> Option<Says> {
    let providers = if specific.providers.is_empty() {
        general.providers
    } else if general.providers.is_empty() {
        specific.providers.clone()
    } else {
        common(&general.providers, &specific.providers)
    };
    if providers.is_empty() {
        let tell = |message: &str, hint: &str| {
            view.tell(Diagnostic::error(one.policy.clone(), field("spec.jwt"), Code::Conflicted, message).hint(hint));
        };
        if one.is_sibling {
            tell(
                "no token can satisfy both this policy and another one on the same target, which decides: no issuer with equal keys, algorithm and audience in both",
                "name the providers of both in one policy to take the tokens of either",
            );
            return None;
        }
        tell(
            "no token can satisfy both this policy and a more general one: no issuer with equal keys, algorithm and audience in both",
            "leave `jwt` out to use the general providers, or set `override: true`",
        );
        return Some(Says::Deny);
    }
    let mut claims = general.claims;
    claims.extend(specific.claims.iter().filter(|claim| !claims.contains(claim)).cloned().collect::<Vec<_>>());
    let mut scopes = general.scopes;
    scopes.extend(specific.scopes.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
    let kept = general.claims_to_headers.into_iter().filter(|(_, header)| !specific.claims_to_headers.iter().any(|(_, own)| own == header));
    let claims_to_headers = kept.chain(specific.claims_to_headers.iter().cloned()).collect();
    Some(Says::Require(JwtRule { providers, claims, scopes, claims_to_headers, shared_claims: Vec::new() }))
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
