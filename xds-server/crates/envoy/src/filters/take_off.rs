//! Takes headers off that only a service sets, before it is asked: what a client sent under their names would be taken for its word.

use windrose_vocab::Text;

use crate::pb;

/// Where a service is asked before a route is chosen. None may be chosen by what a client sent either: Envoy did before any filter ran,
/// and looks for the route once more where a script changes headers. Names of headers have neither quotes nor backslashes.
pub(super) fn before_a_route(names: &[Text]) -> pb::hcm::HttpFilter {
    let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let script = format!(
        "local names = {{{list}}}
function envoy_on_request(request)
  local headers = request:headers()
  for _, name in ipairs(names) do
    if headers:get(name) ~= nil then headers:remove(name) end
  end
end
"
    );
    let lua = pb::lua::Lua { default_source_code: Some(pb::inline_text(&script)), ..Default::default() };
    super::built_in("windrose.take-off", &lua)
}

/// On a route, which stays.
pub(super) fn on_a_route(names: &[Text]) -> pb::core::TypedExtensionConfig {
    let mutations = pb::header_mutation::Mutations { request_mutations: removals(names), ..Default::default() };
    pb::extension("take-off", &pb::header_mutation::HeaderMutation { mutations: Some(mutations), ..Default::default() })
}

/// Each of these names.
fn removals(names: &[Text]) -> Vec<pb::mutation::HeaderMutation> {
    use pb::mutation::header_mutation::Action;
    let one = |name: &Text| pb::mutation::HeaderMutation { action: Some(Action::Remove(name.to_string())) };
    names.iter().map(one).collect()
}

/// Where all requests of a listener are meant: before a route is looked for.
pub(crate) fn early(names: &[Text]) -> pb::core::TypedExtensionConfig {
    let mutations = pb::early_header_mutation::HeaderMutation { mutations: removals(names) };
    pb::extension("envoy.http.early_header_mutation.header_mutation", &mutations)
}
