//! EdgePolicy → limits on what strangers send. Every field has a default that holds without any policy.

use std::net::IpAddr;
use std::time::Duration;

use windrose_api::declared::Object;
use windrose_api::policy::{self as declared, AddressRules, EdgePolicy};
use windrose_api::scalar;
use windrose_ir::http::{Authorization, AuthorizationRule, EscapedSlashes, HttpLimits, PathNormalization, PathParameters, Principal};
use windrose_ir::listener::{ConnectionLimits, TlsVersion};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef, Text};

use super::target::of_target;
use super::{authorization, closed, winner};
use crate::gateway::ListenerId;
use crate::limits;
use crate::reference::field;
use crate::world::View;

/// What holds for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EdgeLimits {
    pub(crate) connections: ConnectionLimits,
    pub(crate) http: HttpLimits,
    pub(crate) minimum_tls: TlsVersion,
    pub(crate) trusted_hops: u32,
    pub(crate) paths: PathNormalization,
    /// Client addresses that may connect; everybody where absent.
    pub(crate) addresses: Option<Authorization>,
}

/// Field by field: the listener's policy, its ListenerSet's, the Gateway's, the default. What judges who may come is the word of each
/// owner: a ListenerSet of another namespace can close there, and never open.
pub(crate) fn effective(view: &View<'_>, gateway: &ObjectRef, listener: Option<&ListenerId>) -> EdgeLimits {
    let names = deciding(view, gateway, listener);
    let specs = |names: &[&ObjectRef]| -> Vec<&EdgePolicy> {
        names.iter().filter_map(|name| view.edge_policy(&name.key)).map(|policy| &policy.spec).collect()
    };
    let (of_gateway, of_others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.key.namespace == gateway.key.namespace);
    let all = of(&specs(&names.iter().collect::<Vec<_>>()));
    if of_others.is_empty() {
        return all;
    }
    let (first, other) = (of(&specs(&of_gateway)), of(&specs(&of_others)));
    EdgeLimits {
        trusted_hops: first.trusted_hops,
        paths: strictest(first.paths, other.paths),
        addresses: authorization::both(first.addresses, other.addresses),
        ..all
    }
}

/// The policies around a listener, the most specific first. What stands in for one that cannot be read says whose addresses may come (nobody's)
/// also where another one decides that says nothing of it.
fn deciding(view: &View<'_>, gateway: &ObjectRef, listener: Option<&ListenerId>) -> Vec<ObjectRef> {
    let own = listener.into_iter().flat_map(|listener| listener.targets().into_iter().rev());
    let mut found: Vec<ObjectRef> = Vec::new();
    for (target, section) in own.chain([(gateway.clone(), None)]) {
        let first = winner(view, Kind::EdgePolicy, &target, section.as_ref());
        let others = closed::on(view, Kind::EdgePolicy, &target, section.as_ref());
        found.extend(first.iter().cloned().chain(others.into_iter().filter(|other| first.as_ref() != Some(other))));
    }
    found
}

/// Those that say whose addresses may come: the first of each owner that says anything of it.
pub(crate) fn of_addresses(view: &View<'_>, gateway: &ObjectRef, listener: Option<&ListenerId>) -> Vec<ObjectRef> {
    let (of_gateway, of_others): (Vec<_>, Vec<_>) =
        deciding(view, gateway, listener).into_iter().partition(|name| name.key.namespace == gateway.key.namespace);
    let says = |name: &ObjectRef| view.edge_policy(&name.key).is_some_and(|policy| policy.spec.addresses.is_some());
    [of_gateway, of_others].into_iter().filter_map(|names| names.into_iter().find(says)).collect()
}

/// What either says that lets fewer ways of writing a path by.
fn strictest(one: PathNormalization, other: PathNormalization) -> PathNormalization {
    let either = |slashes| [one.escaped_slashes, other.escaped_slashes].contains(&slashes);
    let parameters = [one.parameters, other.parameters];
    PathNormalization {
        normalize: one.normalize || other.normalize,
        merge_slashes: one.merge_slashes || other.merge_slashes,
        escaped_slashes: if either(EscapedSlashes::Reject) {
            EscapedSlashes::Reject
        } else if either(EscapedSlashes::UnescapeAndRedirect) {
            EscapedSlashes::UnescapeAndRedirect
        } else {
            EscapedSlashes::Keep
        },
        parameters: if parameters.contains(&PathParameters::Reject) { PathParameters::Reject } else { PathParameters::Keep },
    }
}

/// The policies of one listener besides the Gateway's, the most specific first.
pub(crate) fn own_policies(view: &View<'_>, listener: &ListenerId) -> impl Iterator<Item = ObjectRef> {
    let targets = listener.targets().into_iter().rev();
    targets.filter_map(|(target, section)| winner(view, Kind::EdgePolicy, &target, section.as_ref()))
}

