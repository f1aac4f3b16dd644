//! RateLimitPolicy → limits. All that surround a rule add up: a request passes when every one has room.

use std::collections::BTreeMap;

use windrose_api::declared::Object;
use windrose_api::policy::{KeyPart as DeclaredPart, Limit, Quota as DeclaredQuota, RateLimitPolicy};
use windrose_ir::extension::{KeyPart, Plans, Quota, RateLimit};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef, Text};

use super::{Place, PolicyOutcome, all_at};
use crate::limits;
use crate::reference::field;
use crate::world::View;

/// The limits of one policy. One that cannot be understood refuses every request, for it was meant to limit.
pub(crate) fn limits(view: &View<'_>, policy: &Object<RateLimitPolicy>) -> Vec<RateLimit> {
    if policy.spec.limits.is_empty() {
        let own = &policy.meta.object;
        view.error(own, field("spec.limits"), Code::Invalid, "the policy has no limit that could be understood; everybody is refused");
        return vec![nobody(own)];
    }
    policy.spec.limits.iter().enumerate().map(|(index, limit)| self::limit(view, policy, index, limit)).collect()
}

/// A limit that has room for nobody.
fn nobody(policy: &ObjectRef) -> RateLimit {
    RateLimit {
        name: format!("{}/nobody", policy.key).into(),
        key: Vec::new(),
        plans: None,
        default: Quota { requests: 0, window: limits::QUOTA_WINDOW[1], burst: 0 },
        shadow: false,
        headers: false,
    }
}

/// A limit is counted under `namespace/policy/limit` wherever it applies: two routes below one Gateway share its count.
fn limit(view: &View<'_>, policy: &Object<RateLimitPolicy>, index: usize, limit: &Limit) -> RateLimit {
    let own = &policy.meta.object;
    let path = format!("spec.limits[{index}]");
    let mut key: Vec<KeyPart> = Vec::new();
    let mut understood = true;
    for (position, part) in limit.key.iter().enumerate() {
        match key_part(part) {
            Some(part) => key.push(part),
            None => {
                let message = "a part of a key is exactly one of claim, clientAddress, header and route; the limit refuses everybody";
                view.error(own, field(&format!("{path}.key[{position}]")), Code::Invalid, message);
                understood = false;
            }
        }
    }
    if policy.spec.limits.iter().take(index).any(|other| other.name == limit.name) {
        view.error(
            own,
            field(&format!("{path}.name")),
            Code::Duplicate,
            format!("limit `{}` is named twice; both share one count", limit.name),
        );
    }
    let plans = limit.plans.as_ref().map(|plans| {
        let quotas = plans.quotas.iter().enumerate().map(|(position, plan)| {
            let quota = quota(view, own, &format!("{path}.plans.quotas[{position}].quota"), &plan.quota);
            (Text::from(plan.name.as_str()), quota)
        });
        Plans { claim: plans.claim.as_str().into(), quotas: quotas.collect::<BTreeMap<_, _>>() }
    });
    let default = quota(view, own, &format!("{path}.quota"), &limit.quota);
    RateLimit {
        name: format!("{}/{}", own.key, limit.name).into(),
        key,
        plans: if understood { plans } else { None },
        default: if understood { default } else { Quota { requests: 0, ..default } },
        shadow: policy.spec.shadow,
        headers: policy.spec.headers.unwrap_or(true),
    }
}

fn key_part(part: &DeclaredPart) -> Option<KeyPart> {
    match (&part.claim, part.client_address, &part.header, part.route) {
        (Some(claim), None, None, None) => Some(KeyPart::Claim(claim.as_str().into())),
        (None, Some(true), None, None) => Some(KeyPart::ClientAddress),
        (None, None, Some(header), None) => Some(KeyPart::Header(header.to_ascii_lowercase().into())),
        (None, None, None, Some(true)) => Some(KeyPart::Route),
        _ => None,
    }
}

