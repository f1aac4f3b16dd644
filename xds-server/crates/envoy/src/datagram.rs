//! `ir::DatagramListener` → an Envoy listener with the UDP proxy.

use std::collections::BTreeSet;

use windrose_ir::DatagramListener;
use windrose_ir::http::{Authorization, AuthorizationRule, Principal};
use windrose_ir::listener::Direction;
use windrose_vocab::{ResourceId, ResourceKind};

use crate::listener::bound;
use crate::pb;
use crate::telemetry;
use pb::core::socket_address::Protocol;
use pb::listener::{ListenerFilter, UdpListenerConfig, listener_filter};
use pb::udp_proxy::UdpProxyConfig;
use pb::udp_proxy::udp_proxy_config::{HashPolicy, RouteSpecifier, hash_policy};
use pb::xds_matcher::Matcher;
use pb::xds_matcher::matcher::matcher_list::predicate::{self, MatchType, PredicateList, SinglePredicate};
use pb::xds_matcher::matcher::matcher_list::{FieldMatcher, Predicate};
use pb::xds_matcher::matcher::{MatcherList, MatcherType, OnMatch, on_match};

pub(crate) fn message(name: &str, listener: &DatagramListener) -> pb::listener::Listener {
    let (address, additional_addresses) = bound(&listener.addresses, Protocol::Udp);
    pb::listener::Listener {
        name: name.to_owned(),
        address,
        additional_addresses,
        listener_filters: vec![proxy(listener)],
        udp_listener_config: Some(UdpListenerConfig::default()),
        traffic_direction: pb::core::TrafficDirection::Inbound as i32,
        enable_reuse_port: pb::boolean(true),
        ..Default::default()
    }
}

/// What the listener needs: its cluster.
pub(crate) fn refs(listener: &DatagramListener) -> BTreeSet<ResourceId> {
    listener.cluster.iter().map(|name| ResourceId::new(ResourceKind::Cluster, name.clone())).collect()
}

fn proxy(listener: &DatagramListener) -> ListenerFilter {
    let by_source = || HashPolicy { policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(true)) };
    let config = UdpProxyConfig {
        stat_prefix: listener.stat_name.to_string(),
        idle_timeout: pb::positive(listener.idle_timeout),
        hash_policies: listener.hash_source.then(by_source).into_iter().collect(),
        access_log: listener.access_log.iter().map(|log| telemetry::connection_log(log, Direction::Inbound)).collect(),
        route_specifier: Some(RouteSpecifier::Matcher(matcher(listener))),
        ..Default::default()
    };
    ListenerFilter {
        name: "envoy.filters.udp_listener.udp_proxy".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pb::any(&config))),
        ..Default::default()
    }
}

/// The cluster, for those who may send. A datagram that finds no route is dropped.
fn matcher(listener: &DatagramListener) -> Matcher {
    let Some(cluster) = &listener.cluster else { return Matcher::default() };
    let route = pb::extension("route", &pb::udp_proxy::Route { cluster: cluster.to_string() });
    let action = pb::xds_core::TypedExtensionConfig { name: route.name, typed_config: route.typed_config };
    let on_match = OnMatch { on_match: Some(on_match::OnMatch::Action(action)), ..Default::default() };
    match senders(listener) {
        Senders::Nobody => Matcher::default(),
        Senders::Everybody => Matcher { on_no_match: Some(Box::new(on_match)), ..Default::default() },
        Senders::Those(predicate) => {
            let matchers = vec![FieldMatcher { predicate: Some(predicate), on_match: Some(on_match) }];
            Matcher { matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers })), ..Default::default() }
        }
    }
}

/// Who may send.
enum Senders {
    Everybody,
    Nobody,
    Those(Predicate),
}

fn senders(listener: &DatagramListener) -> Senders {
    let Some(Authorization { deny, allow, audit: _, audit_deny: _ }) = &listener.authorization else { return Senders::Everybody };
    let ports: BTreeSet<u16> = listener.addresses.iter().map(|address| address.port()).collect();
    let concerns = |rule: &&AuthorizationRule| rule.ports.is_empty() || rule.ports.iter().any(|port| ports.contains(port));
    // A datagram has neither method nor path: a rule that asks for one allows nothing, and denies whom its other parts name.
    let plain = |rule: &&AuthorizationRule| rule.methods.is_empty() && rule.paths.is_empty();
    let Sources::Networks(denied) = Sources::of(deny.iter().filter(concerns)) else { return Senders::Nobody };
    let mut all: Vec<Predicate> = (!denied.is_empty()).then(|| not(from(denied))).into_iter().collect();
    for rules in allow {
        match Sources::of(rules.iter().filter(concerns).filter(plain)) {
            Sources::All => {}
            Sources::Networks(allowed) if allowed.is_empty() => return Senders::Nobody,
            Sources::Networks(allowed) => all.push(from(allowed)),
        }
    }
    match all.len() {
        0 => Senders::Everybody,
        1 => Senders::Those(all.remove(0)),
        _ => Senders::Those(Predicate { match_type: Some(MatchType::AndMatcher(PredicateList { predicate: all })) }),
    }
}

/// Whom rules mean, by address: nobody has an identity here.
enum Sources {
    All,
    Networks(Vec<pb::core::CidrRange>),
}

impl Sources {
    fn of<'a>(rules: impl Iterator<Item = &'a AuthorizationRule>) -> Self {
        let mut networks = Vec::new();
        for rule in rules {
            if rule.principals.is_empty() {
                return Self::All;
            }
            networks.extend(rule.principals.iter().filter_map(|principal| match principal {
                Principal::Network(address, bits) => {
                    Some(pb::core::CidrRange { address_prefix: address.to_string(), prefix_len: pb::number(u32::from(*bits)) })
                }
                Principal::Identity(_) | Principal::Prefix(_) | Principal::Authenticated => None,
            }));
        }
        Self::Networks(networks)
    }
}

fn not(predicate: Predicate) -> Predicate {
    Predicate { match_type: Some(MatchType::NotMatcher(Box::new(predicate))) }
}

fn from(networks: Vec<pb::core::CidrRange>) -> Predicate {
    let input = pb::extension("envoy.matching.inputs.source_ip", &pb::network_inputs::SourceIpInput {});
    let ranges = pb::matching_ip::Ip { cidr_ranges: networks, stat_prefix: "source".to_owned() };
    let matcher = pb::extension("envoy.matching.matchers.ip", &ranges);
    let of = |config: pb::core::TypedExtensionConfig| pb::xds_core::TypedExtensionConfig {
        name: config.name,
        typed_config: config.typed_config,
    };
    let single = SinglePredicate { input: Some(of(input)), matcher: Some(predicate::single_predicate::Matcher::CustomMatch(of(matcher))) };
    Predicate { match_type: Some(MatchType::SinglePredicate(single)) }
}
