//! Policies: what they attach to, which of several decides, and what each comes to.

pub(crate) mod auth;
pub(crate) mod authorization;
pub(crate) mod closed;
pub(crate) mod edge;
pub(crate) mod headers;
pub(crate) mod held;
pub(crate) mod mesh;
mod ports;
pub(crate) mod rate_limit;
pub(crate) mod set_aside;
pub(crate) mod target;
pub(crate) mod telemetry;
pub(crate) mod traffic;
pub(crate) mod transcoding;

pub(crate) use target::{all_at, at_no_part, is_any_part_named, on_backend, winner, winner_for_port};

use bytes::Bytes;
use windrose_api::declared::{AnyObject, Object, Route};
use windrose_ir::Extension;
use windrose_ir::extension::{AuthRule, RateLimit, TranscoderRule};
use windrose_vocab::{Code, Kind, ObjectRef, Text};

use crate::backend::{OriginTls, origin_tls};
use crate::gateway::{self, ListenerId};
use crate::reference::{field, key_of, kind_of as kind_of_reference};
use crate::world::{Filter, View};

/// What one policy comes to by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyOutcome {
    Auth(auth::AuthPart),
    RateLimit(Vec<RateLimit>),
    /// None where the descriptors cannot be had.
    Transcoding(Option<(Bytes, TranscoderRule)>),
    /// None where the trust cannot be had.
    BackendTls(Option<OriginTls>),
    /// Read where it applies.
    Plain,
}

/// One entry of a filter's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionEntry {
    Auth(AuthRule),
    RateLimit(Vec<RateLimit>),
    /// None where the policy cannot be used.
    Transcoder(Option<(Bytes, TranscoderRule)>),
}

/// Where a rule stands, for policies that attach around it.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) gateway: Option<ObjectRef>,
    pub(crate) listener: Option<&'a ListenerId>,
    pub(crate) route: &'a ObjectRef,
    pub(crate) rule: Option<&'a Text>,
}

impl Place<'_> {
    /// Targets from the most general to the most specific.
    pub(crate) fn targets(&self) -> Vec<(ObjectRef, Option<Text>)> {
        let gateway = self.gateway.iter().map(|gateway| (gateway.clone(), None));
        let listener = self.listener.iter().flat_map(|listener| listener.targets());
        let route = [(self.route.clone(), None)];
        let rule = self.rule.iter().map(|rule| (self.route.clone(), Some((*rule).clone())));
        gateway.chain(listener).chain(route).chain(rule).collect()
    }
}

/// The policies of a kind around a rule, one for each target that has any, from the most general to the most specific.
pub(crate) fn chain(view: &View<'_>, kind: Kind, place: &Place<'_>) -> Vec<ObjectRef> {
    place.targets().iter().filter_map(|(target, section)| winner(view, kind, target, section.as_ref())).collect()
}

/// Whether a policy that needs this filter attaches to the route, to one of its rules, or to a Service behind it.
pub(crate) fn on_route(view: &View<'_>, filter: Filter, route: &Object<Route>) -> bool {
    let on = |object: ObjectRef| view.policies_on(kind_of(filter), &object).next().is_some();
    let mut backends = route.spec.rules.iter().flat_map(|rule| &rule.backends);
    let services = backends.by_ref().filter(|backend| kind_of_reference(&backend.target) == Some(Kind::Service));
    let mut services =
        services.map(|backend| ObjectRef { kind: Kind::Service, key: key_of(&backend.target, &route.meta.object.key.namespace) });
    on(route.meta.object.clone()) || (filter == Filter::Transcoder && services.any(on))
}

fn kind_of(filter: Filter) -> Kind {
    match filter {
        Filter::JwtAuth => Kind::AuthPolicy,
        Filter::RateLimit => Kind::RateLimitPolicy,
        Filter::Transcoder => Kind::TranscodingPolicy,
    }
}

