//! CORS: a filter that does nothing by itself, and the policy on each route that has one.

use std::collections::HashMap;

use windrose_ir::route::{Cors, OriginPattern};

use crate::pb;

/// Name of the filter, and the key of its configuration on routes.
pub(crate) const NAME: &str = "envoy.filters.http.cors";

pub(crate) fn filter() -> pb::hcm::HttpFilter {
    super::built_in(NAME, &pb::cors::Cors {})
}

pub(crate) fn per_route(cors: &Cors) -> HashMap<String, pb::google::Any> {
    let list = |items: &[windrose_vocab::Text]| items.join(",");
    let policy = pb::cors::CorsPolicy {
        allow_origin_string_match: cors.origins.iter().map(origin).collect(),
        allow_methods: methods(cors),
        allow_headers: list(&cors.headers),
        expose_headers: list(&cors.expose),
        max_age: cors.max_age.as_secs().to_string(),
        allow_credentials: pb::boolean(cors.credentials),
        ..Default::default()
    };
    HashMap::from([(NAME.to_owned(), pb::any(&policy))])
}

fn origin(origin: &OriginPattern) -> pb::matcher::StringMatcher {
    match origin {
        // Envoy's own spelling of "any".
        OriginPattern::Any => pb::exact("*"),
        OriginPattern::Exact(origin) => pb::exact(origin),
        OriginPattern::Regex(regex) => pb::whole_regex(regex),
    }
}

/// With credentials a browser takes `*` for a method of that name: all are spelled out then (Fetch, section 3.2).
fn methods(cors: &Cors) -> String {
    let all = cors.methods.iter().any(|method| &**method == "*");
    if all && cors.credentials { "GET,HEAD,POST,PUT,DELETE,PATCH,OPTIONS".to_owned() } else { cors.methods.join(",") }
}
