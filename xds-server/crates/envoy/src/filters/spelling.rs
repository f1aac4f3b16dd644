//! Finds the scope of a host that is spelled with upper-case letters: a scope is found by the very letters, while a
//! host means the same in either case. Every other request is let by without a look into the script.

use windrose_ir::Route;
use windrose_ir::route::RouteAction;

use crate::pb;
use crate::route::scoped::HOST_HEADER;
use pb::matching::ExtensionWithMatcher;
use pb::xds_matcher::matcher::matcher_list::predicate::{MatchType, SinglePredicate, single_predicate};
use pb::xds_matcher::matcher::matcher_list::{FieldMatcher, Predicate};
use pb::xds_matcher::matcher::{MatcherList, MatcherType, OnMatch, on_match};
use pb::xds_matcher::{RegexMatcher, StringMatcher, regex_matcher, string_matcher};

/// Name of the filter, and the key under which it finds what a route says of upgrades.
const NAME: &str = "windrose.spelling";

/// Hosts that are spelled as scopes are.
const PLAIN: &str = "[^A-Z]*";

/// Whether a route takes upgrades is asked before filters run, when the right route was not known: so it is asked again.
const SCRIPT: &str = r#"function envoy_on_request(request)
  local headers = request:headers()
  headers:replace("x-windrose-host", string.lower(headers:get(":authority") or ""))
  request:clearRouteCache()
  if headers:get("upgrade") ~= nil and request:metadata():get("upgrade") == "no" then
    request:respond({[":status"] = "403"}, "")
  end
end
"#;

/// The filter; it has to be the first.
pub(crate) fn filter() -> pb::hcm::HttpFilter {
    let lua = pb::lua::Lua { default_source_code: Some(pb::inline_text(SCRIPT)), ..Default::default() };
    let config = ExtensionWithMatcher {
        xds_matcher: Some(skipping_plain_hosts()),
        extension_config: Some(pb::extension("envoy.filters.http.lua", &lua)),
        ..Default::default()
    };
    super::built_in(NAME, &config)
}

/// What the filter has to know of a route.
pub(crate) fn metadata(route: &Route) -> Option<(String, pb::google::Struct)> {
    let no = match &route.action {
        RouteAction::Forward(forward) => !forward.websocket,
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => false,
    };
    no.then(|| (NAME.to_owned(), pb::string_struct([("upgrade", "no")])))
}

fn skipping_plain_hosts() -> pb::xds_matcher::Matcher {
    let host = pb::matcher::HttpRequestHeaderMatchInput { header_name: HOST_HEADER.to_owned() };
    let is_plain = SinglePredicate {
        input: Some(pb::xds_extension("host", &host)),
        matcher: Some(single_predicate::Matcher::ValueMatch(whole(PLAIN))),
    };
    let skip = pb::xds_extension("skip", &pb::matcher_action::SkipFilter {});
    let rule = FieldMatcher {
        predicate: Some(Predicate { match_type: Some(MatchType::SinglePredicate(is_plain)) }),
        on_match: Some(OnMatch { on_match: Some(on_match::OnMatch::Action(skip)), ..Default::default() }),
    };
    let rules = MatcherList { matchers: vec![rule] };
    pb::xds_matcher::Matcher { matcher_type: Some(MatcherType::MatcherList(rules)), ..Default::default() }
}

/// A text that matches as a whole, for a matcher of this kind: it has messages of its own.
fn whole(regex: &str) -> StringMatcher {
    let engine_type = Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {}));
    let regex = RegexMatcher { regex: regex.to_owned(), engine_type };
    StringMatcher { ignore_case: false, match_pattern: Some(string_matcher::MatchPattern::SafeRegex(regex)) }
}
