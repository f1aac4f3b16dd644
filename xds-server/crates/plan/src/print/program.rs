//! The listeners, clusters, endpoints, secrets and filter configurations of one program.

use std::collections::BTreeSet;

use windrose_ir::cluster::{Cluster, Discovery, LoadBalancing, Probe, UpstreamTls};
use windrose_ir::endpoint::{Address, Health};
use windrose_ir::extension::{AuthRule, Extension, JwtRule, KeyPart, Quota, RateLimit};
use windrose_ir::http::{
    Authorization, AuthorizationRule, ClientAddress, ForwardedCertificate, HostScope, HttpFilter, HttpHandler, PathPattern, Principal,
    RouteSource, Underscores,
};
use windrose_ir::listener::{Direction, Handler, Transport};
use windrose_ir::telemetry::{LogSink, TraceProvider};
use windrose_ir::{Chain, DatagramListener, EndpointSet, Listener, Program, Secret};
use windrose_vocab::SpiffeId;

use super::{Text, routes};
use crate::limits;
use crate::policy::{auth, edge};

pub(super) fn print(out: &mut Text, program: &Program) {
    for (name, listener) in &program.listeners {
        self::listener(out, name, listener, program);
    }
    for (name, listener) in &program.datagram_listeners {
        datagrams(out, name, listener);
    }
    for (name, table) in &program.routes {
        routes::print(out, name, table);
    }
    for (name, cluster) in &program.clusters {
        out.line(1, &format!("cluster {name}: {}", self::cluster(cluster)));
    }
    for (name, set) in &program.endpoints {
        out.line(1, &format!("endpoints {name}: {}", endpoints(set)));
    }
    for (name, secret) in &program.secrets {
        let kind = match &**secret {
            Secret::Certificate { .. } => "certificate",
            Secret::Trust { .. } => "trust",
        };
        out.line(1, &format!("secret {name}: {kind}"));
    }
    for (name, extension) in program.extensions.iter().filter(|(_, extension)| has_policies(extension)) {
        self::extension(out, name, extension);
    }
}

/// Whether there is more in a table than the entry of routes without a policy.
fn has_policies(extension: &Extension) -> bool {
    match extension {
        Extension::JwtAuth(table) => table.policies.keys().any(|id| **id != *auth::OPEN),
        Extension::RateLimit(table) => !table.policies.is_empty(),
        Extension::Transcoder(table) => !table.policies.is_empty(),
    }
}

fn listener(out: &mut Text, name: &str, listener: &Listener, program: &Program) {
    let addresses = listener.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let direction = match listener.direction {
        Direction::Inbound => "",
        Direction::Outbound => ", outbound",
    };
    out.line(1, &format!("listener {name} at {addresses}{direction}"));
    if listener.limits != edge::defaults().connections {
        out.line(2, &format!("limits {:?}", listener.limits));
    }
    for chain in &listener.chains {
        self::chain(out, chain, program);
    }
}

fn datagrams(out: &mut Text, name: &str, listener: &DatagramListener) {
    let addresses = listener.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let to = listener.cluster.as_deref().unwrap_or("nowhere");
    let hash = if listener.hash_source { ", hashes address" } else { "" };
    let idle = if listener.idle_timeout == limits::SESSION_IDLE { String::new() } else { format!(", idle {:?}", listener.idle_timeout) };
    out.line(1, &format!("datagrams {name} at {addresses} -> {to}{hash}{idle}"));
    listener.authorization.iter().for_each(|rules| authorization(out, rules));
}

fn chain(out: &mut Text, chain: &Chain, program: &Program) {
    let names = chain.server_names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { names } else { format!(" for {names}") };
    let transport = match &chain.transport {
        Transport::Plain => "plain".to_owned(),
        Transport::Passthrough => "tls passed through".to_owned(),
        Transport::Tls(tls) => {
            let client = tls.client.as_ref().map(|client| {
                let must = if client.required { "required" } else { "asked for" };
                format!(", client certificate {must} by {}", client.trust)
            });
            format!("tls with {} from {:?}{}", tls.certificates.join(", "), tls.minimum, client.unwrap_or_default())
        }
    };
    match &chain.handler {
        Handler::Close => out.line(2, &format!("chain {}{names}: {transport} -> closed", chain.name)),
        Handler::Tcp(tcp) => {
            let clusters = tcp.clusters.iter().map(|(name, weight)| format!("{name} {weight}")).collect::<Vec<_>>().join(", ");
            out.line(2, &format!("chain {}{names}: {transport} -> {clusters}", chain.name));
            tcp.authorization.iter().for_each(|rules| authorization(out, rules));
        }
        Handler::Http(http) => {
            out.line(2, &format!("chain {}{names}: {transport} -> {}", chain.name, source(&http.routes)));
            self::http(out, http, program);
        }
    }
}