impl EdgeLimits {
    /// The fields in which two listeners of one port want other things that the port has but once. Those that are no connections of HTTP in
    /// plain text share nothing but the connections themselves.
    pub(crate) fn differ_at_one_port(&self, other: &Self, plain_http: bool) -> Vec<&'static str> {
        let [http, others] = [&self.http, &other.http];
        let of_http = [
            ("headers", (http.max_headers_kib, http.max_headers) != (others.max_headers_kib, others.max_headers)),
            ("http2", http2(http) != http2(others)),
            ("body", http.max_body_bytes != others.max_body_bytes),
            ("timeouts", times(http) != times(others)),
            ("trustedHops", self.trusted_hops != other.trusted_hops),
            ("paths", self.paths != other.paths),
        ];
        let (own, theirs) = (self.connections, other.connections);
        let of_all = [
            ("connections", ConnectionLimits { handshake_timeout: theirs.handshake_timeout, ..own } != theirs),
            ("timeouts.handshake", own.handshake_timeout != theirs.handshake_timeout),
        ];
        let of_http = of_http.into_iter().filter(|_| plain_http);
        of_all.into_iter().chain(of_http).filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

fn http2(limits: &HttpLimits) -> [u32; 3] {
    [limits.max_streams, limits.stream_window_bytes, limits.connection_window_bytes]
}

fn times(limits: &HttpLimits) -> [Option<Duration>; 5] {
    let [headers, request] = [limits.headers_timeout, limits.request_timeout];
    let [stream, connection] = [limits.stream_idle_timeout, limits.connection_idle_timeout];
    [Some(headers), Some(request), Some(stream), Some(connection), limits.connection_duration]
}

/// What holds where no policy says anything.
pub(crate) fn defaults() -> EdgeLimits {
    of(&[])
}

fn of(policies: &[&EdgePolicy]) -> EdgeLimits {
    let number = |of: fn(&EdgePolicy) -> Option<u32>, default: u32| policies.iter().find_map(|policy| of(policy)).unwrap_or(default);
    let time = |of: fn(&EdgePolicy) -> Option<scalar::Duration>| policies.iter().find_map(|policy| of(policy)).map(|time| time.0);
    let positive = |time: Option<Duration>, default: Duration| time.filter(|time| !time.is_zero()).unwrap_or(default);
    let minimum = policies.iter().find_map(|policy| policy.tls.as_ref()?.minimum_version);
    EdgeLimits {
        connections: ConnectionLimits {
            buffer_bytes: number(|policy| policy.connections.as_ref()?.buffer_bytes, limits::BUFFER_BYTES),
            max_connections: Some(number(|policy| policy.connections.as_ref()?.max, limits::CONNECTIONS)),
            backlog: limits::BACKLOG,
            handshake_timeout: positive(time(|policy| policy.timeouts.as_ref()?.handshake), limits::HANDSHAKE_TIMEOUT),
        },
        http: HttpLimits {
            max_headers_kib: number(|policy| policy.headers.as_ref()?.max_kib, limits::HEADERS_KIB),
            max_headers: number(|policy| policy.headers.as_ref()?.max_count, limits::HEADERS),
            max_streams: number(|policy| policy.http2.as_ref()?.max_streams, limits::STREAMS),
            stream_window_bytes: number(|policy| policy.http2.as_ref()?.stream_window_bytes, limits::STREAM_WINDOW_BYTES),
            connection_window_bytes: number(|policy| policy.http2.as_ref()?.connection_window_bytes, limits::CONNECTION_WINDOW_BYTES),
            max_body_bytes: policies.iter().find_map(|policy| policy.body.as_ref()?.max_bytes),
            headers_timeout: positive(time(|policy| policy.timeouts.as_ref()?.headers), limits::HEADERS_TIMEOUT),
            request_timeout: time(|policy| policy.timeouts.as_ref()?.request).unwrap_or(limits::REQUEST_READ_TIMEOUT),
            stream_idle_timeout: positive(time(|policy| policy.timeouts.as_ref()?.stream_idle), limits::STREAM_IDLE),
            connection_idle_timeout: positive(time(|policy| policy.timeouts.as_ref()?.connection_idle), limits::CONNECTION_IDLE),
            connection_duration: time(|policy| policy.timeouts.as_ref()?.connection).filter(|time| !time.is_zero()),
        },
        minimum_tls: match minimum {
            Some(declared::TlsVersion::V1_3) => TlsVersion::Tls13,
            Some(declared::TlsVersion::V1_2) | None => TlsVersion::Tls12,
        },
        trusted_hops: number(|policy| policy.trusted_hops, 0),
        paths: paths(policies),
        addresses: policies.iter().find_map(|policy| policy.addresses.as_ref()).and_then(addresses),
    }
}

fn paths(policies: &[&EdgePolicy]) -> PathNormalization {
    let flag =
        |of: fn(&declared::Paths) -> Option<bool>| policies.iter().find_map(|policy| policy.paths.as_ref().and_then(of)).unwrap_or(true);
    let escaped = policies.iter().find_map(|policy| policy.paths.as_ref()?.escaped_slashes);
    PathNormalization {
        normalize: flag(|paths| paths.normalize),
        merge_slashes: flag(|paths| paths.merge_slashes),
        escaped_slashes: match escaped {
            Some(declared::EscapedSlashes::Keep) => EscapedSlashes::Keep,
            Some(declared::EscapedSlashes::UnescapeAndRedirect) => EscapedSlashes::UnescapeAndRedirect,
            Some(declared::EscapedSlashes::Reject) | None => EscapedSlashes::Reject,
        },
        parameters: match policies.iter().find_map(|policy| policy.paths.as_ref()?.parameters) {
            Some(declared::PathParameters::Keep) => PathParameters::Keep,
            Some(declared::PathParameters::Reject) | None => PathParameters::Reject,
        },
    }
}

/// A list of networks of which none can be read lets nobody in.
fn addresses(declared: &AddressRules) -> Option<Authorization> {
    let rule = |name: &str, networks: &[String]| {
        let mut principals: Vec<Principal> = networks.iter().filter_map(|text| network(text)).collect();
        principals.sort();
        principals.dedup();
        let rule = AuthorizationRule { name: name.into(), principals, methods: Vec::new(), paths: Vec::new(), ports: Vec::new() };
        (!rule.principals.is_empty()).then_some(rule)
    };
    let deny = rule("addresses-denied", &declared.deny).into_iter().collect();
    let allow =
        (!declared.allow.is_empty()).then(|| rule("addresses-allowed", &declared.allow).into_iter().collect()).into_iter().collect();
    (!declared.allow.is_empty() || !declared.deny.is_empty()).then_some(Authorization { deny, allow, ..Authorization::default() })
}

/// A network as `address/bits`, or a single address.
pub(crate) fn network(text: &str) -> Option<Principal> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (text.parse::<IpAddr>().ok()?, None),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then(|| Principal::Network(Text::from(address.to_string()), bits))
}

