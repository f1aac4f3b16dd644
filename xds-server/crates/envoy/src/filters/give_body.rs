//! An empty body for requests that have none, on routes that transcode: proxy-wasm can change a body and cannot add one.
//! On every other route it has no script to run. It is there all the same: Envoy leaves out what a route turns off before the
//! filters run, when the scope of a host that is spelled otherwise is not found yet.

use std::collections::HashMap;

use windrose_grpc_transcoder::{GIVE_BODY_LUA, METADATA_TRANSCODE};
use windrose_ir::Route;

use crate::pb;

const NAME: &str = "envoy.filters.http.lua";

/// The filter, without a script of its own.
pub(super) fn filter() -> pb::core::TypedExtensionConfig {
    pb::extension(NAME, &pb::lua::Lua::default())
}

/// The script, for a route that transcodes.
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
