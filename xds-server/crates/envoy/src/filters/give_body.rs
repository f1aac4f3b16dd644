//! An empty body for requests that have none, on routes that transcode: proxy-wasm can change a body and cannot add one.
//! Off for every other route.

use std::collections::HashMap;

use windrose_grpc_transcoder::{GIVE_BODY_LUA, METADATA_TRANSCODE};
use windrose_ir::Route;

use crate::pb;

const NAME: &str = "envoy.filters.http.lua";

/// The filter, off where a route does not turn it on.
pub(crate) fn filter() -> pb::hcm::HttpFilter {
    pb::hcm::HttpFilter { disabled: true, ..super::built_in(NAME, &pb::lua::Lua::default()) }
}

/// Turns it on for a route that transcodes.
pub(crate) fn per_route(route: &Route) -> HashMap<String, pb::google::Any> {
    if !route.policies.iter().any(|(filter, _)| &**filter == METADATA_TRANSCODE) {
        return HashMap::new();
    }
    let script = pb::core::DataSource {
        specifier: Some(pb::core::data_source::Specifier::InlineString(GIVE_BODY_LUA.to_owned())),
        ..Default::default()
    };
    let on = pb::lua::LuaPerRoute { r#override: Some(pb::lua::lua_per_route::Override::SourceCode(script)), ..Default::default() };
    HashMap::from([(NAME.to_owned(), pb::any(&on))])
}
