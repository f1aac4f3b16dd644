//! The bound on request bodies: counted while they stream, 413 beyond, nothing is buffered.

use crate::pb;

pub(crate) fn filter(max_bytes: u64) -> pb::hcm::HttpFilter {
    let config = pb::body_size_limit::BodySizeLimit { max_request_bytes: pb::number64(max_bytes.max(1)) };
    super::built_in("envoy.filters.http.body_size_limit", &config)
}
