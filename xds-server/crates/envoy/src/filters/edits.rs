//! What a filter of ours has decided about request headers is done behind it, without Envoy's choosing the route again.

use super::skip;
use crate::pb;

/// The filter behind the one of that module; requests of which nothing is to change pass it by.
pub(crate) fn filter(of: &str) -> pb::hcm::HttpFilter {
    let lua = pb::lua::Lua {
        default_source_code: Some(pb::inline_text(&windrose_filter_kit::edits_script(of))),
        clear_route_cache: Some(pb::google::BoolValue { value: false }),
        ..Default::default()
    };
    let edits = skip::state_contains(&windrose_filter_kit::edits_state(of), windrose_filter_kit::EDIT_ENDS);
    skip::unless(&format!("windrose.edits.{of}"), pb::extension("envoy.filters.http.lua", &lua), vec![skip::not(edits)])
}
