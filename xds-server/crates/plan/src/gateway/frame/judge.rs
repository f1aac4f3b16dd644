//! One listener by itself: whether its protocol, its conflicts, its kinds of routes and its TLS let it be served.

use windrose_api::declared::Object;
use windrose_api::declared::gateway::{Gateway, Listener, Protocol};
use windrose_api::declared::route::Filter;
use windrose_api::decode::choices;
use windrose_vocab::{Code, Diagnostic, Hostname, Kind};

use super::tls::tls;
use super::{BoundListener, ListenerFilter, Spoken};
use crate::gateway::Candidate;
use crate::plan::{Condition, ConditionType};
use crate::reference::field;
use crate::route::external_auth;
use crate::world::View;

/// What a listener can speak, as it is written.
const PROTOCOLS: [&str; 5] = ["HTTP", "HTTPS", "TLS", "TCP", "UDP"];

/// Judges it and tells its conditions.
pub(super) fn judge(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    candidate: &Candidate<'_>,
    conflict: Option<&'static str>,
) -> BoundListener {
    let listener = candidate.listener;
    let subject = candidate.id.subject();
    let path = format!("spec.listeners[{}]", candidate.index);
    let spoken = spoken(listener);
    let mut accepted = Condition::yes("Accepted");
    let mut references = Condition::yes("ResolvedRefs");
    if spoken == Spoken::Unknown {
        let name = protocol_name(&listener.protocol);
        let message = format!("protocol {name} is not supported");
        let told = Diagnostic::error(candidate.id.owner.clone(), field(&format!("{path}.protocol")), Code::Unsupported, message.clone());
        view.tell(match choices(name, PROTOCOLS) {
            Some(hint) => told.hint(hint),
            None => told,
        });
        accepted = Condition::no("UnsupportedProtocol", message);
    }
    if let Some(reason) = conflict {
        let message = format!("another listener on port {} takes the same connections", listener.port);
        let told = Diagnostic::error(candidate.id.owner.clone(), field(&path), Code::ListenerConflict, message.clone());
        view.tell(told.hint("listeners share a port only with equal protocols and different hostnames"));
        accepted = Condition::no(reason, message.clone());
        view.condition(&subject, ConditionType::Conflicted, Condition { status: true, reason, message });
    } else {
        view.condition(&subject, ConditionType::Conflicted, Condition::no("NoConflicts", ""));
    }
    let kinds = kinds(view, candidate, spoken, &mut references);
    let tls = tls(view, gateway, candidate, spoken, (&mut accepted, &mut references));
    view.supported_kinds(&subject, kinds.clone());
    let usable = accepted.status && (tls.is_some() || !matches!(spoken, Spoken::Https | Spoken::TlsTerminated));
    let filters = filters(view, candidate, &path, (&mut accepted, &mut references));
    view.condition(&subject, ConditionType::Accepted, accepted);
    view.condition(&subject, ConditionType::ResolvedRefs, references);
    BoundListener {
        id: candidate.id.clone(),
        port: listener.port,
        spoken,
        hostname: listener.hostname.clone().unwrap_or_else(Hostname::any),
        kinds,
        namespaces: listener.allowed_namespaces.clone(),
        tls,
        filters,
        usable,
    }
}

/// Who is asked about every request. One who cannot be found or may not be asked lets nobody pass, and neither does a filter that we do
/// not know; the listener is served all the same, so that no other takes its hosts.
fn filters(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    path: &str,
    (accepted, references): (&mut Condition, &mut Condition),
) -> Vec<ListenerFilter> {
    let owner = &candidate.id.owner;
    let mut all = Vec::new();
    for (index, filter) in candidate.listener.filters.iter().enumerate() {
        let path = format!("{path}.filters.requests[{index}]");
        if let Filter::ExternalAuth(declared) = filter {
            let service = external_auth::resolve(view, owner, declared).map_err(|problem| {
                view.tell(problem.at(owner, field(&format!("{path}.externalAuth.backendRef"))));
                *references = Condition::no(problem.reason, problem.message);
            });
            all.push(service.map_or(ListenerFilter::Denied, |service| ListenerFilter::Asked(declared.clone(), service)));
        } else {
            all.push(ListenerFilter::Denied);
            let message = "only filters of type ExternalAuth are known here, and without one of its filters a listener lets nobody pass";
            view.error(owner, field(&path), Code::Unsupported, message);
            *accepted = Condition::no("UnsupportedValue", message);
        }
    }
    all
}

fn spoken(listener: &Listener) -> Spoken {
    let passthrough = listener.tls.as_ref().is_some_and(|tls| tls.passthrough);
    match &listener.protocol {
        Protocol::Http => Spoken::Http,
        Protocol::Https => Spoken::Https,
        Protocol::Tls if passthrough => Spoken::TlsPassthrough,
        Protocol::Tls => Spoken::TlsTerminated,
        Protocol::Tcp => Spoken::Tcp,
        Protocol::Udp => Spoken::Udp,
        Protocol::Other(_) => Spoken::Unknown,
    }
}

fn protocol_name(protocol: &Protocol) -> &str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Https => "HTTPS",
        Protocol::Tls => "TLS",
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Other(name) => name,
    }
}

fn kinds(view: &View<'_>, candidate: &Candidate<'_>, spoken: Spoken, references: &mut Condition) -> Vec<Kind> {
    let possible: &[Kind] = match spoken {
        Spoken::Http | Spoken::Https => &[Kind::HTTPRoute, Kind::GRPCRoute],
        Spoken::TlsTerminated => &[Kind::TLSRoute, Kind::TCPRoute],
        Spoken::TlsPassthrough => &[Kind::TLSRoute],
        Spoken::Tcp => &[Kind::TCPRoute],
        Spoken::Udp => &[Kind::UDPRoute],
        Spoken::Unknown => &[],
    };
    let allowed = &candidate.listener.allowed_kinds;
    if allowed.is_empty() {
        return possible.to_vec();
    }
    let mut kinds = Vec::new();
    for (index, kind) in allowed.iter().enumerate() {
        match kind {
            Ok(kind) if possible.contains(kind) => kinds.push(*kind),
            Ok(_) | Err(_) => {
                let name = kind.as_ref().map_or_else(|name| name.to_string(), ToString::to_string);
                let message = format!(
                    "routes of kind {name} cannot attach to a listener of protocol {}",
                    protocol_name(&candidate.listener.protocol)
                );
                let path = format!("spec.listeners[{}].allowedRoutes.kinds[{index}]", candidate.index);
                view.error(&candidate.id.owner, field(&path), Code::InvalidKind, message.clone());
                *references = Condition::no("InvalidRouteKinds", message);
            }
        }
    }
    kinds
}
