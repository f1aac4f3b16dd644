//! Proxies that nothing is planned for although what they run for is declared: what becomes of what they have. Their streams go on
//! either way; which of both it is follows from the plan, never from who hears of it first.

use std::collections::BTreeSet;

use windrose_plan::Subject;
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ProxyKey, ProxyRole};

use super::{Pipeline, is_known};

/// What becomes of a proxy without a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// What it runs for is gone: its listeners close, and its streams end.
    Gone,
    /// It is somebody else's to serve: it keeps what it has, and its streams end.
    HandedOver,
    /// It may serve nothing, by what is declared: its listeners close.
    Closed,
    /// Others take its place: it keeps what it has.
    Replaced,
    /// What is declared does not say whose it is: it keeps what it has.
    Kept,
}

impl Fate {
    /// Whether the proxy may be told more.
    pub(super) fn stands(self) -> bool {
        match self {
            Self::Gone | Self::HandedOver => false,
            Self::Closed | Self::Replaced | Self::Kept => true,
        }
    }
}

impl Pipeline {
    /// What becomes of a proxy that has no program in the plan.
    pub(super) fn fate(&self, proxy: &ProxyKey) -> Fate {
        if self.declared.leaves_out(&proxy.object.namespace) {
            return Fate::HandedOver;
        }
        match proxy.role {
            ProxyRole::Gateway => self.fate_by_gateway(proxy, &proxy.object),
            ProxyRole::Workload => {
                let object = ObjectRef { kind: Kind::Workload, key: proxy.object.clone() };
                let is_there = self.declared.get(&object).is_some() || self.declared.set_aside.contains_key(&object);
                if is_there { Fate::Closed } else { Fate::Gone }
            }
            ProxyRole::Fleet => {
                let first = ObjectKey::new(proxy.object.namespace.clone(), "");
                let of_namespace = self.declared.gateways.range(first..).take_while(|(key, _)| key.namespace == proxy.object.namespace);
                let of_class = of_namespace.filter(|(_, gateway)| gateway.spec.class == proxy.object.name);
                of_class.map(|(key, _)| self.fate_by_gateway(proxy, key)).max().unwrap_or(Fate::Gone)
            }
        }
    }

    /// The same by what is said of one Gateway that it runs for.
    fn fate_by_gateway(&self, proxy: &ProxyKey, key: &ObjectKey) -> Fate {
        let object = ObjectRef { kind: Kind::Gateway, key: key.clone() };
        let Some(gateway) = self.declared.gateways.get(key) else {
            return if self.declared.set_aside.contains_key(&object) { Fate::Closed } else { Fate::Gone };
        };
        if self.not_planned().objects.get(&gateway.meta.identity()).is_some_and(|refusal| refusal.last_good.is_none()) {
            return Fate::Closed;
        }
        if self.plan.edges.get(key).is_some_and(|edge| edge.proxy != *proxy) {
            return Fate::Replaced;
        }
        let class = self.declared.gateway_classes.contains_key(&ObjectKey::new("", gateway.spec.class.clone()));
        // One that was judged has no listener that may be served; without its class nobody can judge it.
        let is_judged = self.plan.verdicts.contains_key(&Subject::object(object));
        if is_judged || class { Fate::Closed } else { Fate::Kept }
    }

    /// The proxies without a program that are to go on hearing from us. One that starts has seen no program go, and takes them from what
    /// is declared: an Envoy that somebody told to serve may come to it. Not where others took its place: that is most of what is declared.
    pub(super) fn find_standing(&self, differing: &BTreeSet<ProxyKey>) -> BTreeSet<ProxyKey> {
        let seen = differing.iter().chain(self.standing.iter()).cloned();
        let mut standing: BTreeSet<ProxyKey> = seen.filter(|proxy| self.is_left_standing(proxy)).collect();
        if self.generation == 1 {
            let is_replaced = |proxy: &ProxyKey| self.fate(proxy) == Fate::Replaced;
            standing.extend(self.declared_proxies().filter(|proxy| self.is_left_standing(proxy) && !is_replaced(proxy)));
        }
        standing
    }

    fn is_left_standing(&self, proxy: &ProxyKey) -> bool {
        !is_known(&self.plan, proxy) && self.fate(proxy).stands()
    }

    /// Every proxy that may run for something which is declared, also where that cannot be read. Of a Gateway either of two runs: one of its
    /// own, or the fleet of its class.
    pub(super) fn declared_proxies(&self) -> impl Iterator<Item = ProxyKey> {
        let proxy = |role| move |key: &ObjectKey| ProxyKey { role, object: key.clone() };
        let gateways = self.declared.gateways.keys().map(proxy(ProxyRole::Gateway));
        let of_class = self.declared.gateways.values().map(|gateway| (&gateway.meta.object.key.namespace, &gateway.spec.class));
        // Once each: many Gateways share a class.
        let fleets = of_class.collect::<BTreeSet<_>>().into_iter();
        let fleets = fleets.map(|(namespace, class)| ProxyKey::fleet(namespace.clone(), class.clone()));
        let workloads = self.declared.workloads.keys().map(proxy(ProxyRole::Workload));
        let aside = self.declared.set_aside.keys().filter_map(move |object| match object.kind {
            Kind::Gateway => Some(proxy(ProxyRole::Gateway)(&object.key)),
            Kind::Workload => Some(proxy(ProxyRole::Workload)(&object.key)),
            _ => None,
        });
        gateways.chain(fleets).chain(workloads).chain(aside)
    }

    /// Whether a proxy should have an empty program, so that it closes what it has.
    pub(super) fn is_closed(&self, proxy: &ProxyKey) -> bool {
        !is_known(&self.plan, proxy) && self.standing.contains(proxy) && self.fate(proxy) == Fate::Closed
    }
}
