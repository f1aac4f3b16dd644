//! What a filter of ours has decided about request headers is done behind it, without Envoy's choosing the route again.

use crate::pb;

/// The filter behind the one of that module.
pub(crate) fn filter(of: &str) -> pb::hcm::HttpFilter {
    let lua = pb::lua::Lua {
        default_source_code: Some(pb::inline_text(&windrose_filter_kit::edits_script(of))),
        clear_route_cache: Some(pb::google::BoolValue { value: false }),
        ..Default::default()
    };
    super::built_in(&format!("windrose.edits.{of}"), &lua)
}
