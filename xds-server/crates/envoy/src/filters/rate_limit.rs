//! `ir::extension::RateLimitTable` → the configuration of the filter `rate-limit`.

use std::collections::BTreeMap;

use windrose_ir::extension::{KeyPart, Plans, Quota, RateLimit, RateLimitTable};
use windrose_rate_limit::config::{self, Config, Limit};
use windrose_vocab::Duration;

use crate::limits::LIMIT_WINDOW_MS;

/// The table as JSON; policies that the filter would refuse are closed.
pub(crate) fn configuration(table: &RateLimitTable) -> Option<String> {
    let mut config = config(table);
    config.policies.retain(|id, limits| alone(id, limits).compile().is_ok());
    config.closed = super::closed(&table.policies, &config.policies);
    serde_json::to_string(&config).ok()
}

/// The filter's own word on each policy.
pub(crate) fn check(table: &RateLimitTable) -> Vec<(String, String)> {
    let config = config(table);
    let refused = |(id, limits): (&String, &Vec<Limit>)| Some((id.clone(), alone(id, limits).compile().err()?.to_string()));
    config.policies.iter().filter_map(refused).collect()
}

fn alone(id: &str, limits: &[Limit]) -> Config {
    Config { policies: BTreeMap::from([(id.to_owned(), limits.to_vec())]), ..Config::default() }
}

fn config(table: &RateLimitTable) -> Config {
    let policies = table.policies.iter().map(|(id, limits)| (id.to_string(), limits.iter().map(limit).collect())).collect();
    Config { policies, ..Config::default() }
}

fn limit(limit: &RateLimit) -> Limit {
    Limit {
        name: limit.name.to_string(),
        key: limit.key.iter().map(key_part).collect(),
        default: quota(&limit.default),
        plans: limit.plans.as_ref().map(plans),
        shadow: limit.shadow,
        headers: limit.headers,
    }
}

fn key_part(part: &KeyPart) -> config::KeyPart {
    match part {
        KeyPart::Claim(claim) => config::KeyPart::Claim(claim.to_string()),
        KeyPart::ClientAddress => config::KeyPart::ClientAddress,
        KeyPart::Header(name) => config::KeyPart::Header(name.to_ascii_lowercase()),
        KeyPart::Route => config::KeyPart::Route,
    }
}

fn plans(plans: &Plans) -> config::Plans {
    let quotas = plans.quotas.iter().map(|(plan, value)| (plan.to_string(), quota(value))).collect();
    config::Plans { claim: plans.claim.to_string(), quotas }
}

fn quota(quota: &Quota) -> config::Quota {
    let burst = if quota.burst == 0 { quota.requests } else { quota.burst };
    config::Quota {
        requests: quota.requests,
        window_ms: milliseconds(quota.window).clamp(*LIMIT_WINDOW_MS.start(), *LIMIT_WINDOW_MS.end()),
        burst,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
