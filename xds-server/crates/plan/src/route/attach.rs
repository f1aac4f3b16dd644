//! What a route attaches to: its parents one by one, each listener that takes it, each host that both name.

use std::collections::BTreeSet;
use std::sync::Arc;

use windrose_api::declared::route::ParentRef;
use windrose_api::declared::{Object, Route};
use windrose_vocab::{Code, Diagnostic, FieldPath, Hostname, Kind, ObjectKey, ObjectRef, Port};

use super::{Attachment, Connection, RulesKey, Table, TableKey, session};
use crate::gateway::{BoundListener, Frame, Spoken, in_namespaces};
use crate::plan::{Condition, ConditionType, Subject};
use crate::policy;
use crate::reference::{Problem, field, key_of, kind_of, missing, wrong_kind};
use crate::world::{Filter, HostSlot, Need, View, nearest};

/// Where one route is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachments {
    pub(crate) http: BTreeSet<Arc<Attachment>>,
    pub(crate) connections: BTreeSet<Arc<Connection>>,
    /// What it and its own policies need on these tables.
    pub(crate) guards: BTreeSet<(TableKey, Need)>,
}

/// Attaches a route to all its parents.
pub(crate) fn attach(view: &View<'_>, key: &ObjectRef) -> Option<Attachments> {
    let route = view.route(key)?;
    let mut attachments = Attachments::default();
    if route.spec.parents.is_empty() && view.settings().is_folder() {
        view.warn(key, field("spec.parentRefs"), Code::NoMatchingParent, "it names no Gateway and no Service, so it applies nowhere");
    }
    for (index, parent) in route.spec.parents.iter().enumerate() {
        let path = field(&format!("spec.parentRefs[{index}]"));
        let subject = Subject::parent(key.clone(), parent.clone());
        let judged = match kind_of(&parent.target) {
            Some(Kind::Gateway | Kind::ListenerSet) => to_gateway(view, route, parent, &mut attachments),
            Some(Kind::Service) => to_service(view, route, parent, &mut attachments).map(Some),
            Some(_) | None => Err(wrong_kind(&parent.target, "NoMatchingParent", "a Gateway, a ListenerSet or a Service")),
        };
        match judged {
            Ok(Some(())) => view.condition(&subject, ConditionType::Accepted, Condition::yes("Accepted")),
            // A Gateway of another controller: its own affair.
            Ok(None) => {}
            Err(problem) => refuse(view, key, path, &subject, &problem),
        }
    }
    let tables: BTreeSet<&TableKey> = attachments.http.iter().map(|attachment| &attachment.slot.table).collect();
    // A Gateway's chains have a place for each filter anyhow.
    let counted = |table: &TableKey, need: Need| need == Need::Sessions || matches!(**table, Table::Mesh { .. });
    let filters = Filter::ALL.into_iter().filter(|filter| policy::on_route(view, *filter, route)).map(Need::Filter);
    let sessions = route.spec.rules.iter().any(session::names_endpoints).then_some(Need::Sessions);
    let needs: Vec<Need> = filters.chain(sessions).collect();
    let all = tables.into_iter().flat_map(|table| needs.iter().map(move |need| (table, *need)));
    attachments.guards = all.filter(|(table, need)| counted(table, *need)).map(|(table, need)| (table.clone(), need)).collect();
    Some(attachments)
}

fn refuse(view: &View<'_>, route: &ObjectRef, path: FieldPath, subject: &Subject, problem: &Problem) {
    view.tell(problem.at(route, path));
    view.condition(subject, ConditionType::Accepted, Condition::no(problem.reason, problem.message.clone()));
}

fn to_gateway(view: &View<'_>, route: &Object<Route>, parent: &ParentRef, found: &mut Attachments) -> Result<Option<()>, Problem> {
    let own = &route.meta.object;
    let kind = kind_of(&parent.target).unwrap_or(Kind::Gateway);
    let target = ObjectRef { kind, key: key_of(&parent.target, &own.key.namespace) };
    let gateway = if kind == Kind::ListenerSet {
        view.listener_set(&target.key).map(|set| set.spec.gateway.clone())
    } else {
        view.gateway(&target.key).map(|gateway| gateway.meta.object.key.clone())
    };
    let gateway = gateway.ok_or_else(|| missing(view, "NoMatchingParent", &target))?;
    let Some(frame) = view.frame(&gateway) else { return Ok(None) };
    let meant = meant(frame, &target, parent)?;
    let taking: Vec<_> = meant.into_iter().filter(|listener| takes(view, listener, own)).collect();
    if taking.is_empty() {
        let message = format!("no listener of {target} takes {}s of namespace `{}`", own.kind, own.key.namespace);
        let hint = "look at `allowedRoutes` of its listeners";
        return Err(Problem::new("NotAllowedByListeners", Code::NotAllowedByListeners, message).hint(Some(hint)));
    }
    let mut any = false;
    for listener in taking {
        let hosts = hosts(listener, &route.spec.hostnames);
        if !hosts.is_empty() {
            any = true;
            view.attached_to(listener.id.subject());
            put(frame, &gateway, listener, own, hosts, found);
        }
    }
    if any {
        return Ok(Some(()));
    }
    let message = format!("no listener of {target} has a hostname in common with the route");
    Err(Problem::new("NoMatchingListenerHostname", Code::NoMatchingListenerHostname, message))
}

