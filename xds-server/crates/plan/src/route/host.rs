//! One virtual host: the routes of all that attach to it, in the order they are tried.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use windrose_ir::VirtualHost;
use windrose_ir::route::{ExternalAuth, Forward, HeaderChanges, Rewrite, Route, RouteAction, RouteMatch, WeightedBackend};
use windrose_vocab::{Code, Diagnostic, Hostname, Kind, ObjectKey, Text};

use super::matching::{Precedence, everything};
use super::rules::Ruled;
use super::{Attachment, Rules, RulesKey, Table, TableKey};
use crate::backend::{BackendId, ClusterKey, Flavor};
use crate::gateway::Spoken;
use crate::policy::{auth, traffic};
use crate::proxy::extension_name;
use crate::reference::field;
use crate::world::{Filter, HostSlot, View};

/// A virtual host as the table holds it, and the clusters that it needs besides those of its routes' own units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) virtual_host: Arc<VirtualHost>,
    pub(crate) clusters: BTreeSet<ClusterKey>,
}

/// Puts the routes of a host in order: by the host that the route declares, then by match, then by age, name and position.
pub(crate) fn host(view: &View<'_>, slot: &HostSlot) -> Host {
    let attachments: Vec<&Attachment> = view.slot(slot).collect();
    let direct = attachments.is_empty().then(|| direct(view, &slot.table)).flatten();
    let misdirected = (attachments.is_empty() && belongs_elsewhere(view, slot)).then(|| answer("misdirected", 421));
    let found = attachments.into_iter().filter_map(|attachment| view.rules(&attachment.rules).map(|rules| (attachment, rules)));
    let mut all: Vec<(&Attachment, &Rules, &Ruled)> =
        found.flat_map(|(attachment, rules)| rules.routes.iter().map(move |ruled| (attachment, rules, ruled))).collect();
    all.sort_by(|a, b| order(*a).cmp(&order(*b)));
    let mut first: HashMap<&RouteMatch, (&Attachment, &Ruled)> = HashMap::new();
    let mut routes = Vec::new();
    for (attachment, _, ruled) in all {
        match first.entry(&ruled.route.matcher) {
            Entry::Vacant(free) => {
                free.insert((attachment, ruled));
                routes.push(Arc::clone(&ruled.route));
            }
            // The rest of a match that several routes share.
            Entry::Occupied(taken) if is_one_match(*taken.get(), (attachment, ruled)) => routes.push(Arc::clone(&ruled.route)),
            Entry::Occupied(taken) => shadowed(view, &attachment.rules, ruled, &taken.get().0.rules),
        }
    }
    let (route, cluster) = direct.unzip();
    // Whoever comes to the wrong listener shows it nothing that was meant for the right one.
    let external_auth = if misdirected.is_none() { listener_filters(view, slot) } else { Vec::new() };
    // Envoy asks nobody where it finds no route.
    let unmatched = (!external_auth.is_empty()).then(|| answer("unmatched", 404));
    routes.extend(route.into_iter().chain(misdirected).chain(unmatched).map(Arc::new));
    routes.shrink_to_fit();
    let hosts = vec![slot.host.clone()];
    let filters = filters(&slot.table, &routes);
    let virtual_host = VirtualHost { name: slot.host.as_str().into(), hosts, authorities: Vec::new(), external_auth, routes, filters };
    Host { virtual_host: Arc::new(virtual_host), clusters: cluster.into_iter().collect() }
}

/// The configurations that have policies of these routes, but that of those without one.
fn filters(table: &Table, routes: &[Arc<Route>]) -> Vec<Text> {
    let named = |filter: &Filter| {
        let entry = |(of, id): &(Text, Text)| **of == *filter.metadata() && **id != *auth::OPEN;
        routes.iter().any(|route| route.policies.iter().any(entry))
    };
    let mut filters: Vec<Text> = Filter::ALL.into_iter().filter(named).map(|filter| extension_name(&table.scope(), filter)).collect();
    filters.sort();
    filters
}

/// Whether requests for this host belong to another HTTPS listener than the one that the connection came to.
fn belongs_elsewhere(view: &View<'_>, slot: &HostSlot) -> bool {
    let Table::Edge { gateway, port, listener: Some(own) } = &*slot.table else { return false };
    let frame = view.frame(gateway);
    frame.and_then(|frame| frame.home(Spoken::Https, *port, &slot.host)).is_some_and(|home| home.id != *own)
}