fn source(routes: &RouteSource) -> String {
    match routes {
        RouteSource::Table(name) => format!("routes {name}"),
        RouteSource::Scoped(name) => format!("scoped routes {name}"),
    }
}

fn http(out: &mut Text, http: &HttpHandler, program: &Program) {
    for filter in &http.filters {
        match filter {
            HttpFilter::Cors | HttpFilter::RouteAuth => {}
            HttpFilter::TakeOff(names) => out.line(3, &format!("takes off {}", names.join(" "))),
            HttpFilter::HostTakeOff(hosts, names) => {
                out.line(3, &scope(hosts));
                out.line(3, &format!("takes off {}", names.join(" ")));
            }
            HttpFilter::ListenerAuth(_) => out.line(3, "filter asks before a route is chosen"),
            HttpFilter::Sessions => out.line(3, "filter sessions"),
            HttpFilter::GrpcStats => out.line(3, "filter grpc statistics"),
            HttpFilter::Extension(name) if program.extensions.get(name).is_some_and(|table| has_policies(table)) => {
                out.line(3, &format!("filter {name}"));
            }
            HttpFilter::Extension(_) => {}
            HttpFilter::Authorization(rules) => authorization(out, rules),
            HttpFilter::HostAuthorization(hosts, rules) => {
                out.line(3, &scope(hosts));
                authorization(out, rules);
            }
        }
    }
    let defaults = edge::defaults();
    if http.client_address.is_edge() && http.limits != defaults.http {
        out.line(3, &format!("limits {:?}", http.limits));
    }
    if http.client_address.is_edge() && http.paths != defaults.paths {
        out.line(3, &format!("paths {:?}", http.paths));
    }
    match http.client_address {
        ClientAddress::Edge { trusted_hops: 0 } | ClientAddress::Forwarded => {}
        ClientAddress::Edge { trusted_hops } => out.line(3, &format!("trusts {trusted_hops} hops")),
        ClientAddress::Connection => out.line(3, "believes no forwarded address"),
    }
    if !http.client_address.is_edge() && http.underscores == Underscores::Reject {
        out.line(3, "refuses header names with `_`");
    }
    if http.client_certificate == ForwardedCertificate::Set {
        out.line(3, "tells the client's certificate");
    }
    if let Some(tracing) = &http.tracing {
        let provider = match &tracing.provider {
            TraceProvider::Zipkin { cluster, path, .. } => format!("zipkin {cluster}{path}"),
            TraceProvider::OpenTelemetry { cluster, .. } => format!("opentelemetry {cluster}"),
        };
        out.line(3, &format!("traces {} of 10000 as {} to {provider}", tracing.sampling_basis_points, tracing.service));
    }
    if http.metrics {
        out.line(3, "counts who calls whom");
    }
    if let Some(log) = &http.access_log {
        let sink = match &log.sink {
            LogSink::Stdout => "stdout",
            LogSink::File(path) => path,
        };
        let from = log.minimum_status.map(|status| format!(" from {status}")).unwrap_or_default();
        out.line(3, &format!("logs to {sink}{from}"));
    }
}

