//! Who may do what, as Envoy's RBAC, for requests and for plain connections.

use std::collections::HashMap;

use windrose_ir::http::{Authorization, AuthorizationRule, ClientAddress, PathPattern, Principal};

use crate::pb;
use crate::route::header_matcher;
use crate::telemetry::LogField;
use crate::tls;
use pb::rbac::permission::{Rule, Set};
use pb::rbac::principal::Identifier;
use pb::rbac::rbac::Action;
use pb::rbac::{Permission, Policy, Rbac};
use pb::tls::subject_alt_name_matcher::SanType;

/// Every SPIFFE identity begins so, and a peer without a certificate of the mesh has none.
const ANY_IDENTITY: &str = "spiffe://";

/// Before the counters and the outcomes of rules that are only audited.
const AUDIT: &str = "audit.";
const AUDIT_DENY: &str = "audit_deny.";

/// The filters of one authorization: what denies comes first, then each list that allows; the first of either with what is audited as if it did.
pub(crate) fn http_filters(authorization: &Authorization, client: ClientAddress) -> Vec<pb::hcm::HttpFilter> {
    let policy = if client.is_edge() { policy } else { peer_policy };
    let enforced = |action, rules: &[AuthorizationRule]| rbac(action, rules, policy);
    let Shares { deny, allow } = Shares::of(authorization, enforced, <[_]>::to_vec);
    let filter = |name, stats: &str, share: Share| {
        let config = pb::http_rbac::Rbac {
            rules: share.enforced,
            rules_stat_prefix: stats.to_owned(),
            shadow_rules: share.audited,
            shadow_rules_stat_prefix: share.audit_prefix,
            ..Default::default()
        };
        super::built_in(name, &config)
    };
    let deny = deny.map(|share| filter("windrose.deny", "deny.", share));
    deny.into_iter().chain(allow.into_iter().map(|share| filter("windrose.allow", "allow.", share))).collect()
}

/// The same for connections, which have no method and no path. A rule that asks for one allows nothing, and denies
/// whatever its other parts match: in doubt, closed.
pub(crate) fn network_filters(authorization: &Authorization) -> Vec<pb::listener::Filter> {
    let plain = |rule: &&AuthorizationRule| rule.methods.is_empty() && rule.paths.is_empty();
    let of_connections = |rules: &[AuthorizationRule]| rules.iter().filter(plain).cloned().collect::<Vec<_>>();
    let enforced = |action, rules: &[AuthorizationRule]| rbac(action, rules, connection_policy);
    let Shares { deny, allow } = Shares::of(authorization, enforced, of_connections);
    let filter = |name, stats: &str, share: Share| {
        let config = pb::network_rbac::Rbac {
            stat_prefix: stats.to_owned(),
            rules: share.enforced,
            shadow_rules: share.audited,
            shadow_rules_stat_prefix: share.audit_prefix,
            ..Default::default()
        };
        crate::listener::network_filter(name, &config)
    };
    let deny = deny.map(|share| filter("windrose.deny", "deny.", share));
    deny.into_iter().chain(allow.into_iter().map(|share| filter("windrose.allow", "allow.", share))).collect()
}

/// What is enforced and what is audited, by filter.
struct Shares {
    deny: Option<Share>,
    allow: Vec<Share>,
}

struct Share {
    enforced: Option<Rbac>,
    audited: Option<Rbac>,
    audit_prefix: String,
}

impl Shares {
    /// `allowing` picks the rules of a list that can allow.
    fn of(
        from: &Authorization,
        rbac: impl Fn(Action, &[AuthorizationRule]) -> Rbac,
        allowing: impl Fn(&[AuthorizationRule]) -> Vec<AuthorizationRule>,
    ) -> Self {
        let deny = |rules: &[AuthorizationRule]| (!rules.is_empty()).then(|| rbac(Action::Deny, rules));
        let allow = |rules: &Vec<AuthorizationRule>| rbac(Action::Allow, &allowing(rules));
        let share = |enforced: Option<Rbac>, audited: Option<Rbac>, prefix: &str| {
            let audit_prefix = audited.as_ref().map(|_| prefix.to_owned()).unwrap_or_default();
            (enforced.is_some() || audited.is_some()).then_some(Share { enforced, audited, audit_prefix })
        };
        let mut lists = from.allow.iter().map(allow);
        let first = share(lists.next(), from.audit.as_ref().map(allow), AUDIT);
        Self {
            deny: share(deny(&from.deny), deny(&from.audit_deny), AUDIT_DENY),
            allow: first.into_iter().chain(lists.filter_map(|list| share(Some(list), None, ""))).collect(),
        }
    }
}

/// Fields of an access log that tell what audited rules would have done.
pub(crate) fn log_fields(authorization: &Authorization) -> Vec<LogField> {
    let allow = [
        ("audit", "%DYNAMIC_METADATA(envoy.filters.http.rbac:audit.shadow_engine_result)%"),
        ("audit_rule", "%DYNAMIC_METADATA(envoy.filters.http.rbac:audit.shadow_effective_policy_id)%"),
    ];
    let deny = [
        ("audit_deny", "%DYNAMIC_METADATA(envoy.filters.http.rbac:audit_deny.shadow_engine_result)%"),
        ("audit_deny_rule", "%DYNAMIC_METADATA(envoy.filters.http.rbac:audit_deny.shadow_effective_policy_id)%"),
    ];
    let allow = allow.into_iter().filter(|_| authorization.audit.is_some());
    allow.chain(deny.into_iter().filter(|_| !authorization.audit_deny.is_empty())).collect()
}

