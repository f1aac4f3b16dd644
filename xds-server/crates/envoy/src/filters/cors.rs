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
        // With credentials a browser takes `*` for a name; Envoy then answers with what the preflight asks for.
        allow_methods: list(&cors.methods),
        allow_headers: list(&cors.headers),
        expose_headers: list(&cors.expose),
        max_age: cors.max_age.as_secs().to_string(),
        allow_credentials: pb::boolean(cors.credentials),
        // The service is not asked: its own answer could allow what the route does not.
        forward_not_matching_preflights: pb::boolean(false),
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
