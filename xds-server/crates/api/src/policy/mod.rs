//! The policies of `windrose.dev/v1alpha1`, as they are written and as they are planned: one shape for both.
//! The doc comments are the reference pages; every field that can be left out says what happens then.

mod auth;
mod authorization;
mod edge;
mod mesh;
mod parameters;
mod rate_limit;
mod target;
mod telemetry;
mod traffic;
mod transcoding;

pub use auth::{AuthPolicy, ClaimToHeader, JwtProvider, KeyObject, KeySource, Public, RequiredClaim, TokenSource, check_key_set};
pub use authorization::{Action, AuthorizationPolicy, AuthorizationRule, PathPattern, Source};
pub use edge::{
    AddressRules, BodyLimits, ConnectionLimits, EdgePolicy, EscapedSlashes, HeaderLimits, Http2Limits, PathParameters, Paths, TimeLimits,
    TlsFloor, TlsVersion,
};
pub use mesh::{MeshPolicy, MtlsMode, PortMtls};
pub use parameters::{
    Autoscaling, ExternalTraffic, Fleet, GatewayParameters, Overridable, PodParameters, Resources, ServiceParameters, ServiceType, Spread,
    Toleration,
};
pub use rate_limit::{KeyPart, Limit, Plan, Plans, Quota, RateLimitPolicy};
pub use target::{TargetRef, target_kinds, target_part};
pub use telemetry::{AccessLog, LogField, Provider, TelemetryPolicy, Tracing};
pub use traffic::{
    CircuitBreaker, ConsistentHash, HashSource, HealthCheck, LoadBalancing, LoadBalancingKind, OutlierDetection, Probe, Retries,
    RetryBudget, Timeouts, TrafficPolicy,
};
pub use transcoding::{DescriptorSource, JsonOptions, TranscodingPolicy};
