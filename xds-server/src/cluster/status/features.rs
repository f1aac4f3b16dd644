//! The features of Gateway API that a class of ours has, each with its test in the official suite of a version.

use std::collections::BTreeSet;

use windrose_vocab::Kind;

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
    "GatewayAddressRoutability",
    "GatewayAddressRoutabilityCluster",
    "GatewayListenerFilters",
    "GatewayRouteHostnameIntersectionPrecedence",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteRetryCodes",
];

/// What a class has where definitions of that version are, and no kinds but those that are absent, sorted.
pub(super) fn features(version: Option<(u32, u32)>, absent: &BTreeSet<Kind>) -> Vec<&'static str> {
    let more = if version >= Some((1, 7)) { SINCE_1_7 } else { BEFORE_1_7 };
    // A feature begins with the kind that it is of. Kinds of ours have none, and one is called as the first half of another.
    let has_features = |kind: &Kind| kind.group() == Kind::Gateway.group() || *kind == Kind::ClusterTrustBundle;
    let is_there = |feature: &&str| !absent.iter().any(|kind| has_features(kind) && feature.starts_with(kind.as_str()));
    let mut all: Vec<&str> = [ALWAYS, more].concat().into_iter().filter(is_there).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// All that Gateway API v1.7.0 knows (`pkg/features`) and we do not claim: what is a mesh's.
    const UNCLAIMED_OF_1_7: &[&str] = &[
        "Mesh",
        "MeshClusterIPMatching",
        "MeshConsumerRoute",
        "MeshHTTPRouteBackendRequestHeaderModification",
        "MeshHTTPRouteNamedRouteRule",
        "MeshHTTPRouteQueryParamMatching",
        "MeshHTTPRouteRedirectPath",
        "MeshHTTPRouteRedirectPort",
        "MeshHTTPRouteRewritePath",
        "MeshHTTPRouteSchemeRedirect",
    ];

    fn of(version: Option<(u32, u32)>) -> Vec<&'static str> {
        features(version, &BTreeSet::new())
    }

    #[test]
    fn only_what_the_definitions_know_is_told() {
        let (former, now) = (of(Some((1, 6))), of(Some((1, 7))));
        assert!(former.contains(&"HTTPRouteRetry") && !former.contains(&"HTTPRouteRetryCodes"));
        assert!(now.contains(&"HTTPRouteRetryCodes") && !now.contains(&"HTTPRouteRetry"));
        assert_eq!(of(None), former, "what cannot be read is taken for older");
        assert!(now.is_sorted() && now.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn nothing_is_told_of_kinds_that_are_not_there() {
        let absent = [Kind::TCPRoute, Kind::UDPRoute, Kind::ListenerSet, Kind::Backend].into();
        let (all, now) = (of(Some((1, 7))), features(Some((1, 7)), &absent));
        let missing: Vec<&str> = all.into_iter().filter(|feature| !now.contains(feature)).collect();
        assert_eq!(missing, ["ListenerSet", "TCPRoute", "UDPRoute"]);
    }

    /// Where the Go module lies that the official suite is built with, its list is compared too.
    #[test]
    fn all_features_of_the_newest_version_are_claimed_but_those_of_a_mesh() {
        let mut ours = [of(Some((1, 7))), UNCLAIMED_OF_1_7.to_vec()].concat();
        ours.sort_unstable();
        assert_eq!(ours.len(), 64, "as many as v1.7.0 has");
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.windrose/gateway-api-v1.7.0");
        let cache = std::env::home_dir().unwrap_or_default().join("go/pkg/mod");
        let of_module = |root: &Path| std::fs::read_dir(root.join("sigs.k8s.io/gateway-api@v1.7.0/pkg/features")).ok();
        let Some(files) = of_module(&unpacked).or_else(|| of_module(&cache)) else { return };
        let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let mut theirs: Vec<&str> = text.lines().filter_map(name).collect();
        theirs.sort_unstable();
        assert_eq!(ours, theirs);
    }

    /// The name that a line of Go declares: `SupportTCPRoute FeatureName = "TCPRoute"`.
    fn name(line: &str) -> Option<&str> {
        let (declared, value) = line.trim().strip_prefix("Support")?.split_once(" = \"")?;
        value.strip_suffix('"').filter(|_| !declared.contains(':'))
    }
}
