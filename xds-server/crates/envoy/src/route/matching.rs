//! What a route matches.

use windrose_ir::route::{PathMatch, RouteMatch, Share, ValueMatch, ValuePattern};

use crate::pb;
use pb::route::header_matcher::HeaderMatchSpecifier;
use pb::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use pb::route::route_match::{GrpcRouteMatchOptions, PathSpecifier};
use pb::route::{HeaderMatcher, QueryParameterMatcher};

pub(super) fn route_match(matcher: &RouteMatch, share: Option<Share>) -> pb::route::RouteMatch {
    let method = matcher.method.iter().map(|method| header_matcher(":method", pb::exact(method)));
    let headers = matcher.headers.iter().map(|header| header_matcher(&header.name, pattern(&header.value)));
    pb::route::RouteMatch {
        path_specifier: Some(path(&matcher.path)),
        headers: method.chain(headers).collect(),
        query_parameters: matcher.query.iter().map(query).collect(),
        grpc: matcher.grpc.then_some(GrpcRouteMatchOptions {}),
        runtime_fraction: share.map(below),
        ..Default::default()
    }
}

/// Envoy compares one number for the whole request with the fraction of each route that it comes to.
fn below(share: Share) -> pb::core::RuntimeFractionalPercent {
    let denominator = pb::types::fractional_percent::DenominatorType::Million as i32;
    let value = pb::types::FractionalPercent { numerator: share.below_millionths, denominator };
    pb::core::RuntimeFractionalPercent { default_value: Some(value), runtime_key: String::new() }
}

fn path(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(pb::regex(regex)),
        PathMatch::Prefix(prefix) => match without_slash(prefix) {
            "" => PathSpecifier::Prefix("/".to_owned()),
            segments => PathSpecifier::PathSeparatedPrefix(segments.to_owned()),
        },
    }
}

/// A prefix of whole segments without the slash at its end: `/a/` matches what `/a` matches.
pub(super) fn without_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

fn query(parameter: &ValueMatch) -> QueryParameterMatcher {
    QueryParameterMatcher {
        name: parameter.name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(pattern(&parameter.value))),
    }
}

/// A header whose value (several are joined by commas) matches.
pub(crate) fn header_matcher(name: &str, value: pb::matcher::StringMatcher) -> HeaderMatcher {
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)), ..Default::default() }
}

fn pattern(pattern: &ValuePattern) -> pb::matcher::StringMatcher {
    match pattern {
        ValuePattern::Exact(text) => pb::exact(text),
        ValuePattern::Regex(regex) => pb::whole_regex(regex),
    }
}
