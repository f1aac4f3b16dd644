//! Refuses paths that a service may read as another path than routes and rules do. What RFC 3986 says is alike Envoy makes alike
//! by itself (`/%61dmin`, `/x/../admin`); parameters of segments it leaves where they are, and services of the Servlet kind cut them off:
//! for them `/admin;x=1` is `/admin`, and `/open/%2e%2e;/admin` too.

use windrose_ir::http::{PathNormalization, PathParameters};

use super::skip;
use crate::pb;

const NAME: &str = "windrose.paths";

/// A segment of dots with parameters, which nobody means.
const DOTS: &str = r"[^?#]*(/|%2[Ff]|\\|%5[Cc])(\.|%2[Ee]){1,2}(;|%3[Bb]).*";

/// The same, and every segment with parameters.
const PARAMETERS: &str = r"[^?#]*(;|(/|%2[Ff]|\\|%5[Cc])(\.|%2[Ee]){1,2}%3[Bb]).*";

/// A path of which that can be told: no expression matches bytes that are no UTF-8, and HTTP/2 carries them.
const TEXT: &str = ".*";

const SCRIPT: &str = r#"function envoy_on_request(request)
  request:respond({[":status"] = "400"}, "")
end
"#;

/// The filter; every other request is let by without a look into the script.
pub(crate) fn filter(paths: PathNormalization) -> pb::hcm::HttpFilter {
    let refused = match paths.parameters {
        PathParameters::Keep => DOTS,
        PathParameters::Reject => PARAMETERS,
    };
    let lua = pb::lua::Lua { default_source_code: Some(pb::inline_text(SCRIPT)), ..Default::default() };
    let fine = skip::all(vec![skip::header(":path", TEXT), skip::not(skip::header(":path", refused))]);
    skip::unless(NAME, pb::extension("envoy.filters.http.lua", &lua), vec![fine])
}
