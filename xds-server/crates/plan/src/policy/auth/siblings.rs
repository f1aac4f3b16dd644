//! AuthPolicies beside each other on one target, as each of them is told: they add up, and two that cannot both be meant are a conflict.

use std::collections::BTreeSet;

use windrose_api::declared::AnyObject;
use windrose_api::policy::AuthPolicy;
use windrose_vocab::{Code, Kind, ObjectRef, Text};

use super::super::all_at;
use crate::reference::Problem;
use crate::world::View;

/// Judges a policy beside the others on its target.
///
/// # Errors
/// Where it would open what another one closes, or takes other tokens than an older one.
pub(in crate::policy) fn judge(view: &View<'_>, policy: &ObjectRef, target: &ObjectRef, section: Option<&Text>) -> Result<(), Problem> {
    let Some(own) = view.auth_policy(&policy.key) else { return Ok(()) };
    let mut is_older = true;
    for name in all_at(view, Kind::AuthPolicy, target, section) {
        if name == *policy {
            is_older = false;
        } else if let Some(other) = view.auth_policy(&name.key)
            && let Some(what) = conflict(&own.spec, &other.spec, is_older)
        {
            return Err(Problem::new("Conflicted", Code::Conflicted, format!("{name} on the same target {what}")));
        }
    }
    Ok(())
}

/// Whether a policy for a rule that is not there holds for others meanwhile: one that asks for tokens does.
pub(in crate::policy) fn holds_meanwhile(view: &View<'_>, policy: &ObjectRef, target: &ObjectRef) -> bool {
    let asks = matches!(view.object(policy), Some(AnyObject::AuthPolicy(policy)) if policy.spec.public.is_none());
    asks && matches!(target.kind, Kind::HTTPRoute | Kind::GRPCRoute)
}

/// What of another policy stands against this one.
fn conflict(own: &AuthPolicy, other: &AuthPolicy, is_older: bool) -> Option<&'static str> {
    let (mine, theirs) = (issuers(own), issuers(other));
    if own.public.is_some() && other.public.is_none() {
        Some("requires a token, and this one does not lift that")
    } else if is_older && !mine.is_empty() && !theirs.is_empty() && mine.is_disjoint(&theirs) {
        Some("takes tokens of other issuers: no token satisfies both, and nobody passes")
    } else {
        None
    }
}

fn issuers(policy: &AuthPolicy) -> BTreeSet<&str> {
    policy.jwt.iter().map(|provider| &*provider.issuer).collect()
}
