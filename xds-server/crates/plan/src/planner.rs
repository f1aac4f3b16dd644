//! The planner: what changed goes through the layers in their order, and each unit that read it is computed again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, Changed};
use windrose_ir::EndpointSet;
use windrose_vocab::{Diagnostic, Kind, ObjectKey, ObjectRef, Port};

use crate::assemble::Assembly;
use crate::backend::{self, ClusterKey, EndpointsKey, Upstream};
use crate::gateway::{self, FleetPorts, Frame};
use crate::mesh;
use crate::plan::{Edge, Plan};
use crate::policy::{self, PolicyOutcome, set_aside};
use crate::proxy::{PartsKey, ProxyParts, Runner};
use crate::reference::field;
use crate::route::{self, Attached, Attachments, Host, Resolved, Rules, RulesKey};
use crate::settings::{Refused, RefusedBy, Settings};
use crate::world::{Delta, Dep, HostSlot, Index, Indexes, Layer, Layers, Told, ToldIndex, View};

/// Plans again and again, at the cost of what changed.
#[derive(Debug)]
pub struct Planner {
    settings: Settings,
    /// What was planned last, refused versions replaced.
    declared: Declared,
    refused: Refused,
    refusals: Told,
    /// Secrets whose former certificates go on, with what is wrong with their newest versions.
    stale: BTreeMap<ObjectRef, String>,
    indexes: Indexes,
    told: ToldIndex,
    trusts: Layer<ObjectRef, PolicyOutcome>,
    policies: Layer<ObjectRef, PolicyOutcome>,
    frames: Layer<ObjectKey, Frame>,
    fleets: Layer<ObjectKey, FleetPorts>,
    /// What Gateways are told of each other, by port.
    neighbours: Layer<Port, ()>,
    /// What Workloads are told of others at their addresses.
    beside: Layer<SocketAddr, ()>,
    resolved: Layer<ObjectRef, Resolved>,
    attachments: Layer<ObjectRef, Attachments>,
    attached: Attached,
    /// What is run for each Gateway and each Workload.
    proxies: Layer<PartsKey, ProxyParts>,
    rules: Layer<RulesKey, Rules>,
    hosts: Layer<HostSlot, Host>,
    clusters: Layer<ClusterKey, Upstream>,
    endpoints: Layer<EndpointsKey, EndpointSet>,
    assembly: Assembly,
    changed: HashSet<Dep>,
    plan: Plan,
}