/// Who is asked about every request for this host, by the listener that it belongs to.
fn listener_filters(view: &View<'_>, slot: &HostSlot) -> Vec<ExternalAuth> {
    let Table::Edge { gateway, port, listener } = &*slot.table else { return Vec::new() };
    let home = view.frame(gateway).and_then(|frame| match listener {
        Some(id) => frame.listeners.iter().find(|one| one.id == *id),
        None => frame.home(Spoken::Http, *port, &slot.host),
    });
    let Some(home) = home.filter(|home| home.is_guarded()) else { return Vec::new() };
    // Only then is the host made of what the Gateway says.
    view.frame_with_sources(gateway);
    home.filters.iter().map(|filter| filter.asked(view, gateway).0).collect()
}

/// An answer without asking any backend, for whatever no other route takes: nobody needs a token to hear it.
fn answer(name: &str, status: u16) -> Route {
    let open = (Text::from(Filter::JwtAuth.metadata()), Text::from(auth::OPEN));
    Route {
        name: name.into(),
        matcher: everything(false),
        action: RouteAction::Respond { status, body: "".into() },
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        cors: None,
        external_auth: None,
        buffer_bytes: 0,
        policies: vec![open],
        share: None,
    }
}

/// What a sidecar does with calls to a Service that no route speaks of: it sends them there.
fn direct(view: &View<'_>, table: &TableKey) -> Option<(Route, ClusterKey)> {
    let Table::Mesh { service, port, .. } = &**table else { return None };
    let key = ClusterKey::new(BackendId::Service(service.clone(), *port), Flavor::Mesh);
    let traffic = traffic::of_service(view, service, *port);
    let forward = Forward {
        backends: vec![WeightedBackend {
            cluster: Some(key.name()),
            weight: 1,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            host: None,
        }],
        rewrite: Rewrite::default(),
        timeout: traffic.request.unwrap_or_default(),
        idle_timeout: traffic.idle,
        retry: traffic.retry,
        mirrors: Vec::new(),
        hash: traffic.hash,
        session: None,
        websocket: true,
        max_grpc_timeout: None,
    };
    let route = Route {
        name: format!("Service/{service}/{port}").into(),
        matcher: everything(false),
        action: RouteAction::Forward(Box::new(forward)),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        cors: None,
        external_auth: None,
        buffer_bytes: 0,
        policies: Vec::new(),
        share: None,
    };
    Some((route, key))
}

fn is_one_match(first: (&Attachment, &Ruled), other: (&Attachment, &Ruled)) -> bool {
    std::ptr::eq(first.0, other.0) && (first.1.rule, first.1.position) == (other.1.rule, other.1.position)
}

type Order<'a> = (Reverse<(usize, usize)>, &'a Precedence, u64, &'a ObjectKey, Kind, usize, usize);

fn order<'a>((attachment, rules, ruled): (&'a Attachment, &'a Rules, &'a Ruled)) -> Order<'a> {
    let route = &attachment.rules.route;
    let specific = Reverse(declared_length(&attachment.declared));
    (specific, &ruled.precedence, rules.created, &route.key, route.kind, ruled.rule, ruled.position)
}

/// Characters in a matching non-wildcard hostname, then characters in a matching hostname.
fn declared_length(host: &Hostname) -> (usize, usize) {
    let length = if host.is_any() { 0 } else { host.as_str().len() };
    (if host.is_exact() { length } else { 0 }, length)
}

fn shadowed(view: &View<'_>, later: &RulesKey, ruled: &Ruled, earlier: &RulesKey) {
    let path = field(&format!("spec.rules[{}].matches[{}]", ruled.rule, ruled.position));
    let by = if later.route == earlier.route { "an earlier rule".to_owned() } else { earlier.route.to_string() };
    let at = match &*later.table {
        Table::Edge { gateway, .. } => format!("Gateway/{gateway}"),
        Table::Mesh { service, .. } => format!("Service/{service}"),
    };
    let message = format!("never matches at {at}: {by} has the same match and comes first");
    view.tell(Diagnostic::warning(later.route.clone(), path, Code::Shadowed, message));
}