/// The listeners that the reference means, whether they take the route or not.
fn meant<'f>(frame: &'f Frame, target: &ObjectRef, parent: &ParentRef) -> Result<Vec<&'f BoundListener>, Problem> {
    let own = || frame.listeners.iter().filter(|listener| listener.id.owner == *target);
    let meant: Vec<_> = own()
        .filter(|listener| parent.section.as_ref().is_none_or(|name| *name == listener.id.name))
        .filter(|listener| parent.port.is_none_or(|port| port == listener.port))
        .collect();
    if !meant.is_empty() {
        return Ok(meant);
    }
    let (message, hint) = match (&parent.section, parent.port) {
        (Some(name), _) => (format!("{target} has no such listener `{name}`"), nearest(own().map(|listener| &*listener.id.name), name)),
        (None, Some(port)) => (format!("{target} has no listener on port {port}"), None),
        (None, None) => (format!("{target} has no listeners"), None),
    };
    Err(Problem::new("NoMatchingParent", Code::NoMatchingParent, message).hint(hint))
}

fn takes(view: &View<'_>, listener: &BoundListener, route: &ObjectRef) -> bool {
    let namespace = &listener.id.owner.key.namespace;
    listener.kinds.contains(&route.kind) && in_namespaces(view, &listener.namespaces, namespace, &route.key.namespace)
}

/// Each host that both name, with the route's own words for it. Of several words for one host the most specific stays.
fn hosts(listener: &BoundListener, declared: &[Hostname]) -> Vec<(Hostname, Hostname)> {
    if declared.is_empty() || matches!(listener.spoken, Spoken::Tcp | Spoken::Udp) {
        return vec![(listener.hostname.clone(), Hostname::any())];
    }
    let both = declared.iter().filter_map(|host| listener.hostname.intersect(host).map(|common| (common, host.clone())));
    let mut both: Vec<_> = both.collect();
    both.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.specificity().cmp(&a.1.specificity())));
    both.dedup_by(|later, first| later.0 == first.0);
    both
}

fn put(
    frame: &Frame,
    gateway: &ObjectKey,
    listener: &BoundListener,
    route: &ObjectRef,
    hosts: Vec<(Hostname, Hostname)>,
    found: &mut Attachments,
) {
    if !listener.usable {
        // Another listener of the port would serve it, by other rules or at somebody else's host.
        return;
    }
    let alone = matches!(listener.spoken, Spoken::Https).then(|| listener.id.clone());
    let table = TableKey::from(Table::Edge { gateway: gateway.clone(), port: listener.port, listener: alone });
    let rules = RulesKey { route: route.clone(), table: table.clone(), listener: Some(listener.id.clone()) };
    for (host, declared) in hosts {
        if !matches!(listener.spoken, Spoken::Http | Spoken::Https) {
            let (gateway, listener, route) = (gateway.clone(), listener.id.clone(), route.clone());
            found.connections.insert(Connection { gateway, listener, route, host, declared }.into());
        } else if !isolated(frame, listener, &host) {
            let slot = HostSlot { table: table.clone(), host };
            found.http.insert(Attachment { slot, rules: rules.clone(), declared }.into());
        }
    }
}

/// Whether this host belongs to a more specific listener of the same port, served or not: a request meets one listener only.
fn isolated(frame: &Frame, listener: &BoundListener, host: &Hostname) -> bool {
    let mut others = frame.speaking(listener.spoken, listener.port).chain(frame.closed(listener.spoken, listener.port));
    others.any(|other| other.hostname.covers(host) && listener.hostname.covers(&other.hostname) && listener.hostname != other.hostname)
}

fn to_service(view: &View<'_>, route: &Object<Route>, parent: &ParentRef, found: &mut Attachments) -> Result<(), Problem> {
    let own = &route.meta.object;
    let target = ObjectRef { kind: Kind::Service, key: key_of(&parent.target, &own.key.namespace) };
    let service = view.service(&target.key).ok_or_else(|| missing(view, "NoMatchingParent", &target))?;
    if !matches!(own.kind, Kind::HTTPRoute | Kind::GRPCRoute) {
        let message = format!("a {} cannot attach to a Service", own.kind);
        return Err(Problem::new("NotAllowedByListeners", Code::Unsupported, message).hint(Some("use an HTTPRoute or a GRPCRoute")));
    }
    let ports: Vec<Port> = (service.spec.ports.iter())
        .filter(|port| !port.udp && parent.port.is_none_or(|wanted| wanted == port.port))
        .filter(|port| parent.section.as_ref().is_none_or(|wanted| *wanted == port.name))
        .map(|port| port.port)
        .collect();
    if ports.is_empty() {
        let message = match parent.port {
            Some(port) => format!("{target} has no port {port}"),
            None => format!("{target} has no such port"),
        };
        return Err(Problem::new("NoMatchingParent", Code::NoMatchingParent, message));
    }
    if !route.spec.hostnames.is_empty() {
        let told = Diagnostic::warning(own.clone(), field("spec.hostnames"), Code::Invalid, "hostnames have no effect towards a Service");
        view.tell(told);
    }
    let consumer = (own.key.namespace != target.key.namespace).then(|| own.key.namespace.clone());
    for port in ports {
        let table = TableKey::from(Table::Mesh { service: target.key.clone(), port, consumer: consumer.clone() });
        let rules = RulesKey { route: own.clone(), table: table.clone(), listener: None };
        let slot = HostSlot { table, host: Hostname::any() };
        found.http.insert(Attachment { slot, rules, declared: Hostname::any() }.into());
    }
    Ok(())
}