impl Planner {
    /// A planner of the empty world.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            declared: Declared::default(),
            refused: Refused::default(),
            refusals: Told::default(),
            stale: BTreeMap::new(),
            indexes: Indexes::default(),
            told: ToldIndex::default(),
            trusts: Layer::default(),
            policies: Layer::default(),
            frames: Layer::default(),
            fleets: Layer::default(),
            neighbours: Layer::default(),
            beside: Layer::default(),
            resolved: Layer::default(),
            attachments: Layer::default(),
            attached: Attached::default(),
            proxies: Layer::default(),
            rules: Layer::default(),
            hosts: Layer::default(),
            clusters: Layer::default(),
            endpoints: Layer::default(),
            assembly: Assembly::default(),
            changed: HashSet::new(),
            plan: Plan::default(),
        }
    }

    /// A planner that has planned this world.
    #[must_use]
    pub fn from_nothing(settings: Settings, declared: &Declared, refused: &Refused) -> Self {
        let there = declared.iter().map(|object| object.meta().object.clone());
        let objects = there.chain(declared.set_aside.keys().cloned()).collect();
        let mut planner = Self::new(settings);
        planner.update(declared, refused, &Changed { objects });
        planner
    }

    /// The plan for `declared`. `changed` names every object that differs from the last call; one too many costs time, one
    /// too few leaves its old content in force. Equal to [`crate::plan`] of the same world.
    pub fn update(&mut self, declared: &Declared, refused: &Refused, changed: &Changed) -> Plan {
        let objects = self.take_in(declared, refused, changed);
        let objects: Vec<&ObjectRef> = objects.iter().collect();
        self.run_policies(&objects);
        self.run_frames(&objects);
        self.run_neighbours();
        self.run_routes(&objects);
        let hosts = self.run_proxies(&objects);
        self.run_tables(hosts);
        self.run_clusters();
        self.settle();
        // Not cleared: it would keep the memory of the largest change there ever was.
        self.changed = HashSet::new();
        self.plan.clone()
    }

    /// The plan of the last call.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes in what changed, indexes included; returns the objects that really differ.
    fn take_in(&mut self, declared: &Declared, refused: &Refused, changed: &Changed) -> BTreeSet<ObjectRef> {
        let mut effective = declared.clone();
        let (refusals, stale) = refusals(&mut effective, refused);
        set_aside::close(declared, &mut effective);
        let mut named = changed.objects.clone();
        named.extend(self.refused.objects.keys().chain(refused.objects.keys()).map(|version| version.object.clone()));
        let mut differing = BTreeSet::new();
        for object in named {
            let (old, new) = (self.declared.get(&object), effective.get(&object));
            let is_aside = |declared: &Declared| declared.set_aside.contains_key(&object);
            if old == new && is_aside(&self.declared) == is_aside(&effective) {
                continue;
            }
            let buckets = self.indexes.replace(&object, old.as_ref(), new.as_ref());
            self.changed.extend(buckets.into_iter().map(Dep::Index));
            self.changed.insert(Dep::Object(object.clone()));
            if let Some(AnyObject::ListenerSet(set)) = &old {
                differing.insert(ObjectRef { kind: Kind::Gateway, key: set.spec.gateway.clone() });
            }
            differing.insert(object);
        }
        self.told.retract(&self.refusals);
        self.told.assert(&refusals);
        self.refusals = refusals;
        // What stands there may be the same as before, and only the newest be another.
        let rejudged = self.stale.keys().chain(stale.keys()).filter(|secret| self.stale.get(*secret) != stale.get(*secret));
        self.changed.extend(rejudged.cloned().map(Dep::Object));
        self.stale = stale;
        self.refused = refused.clone();
        self.declared = effective;
        differing
    }

    fn run_policies(&mut self, objects: &[&ObjectRef]) {
        let trusts = |kind: Kind| matches!(kind, Kind::BackendTLSPolicy | Kind::Backend);
        let named = |keep: &dyn Fn(Kind) -> bool| -> BTreeSet<ObjectRef> {
            objects.iter().filter(|object| policy::is_judged(object.kind) && keep(object.kind)).map(|object| (*object).clone()).collect()
        };
        let there = |planner: &Self, key: &ObjectRef| planner.declared.get(key).is_some();
        let deltas = self.step(|planner| &mut planner.trusts, named(&trusts), there, policy::outcome);
        self.changed.extend(deltas.into_iter().map(|delta| Dep::Policy(delta.key)));
        let deltas = self.step(|planner| &mut planner.policies, named(&|kind| !trusts(kind)), there, policy::outcome);
        self.changed.extend(deltas.into_iter().map(|delta| Dep::Policy(delta.key)));
    }

    fn run_frames(&mut self, objects: &[&ObjectRef]) {
        let mut fresh: BTreeSet<ObjectKey> =
            objects.iter().filter(|object| object.kind == Kind::Gateway).map(|object| object.key.clone()).collect();
        let sets = objects.iter().filter(|object| object.kind == Kind::ListenerSet);
        fresh.extend(sets.filter_map(|set| self.declared.listener_sets.get(&set.key)).map(|set| set.spec.gateway.clone()));
        let wanted = |planner: &Self, key: &ObjectKey| {
            planner.declared.gateways.contains_key(key) || planner.indexes.get(&Index::ListenerSets(key.clone())).next().is_some()
        };
        let deltas = self.step(|planner| &mut planner.frames, fresh, wanted, gateway::frame);
        let fleets = deltas
            .iter()
            .flat_map(|delta| delta.old.iter().chain(&delta.new))
            .filter_map(|frame| frame.value.sharing.fleet().cloned())
            .collect();
        self.changed.extend(deltas.into_iter().map(|delta| Dep::Frame(delta.key)));
        let wanted = |planner: &Self, key: &ObjectKey| planner.indexes.get(&Index::GatewaysOfClass(key.clone())).next().is_some();
        let deltas = self.step(|planner| &mut planner.fleets, fleets, wanted, gateway::fleet);
        self.changed.extend(deltas.into_iter().map(|delta| Dep::Fleet(delta.key)));
    }

    /// Where somebody else assigns the addresses of Gateways, each has proxies at addresses of their own.
    fn run_neighbours(&mut self) {
        let (mut ports, mut sockets) = (BTreeSet::new(), BTreeSet::new());
        for dep in &self.changed {
            match dep {
                Dep::Index(Index::ListenersAt(port)) => drop(ports.insert(*port)),
                Dep::Index(Index::ServedAt(at)) => drop(sockets.insert(*at)),
                _ => {}
            }
        }
        let several = |planner: &Self, index: Index| planner.settings.is_folder() && planner.indexes.get(&index).nth(1).is_some();
        // Nothing comes of it but what is told.
        let wanted = |planner: &Self, port: &Port| several(planner, Index::ListenersAt(*port));
        self.step(
            |planner| &mut planner.neighbours,
            ports,
            wanted,
            |view, port| {
                gateway::neighbours(view, *port);
                None
            },
        );
        let wanted = |planner: &Self, at: &SocketAddr| several(planner, Index::ServedAt(*at));
        self.step(
            |planner| &mut planner.beside,
            sockets,
            wanted,
            |view, at| {
                mesh::beside(view, *at);
                None
            },
        );
    }

    fn run_routes(&mut self, objects: &[&ObjectRef]) {
        let fresh: BTreeSet<ObjectRef> = objects.iter().filter(|object| is_route(object.kind)).map(|object| (*object).clone()).collect();
        let there = |planner: &Self, key: &ObjectRef| planner.declared.routes.contains_key(key);
        let deltas = self.step(|planner| &mut planner.resolved, fresh.clone(), there, route::resolve);
        self.changed.extend(deltas.into_iter().map(|delta| Dep::Resolved(delta.key)));
        let deltas = self.step(|planner| &mut planner.attachments, fresh, there, route::attach);
        for delta in deltas {
            let changed = self.attached.replace(delta.old.as_ref().map(|old| &*old.value), delta.new.as_ref().map(|new| &*new.value));
            self.changed.extend(changed);
        }
    }

    /// Returns the hosts that became required or no longer are.
    fn run_proxies(&mut self, objects: &[&ObjectRef]) -> BTreeSet<HostSlot> {
        let runners = |kind: Kind| match kind {
            Kind::Gateway => &[Runner::Own, Runner::Shared][..],
            Kind::Workload => &[Runner::Own],
            _ => &[],
        };
        let keys = |of: &ObjectRef| runners(of.kind).iter().map(|runner| PartsKey { of: of.clone(), runner: *runner }).collect::<Vec<_>>();
        let fresh: BTreeSet<PartsKey> = objects.iter().flat_map(|object| keys(object)).collect();
        let wanted = |planner: &Self, key: &PartsKey| planner.declared.get(&key.of).is_some();
        let parts = |view: &View<'_>, key: &PartsKey| match key.of.kind {
            Kind::Gateway => gateway::edge(view, &key.of.key, key.runner),
            _ => mesh::sidecar(view, &key.of.key),
        };
        let deltas = self.step(|planner| &mut planner.proxies, fresh, wanted, parts);
        let mut hosts = BTreeSet::new();
        for delta in &deltas {
            hosts.extend(self.assembly.parts_changed(delta));
            if delta.key.of.kind == Kind::Gateway {
                self.put_edge(&delta.key.of);
            }
        }
        hosts
    }

    /// Says by whom a Gateway is served now.
    fn put_edge(&mut self, gateway: &ObjectRef) {
        let by = |runner| self.proxies.get(&PartsKey { of: gateway.clone(), runner });
        let edge = by(Runner::Own)
            .or_else(|| by(Runner::Shared))
            .map(|parts| Edge { proxy: parts.value.runs_on.clone(), ports: parts.value.ports.clone() });
        match edge {
            None => drop(self.plan.edges.remove(&gateway.key)),
            Some(edge) if self.plan.edges.get(&gateway.key).is_some_and(|known| **known == edge) => {}
            Some(edge) => drop(self.plan.edges.insert(gateway.key.clone(), Arc::new(edge))),
        }
    }

    fn run_tables(&mut self, mut hosts: BTreeSet<HostSlot>) {
        let fresh = self.changed.iter().filter_map(|dep| match dep {
            Dep::Rules(key) => Some(key.clone()),
            _ => None,
        });
        let fresh = fresh.collect();
        let wanted = |planner: &Self, key: &RulesKey| planner.attached.has_rules(key);
        let deltas = self.step(|planner| &mut planner.rules, fresh, wanted, route::rules);
        for delta in deltas {
            self.assembly.rules_changed(&delta);
            self.changed.insert(Dep::Rules(delta.key));
        }
        hosts.extend(self.changed.iter().filter_map(|dep| match dep {
            Dep::Slot(slot) => Some(slot.clone()),
            _ => None,
        }));
        let wanted = |planner: &Self, slot: &HostSlot| planner.attached.has_slot(slot) || planner.assembly.requires(slot);
        let deltas = self.step(|planner| &mut planner.hosts, hosts, wanted, |view, slot| Some(route::host(view, slot)));
        deltas.iter().for_each(|delta| self.assembly.host_changed(delta));
    }

    fn run_clusters(&mut self) {
        let touched = self.assembly.touched_clusters();
        let endpoints = touched.iter().filter_map(ClusterKey::endpoints).collect();
        let wanted = |planner: &Self, key: &ClusterKey| planner.assembly.uses_cluster(key);
        let deltas = self.step(|planner| &mut planner.clusters, touched, wanted, |view, key| Some(backend::cluster(view, key)));
        deltas.iter().for_each(|delta| self.assembly.cluster_changed(&delta.key));
        let wanted = |planner: &Self, key: &EndpointsKey| planner.assembly.uses_endpoints(key);
        let deltas = self.step(|planner| &mut planner.endpoints, endpoints, wanted, |view, key| Some(backend::endpoints(view, key)));
        for delta in deltas {
            self.assembly.endpoints_changed(&delta.key, &self.endpoints);
        }
    }

    fn settle(&mut self) {
        for (proxy, content) in self.assembly.settle(&self.clusters, &self.endpoints) {
            match content {
                Some((program, sources, identity)) => {
                    self.plan.programs.insert(proxy.clone(), program);
                    self.plan.sources.insert(proxy.clone(), sources);
                    if self.plan.identities.get(&proxy) != Some(&identity) {
                        self.plan.identities.insert(proxy, identity);
                    }
                }
                None => {
                    self.plan.programs.remove(&proxy);
                    self.plan.sources.remove(&proxy);
                    self.plan.identities.remove(&proxy);
                }
            }
        }
        self.plan.diagnostics = self.told.diagnostics.clone();
        self.plan.verdicts = self.told.verdicts.clone();
        self.plan.attached_routes = self.told.attached.clone();
        self.plan.coverage = self.told.coverage.clone();
    }

    /// Runs one layer: the units that read something that changed, and those that `fresh` names.
    fn step<K: Clone + Ord + Hash, V: PartialEq>(
        &mut self,
        layer: fn(&mut Self) -> &mut Layer<K, V>,
        fresh: BTreeSet<K>,
        wanted: impl Fn(&Self, &K) -> bool,
        compute: impl Fn(&View<'_>, &K) -> Option<V>,
    ) -> Vec<Delta<K, V>> {
        let mut taken = std::mem::take(layer(self));
        let mut told = std::mem::take(&mut self.told);
        let mut work = taken.readers(&self.changed);
        work.extend(fresh);
        let layers = self.layers();
        let deltas = taken.run(
            work,
            &mut told,
            |key| wanted(self, key),
            |key| {
                let view = View::new(layers);
                let value = compute(&view, key);
                view.finish(value)
            },
        );
        *layer(self) = taken;
        self.told = told;
        deltas
    }

    fn layers(&self) -> Layers<'_> {
        Layers {
            settings: &self.settings,
            declared: &self.declared,
            stale: &self.stale,
            indexes: &self.indexes,
            trusts: &self.trusts,
            policies: &self.policies,
            frames: &self.frames,
            fleets: &self.fleets,
            resolved: &self.resolved,
            attached: &self.attached,
            rules: &self.rules,
        }
    }
}

