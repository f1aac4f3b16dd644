//! What stands in the place of a filter of ours while it has no policy: a filter of Envoy's own, so that a port without policies
//! runs no module. A route that names a policy all the same came before it, and is closed until the module is there. A policy that asks
//! nothing is one too: the module remembers it when it gets another name.

use windrose_filter_kit::policy::{METADATA_NAMESPACE, METADATA_POLICY};
use windrose_ir::Extension;
use windrose_ir::extension::OPEN;

use super::rbac;
use crate::pb;
use pb::matcher::metadata_matcher::{PathSegment, path_segment};
use pb::matcher::value_matcher::MatchPattern;
use pb::rbac::permission::{Rule, Set};
use pb::rbac::{MetadataSource, Permission, SourcedMetadata};

/// Before the counters of what is refused so.
const STATS: &str = "no_policy.";

/// Whether the table has no policy.
pub(crate) fn is_idle(extension: &Extension) -> bool {
    named(extension).is_some()
}

/// The filter, where that is so.
pub(super) fn instead(extension: &Extension) -> Option<pb::http_rbac::Rbac> {
    let (key, known) = named(extension)?;
    Some(rbac::deny(STATS, "no-policy", names_another(key, known)))
}

/// Under which key routes name the policies of a table that has none, and what those name that have none.
fn named(extension: &Extension) -> Option<(&'static str, Option<&'static str>)> {
    Some(match extension {
        Extension::JwtAuth(table) => (METADATA_POLICY, table.policies.keys().all(|id| **id == *OPEN).then_some(Some(OPEN))?),
        Extension::RateLimit(table) => (windrose_rate_limit::METADATA_KEY, table.policies.is_empty().then_some(None)?),
        Extension::Transcoder(table) => (windrose_grpc_transcoder::METADATA_TRANSCODE, table.policies.is_empty().then_some(None)?),
    })
}

/// Whether the route of a request names a policy under this key, and not this one.
fn names_another(key: &str, known: Option<&str>) -> Permission {
    let is = |pattern| Permission { rule: Some(of_route(key, pattern)) };
    let any = is(MatchPattern::PresentMatch(true));
    let Some(known) = known else { return any };
    let not = Permission { rule: Some(Rule::NotRule(Box::new(is(MatchPattern::StringMatch(pb::exact(known)))))) };
    Permission { rule: Some(Rule::AndRules(Set { rules: vec![any, not] })) }
}

fn of_route(key: &str, pattern: MatchPattern) -> Rule {
    let segment = PathSegment { segment: Some(path_segment::Segment::Key(key.to_owned())) };
    let matcher = pb::matcher::MetadataMatcher {
        filter: METADATA_NAMESPACE.to_owned(),
        path: vec![segment],
        value: Some(pb::matcher::ValueMatcher { match_pattern: Some(pattern) }),
        ..Default::default()
    };
    Rule::SourcedMetadata(SourcedMetadata { metadata_matcher: Some(matcher), metadata_source: MetadataSource::Route as i32 })
}
