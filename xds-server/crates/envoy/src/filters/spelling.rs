//! Finds the scope of a host that is spelled with upper-case letters: a scope is found by the very letters, while a
//! host means the same in either case. Every other request is let by without a look into the script.

use windrose_ir::Route;
use windrose_ir::route::RouteAction;

use super::skip;
use crate::pb;
use crate::route::scoped::HOST_HEADER;

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
    skip::unless(NAME, pb::extension("envoy.filters.http.lua", &lua), vec![skip::header(HOST_HEADER, PLAIN)])
}

/// What the filter has to know of a route.
pub(crate) fn metadata(route: &Route) -> Option<(String, pb::google::Struct)> {
    let no = match &route.action {
        RouteAction::Forward(forward) => !forward.websocket,
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => false,
    };
    no.then(|| (NAME.to_owned(), pb::string_struct([("upgrade", "no")])))
}
