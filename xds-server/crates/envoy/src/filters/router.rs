//! The filter that ends every chain and sends requests on.

use crate::pb;

pub(crate) fn filter() -> pb::hcm::HttpFilter {
    let config = pb::router::Router {
        // `x-envoy-upstream-service-time` and the like tell strangers what stands behind.
        suppress_envoy_headers: true,
        ..Default::default()
    };
    super::built_in("envoy.filters.http.router", &config)
}