fn scope(scope: &HostScope) -> String {
    let named = |judged: bool| {
        let names = scope.hosts.iter().filter(move |(_, one)| *one == judged).map(|(host, _)| host.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let (judged, passed_by) = (named(true), named(false));
    let but = if passed_by.is_empty() { String::new() } else { format!(" but {passed_by}") };
    format!("of {}{but}", if scope.others { "every host" } else { &*judged })
}

fn authorization(out: &mut Text, rules: &Authorization) {
    rules.deny.iter().for_each(|rule| out.line(3, &format!("deny {}", self::rule(rule))));
    for (index, list) in rules.allow.iter().enumerate() {
        // What begins a further list has to allow besides.
        let and = |first: bool| if first && index > 0 { "and " } else { "" };
        if list.is_empty() {
            out.line(3, &format!("{}allow nobody", and(true)));
        }
        list.iter().enumerate().for_each(|(at, rule)| out.line(3, &format!("{}allow {}", and(at == 0), self::rule(rule))));
    }
    rules.audit.iter().flatten().for_each(|rule| out.line(3, &format!("audit {}", self::rule(rule))));
    rules.audit_deny.iter().for_each(|rule| out.line(3, &format!("audit deny {}", self::rule(rule))));
}

fn rule(rule: &AuthorizationRule) -> String {
    let who = rule.principals.iter().map(|principal| match principal {
        Principal::Identity(uri) => uri.to_string(),
        Principal::Prefix(uri) => format!("{uri}*"),
        Principal::Authenticated => "anybody authenticated".to_owned(),
        Principal::Network(address, bits) => format!("{address}/{bits}"),
    });
    let paths = rule.paths.iter().map(|path| match path {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(path) => format!("{path}*"),
    });
    let parts = [
        who.collect::<Vec<_>>().join(" "),
        rule.methods.join(" "),
        paths.collect::<Vec<_>>().join(" "),
        rule.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ];
    let said = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    if said.is_empty() { "everybody".to_owned() } else { said }
}

fn upstream_tls(tls: &UpstreamTls) -> Vec<String> {
    let with = |peers: &[SpiffeId]| format!("mtls with {}", peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    match tls {
        UpstreamTls::Mesh { peers } => vec![with(peers)],
        UpstreamTls::Mixed { peers, outside } => {
            let outside = outside.as_ref().map_or_else(|| "plain".to_owned(), |outside| upstream_tls(outside).join(" "));
            vec![with(peers), format!("outside of the mesh {outside}")]
        }
        UpstreamTls::Origin { sni, trust, subject_names, client_certificate } => {
            let trust = format!("tls to {sni} trusting {}", trust.as_deref().unwrap_or("the system"));
            let names = (!subject_names.is_empty()).then(|| format!("named {subject_names:?}"));
            [Some(trust), names, client_certificate.as_ref().map(|name| format!("as {name}"))].into_iter().flatten().collect()
        }
    }
}

fn cluster(cluster: &Cluster) -> String {
    let mut parts = vec![format!("{:?}", cluster.protocol)];
    match &cluster.discovery {
        Discovery::Eds => {}
        Discovery::Static(set) => parts.push(format!("at {}", endpoints(set))),
        Discovery::Dns { endpoints: set, .. } => parts.push(format!("looked up {}", endpoints(set))),
    }
    parts.extend(cluster.tls.iter().flat_map(upstream_tls));
    if cluster.load_balancing != LoadBalancing::LeastRequest {
        parts.push(format!("{:?}", cluster.load_balancing));
    }
    if cluster.connect_timeout != limits::CONNECT_TIMEOUT {
        parts.push(format!("connect {:?}", cluster.connect_timeout));
    }
    let [connections, pending, requests] = [cluster.limits.connections, cluster.limits.pending_requests, cluster.limits.requests];
    if ![[limits::CIRCUIT; 3], [limits::CONNECTIONS; 3]].contains(&[connections, pending, requests]) {
        parts.push(format!("limits {connections}/{pending}/{requests}"));
    }
    let usual = |percent, minimum| (percent, minimum) == (limits::RETRY_BUDGET_PERCENT, limits::RETRY_BUDGET_MINIMUM);
    if let Some(budget) = cluster.retry_budget.filter(|budget| !usual(budget.percent, budget.minimum_concurrency)) {
        parts.push(format!("retry budget {}% min {}", budget.percent, budget.minimum_concurrency));
    }
    parts.extend(cluster.outliers.iter().map(|outliers| format!("{outliers:?}")));
    parts.extend(cluster.health_check.iter().map(|check| {
        let probe = match &check.probe {
            Probe::Http { path, .. } => format!("GET {path}"),
            Probe::Grpc { service } => format!("grpc {service:?}"),
            Probe::Tcp => "connect".to_owned(),
        };
        format!("asks {probe} every {:?}", check.interval)
    }));
    parts.join(", ")
}

fn endpoints(set: &EndpointSet) -> String {
    let mut parts = Vec::new();
    for locality in &set.localities {
        let zone = if locality.zone.is_empty() { String::new() } else { format!("@{}", locality.zone) };
        for endpoint in &locality.endpoints {
            let address = match &endpoint.address {
                Address::Socket(address) => address.to_string(),
                Address::Dns(host, port) => format!("{host}:{port}"),
                Address::Unix(path) => format!("unix:{path}"),
            };
            let health = match endpoint.health {
                Health::Ready => "",
                Health::Draining => " draining",
            };
            let outside = if endpoint.outside { " outside" } else { "" };
            let weight = if endpoint.weight == 1 { String::new() } else { format!(" x{}", endpoint.weight) };
            let meant = if endpoint.zones.is_empty() { String::new() } else { format!(" for {}", endpoint.zones.join(" ")) };
            parts.push(format!("{address}{zone}{weight}{health}{outside}{meant}"));
        }
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn extension(out: &mut Text, name: &str, extension: &Extension) {
    out.line(1, &format!("filter {name}"));
    match extension {
        Extension::JwtAuth(table) => {
            for (id, rule) in &table.policies {
                let rule = match rule {
                    AuthRule::Public => "public".to_owned(),
                    AuthRule::Deny { taken_off } => denied(taken_off),
                    AuthRule::Jwt(rule) => jwt(rule),
                };
                out.line(2, &format!("{id}: {rule}"));
            }
        }
        Extension::RateLimit(table) => {
            for (id, limits) in &table.policies {
                let limits =
                    if limits.is_empty() { "unlimited".to_owned() } else { limits.iter().map(limit).collect::<Vec<_>>().join("; ") };
                out.line(2, &format!("{id}: {limits}"));
            }
        }
        Extension::Transcoder(table) => {
            for (id, rule) in &table.policies {
                let Some(rule) = rule else {
                    out.line(2, &format!("{id}: deny"));
                    continue;
                };
                let services = if rule.services.is_empty() { "all services".to_owned() } else { rule.services.join(", ") };
                out.line(2, &format!("{id}: {services} of {}", rule.descriptor));
            }
        }
    }
}

fn denied(taken_off: &BTreeSet<windrose_vocab::Text>) -> String {
    let taken_off = taken_off.iter().map(|header| format!(", takes off {header}"));
    format!("deny{}", taken_off.collect::<String>())
}

fn jwt(rule: &JwtRule) -> String {
    let providers = rule.providers.iter().map(|provider| format!("{} for {}", provider.issuer, provider.audiences.join("|")));
    let mut parts = vec![format!("token of {}", providers.collect::<Vec<_>>().join(" or "))];
    parts.extend(rule.claims.iter().map(|claim| {
        if claim.any_of.is_empty() {
            format!("claim {}", claim.claim)
        } else {
            format!("claim {} in {}", claim.claim, claim.any_of.join("|"))
        }
    }));
    parts.extend(rule.scopes.iter().map(|scope| format!("scope {scope}")));
    parts.extend(rule.claims_to_headers.iter().map(|(claim, header)| format!("{claim} as {header}")));
    if !rule.shared_claims.is_empty() {
        parts.push(format!("shares {}", rule.shared_claims.join(" ")));
    }
    parts.join(", ")
}

fn limit(limit: &RateLimit) -> String {
    let quota = |quota: &Quota| format!("{} per {:?} burst {}", quota.requests, quota.window, quota.burst);
    let key = limit.key.iter().map(|part| match part {
        KeyPart::Claim(claim) => format!("claim {claim}"),
        KeyPart::ClientAddress => "address".to_owned(),
        KeyPart::Header(header) => format!("header {header}"),
        KeyPart::Route => "route".to_owned(),
    });
    let key = key.collect::<Vec<_>>().join(", ");
    let key = if key.is_empty() { key } else { format!(" by {key}") };
    let plans = limit.plans.iter().flat_map(|plans| plans.quotas.iter().map(|(name, own)| format!(", {name} {}", quota(own))));
    let shadow = if limit.shadow { ", shadow" } else { "" };
    format!("{} {}{key}{}{shadow}", limit.name, quota(&limit.default), plans.collect::<String>())
}
