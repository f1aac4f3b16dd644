//! RateLimitPolicy.

use std::time::Duration;

use windrose_vocab::Code;

use super::{Check, exactly_one, header_name, only_true, target, unique, within};
use crate::decode::{Path, Report};
use crate::policy::{KeyPart, Limit, Quota, RateLimitPolicy};

const WINDOW: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
/// Longest time for a whole burst to come back: filters count in nanoseconds, and what lasts longer than they can count limits nobody.
const FILL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Check for RateLimitPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        let at = at.field("limits");
        unique(self.limits.iter().map(|limit| limit.name.as_str()), "name", &at, report);
        self.limits.iter().enumerate().for_each(|(index, entry)| limit(entry, &at.index(index), report));
    }
}

fn limit(limit: &Limit, at: &Path<'_>, report: &mut Report) {
    let at_key = at.field("key");
    limit.key.iter().enumerate().for_each(|(index, part)| key(part, &at_key.index(index), report));
    quota(&limit.quota, &at.field("quota"), report);
    if let Some(plans) = &limit.plans {
        let at = at.field("plans");
        let at = at.field("quotas");
        unique(plans.quotas.iter().map(|plan| plan.name.as_str()), "name", &at, report);
        plans.quotas.iter().enumerate().for_each(|(index, plan)| quota(&plan.quota, &at.index(index).field("quota"), report));
    }
}

fn key(part: &KeyPart, at: &Path<'_>, report: &mut Report) {
    let KeyPart { claim, client_address, header, route } = part;
    let fields =
        [("claim", claim.is_some()), ("clientAddress", client_address.is_some()), ("header", header.is_some()), ("route", route.is_some())];
    exactly_one(&fields, at, report);
    only_true(*client_address, "clientAddress", at, report);
    only_true(*route, "route", at, report);
    if let Some(header) = header {
        header_name(header, &at.field("header"), report);
    }
}

fn quota(quota: &Quota, at: &Path<'_>, report: &mut Report) {
    within(quota.window.0, WINDOW, &at.field("window"), report);
    if let (1.., Some(burst)) = (quota.requests, quota.burst)
        && quota.window.0.as_nanos().div_ceil(u128::from(quota.requests)) * u128::from(burst) > FILL.as_nanos()
    {
        let message = format!("`{burst}` is out of range: `burst` × `window` / `requests` is more than 100 years");
        report.error(&at.field("burst"), Code::OutOfRange, message);
    }
}
