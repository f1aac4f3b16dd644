//! Several AuthPolicies around one rule, from the most general to the most specific: they add up, unless one says `override`.

use std::collections::BTreeSet;

use windrose_ir::extension::{AuthRule, JwtProvider, JwtRule};
use windrose_vocab::{Code, Diagnostic, ObjectRef, Text};

use super::{ASYMMETRIC, AuthPart, Effective, Says};
use crate::plan::Coverage;
use crate::reference::field;
use crate::world::View;

/// What they come to together.
pub(super) fn merge<'a>(view: &View<'_>, parts: impl Iterator<Item = (ObjectRef, &'a AuthPart)>) -> Option<Effective> {
    let mut policies: Vec<ObjectRef> = Vec::new();
    let mut says: Option<Says> = None;
    let mut sets = BTreeSet::new();
    for (policy, part) in parts {
        says = Some(match says {
            Some(general) if !part.replace => both(view, &policy, general, &part.says),
            _ => {
                policies.clear();
                sets.clear();
                part.says.clone()
            }
        });
        policies.push(policy);
        sets.extend(part.sets.iter().cloned());
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

fn both(view: &View<'_>, policy: &ObjectRef, general: Says, specific: &Says) -> Says {
    match (general, specific) {
        (Says::Deny, _) | (_, Says::Deny) => Says::Deny,
        (Says::Public { .. }, specific) => specific.clone(),
        (Says::Require(rule), Says::Public { .. }) => {
            let message = "a more general policy requires a token, and this one does not lift that";
            let told = Diagnostic::warning(policy.clone(), field("spec.public"), Code::Conflicted, message);
            view.tell(told.hint("set `override: true`"));
            Says::Require(rule)
        }
        (Says::Require(general), Says::Require(specific)) => required(view, policy, general, specific),
    }
}

fn required(view: &View<'_>, policy: &ObjectRef, general: JwtRule, specific: &JwtRule) -> Says {
    let providers = if specific.providers.is_empty() {
        general.providers
    } else if general.providers.is_empty() {
        specific.providers.clone()
    } else {
        common(&general.providers, &specific.providers)
    };
    if providers.is_empty() {
        let message =
            "no token can satisfy both this policy and a more general one: no issuer with equal keys, algorithm and audience in both";
        let told = Diagnostic::error(policy.clone(), field("spec.jwt"), Code::Conflicted, message);
        view.tell(told.hint("leave `jwt` out to use the general providers, or set `override: true`"));
        return Says::Deny;
    }
    let mut claims = general.claims;
    claims.extend(specific.claims.iter().filter(|claim| !claims.contains(claim)).cloned().collect::<Vec<_>>());
    let mut scopes = general.scopes;
    scopes.extend(specific.scopes.iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
    let kept = general.claims_to_headers.into_iter().filter(|(_, header)| !specific.claims_to_headers.iter().any(|(_, own)| own == header));
    let claims_to_headers = kept.chain(specific.claims_to_headers.iter().cloned()).collect();
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
