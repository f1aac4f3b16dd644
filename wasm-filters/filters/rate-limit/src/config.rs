//! The filter's configuration as JSON: a table from policy id to limits. The control plane writes it with these very
//! types and compiles it ([`Config::compile`]) before Envoy sees it, so a mistake has a reason.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrose_filter_kit::ConfigError;

use crate::{gcra, limits};

/// Everything one listener's filter knows. A route that names an id which is not here is denied; one that names none has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Limits by the id that routes name in their metadata; all of a policy must have room.
    pub policies: BTreeMap<String, Vec<Limit>>,
    /// Ids under which nobody passes, whatever they were before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<String>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name, for headers and counters: printable ASCII without quotes and backslashes. Limits of two policies with one name count together when their keys are equal.
    pub name: String,
    /// What is counted apart; everything together where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyPart>,
    /// The quota of requests whose plan is not in `plans`.
    pub default: Quota,
    /// Quotas by plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plans: Option<Plans>,
    /// Counted and logged, never enforced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Whether `RateLimit` headers tell the client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers: bool,
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyPart {
    /// A verified claim, as the authentication filter before this one shares it.
    Claim(String),
    /// The trusted client address; IPv6 by its /64.
    ClientAddress,
    /// A request header, lower case.
    Header(String),
    /// The route's name.
    Route,
}

/// So many requests in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests per window; 0 refuses all.
    pub requests: u32,
    /// The window in milliseconds, 1 to 86,400,000.
    pub window_ms: u64,
    /// Requests at once; in one window pass at most `burst + requests - 1`. They come back within 100 years.
    pub burst: u32,
}

/// Quotas by billing plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plans {
    /// The verified claim that names the plan.
    pub claim: String,
    /// Quota by plan.
    pub quotas: BTreeMap<String, Quota>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When it is not JSON of this shape, or a number is out of its range; the place is named.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = serde_json::from_slice(json).map_err(|cause| ConfigError::new(format!("rate limits: {cause}")))?;
        config.compile().map(|()| config)
    }

    /// Checks the ranges that JSON cannot say.
    ///
    /// # Errors
    /// The first number that is out of range, with policy and limit.
    pub fn compile(&self) -> Result<(), ConfigError> {
        for (id, limits) in &self.policies {
            if limits.len() > limits::LIMITS_PER_POLICY {
                return Err(ConfigError::new(format!("policy {id}: {} limits, at most {}", limits.len(), limits::LIMITS_PER_POLICY)));
            }
            for limit in limits {
                if !is_header_safe(&limit.name) {
                    return Err(ConfigError::new(format!("policy {id}, limit {:?}: the name cannot stand in a header", limit.name)));
                }
                let quotas = limit.plans.iter().flat_map(|plans| plans.quotas.values()).chain([&limit.default]);
                quotas.into_iter().try_for_each(|quota| {
                    check(quota).map_err(|why| ConfigError::new(format!("policy {id}, limit {}: {why}", limit.name)))
                })?;
            }
        }
        Ok(())
    }
}

/// Whether a name can stand between quotes in a header (RFC 9651, section 3.3.3), as it is.
fn is_header_safe(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\')
}

fn check(quota: &Quota) -> Result<(), String> {
    let window_max = limits::WINDOW_NS_MAX / 1_000_000;
    match quota {
        Quota { window_ms, .. } if !(1..=window_max).contains(window_ms) => Err(format!("window of {window_ms} ms, not 1 to {window_max}")),
        Quota { requests, burst, .. } if *burst == 0 && *requests > 0 => Err("burst of 0 with a quota above 0".to_owned()),
        Quota { burst, .. } if gcra::fill(quota).is_none() => Err(format!("burst of {burst}, which takes over 100 years to come back")),
        Quota { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_reads_back_as_it_was_written() {
        let text = r#"{"policies":{"shop/orders":[{"name":"per-user","key":[{"claim":"sub"},"client_address",{"header":"x-tenant"},"route"],"default":{"requests":5,"window_ms":1000,"burst":5},"plans":{"claim":"plan","quotas":{"gold":{"requests":100,"window_ms":1000,"burst":200}}},"shadow":true,"headers":true}]}}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let cases = [
            (r#"{"policies":{"p":[{"name":"l","default":{"requests":1,"window_ms":0,"burst":1}}]}}"#, "policy p, limit l: window of 0 ms"),
            (r#"{"policies":{"p":[{"name":"l","default":{"requests":1,"window_ms":1,"burst":0}}]}}"#, "burst of 0"),
            (
                r#"{"policies":{"p":[{"name":"l","default":{"requests":1,"window_ms":86400000,"burst":36501}}]}}"#,
                "policy p, limit l: burst of 36501, which takes over 100 years to come back",
            ),
            (r#"{"policies":{"p":[{"name":"","default":{"requests":1,"window_ms":1,"burst":1}}]}}"#, "limit \"\": the name cannot stand"),
            (
                r#"{"policies":{"p":[{"name":"a\"b","default":{"requests":1,"window_ms":1,"burst":1}}]}}"#,
                "the name cannot stand in a header",
            ),
            (
                r#"{"policies":{"p":[{"name":"a\\b","default":{"requests":1,"window_ms":1,"burst":1}}]}}"#,
                "the name cannot stand in a header",
            ),
            (
                r#"{"policies":{"p":[{"name":"a\r\nb","default":{"requests":1,"window_ms":1,"burst":1}}]}}"#,
                "the name cannot stand in a header",
            ),
            (r#"{"policies":{"p":[{"name":"ä","default":{"requests":1,"window_ms":1,"burst":1}}]}}"#, "the name cannot stand in a header"),
            (r#"{"policies":{},"fail_open":true}"#, "fail_open"),
        ];
        for (text, expected) in cases {
            let error = Config::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
