//! Services of the user's own that decide who passes (`ext_authz`). In the chain stands a filter that does nothing; a host or a
//! route tells it whom to ask. What Envoy turns on by route it decides before the filters run, when the route may not be found
//! yet or may still become another; this one looks when a request comes to it.

use std::collections::HashMap;

use windrose_ir::route::{AuthProtocol, AuthService, ExternalAuth};
use windrose_vocab::Text;

use super::{rbac, take_off};
use crate::health::authority;
use crate::limits::EXTERNAL_AUTH_TIMEOUT;
use crate::pb;
use pb::composite::{Composite, CompositePerRoute, ExecuteFilterAction, FilterChainConfiguration};
use pb::ext_authz::ext_authz::Services;
use pb::ext_authz::{AuthorizationResponse, BufferSettings, ExtAuthz, HttpService};
use pb::xds_matcher::matcher::{OnMatch, on_match};

/// What no service may set on a request: how it is framed, and by which of our headers its host is found.
const NEVER: &str = ":status|content-length|transfer-encoding|connection|proxy-connection|keep-alive|te|trailer|upgrade|x-windrose-.*";
/// What of an answer belongs to the answer, where all of its headers go on.
const OF_THE_ANSWER: &str = "content-.*|date|server|vary|etag|last-modified|cache-control|expires|set-cookie|www-authenticate";

/// When it is that a service is asked.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// Before a route is chosen: what the service changes decides which. Several are asked one after the other, each by a filter of its
    /// own: within one filter the second would not be waited for.
    Listener(u32),
    /// When a route was chosen, which stays.
    Route,
}

impl Phase {
    /// The name of the filter, and the key of its configuration on hosts and routes.
    fn name(self) -> String {
        match self {
            Self::Listener(position) => format!("windrose.listener-auth.{position}"),
            Self::Route => "windrose.route-auth".to_owned(),
        }
    }
}

pub(crate) fn filter(phase: Phase) -> pb::hcm::HttpFilter {
    super::built_in(&phase.name(), &Composite::default())
}

/// The cluster that is asked, if any.
pub(crate) fn cluster(asked: &ExternalAuth) -> Option<&str> {
    match asked {
        ExternalAuth::Denied => None,
        ExternalAuth::Asked(service) => Some(&service.cluster),
    }
}

/// Whom the filters of a listener ask about requests for a host.
pub(crate) fn per_host(asked: &[ExternalAuth]) -> HashMap<String, pb::google::Any> {
    (0..).zip(asked).map(|(position, one)| per_route(Phase::Listener(position), one)).collect()
}

/// Whom the filter asks, on a host or a route.
pub(crate) fn per_route(phase: Phase, asked: &ExternalAuth) -> (String, pb::google::Any) {
    let alone = |filter| ExecuteFilterAction { typed_config: Some(filter), ..Default::default() };
    let executed = match asked {
        ExternalAuth::Denied => alone(pb::extension("denied", &rbac::deny_all())),
        ExternalAuth::Asked(service) => {
            let check = pb::extension(&service.cluster, &check(phase, service));
            if service.take_off.is_empty() {
                alone(check)
            } else {
                // Of several within one, Envoy waits for one at most: the first does its work at once.
                let both = FilterChainConfiguration { typed_config: vec![take_off::on_a_route(&service.take_off), check] };
                ExecuteFilterAction { filter_chain: Some(both), ..Default::default() }
            }
        }
    };
    let action = pb::xds_extension("ask", &executed);
    let always = OnMatch { on_match: Some(on_match::OnMatch::Action(action)), ..Default::default() };
    let matcher = pb::xds_matcher::Matcher { on_no_match: Some(Box::new(always)), ..Default::default() };
    (phase.name(), pb::any(&CompositePerRoute { matcher: Some(matcher) }))
}

fn check(phase: Phase, service: &AuthService) -> ExtAuthz {
    let mut check = ExtAuthz {
        transport_api_version: pb::core::ApiVersion::V3 as i32,
        with_request_body: (service.body_bytes > 0)
            .then_some(BufferSettings { max_request_bytes: service.body_bytes, ..Default::default() }),
        clear_route_cache: matches!(phase, Phase::Listener(_)),
        // Nobody passes while the service does not answer, and the client is told whose fault it is.
        failure_mode_allow: false,
        status_on_error: Some(pb::types::HttpStatus { code: pb::types::StatusCode::ServiceUnavailable as i32 }),
        validate_mutations: true,
        decoder_header_mutation_rules: Some(kept_from(&service.protocol)),
        ..Default::default()
    };
    match &service.protocol {
        AuthProtocol::Grpc { headers } => {
            check.allowed_headers = names(headers);
            check.services = Some(Services::GrpcService(grpc(&service.cluster)));
        }
        AuthProtocol::Http { path, headers, answer_headers } => {
            check.allowed_headers = names(headers);
            check.services = Some(Services::HttpService(HttpService {
                server_uri: Some(uri(&service.cluster)),
                path_prefix: path.to_string(),
                authorization_response: Some(AuthorizationResponse {
                    allowed_upstream_headers: names(answer_headers)
                        .or_else(|| Some(pb::matcher::ListStringMatcher { patterns: vec![any()] })),
                    ..Default::default()
                }),
                ..Default::default()
            }));
        }
    }
    check
}

/// By itself Envoy lets no service change the host, the scheme, the method and headers of Envoy's; what is named here is passed over too.
fn kept_from(protocol: &AuthProtocol) -> pb::mutation::HeaderMutationRules {
    let all = matches!(protocol, AuthProtocol::Http { answer_headers, .. } if answer_headers.is_empty());
    let names = if all { format!("{NEVER}|{OF_THE_ANSWER}") } else { NEVER.to_owned() };
    pb::mutation::HeaderMutationRules { disallow_expression: Some(pb::regex(&names)), ..Default::default() }
}

fn grpc(cluster: &str) -> pb::core::GrpcService {
    use pb::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let target = EnvoyGrpc { cluster_name: cluster.to_owned(), authority: authority(cluster), ..Default::default() };
    pb::core::GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
        timeout: pb::duration(EXTERNAL_AUTH_TIMEOUT),
        ..Default::default()
    }
}

/// The host of it is sent to nobody: the service sees the request's own.
fn uri(cluster: &str) -> pb::core::HttpUri {
    let by = pb::core::http_uri::HttpUpstreamType::Cluster(cluster.to_owned());
    pb::core::HttpUri {
        uri: format!("http://{}", authority(cluster)),
        http_upstream_type: Some(by),
        timeout: pb::duration(EXTERNAL_AUTH_TIMEOUT),
    }
}

/// The headers of these names; none where there are no names.
fn names(headers: &[Text]) -> Option<pb::matcher::ListStringMatcher> {
    let one = |name: &Text| pb::matcher::StringMatcher { ignore_case: true, ..pb::exact(name) };
    (!headers.is_empty()).then(|| pb::matcher::ListStringMatcher { patterns: headers.iter().map(one).collect() })
}

fn any() -> pb::matcher::StringMatcher {
    pb::whole_regex(".*")
}