/// Judges one policy: its targets, its rivals, and what it comes to. None for what is no policy, or absent.
pub(crate) fn outcome(view: &View<'_>, policy: &ObjectRef) -> Option<PolicyOutcome> {
    let object = view.object(policy)?;
    target::judge(view, &object);
    ports::judge(view, &object);
    match &object {
        AnyObject::AuthPolicy(policy) => Some(PolicyOutcome::Auth(auth::part(view, policy))),
        AnyObject::RateLimitPolicy(policy) => Some(PolicyOutcome::RateLimit(rate_limit::limits(view, policy))),
        AnyObject::TranscodingPolicy(policy) => {
            let rule = transcoding::rule(view, policy);
            Some(PolicyOutcome::Transcoding(rule.filter(|rule| transcoding::passes(view, policy, rule))))
        }
        AnyObject::BackendTls(policy) => Some(PolicyOutcome::BackendTls(crate::backend::of_policy(view, policy))),
        AnyObject::Backend(backend) => backend.spec.tls.is_some().then(|| PolicyOutcome::BackendTls(origin_tls(view, backend))),
        AnyObject::TrafficPolicy(policy) => {
            traffic::judge(view, policy);
            Some(PolicyOutcome::Plain)
        }
        AnyObject::EdgePolicy(policy) => {
            edge::judge(view, policy);
            Some(PolicyOutcome::Plain)
        }
        AnyObject::AuthorizationPolicy(policy) => {
            authorization::judge(view, policy);
            Some(PolicyOutcome::Plain)
        }
        AnyObject::MeshPolicy(_) => Some(PolicyOutcome::Plain),
        AnyObject::TelemetryPolicy(policy) => {
            telemetry::judge(view, policy);
            Some(PolicyOutcome::Plain)
        }
        AnyObject::GatewayClass(class) => {
            gateway::judge_class(view, class);
            Some(PolicyOutcome::Plain)
        }
        AnyObject::Gateway(_)
        | AnyObject::ListenerSet(_)
        | AnyObject::Route(_)
        | AnyObject::Grant(_)
        | AnyObject::Namespace(_)
        | AnyObject::Service(_)
        | AnyObject::EndpointSlice(_)
        | AnyObject::Secret(_)
        | AnyObject::ConfigMap(_)
        | AnyObject::ClusterTrustBundle(_)
        | AnyObject::Workload(_)
        | AnyObject::GatewayParameters(_) => None,
    }
}

/// Whether the filter itself would take what one policy says; told at `path` if not.
pub(crate) fn passes(view: &View<'_>, policy: &ObjectRef, path: &str, alone: &Extension) -> bool {
    let refused = view.settings().filters.as_ref().map(|filters| filters.refused(alone)).unwrap_or_default();
    for (_, reason) in &refused {
        view.error(policy, field(path), Code::Invalid, format!("the filter refuses it: {reason}"));
    }
    refused.is_empty()
}

/// The kinds that are judged by themselves: policies, Backends, which may carry their own TLS, and classes.
pub(crate) fn is_judged(kind: Kind) -> bool {
    match kind {
        Kind::GatewayClass
        | Kind::BackendTLSPolicy
        | Kind::Backend
        | Kind::AuthPolicy
        | Kind::RateLimitPolicy
        | Kind::TranscodingPolicy
        | Kind::TrafficPolicy
        | Kind::EdgePolicy
        | Kind::MeshPolicy
        | Kind::AuthorizationPolicy
        | Kind::TelemetryPolicy => true,
        Kind::Gateway
        | Kind::ListenerSet
        | Kind::HTTPRoute
        | Kind::GRPCRoute
        | Kind::TLSRoute
        | Kind::TCPRoute
        | Kind::UDPRoute
        | Kind::ReferenceGrant
        | Kind::Namespace
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::ClusterTrustBundle
        | Kind::Workload
        | Kind::GatewayParameters => false,
    }
}
