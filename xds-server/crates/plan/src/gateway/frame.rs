//! A Gateway's frame: its addresses and its listeners, judged, before any route is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use windrose_api::declared::gateway::{CONTROLLER, FrontendValidation, Gateway, GatewayAddress, Listener, Namespaces, Protocol};
use windrose_api::declared::{GatewayClass, ListenerSet, Object};
use windrose_ir::Secret;
use windrose_vocab::{Code, Diagnostic, Hostname, Kind, ObjectKey, ObjectRef, Port, Text};

use super::{Candidate, ListenerId, certificate, conflicts, trust};
use crate::plan::{Condition, ConditionType, Subject};
use crate::reference::{Problem, field, missing};
use crate::world::{Index, View};

/// The class that needs no object, so that files can do without one.
const CLASS: &str = "windrose";

/// What is known of a Gateway before routes are attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Addresses to bind; all where empty.
    pub(crate) addresses: Vec<IpAddr>,
    /// Listeners: the Gateway's in order, then those of sets by age.
    pub(crate) listeners: Vec<BoundListener>,
    /// The secret with our certificate towards backends.
    pub(crate) client_certificate: Option<(Text, Arc<Secret>)>,
    /// Whether its proxies get a program at all.
    pub(crate) served: bool,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundListener {
    pub(crate) id: ListenerId,
    pub(crate) port: Port,
    pub(crate) spoken: Spoken,
    /// Hosts; `*` where it names none.
    pub(crate) hostname: Hostname,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) namespaces: Namespaces,
    /// TLS that ends here.
    pub(crate) tls: Option<ListenerTls>,
    /// Whether it can be served.
    pub(crate) usable: bool,
}

/// What a listener speaks, as far as routing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Spoken {
    Http,
    Https,
    TlsTerminated,
    TlsPassthrough,
    Tcp,
    /// Not served.
    Unknown,
}

/// TLS that ends at a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerTls {
    /// Certificates by resource name, in the order declared.
    pub(crate) certificates: Vec<(Text, Arc<Secret>)>,
    pub(crate) client: Option<ClientCheck>,
}

/// How clients' certificates are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCheck {
    pub(crate) trust: (Text, Arc<Secret>),
    pub(crate) required: bool,
}

/// Judges a Gateway; none where it is absent or not ours.
pub(crate) fn frame(view: &View<'_>, key: &ObjectKey) -> Option<Frame> {
    let Some(gateway) = view.gateway(key) else {
        orphans(view, key);
        return None;
    };
    if !is_ours(view, gateway) {
        return None;
    }
    let sets = listener_sets(view, gateway);
    let all = candidates(gateway, &sets);
    let conflicted = conflicts(&all);
    let listeners: Vec<BoundListener> = all.iter().map(|one| judge(view, gateway, one, conflicted.get(&one.id).copied())).collect();
    overlaps(view, &listeners);
    let addresses = addresses(view, gateway);
    let client_certificate = client_certificate(view, gateway);
    judge_sets(view, &sets, &listeners);
    let served = judge_gateway(view, gateway, &listeners, addresses.is_some());
    Some(Frame { addresses: addresses.unwrap_or_default(), listeners, client_certificate, served })
}

fn orphans(view: &View<'_>, key: &ObjectKey) {
    let target = ObjectRef { kind: Kind::Gateway, key: key.clone() };
    for set in view.index(Index::ListenerSets(key.clone())) {
        let problem = missing(view, "ParentNotAccepted", &target);
        view.condition(&Subject::object(set.clone()), ConditionType::Accepted, Condition::no(problem.reason, problem.message.clone()));
        view.tell(problem.at(&set, field("spec.parentRef")));
    }
}

fn is_ours(view: &View<'_>, gateway: &Object<Gateway>) -> bool {
    let class = ObjectKey::new("", gateway.spec.class.clone());
    match view.gateway_class(&class) {
        Some(class) => *class.spec.controller == *CONTROLLER,
        None if *gateway.spec.class == *CLASS => true,
        None => {
            let target = ObjectRef { kind: Kind::GatewayClass, key: class };
            view.tell(missing(view, "Pending", &target).at(&gateway.meta.object, field("spec.gatewayClassName")));
            false
        }
    }
}

