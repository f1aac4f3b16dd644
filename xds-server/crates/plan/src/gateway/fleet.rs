//! Gateways that share Envoys: which do, and on which port of those Envoys each port of each of them is. Nothing else of theirs meets:
//! tables, filters and policies are a Gateway's own, and so are its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};

use windrose_api::declared::gateway::Gateway;
use windrose_api::declared::{Meta, Object};
use windrose_api::policy::Fleet;
use windrose_ir::listener::{Direction, Transport};
use windrose_ir::{Chain, Handler, Listener};
use windrose_vocab::{Fingerprint, ObjectKey, Port, Text};

use super::BoundListener;
use super::frame::parameters;
use crate::limits::{FLEET_PORTS, LABEL_MAX, READY_PORT};
use crate::policy::edge;
use crate::settings::Addresses;
use crate::world::{Index, View};

/// The annotation of a Service that names the fleet which it leads to: the class.
pub const FLEET_ANNOTATION: &str = "windrose.dev/fleet";
/// The annotation of such a Service that names the Gateway whose ports it has.
pub const GATEWAY_ANNOTATION: &str = "windrose.dev/gateway";

/// The label of what is made for a Gateway: its name, as far as that fits (GEP-1762).
pub(crate) const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// The label of what is made for a Gateway that names its class, as far as that fits.
const CLASS_LABEL: &str = "windrose.dev/gateway-class";

/// How the listener is called by which a proxy in a cluster says that it has its listeners.
pub const READY_LISTENER: &str = "windrose/ready";

/// The listener by which a proxy says that it has its listeners, see [`READY_PORT`]: it takes connections and closes them.
pub(crate) fn ready() -> (Text, Listener) {
    let chain = Chain { name: "none".into(), server_names: Vec::new(), transport: Transport::Plain, handler: Handler::Close };
    let listener = Listener {
        addresses: vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), READY_PORT)],
        direction: Direction::Inbound,
        inspect_tls: false,
        chains: vec![chain],
        limits: edge::defaults().connections,
        access_log: None,
    };
    (READY_LISTENER.into(), listener)
}

/// The port that a Gateway's own proxies open for one of its ports: the same, unless [`ready()`] has it. None where all are taken.
pub(crate) fn own_port(gateway: &ObjectKey, port: Port, listeners: &[BoundListener]) -> Option<Port> {
    if port.get() != READY_PORT {
        return Some(port);
    }
    candidates(gateway, port).find(|inner| listeners.iter().all(|listener| listener.port != *inner))
}

/// The port of the Envoys for each port of each Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FleetPorts(BTreeMap<(ObjectKey, Port), Port>);

impl FleetPorts {
    /// None where the fleet has no port left for it.
    pub(crate) fn of(&self, gateway: &ObjectKey, port: Port) -> Option<Port> {
        self.0.get(&(gateway.clone(), port)).copied()
    }
}

/// Whose proxies serve a Gateway. A fleet is known by namespace and class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Its own, as wherever we do not deploy proxies.
    #[default]
    Own,
    /// Those that it shares.
    Shared(ObjectKey),
    /// Its class or the parameters of that are gone, and nobody knows: whatever it had goes on.
    Unknown(ObjectKey),
}

impl Sharing {
    /// The fleet that may serve it.
    pub(crate) fn fleet(&self) -> Option<&ObjectKey> {
        match self {
            Self::Own => None,
            Self::Shared(fleet) | Self::Unknown(fleet) => Some(fleet),
        }
    }

    /// Whether proxies of its own may serve it.
    pub(crate) fn has_own(&self) -> bool {
        match self {
            Self::Own | Self::Unknown(_) => true,
            Self::Shared(_) => false,
        }
    }
}

/// What the class of a Gateway says of it.
pub(super) fn sharing(view: &View<'_>, gateway: &Object<Gateway>) -> Sharing {
    match view.settings().addresses {
        Addresses::Bind => return Sharing::Own,
        Addresses::Assigned => {}
    }
    let fleet = ObjectKey::new(gateway.meta.object.key.namespace.clone(), gateway.spec.class.clone());
    let Some(class) = view.gateway_class(&ObjectKey::new("", gateway.spec.class.clone())) else { return Sharing::Unknown(fleet) };
    let Some(reference) = &class.spec.parameters_ref else { return Sharing::Own };
    match parameters::found(view, &class.meta.object, reference).map(|parameters| parameters.spec.fleet) {
        Err(_) => Sharing::Unknown(fleet),
        Ok(Some(Fleet::PerNamespace)) => Sharing::Shared(fleet),
        Ok(Some(Fleet::PerGateway) | None) => Sharing::Own,
    }
}

