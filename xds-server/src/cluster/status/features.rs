//! The features of Gateway API that a class of ours has, each with its test in the official suite of a version.

/// Of every version.
const ALWAYS: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];
/// Those that v1.7 calls otherwise.
const BEFORE_1_7: &[&str] = &["HTTPRouteRetry", "HTTPRouteRetryBackendTimeout"];
/// Those that definitions since v1.7 have the fields of.
const SINCE_1_7: &[&str] = &[
    "ClusterTrustBundle",
    "GRPCRouteRequestHeaderModifier",
    "GatewayListenerFilters",
    "GatewayRouteHostnameIntersectionPrecedence",
    "HTTPRouteRetryCodes",
];

/// What a class has where definitions of that version are, sorted.
pub(super) fn features(version: Option<(u32, u32)>) -> Vec<&'static str> {
    let more = if version >= Some((1, 7)) { SINCE_1_7 } else { BEFORE_1_7 };
    let mut all = [ALWAYS, more].concat();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_definitions_know_is_told() {
        let (former, now) = (features(Some((1, 6))), features(Some((1, 7))));
        assert!(former.contains(&"HTTPRouteRetry") && !former.contains(&"HTTPRouteRetryCodes"));
        assert!(now.contains(&"HTTPRouteRetryCodes") && !now.contains(&"HTTPRouteRetry"));
        assert_eq!(features(None), former, "what cannot be read is taken for older");
        assert!(now.is_sorted() && now.windows(2).all(|two| two[0] != two[1]));
    }
}
