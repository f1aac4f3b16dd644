//! Which policy applies to a stream, and how verified claims travel to later filters. Both are properties of the stream
//! that no client can write.

use crate::{Denial, Host, HostError};

/// Name of our route metadata (`metadata.filter_metadata`).
pub const METADATA_NAMESPACE: &str = "windrose";
/// Member of our route metadata that names the policy.
pub const METADATA_POLICY: &str = "policy";
/// Prefix of the property that carries one verified claim; in Envoy's own matchers and logs it is filter state
/// `wasm.windrose.claim.<path>`.
pub const CLAIM_PROPERTY_PREFIX: &str = "windrose.claim.";

/// What the route of a stream says about its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutePolicy {
    /// The route names this policy.
    Named(String),
    /// There is a route, and it names none (or not as a string).
    Unnamed,
    /// No route matches. A later filter could still change that, so the request must end here.
    NoRoute,
}

impl RoutePolicy {
    /// The refusal for a stream whose policy is not in the filter's table, whatever the reason.
    #[must_use]
    pub fn denial(&self) -> Denial {
        match self {
            Self::NoRoute => Denial::new(404, "no_route", "no route matches this request").with_grpc_status(12),
            Self::Unnamed | Self::Named(_) => Denial::new(403, "policy_unknown", "no policy is in force for this route, so it is closed"),
        }
    }
}

/// The policy of the stream's route, from `xds.route_metadata`: one host call when there is one.
pub fn policy_of_route(host: &dyn Host) -> RoutePolicy {
    let path = ["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_POLICY];
    match host.property(&path).map(|id| id.map(String::from_utf8)) {
        Ok(Some(Ok(id))) if !id.is_empty() => RoutePolicy::Named(id),
        Ok(None) if host.property(&["xds", "route_name"]) == Ok(None) => RoutePolicy::NoRoute,
        Ok(_) | Err(_) => RoutePolicy::Unnamed,
    }
}

/// Name of the property that carries the verified claim at this path (`tier`, `realm_access.roles`).
#[must_use]
pub fn claim_property(claim_path: &str) -> String {
    format!("{CLAIM_PROPERTY_PREFIX}{claim_path}")
}

/// A verified claim of this stream as text: strings as they are, numbers and booleans printed, arrays and objects as
/// JSON. `None` when no token was verified, the claim is absent, or the policy does not share it.
///
/// # Errors
/// When the host does not say: that is not "absent".
pub fn verified_claim(host: &dyn Host, claim_path: &str) -> Result<Option<Vec<u8>>, HostError> {
    host.property(&[&claim_property(claim_path)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeHost;

    #[test]
    fn a_route_names_its_policy_in_metadata() {
        assert_eq!(policy_of_route(&FakeHost::new().with_policy("gold")), RoutePolicy::Named("gold".into()));
    }

    #[test]
    fn no_route_an_unnamed_route_and_a_strange_name_all_deny() {
        assert_eq!(policy_of_route(&FakeHost::new()), RoutePolicy::NoRoute);
        assert_eq!(policy_of_route(&FakeHost::new().with_route("r")), RoutePolicy::Unnamed);
        assert_eq!(policy_of_route(&FakeHost::new().with_policy("")), RoutePolicy::Unnamed);
        assert_eq!(RoutePolicy::NoRoute.denial().status, 404);
        assert_eq!(RoutePolicy::Unnamed.denial().status, 403);
        assert_eq!(RoutePolicy::Named("gone".into()).denial().status, 403);
    }

    #[test]
    fn a_claim_set_by_one_filter_is_read_by_the_next() {
        let host = FakeHost::new();
        assert_eq!(host.set_property(&claim_property("tier"), b"gold"), Ok(()));
        assert_eq!(verified_claim(&host, "tier"), Ok(Some(b"gold".to_vec())));
        assert_eq!(verified_claim(&host, "sub"), Ok(None));
        host.fail_property(&[&claim_property("sub")], HostError::Other(6));
        assert_eq!(verified_claim(&host, "sub"), Err(HostError::Other(6)));
    }
}
