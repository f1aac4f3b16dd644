//! Who may do what, as Envoy's RBAC, for requests and for plain connections.

use std::collections::HashMap;

use windrose_ir::http::{Authorization, AuthorizationRule, ClientAddress, PathPattern, Principal};

use crate::pb;
use crate::route::header_matcher;
use pb::rbac::permission::{Rule, Set};
use pb::rbac::principal::{Authenticated, Identifier};
use pb::rbac::rbac::Action;
use pb::rbac::{Permission, Policy, Rbac};

/// Every SPIFFE identity begins so, and a peer without a certificate of the mesh has none.
const ANY_IDENTITY: &str = "spiffe://";

/// The filters of one authorization: what denies comes first, then what allows together with what audits.
pub(crate) fn http_filters(authorization: &Authorization, client: ClientAddress) -> Vec<pb::hcm::HttpFilter> {
    let policy = if client.edge { policy } else { peer_policy };
    let deny = (!authorization.deny.is_empty()).then(|| {
        let rules = Some(rbac(Action::Deny, &authorization.deny, policy));
        super::built_in("windrose.deny", &pb::http_rbac::Rbac { rules, rules_stat_prefix: "deny.".to_owned(), ..Default::default() })
    });
    let allow = (authorization.allow.is_some() || authorization.audit.is_some()).then(|| {
        let config = pb::http_rbac::Rbac {
            rules: authorization.allow.as_deref().map(|rules| rbac(Action::Allow, rules, policy)),
            rules_stat_prefix: "allow.".to_owned(),
            shadow_rules: authorization.audit.as_deref().map(|rules| rbac(Action::Allow, rules, policy)),
            shadow_rules_stat_prefix: "audit.".to_owned(),
            ..Default::default()
        };
        super::built_in("windrose.allow", &config)
    });
    deny.into_iter().chain(allow).collect()
}

/// The same for connections, which have no method and no path. A rule that asks for one allows nothing, and denies
/// whatever its other parts match: in doubt, closed.
pub(crate) fn network_filters(authorization: &Authorization) -> Vec<pb::listener::Filter> {
    let plain = |rule: &&AuthorizationRule| rule.methods.is_empty() && rule.paths.is_empty();
    let of_connections = |rules: &[AuthorizationRule]| rules.iter().filter(plain).cloned().collect::<Vec<_>>();
    let deny = (!authorization.deny.is_empty()).then(|| pb::network_rbac::Rbac {
        stat_prefix: "deny.".to_owned(),
        rules: Some(rbac(Action::Deny, &authorization.deny, connection_policy)),
        ..Default::default()
    });
    let allow = (authorization.allow.is_some() || authorization.audit.is_some()).then(|| pb::network_rbac::Rbac {
        stat_prefix: "allow.".to_owned(),
        rules: authorization.allow.as_deref().map(|rules| rbac(Action::Allow, &of_connections(rules), connection_policy)),
        shadow_rules: authorization.audit.as_deref().map(|rules| rbac(Action::Allow, &of_connections(rules), connection_policy)),
        shadow_rules_stat_prefix: "audit.".to_owned(),
        ..Default::default()
    });
    let named = [("windrose.deny", deny), ("windrose.allow", allow)];
    named.into_iter().filter_map(|(name, config)| Some(crate::listener::network_filter(name, &config?))).collect()
}

/// Allows nobody: what stands in for a filter that is not there.
pub(crate) fn deny_all() -> pb::http_rbac::Rbac {
    pb::http_rbac::Rbac { rules: Some(rbac(Action::Allow, &[], policy)), ..Default::default() }
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
    let anybody = pb::rbac::Principal { identifier: Some(Identifier::Any(true)) };
    Policy {
        permissions: vec![permission],
        principals: if principals.is_empty() { vec![anybody] } else { principals },
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
    let authenticated = |name| Identifier::Authenticated(Authenticated { principal_name: Some(name) });
    let identifier = match principal {
        Principal::Identity(uri) => authenticated(pb::exact(uri)),
        Principal::Prefix(uri) => authenticated(pb::prefix(uri)),
        // Without a name Envoy takes every TLS connection for authenticated, even one without a client certificate.
        Principal::Authenticated => authenticated(pb::prefix(ANY_IDENTITY)),
        Principal::Network(address, bits) => {
            of(pb::core::CidrRange { address_prefix: address.to_string(), prefix_len: pb::number(u32::from(*bits)) })
        }
    };
    pb::rbac::Principal { identifier: Some(identifier) }
}