/// Tells whether a class is ours.
pub(crate) fn judge_class(view: &View<'_>, class: &Object<GatewayClass>) {
    if *class.spec.controller == *CONTROLLER {
        view.condition(&Subject::object(class.meta.object.clone()), ConditionType::Accepted, Condition::yes("Accepted"));
    }
}

fn listener_sets<'a>(view: &View<'a>, gateway: &Object<Gateway>) -> Vec<&'a Arc<Object<ListenerSet>>> {
    let named = view.index(Index::ListenerSets(gateway.meta.object.key.clone()));
    let mut sets: Vec<_> = named.iter().filter_map(|set| view.listener_set(&set.key)).collect();
    sets.sort_by_key(|set| (set.meta.created, set.meta.object.clone()));
    sets.retain(|set| {
        let allowed =
            in_namespaces(view, &gateway.spec.allowed_listener_sets, &gateway.meta.object.key.namespace, &set.meta.object.key.namespace);
        if !allowed {
            let message = format!("{} does not take ListenerSets of namespace `{}`", gateway.meta.object, set.meta.object.key.namespace);
            view.condition(
                &Subject::object(set.meta.object.clone()),
                ConditionType::Accepted,
                Condition::no("NotAllowed", message.clone()),
            );
            let told = Diagnostic::error(set.meta.object.clone(), field("spec.parentRef"), Code::NotAllowedByListeners, message);
            view.tell(told.hint("set `allowedListeners.namespaces` of the Gateway"));
        }
        allowed
    });
    sets
}

/// Whether objects of namespace `other` are meant by what an object of namespace `own` says.
pub(crate) fn in_namespaces(view: &View<'_>, namespaces: &Namespaces, own: &Text, other: &Text) -> bool {
    match namespaces {
        Namespaces::None => false,
        Namespaces::Same => own == other,
        Namespaces::All => true,
        Namespaces::Selector(selector) => {
            let namespace = view.namespace(&ObjectKey::new("", other.clone()));
            let mut labels = namespace.map(|namespace| namespace.meta.labels.clone()).unwrap_or_default();
            labels.entry("kubernetes.io/metadata.name".into()).or_insert_with(|| other.clone());
            selector.matches(&labels)
        }
    }
}

fn candidates<'a>(gateway: &'a Object<Gateway>, sets: &[&'a Arc<Object<ListenerSet>>]) -> Vec<Candidate<'a>> {
    let of = |owner: &ObjectRef, rank: usize, listeners: &'a [Listener]| {
        let owner = owner.clone();
        listeners.iter().enumerate().map(move |(index, listener)| Candidate {
            id: ListenerId { owner: owner.clone(), name: listener.name.clone() },
            index,
            rank,
            listener,
        })
    };
    let own = of(&gateway.meta.object, 0, &gateway.spec.listeners);
    let added = sets.iter().enumerate().flat_map(|(age, set)| of(&set.meta.object, age + 1, &set.spec.listeners));
    own.chain(added).collect()
}

fn judge(view: &View<'_>, gateway: &Object<Gateway>, candidate: &Candidate<'_>, conflict: Option<&'static str>) -> BoundListener {
    let listener = candidate.listener;
    let subject = candidate.id.subject();
    let path = format!("spec.listeners[{}]", candidate.index);
    let spoken = spoken(listener);
    let mut accepted = Condition::yes("Accepted");
    let mut references = Condition::yes("ResolvedRefs");
    if spoken == Spoken::Unknown {
        let message = format!("protocol {} is not supported", protocol_name(&listener.protocol));
        view.error(&candidate.id.owner, field(&format!("{path}.protocol")), Code::Unsupported, message.clone());
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
        usable,
    }
}