/// Gives each port of each Gateway one of the fleet's own: the one that its Service leads to by now, so that it stays what it is
/// whoever comes and goes; a new one by its name, or the next that is free.
pub(crate) fn fleet(view: &View<'_>, key: &ObjectKey) -> Option<FleetPorts> {
    let named = view.index(Index::GatewaysOfClass(key.clone()));
    let there = named.iter().filter_map(|gateway| Some((&gateway.key, view.frame(&gateway.key)?)));
    let members: Vec<_> = there.filter(|(_, frame)| frame.sharing.fleet() == Some(key)).collect();
    let wanted: BTreeSet<(ObjectKey, Port)> =
        members.iter().flat_map(|(gateway, frame)| frame.listeners.iter().map(|listener| ((*gateway).clone(), listener.port))).collect();
    let mut ports = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (of, inner) in in_force(view, key) {
        if wanted.contains(&of) && !ports.contains_key(&of) && FLEET_PORTS.contains(&inner.get()) && taken.insert(inner) {
            ports.insert(of, inner);
        }
    }
    for of in &wanted {
        if !ports.contains_key(of) {
            let free = candidates(&of.0, of.1).find(|inner| taken.insert(*inner));
            ports.extend(free.map(|inner| (of.clone(), inner)));
        }
    }
    (!members.is_empty()).then_some(FleetPorts(ports))
}

/// What the Services that were made for Gateways lead to by now. Where two say something else, the one that says what follows from the
/// name is believed.
fn in_force(view: &View<'_>, fleet: &ObjectKey) -> Vec<((ObjectKey, Port), Port)> {
    let mut all = Vec::new();
    for service in view.index(Index::ServicesOfFleet(fleet.clone())) {
        let Some(service) = view.service(&service.key) else { continue };
        let Some(gateway) = service.meta.annotations.get(GATEWAY_ANNOTATION).filter(|_| is_ours(&service.meta)) else { continue };
        let gateway = ObjectKey::new(fleet.namespace.clone(), gateway.clone());
        let leads = service.spec.ports.iter().filter_map(|port| Some((port.port, port.target?)));
        all.extend(leads.map(|(port, target)| ((gateway.clone(), port), target)));
    }
    all.sort_by_key(|((gateway, port), target)| candidates(gateway, *port).next() != Some(*target));
    all
}

/// Whether whoever deploys proxies made a Service for the Gateway under the class that it names: then it was ours, whether that class
/// is there or not. Longer names than a label takes are not found.
pub(super) fn is_reached(view: &View<'_>, gateway: &Object<Gateway>) -> bool {
    match view.settings().addresses {
        Addresses::Bind => return false,
        Addresses::Assigned => {}
    }
    let made_for_it = |service: &Meta| is_made_by_us(service) && service.labels.get(CLASS_LABEL) == Some(&gateway.spec.class);
    let named = view.index(Index::ServicesOfGateway(gateway.meta.object.key.clone()));
    named.iter().filter_map(|service| view.service(&service.key)).any(|service| made_for_it(&service.meta))
}

fn is_made_by_us(service: &Meta) -> bool {
    service.labels.get("app.kubernetes.io/managed-by").is_some_and(|by| &**by == "windrose")
}

/// Whether whoever deploys proxies made it, for the Gateway that it names.
fn is_ours(service: &Meta) -> bool {
    is_made_by_us(service)
        && service.labels.get(GATEWAY_LABEL).is_some_and(|label| {
            let named = service.annotations.get(GATEWAY_ANNOTATION);
            named.is_some_and(|named| named == label || named.len() > LABEL_MAX)
        })
}

/// All ports of the range, from the one that belongs to the name.
fn candidates(gateway: &ObjectKey, port: Port) -> impl Iterator<Item = Port> {
    let count = u128::from(FLEET_PORTS.end() - FLEET_PORTS.start()) + 1;
    let first = Fingerprint::of("fleet port", &format!("{gateway}/{port}")).bits() % count;
    (0..count).filter_map(move |step| {
        let offset = u16::try_from((first + step) % count).ok()?;
        Port::new(i64::from(FLEET_PORTS.start() + offset))
    })
}