/// Allows nobody: what stands in for a filter that is not there.
pub(crate) fn deny_all() -> pb::http_rbac::Rbac {
    pb::http_rbac::Rbac { rules: Some(rbac(Action::Allow, &[], policy)), ..Default::default() }
}

/// Allows nobody whose request this permission is about.
pub(super) fn deny(stats: &str, name: &str, permission: Permission) -> pb::http_rbac::Rbac {
    let policy = Policy { permissions: vec![permission], principals: vec![anybody()], ..Default::default() };
    let rules = Rbac { action: Action::Deny as i32, policies: HashMap::from([(name.to_owned(), policy)]), ..Default::default() };
    pb::http_rbac::Rbac { rules: Some(rules), rules_stat_prefix: stats.to_owned(), ..Default::default() }
}

fn anybody() -> pb::rbac::Principal {
    pb::rbac::Principal { identifier: Some(Identifier::Any(true)) }
}

/// Whose address a network is compared with.
type AddressOf = fn(pb::core::CidrRange) -> Identifier;

fn rbac(action: Action, rules: &[AuthorizationRule], policy: fn(&AuthorizationRule) -> Policy) -> Rbac {
    let mut policies = HashMap::new();
    for rule in rules {
        let name = std::iter::successors(Some(rule.name.to_string()), |name| Some(format!("{name}'")));
        let free = name.into_iter().find(|name| !policies.contains_key(name));
        policies.insert(free.unwrap_or_default(), policy(rule));
    }
    Rbac { action: action as i32, policies, ..Default::default() }
}

/// Behind an edge the client's address is what trusted hops say of it.
fn policy(rule: &AuthorizationRule) -> Policy {
    request_policy(rule, Identifier::RemoteIp)
}

/// Beside a service it is the peer's own: a header would be the peer's word.
fn peer_policy(rule: &AuthorizationRule) -> Policy {
    request_policy(rule, Identifier::DirectRemoteIp)
}

fn request_policy(rule: &AuthorizationRule, address: AddressOf) -> Policy {
    let methods = rule.methods.iter().map(|method| Rule::Header(header_matcher(":method", pb::exact(method)))).collect();
    let paths = rule.paths.iter().map(path).collect();
    policy_of(rule, address, vec![any_of(methods), any_of(paths), any_of(ports(rule))])
}

fn connection_policy(rule: &AuthorizationRule) -> Policy {
    policy_of(rule, Identifier::DirectRemoteIp, vec![any_of(ports(rule))])
}

fn policy_of(rule: &AuthorizationRule, address: AddressOf, parts: Vec<Option<Permission>>) -> Policy {
    let mut parts: Vec<Permission> = parts.into_iter().flatten().collect();
    let permission = match parts.len() {
        0 => permission(Rule::Any(true)),
        1 => parts.remove(0),
        _ => permission(Rule::AndRules(Set { rules: parts })),
    };
    let principals: Vec<_> = rule.principals.iter().map(|one| principal(one, address)).collect();
    Policy {
        permissions: vec![permission],
        principals: if principals.is_empty() { vec![anybody()] } else { principals },
        ..Default::default()
    }
}

fn ports(rule: &AuthorizationRule) -> Vec<Rule> {
    rule.ports.iter().map(|port| Rule::DestinationPort(u32::from(*port))).collect()
}

fn any_of(mut rules: Vec<Rule>) -> Option<Permission> {
    match rules.len() {
        0 => None,
        1 => Some(permission(rules.remove(0))),
        _ => Some(permission(Rule::OrRules(Set { rules: rules.into_iter().map(permission).collect() }))),
    }
}

fn permission(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

/// Prefixes are by whole segments; the query is no part of a path.
fn path(path: &PathPattern) -> Rule {
    let rule = |matcher| Rule::UrlPath(pb::matcher::PathMatcher { rule: Some(pb::matcher::path_matcher::Rule::Path(matcher)) });
    match path {
        PathPattern::Exact(path) => rule(pb::exact(path)),
        PathPattern::Prefix(prefix) => match prefix.trim_end_matches('/') {
            "" => rule(pb::prefix("/")),
            segments => {
                let either = [pb::exact(segments), pb::prefix(&format!("{segments}/"))];
                Rule::OrRules(Set { rules: either.into_iter().map(|matcher| permission(rule(matcher))).collect() })
            }
        },
    }
}

fn principal(principal: &Principal, of: AddressOf) -> pb::rbac::Principal {
    // Only a certificate that was verified counts: a Gateway may let others in (`AllowInsecureFallback`).
    let authenticated = |name| {
        let verified = pb::mtls_authenticated::Config { san_matcher: Some(tls::san(SanType::Uri, name)), ..Default::default() };
        Identifier::Custom(pb::extension("envoy.rbac.principals.mtls_authenticated", &verified))
    };
    let identifier = match principal {
        Principal::Identity(uri) => authenticated(pb::exact(uri)),
        Principal::Prefix(uri) => authenticated(pb::prefix(uri)),
        Principal::Authenticated => authenticated(pb::prefix(ANY_IDENTITY)),
        Principal::Network(address, bits) => {
            of(pb::core::CidrRange { address_prefix: address.to_string(), prefix_len: pb::number(u32::from(*bits)) })
        }
    };
    pb::rbac::Principal { identifier: Some(identifier) }
}
