//! What a filter of ours has decided about request headers is done behind it, without Envoy's choosing the route again.

use crate::pb;

/// The filter behind the one of that module.
pub(super) fn filter(of: &str) -> pb::core::TypedExtensionConfig {
    let lua = pb::lua::Lua {
        default_source_code: Some(pb::inline_text(&windrose_filter_kit::edits_script(of))),
        clear_route_cache: Some(pb::google::BoolValue { value: false }),
        ..Default::default()
    };
    pb::extension(&format!("windrose.edits.{of}"), &lua)
}