fn is_route(kind: Kind) -> bool {
    matches!(kind, Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute)
}

/// Puts the last good version in the place of each refused one; tells which, and returns those whose former certificates go on.
fn refusals(declared: &mut Declared, refused: &Refused) -> (Told, BTreeMap<ObjectRef, String>) {
    let (mut told, mut stale) = (Told::default(), BTreeMap::new());
    // What we put in the place of an object may be refused by others.
    let (ours, theirs): (Vec<_>, Vec<_>) =
        refused.objects.iter().partition(|(_, refusal)| matches!(refusal.by, RefusedBy::Check | RefusedBy::Target));
    for (version, refusal) in ours.into_iter().chain(theirs) {
        let object = &version.object;
        if declared.get(object).is_none_or(|current| current.meta().version != version.version) {
            continue;
        }
        let stead = match &refusal.last_good {
            Some(good) if good.meta().object == *object => {
                declared.insert(good.clone());
                if refusal.by == RefusedBy::Check {
                    stale.insert(object.clone(), refusal.reason.clone());
                }
                "its last good version stays in force"
            }
            Some(_) | None => {
                let stead = set_aside::words(declared, object);
                declared.remove(object);
                stead
            }
        };
        let diagnostic = match refusal.by {
            RefusedBy::Target if refusal.reason.is_empty() => continue,
            RefusedBy::Target => Diagnostic::warning(object.clone(), field("spec.targetRefs"), refusal.code(), refusal.says()),
            RefusedBy::Envoy | RefusedBy::Ourselves | RefusedBy::Check => {
                Diagnostic::error(object.clone(), field(""), refusal.code(), format!("{}; {stead}", refusal.says()))
            }
        };
        told.diagnostics.push(diagnostic.into());
    }
    (told, stale)
}