/// Tells what a policy says that cannot be, or is unsafe.
pub(crate) fn judge(view: &View<'_>, policy: &Object<EdgePolicy>) {
    let own = &policy.meta.object;
    let lists = policy.spec.addresses.iter().flat_map(|rules| [("allow", &rules.allow), ("deny", &rules.deny)]);
    for (list, networks) in lists {
        for (index, text) in networks.iter().enumerate().filter(|(_, text)| network(text).is_none()) {
            let path = format!("spec.addresses.{list}[{index}]");
            let told = Diagnostic::error(own.clone(), field(&path), Code::OutOfRange, format!("`{text}` is not a network"));
            view.tell(told.hint("write `10.0.0.0/8` or `2001:db8::/32`"));
        }
    }
    judge_at_others(view, policy);
    let paths = policy.spec.paths.as_ref();
    if paths.is_some_and(|paths| paths.normalize == Some(false)) {
        view.warn(own, field("spec.paths.normalize"), Code::Unsafe, "paths that are not normalized can step around the rules of a route");
    }
    if paths.is_some_and(|paths| paths.escaped_slashes == Some(declared::EscapedSlashes::Keep)) {
        view.warn(
            own,
            field("spec.paths.escapedSlashes"),
            Code::Unsafe,
            "a service that unescapes slashes sees another path than the rules of a route",
        );
    }
    if paths.is_some_and(|paths| paths.parameters == Some(declared::PathParameters::Keep)) {
        view.warn(
            own,
            field("spec.paths.parameters"),
            Code::Unsafe,
            "a service that cuts parameters off (`/admin;x` for `/admin`) sees another path than the rules of a route",
        );
    }
}

/// Tells what is the word of the Gateway's owner alone, where the policy is of a ListenerSet at somebody else's Gateway: all that the owner's
/// own rules about addresses and paths are judged by.
fn judge_at_others(view: &View<'_>, policy: &Object<EdgePolicy>) {
    let own = &policy.meta.object;
    let targets = policy.spec.target_refs.iter().filter_map(|target| of_target(target, &own.key.namespace));
    let mut sets = targets.filter(|target| target.kind == Kind::ListenerSet).filter_map(|set| view.listener_set(&set.key));
    let Some(set) = sets.find(|set| set.spec.gateway.namespace != own.key.namespace) else { return };
    let gateway = ObjectRef { kind: Kind::Gateway, key: set.spec.gateway.clone() };
    let general = effective(view, &gateway, None);
    let asked = paths(&[&policy.spec]);
    let says = [
        (policy.spec.trusted_hops.is_some_and(|hops| hops != general.trusted_hops), "trustedHops", "who stands in front of"),
        (strictest(general.paths, asked) != asked, "paths", "which ways of writing a path get by at"),
    ];
    for (_, name, what) in says.into_iter().filter(|(said, _, _)| *said) {
        let message = format!("{what} {gateway} is for its own namespace to say: at {} it holds as said there", set.meta.object);
        let told = Diagnostic::warning(own.clone(), field(&format!("spec.{name}")), Code::Conflicted, message);
        view.tell(told.hint("ask for an EdgePolicy on the Gateway"));
    }
}