fn spoken(listener: &Listener) -> Spoken {
    let passthrough = listener.tls.as_ref().is_some_and(|tls| tls.passthrough);
    match &listener.protocol {
        Protocol::Http => Spoken::Http,
        Protocol::Https => Spoken::Https,
        Protocol::Tls if passthrough => Spoken::TlsPassthrough,
        Protocol::Tls => Spoken::TlsTerminated,
        Protocol::Tcp => Spoken::Tcp,
        Protocol::Udp | Protocol::Other(_) => Spoken::Unknown,
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

fn tls(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    candidate: &Candidate<'_>,
    spoken: Spoken,
    (accepted, references): (&mut Condition, &mut Condition),
) -> Option<ListenerTls> {
    if !matches!(spoken, Spoken::Https | Spoken::TlsTerminated) {
        return None;
    }
    let path = format!("spec.listeners[{}].tls", candidate.index);
    let declared = candidate.listener.tls.as_ref().map_or(&[][..], |tls| &tls.certificates);
    if declared.is_empty() {
        let message = "a listener that ends TLS needs a certificate";
        let told = Diagnostic::error(candidate.id.owner.clone(), field(&path), Code::MissingField, message);
        view.tell(told.hint("set `tls.certificateRefs` to a Secret of type kubernetes.io/tls"));
        *references = Condition::no("InvalidCertificateRef", message);
    }
    let mut certificates = Vec::new();
    for (index, reference) in declared.iter().enumerate() {
        match certificate(view, &candidate.id.owner, reference) {
            Ok(found) => certificates.push(found),
            Err(problem) => {
                view.tell(problem.at(&candidate.id.owner, field(&format!("{path}.certificateRefs[{index}]"))));
                *references = Condition::no(problem.reason, problem.message);
            }
        }
    }
    let validation = (spoken == Spoken::Https).then(|| validation(gateway, candidate.listener.port)).flatten();
    let client = match validation.map(|(path, validation)| client_check(view, gateway, &path, validation, candidate.listener.port)) {
        None => None,
        Some(Ok((check, None))) => Some(check),
        Some(Ok((check, Some(problem)))) => {
            *references = Condition::no(problem.reason, problem.message);
            Some(check)
        }
        Some(Err(problem)) => {
            *references = Condition::no(problem.reason, problem.message.clone());
            *accepted = Condition::no("NoValidCACertificate", problem.message);
            return None;
        }
    };
    (!certificates.is_empty()).then_some(ListenerTls { certificates, client })
}

fn validation(gateway: &Object<Gateway>, port: Port) -> Option<(String, &FrontendValidation)> {
    match gateway.spec.frontend_validation_per_port.get(&port) {
        Some(own) => own.as_ref().map(|validation| ("spec.tls.frontend.perPort".to_owned(), validation)),
        None => {
            gateway.spec.frontend_validation.as_ref().map(|all| ("spec.tls.frontend.default.validation.caCertificateRefs".to_owned(), all))
        }
    }
}

/// The check, with the last problem if some of the references are of no use; an error if all are.
fn client_check(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    path: &str,
    validation: &FrontendValidation,
    port: Port,
) -> Result<(ClientCheck, Option<Problem>), Problem> {
    let owner = &gateway.meta.object;
    let mut bundle = String::new();
    let mut last = None;
    for (index, reference) in validation.ca_certificates.iter().enumerate() {
        match trust(view, owner, reference, ["InvalidCACertificateKind", "InvalidCACertificateRef"]) {
            Ok(text) => {
                bundle.push_str(text.trim_end());
                bundle.push('\n');
            }
            Err(problem) => {
                let path = if path.ends_with("perPort") { path.to_owned() } else { format!("{path}[{index}]") };
                view.tell(problem.at(owner, field(&path)));
                last = Some(problem);
            }
        }
    }
    if bundle.is_empty() {
        let none = || Problem::new("InvalidCACertificateRef", Code::MissingField, "no CA certificate to check clients by");
        return Err(last.unwrap_or_else(none));
    }
    if validation.insecure_fallback {
        let message = "clients without a valid certificate are let in";
        view.warn(owner, field("spec.tls.frontend"), Code::Unsafe, message);
    }
    let name = format!("{owner}/{port}/client-ca");
    let trust = (name.into(), Arc::new(Secret::Trust { bundle: bundle.into() }));
    Ok((ClientCheck { trust, required: !validation.insecure_fallback }, last))
}

fn client_certificate(view: &View<'_>, gateway: &Object<Gateway>) -> Option<(Text, Arc<Secret>)> {
    let subject = Subject::object(gateway.meta.object.clone());
    let reference = gateway.spec.backend_client_certificate.as_ref()?;
    match certificate(view, &gateway.meta.object, reference) {
        Ok(found) => {
            view.condition(&subject, ConditionType::ResolvedRefs, Condition::yes("ResolvedRefs"));
            Some(found)
        }
        Err(problem) => {
            view.tell(problem.at(&gateway.meta.object, field("spec.tls.backend.clientCertificateRef")));
            let reason = if problem.reason == "RefNotPermitted" { problem.reason } else { "InvalidClientCertificateRef" };
            view.condition(&subject, ConditionType::ResolvedRefs, Condition::no(reason, problem.message));
            None
        }
    }
}

/// None where addresses are declared and none of them can be bound.
fn addresses(view: &View<'_>, gateway: &Object<Gateway>) -> Option<Vec<IpAddr>> {
    let mut usable = BTreeSet::new();
    for (index, address) in gateway.spec.addresses.iter().enumerate() {
        let message = match address {
            GatewayAddress::Ip(ip) => {
                usable.insert(*ip);
                continue;
            }
            GatewayAddress::Hostname(name) => format!("host name `{name}` cannot be bound"),
            GatewayAddress::Other(kind, _) => format!("addresses of type `{kind}` cannot be bound"),
        };
        let told = Diagnostic::error(gateway.meta.object.clone(), field(&format!("spec.addresses[{index}]")), Code::Unsupported, message);
        view.tell(told.hint("use type IPAddress"));
    }
    (gateway.spec.addresses.is_empty() || !usable.is_empty()).then(|| usable.into_iter().collect())
}

fn judge_gateway(view: &View<'_>, gateway: &Object<Gateway>, listeners: &[BoundListener], addressed: bool) -> bool {
    let subject = Subject::object(gateway.meta.object.clone());
    let bad: Vec<String> = listeners.iter().filter(|one| !one.usable).map(|one| format!("`{}`", one.id)).collect();
    let served = addressed && bad.len() < listeners.len();
    let accepted = if !addressed {
        Condition::no("UnsupportedAddress", "none of the addresses can be bound")
    } else if bad.is_empty() && !listeners.is_empty() {
        Condition::yes("Accepted")
    } else {
        let message = if listeners.is_empty() { "no listeners".to_owned() } else { format!("not served: listener {}", bad.join(", ")) };
        Condition { status: served, reason: "ListenersNotValid", message }
    };
    view.condition(&subject, ConditionType::Accepted, accepted);
    served
}

fn judge_sets(view: &View<'_>, sets: &[&Arc<Object<ListenerSet>>], listeners: &[BoundListener]) {
    for set in sets {
        let own = || listeners.iter().filter(|one| one.id.owner == set.meta.object);
        let condition = if own().all(|one| one.usable) {
            Condition::yes("Accepted")
        } else {
            Condition { status: own().any(|one| one.usable), reason: "ListenersNotValid", message: String::new() }
        };
        view.condition(&Subject::object(set.meta.object.clone()), ConditionType::Accepted, condition);
    }
}

/// Browsers reuse a connection for another host that the certificate covers, and would then meet the wrong listener.
fn overlaps(view: &View<'_>, listeners: &[BoundListener]) {
    let mut ports: BTreeMap<Port, Vec<&BoundListener>> = BTreeMap::new();
    for listener in listeners.iter().filter(|one| one.spoken == Spoken::Https && one.usable) {
        ports.entry(listener.port).or_default().push(listener);
    }
    for group in ports.values() {
        for one in group {
            let over = group.iter().find(|other| other.id != one.id && one.hostname.intersect(&other.hostname).is_some());
            if let Some(other) = over {
                let message = format!("hostname overlaps with that of listener `{}`", other.id);
                let condition = Condition { status: true, reason: "OverlappingHostnames", message };
                view.condition(&one.id.subject(), ConditionType::OverlappingTlsConfig, condition);
            }
        }
    }
}