fn quota(view: &View<'_>, policy: &ObjectRef, path: &str, declared: &DeclaredQuota) -> Quota {
    let [shortest, longest] = limits::QUOTA_WINDOW;
    let window = declared.window.0;
    if !(shortest..=longest).contains(&window) {
        view.error(policy, field(&format!("{path}.window")), Code::OutOfRange, "a window is 1 ms to 24 h; the limit refuses everybody");
        return Quota { requests: 0, window: window.clamp(shortest, longest), burst: 0 };
    }
    if declared.burst == Some(0) && declared.requests > 0 {
        view.warn(policy, field(&format!("{path}.burst")), Code::Unsafe, "a burst of 0 lets nothing through, whatever the quota");
        return Quota { requests: 0, window, burst: 0 };
    }
    let burst = declared.burst.unwrap_or(declared.requests);
    let fill = window.as_nanos().div_ceil(u128::from(declared.requests.max(1))) * u128::from(burst);
    if declared.requests > 0 && fill > limits::QUOTA_FILL_MAX.as_nanos() {
        let message = "the burst takes more than 100 years to come back (`burst` × `window` / `requests`); the limit refuses everybody";
        view.error(policy, field(&format!("{path}.burst")), Code::OutOfRange, message);
        return Quota { requests: 0, window, burst: 0 };
    }
    Quota { requests: declared.requests, window, burst }
}

/// The limit, under a name of its own for each Gateway where several share proxies: a flood at one must not close another.
fn counted_for(view: &View<'_>, place: &Place<'_>, limit: &RateLimit) -> RateLimit {
    let gateway = place.gateway.as_ref().filter(|gateway| view.frame(&gateway.key).is_some_and(|frame| !frame.sharing.has_own()));
    let name = gateway.map_or_else(|| limit.name.clone(), |gateway| format!("{}@{}", limit.name, gateway.key).into());
    RateLimit { name, ..limit.clone() }
}

/// Every policy around a rule, from the most general on.
fn around(view: &View<'_>, place: &Place<'_>) -> Vec<ObjectRef> {
    let mut policies: Vec<ObjectRef> = Vec::new();
    for (target, section) in place.targets() {
        let here = all_at(view, Kind::RateLimitPolicy, &target, section.as_ref());
        policies.extend(here.into_iter().filter(|policy| !policies.contains(policy)).collect::<Vec<_>>());
    }
    policies
}

/// The entry for a rule: the limits of every policy around it.
pub(crate) fn effective(view: &View<'_>, place: &Place<'_>) -> Option<(Text, Vec<RateLimit>)> {
    let policies = around(view, place);
    let limits: Vec<RateLimit> = policies
        .iter()
        .filter_map(|policy| match view.policy(policy) {
            Some(PolicyOutcome::RateLimit(limits)) => Some(limits.iter().map(|limit| counted_for(view, place, limit)).collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    let id = policies.iter().map(|policy| policy.key.to_string()).collect::<Vec<_>>().join("+");
    (!policies.is_empty()).then(|| (id.into(), limits))
}

/// Tells limits that tell callers apart by a claim where no token is asked for: there they are all one, and of no plan.
pub(crate) fn judge_claims(view: &View<'_>, place: &Place<'_>, route: &ObjectRef) {
    for policy in around(view, place) {
        let Some(declared) = view.rate_limit_policy(&policy.key) else { continue };
        // Who is told apart by something else, too, is no one of all.
        let by_claims = |limit: &&Limit| limit.key.iter().all(|part| matches!(key_part(part), Some(KeyPart::Claim(_) | KeyPart::Route)));
        for (index, limit) in declared.spec.limits.iter().enumerate().filter(|(_, limit)| by_claims(limit)) {
            let of_plans = limit.plans.as_ref().map(|plans| &plans.claim);
            let Some(claim) = limit.key.iter().find_map(|part| part.claim.as_ref()).or(of_plans) else { continue };
            let claim = claim.escape_debug();
            let message = format!("`{claim}` is a claim of a token, and {route} asks for none: everybody who comes there counts as one");
            let told = Diagnostic::warning(policy.clone(), field(&format!("spec.limits[{index}]")), Code::Unsafe, message);
            view.tell(told.hint("attach an AuthPolicy, or count by `clientAddress`"));
        }
    }
}
