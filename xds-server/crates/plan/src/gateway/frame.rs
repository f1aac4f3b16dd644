//! A Gateway's frame: its addresses and its listeners, judged, before any route is looked at.

mod address;
mod judge;
pub(super) mod parameters;
mod tls;
mod verdicts;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use windrose_api::declared::gateway::{CONTROLLER, Gateway, Listener, Namespaces};
use windrose_api::declared::route::ExternalAuth;
use windrose_api::declared::{GatewayClass, ListenerSet, Object};
use windrose_api::policy::AccessLog;
use windrose_ir::Secret;
use windrose_vocab::{Code, Diagnostic, Hostname, Kind, ObjectKey, ObjectRef, Port, Text};

use super::{Candidate, ListenerId, Sharing, conflicts, fleet};
use crate::backend::ClusterKey;
use crate::plan::{Condition, ConditionType, Subject};
use crate::reference::{field, missing};
use crate::route::{ResolvedBackend, external_auth};
use crate::world::{Index, View, nearest};

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
    /// Whose proxies serve it.
    pub(crate) sharing: Sharing,
    /// What is logged where no policy says otherwise.
    pub(crate) access_log: Option<AccessLog>,
}

impl Frame {
    /// The listeners that speak so and are served on a port.
    pub(crate) fn speaking(&self, spoken: Spoken, port: Port) -> impl Iterator<Item = &BoundListener> {
        self.listeners.iter().filter(move |one| one.usable && one.spoken == spoken && one.port == port)
    }

    /// The listeners of a port that cannot be served and would speak so, or nobody knows what. Their hosts are no other's meanwhile: one
    /// that names them more widely has other policies, and its routes were meant for other requests.
    pub(crate) fn closed(&self, spoken: Spoken, port: Port) -> impl Iterator<Item = &BoundListener> {
        let alike = move |other: Spoken| match other {
            Spoken::Unknown => true,
            Spoken::TlsTerminated | Spoken::TlsPassthrough if spoken == Spoken::Https => true,
            Spoken::Http | Spoken::Https | Spoken::TlsTerminated | Spoken::TlsPassthrough | Spoken::Tcp | Spoken::Udp => other == spoken,
        };
        self.listeners.iter().filter(move |one| !one.usable && one.port == port && alike(one.spoken))
    }

    /// The one of them to which requests for this host belong: it names the host most specifically.
    pub(crate) fn home(&self, spoken: Spoken, port: Port, host: &Hostname) -> Option<&BoundListener> {
        self.speaking(spoken, port).filter(|one| one.hostname.covers(host)).max_by_key(|one| one.hostname.specificity())
    }
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
    /// Who is asked about every request, in this order.
    pub(crate) filters: Vec<ListenerFilter>,
    /// Whether it can be served.
    pub(crate) usable: bool,
}

impl BoundListener {
    /// Whether every request of it has to be asked about.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Headers that the services which it asks set on requests, as far as they are named.
    pub(crate) fn answered(&self) -> BTreeSet<Text> {
        let of = |filter: &ListenerFilter| match filter {
            ListenerFilter::Asked(declared, _) => external_auth::answered(declared),
            ListenerFilter::Denied => BTreeSet::new(),
        };
        self.filters.iter().flat_map(of).collect()
    }
}

/// What every request of a listener passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenerFilter {
    /// A service that is asked.
    Asked(ExternalAuth, ResolvedBackend),
    /// One that may not be asked, or a filter that we do not know: nobody passes.
    Denied,
}

impl ListenerFilter {
    /// What a proxy of the Gateway does, and the cluster that it needs for that.
    pub(crate) fn asked(&self, view: &View<'_>, gateway: &ObjectKey) -> (windrose_ir::route::ExternalAuth, Option<ClusterKey>) {
        match self {
            Self::Asked(declared, service) => {
                let cluster = external_auth::cluster(view, gateway, declared, service);
                // A listener takes off for all of them at once.
                (external_auth::asked(declared, &cluster, BTreeSet::new()), Some(cluster))
            }
            Self::Denied => (windrose_ir::route::ExternalAuth::Denied, None),
        }
    }
}

/// What a listener speaks, as far as routing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Spoken {
    Http,
    Https,
    TlsTerminated,
    TlsPassthrough,
    Tcp,
    Udp,
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
    let listeners: Vec<BoundListener> = all.iter().map(|one| judge::judge(view, gateway, one, conflicted.get(&one.id).copied())).collect();
    verdicts::overlaps(view, &listeners);
    let addresses = address::addresses(view, gateway);
    let sharing = fleet::sharing(view, gateway);
    let parameters = parameters::of_gateway(view, gateway, !sharing.has_own());
    let access_log = parameters::access_log(view, gateway, parameters.is_ok());
    let client_certificate = tls::client_certificate(view, gateway);
    verdicts::judge_sets(view, &sets, &listeners);
    let refused = addresses.as_ref().err().cloned();
    let served = verdicts::judge_gateway(view, gateway, &listeners, refused, parameters.err());
    Some(Frame { addresses: addresses.unwrap_or_default(), listeners, client_certificate, served, sharing, access_log })
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
        Some(class) if *class.spec.controller == *CONTROLLER => true,
        Some(class) => {
            if view.settings().is_folder() {
                let message = format!("{} is of another controller, so nothing serves this Gateway", class.meta.object);
                let told = Diagnostic::warning(gateway.meta.object.clone(), field("spec.gatewayClassName"), Code::Unsupported, message);
                view.tell(told.hint(format!("the class `{CLASS}` is there without being declared")));
            }
            false
        }
        None if *gateway.spec.class == *CLASS => true,
        None => {
            let target = ObjectRef { kind: Kind::GatewayClass, key: class };
            let problem = missing(view, "Pending", &target);
            // The class that is there without being declared is meant as often as one that is.
            let meant = problem.hint.clone().or_else(|| nearest([CLASS].into_iter(), &target.key.name));
            view.tell(problem.hint(meant).at(&gateway.meta.object, field("spec.gatewayClassName")));
            // What runs goes on as it is, and so do its routes: a class that is made anew must cost nothing.
            fleet::is_reached(view, gateway)
        }
    }
}

/// Tells whether a class is ours.
pub(crate) fn judge_class(view: &View<'_>, class: &Object<GatewayClass>) {
    let (object, controller) = (&class.meta.object, &class.spec.controller);
    if **controller == *CONTROLLER {
        let accepted = parameters::of_class(view, class).err().unwrap_or_else(|| Condition::yes("Accepted"));
        view.condition(&Subject::object(object.clone()), ConditionType::Accepted, accepted);
    } else if view.settings().is_folder() {
        let message = format!("`{}` is another controller: nothing here serves Gateways of this class", controller.escape_debug());
        let told = Diagnostic::warning(object.clone(), field("spec.controllerName"), Code::Unsupported, message);
        let near = nearest([CONTROLLER].into_iter(), controller);
        view.tell(told.hint(near.unwrap_or_else(|| format!("ours is `{CONTROLLER}`"))));
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
