//! Filters that some requests pass by, as the headers say that were sent.

use crate::pb;
use pb::matching::ExtensionWithMatcher;
use pb::xds_matcher::matcher::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate, single_predicate};
use pb::xds_matcher::matcher::matcher_list::{FieldMatcher, Predicate};
use pb::xds_matcher::matcher::{MatcherList, MatcherType, OnMatch, on_match};
use pb::xds_matcher::{RegexMatcher, StringMatcher, regex_matcher, string_matcher};

/// The filter of this configuration, for requests of which no rule holds.
pub(super) fn unless(name: &str, config: pb::core::TypedExtensionConfig, rules: Vec<Predicate>) -> pb::hcm::HttpFilter {
    let matchers = MatcherList { matchers: rules.into_iter().map(skip).collect() };
    let matcher = pb::xds_matcher::Matcher { matcher_type: Some(MatcherType::MatcherList(matchers)), ..Default::default() };
    let outer = ExtensionWithMatcher { xds_matcher: Some(matcher), extension_config: Some(config), ..Default::default() };
    super::built_in(name, &outer)
}

/// Whether a header, which is there, matches as a whole.
pub(super) fn header(name: &str, regex: &str) -> Predicate {
    let input = pb::matcher::HttpRequestHeaderMatchInput { header_name: name.to_owned() };
    let single = SinglePredicate {
        input: Some(pb::xds_extension("header", &input)),
        matcher: Some(single_predicate::Matcher::ValueMatch(whole(regex))),
    };
    Predicate { match_type: Some(MatchType::SinglePredicate(single)) }
}

pub(super) fn not(predicate: Predicate) -> Predicate {
    Predicate { match_type: Some(MatchType::NotMatcher(Box::new(predicate))) }
}

/// All of them; of one that one, for Envoy takes no list of one.
pub(super) fn all(mut predicates: Vec<Predicate>) -> Predicate {
    if predicates.len() == 1 {
        return predicates.remove(0);
    }
    Predicate { match_type: Some(MatchType::AndMatcher(PredicateList { predicate: predicates })) }
}

fn skip(predicate: Predicate) -> FieldMatcher {
    let action = pb::xds_extension("skip", &pb::matcher_action::SkipFilter {});
    FieldMatcher {
        predicate: Some(predicate),
        on_match: Some(OnMatch { on_match: Some(on_match::OnMatch::Action(action)), ..Default::default() }),
    }
}

/// A text that matches as a whole, for a matcher of this kind: it has messages of its own.
fn whole(regex: &str) -> StringMatcher {
    let engine_type = Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {}));
    let regex = RegexMatcher { regex: regex.to_owned(), engine_type };
    StringMatcher { ignore_case: false, match_pattern: Some(string_matcher::MatchPattern::SafeRegex(regex)) }
}
