//! A program becomes resources: all of them at first, then only those whose values changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use windrose_ir::http::{HttpFilter, HttpHandler, RouteSource};
use windrose_ir::route::{RouteTable, VirtualHost};
use windrose_ir::{Cluster, DatagramListener, EndpointSet, Extension, Handler, Listener, Program, Secret};
use windrose_vocab::{NodeClass, Resource, ResourceId, ResourceKind, Text};

use crate::endpoints::{Addresses, assignment};
use crate::filters::{idle, wasm};
use crate::modules::Modules;
use crate::near::Near;
use crate::pack::{Packer, VersionKey};
use crate::route::scoped;
use crate::{cluster, datagram, listener, route, secret};

/// The resources of one kind by name; clones share their nodes.
pub type KindMap = OrdMap<Text, Arc<Resource>>;

/// All resources of one program for one node class, wherever its nodes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    kinds: [KindMap; ResourceKind::ALL.len()],
    uses: Arc<Uses>,
}

impl Rendered {
    /// The resources of a kind.
    #[must_use]
    pub fn of_kind(&self, kind: ResourceKind) -> &KindMap {
        &self.kinds[kind.index()]
    }

    /// All resources, in make-before-break order of kind, then of name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.kinds.iter().flat_map(KindMap::values)
    }

    /// The same for nodes of a zone that sees these endpoints.
    #[must_use]
    pub fn with_endpoints(mut self, near: &Near) -> Self {
        *self.of_kind_mut(ResourceKind::Endpoints) = near.endpoints().clone();
        self
    }

    fn of_kind_mut(&mut self, kind: ResourceKind) -> &mut KindMap {
        &mut self.kinds[kind.index()]
    }
}

/// Renders programs for one node class.
#[derive(Clone, Debug)]
pub struct Renderer {
    class: NodeClass,
    modules: Modules,
    key: VersionKey,
}

impl Renderer {
    /// A renderer for nodes of that class. `modules` are sent inline to nodes without a folder of their own.
    #[must_use]
    pub fn new(class: NodeClass, modules: Modules, key: VersionKey) -> Self {
        Self { class, modules, key }
    }

    /// All resources of a program.
    #[must_use]
    pub fn full(&self, program: &Program) -> Rendered {
        self.update(&Rendered::default(), &Program::default(), program)
    }

    /// The resources of `program`, where `before` are those of `old`: equal to [`Self::full`], sharing all that did not
    /// change, at the cost of what did.
    #[must_use]
    pub fn update(&self, before: &Rendered, old: &Program, program: &Program) -> Rendered {
        let mut now = before.clone();
        follow(now.of_kind_mut(ResourceKind::Cluster), &old.clusters, &program.clusters, |name, value| self.cluster(name, value));
        follow(now.of_kind_mut(ResourceKind::Endpoints), &old.endpoints, &program.endpoints, |name, value| self.endpoints(name, value));
        follow(now.of_kind_mut(ResourceKind::Secret), &old.secrets, &program.secrets, |name, value| self.secret(name, value));
        follow(now.of_kind_mut(ResourceKind::Extension), &old.extensions, &program.extensions, |name, value| self.extension(name, value));
        follow(now.of_kind_mut(ResourceKind::Listener), &old.listeners, &program.listeners, |name, value| self.listener(name, value));
        let listeners = now.of_kind_mut(ResourceKind::Listener);
        follow(listeners, &old.datagram_listeners, &program.datagram_listeners, |name, value| self.datagram_listener(name, value));
        let was = Arc::clone(&before.uses);
        let is = if old.listeners.ptr_eq(&program.listeners) { Arc::clone(&was) } else { Arc::new(Uses::of(program)) };
        now.uses = Arc::clone(&is);
        self.stand_ins(now.of_kind_mut(ResourceKind::Extension), program, &was, &is);
        self.routes(&mut now, (old, &was), (program, &is));
        now
    }

    fn packer(&self) -> Packer<'_> {
        Packer { class: &self.class, key: &self.key }
    }

    fn cluster(&self, name: &Text, value: &Cluster) -> Resource {
        let id = ResourceId::new(ResourceKind::Cluster, name.clone());
        self.packer().pack(id, value, &cluster::message(name, value), cluster::refs(name, value))
    }

    pub(crate) fn zone(&self) -> Option<&str> {
        self.class.zone.as_deref()
    }

    pub(crate) fn endpoints(&self, name: &Text, value: &EndpointSet) -> Resource {
        let id = ResourceId::new(ResourceKind::Endpoints, name.clone());
        self.packer().pack(id, value, &assignment(name, value, Addresses::Literal), BTreeSet::new())
    }

    fn secret(&self, name: &Text, value: &Secret) -> Resource {
        let id = ResourceId::new(ResourceKind::Secret, name.clone());
        self.packer().pack(id, value, &secret::message(name, value), BTreeSet::new())
    }

    /// The one resource that is made of two values: the table, and the module that reads it where it is sent along.
    fn extension(&self, name: &Text, value: &Extension) -> Resource {
        let id = ResourceId::new(ResourceKind::Extension, name.clone());
        let inline = self.class.modules.as_deref().is_none_or(|folder| !self.modules.are_in(folder));
        let module = self.modules.fingerprint(wasm::module_name(value)).filter(|_| inline && !idle::is_idle(value));
        let message = wasm::message(name, value, &self.class, &self.modules);
        self.packer().pack(id, &(value, module), &message, BTreeSet::new())
    }

    fn listener(&self, name: &Text, value: &Listener) -> Resource {
        let id = ResourceId::new(ResourceKind::Listener, name.clone());
        self.packer().pack(id, value, &listener::message(name, value), listener::refs(value))
    }

    fn datagram_listener(&self, name: &Text, value: &DatagramListener) -> Resource {
        let id = ResourceId::new(ResourceKind::Listener, name.clone());
        self.packer().pack(id, value, &datagram::message(name, value), datagram::refs(value))
    }

    /// An extension that a chain names and nobody declares is one that denies: a port whose extension never comes stays shut.
    fn stand_ins(&self, now: &mut KindMap, program: &Program, was: &Uses, is: &Uses) {
        let absent = |name: &&Text| !program.extensions.contains_key(*name);
        for name in was.extensions.difference(&is.extensions).filter(absent) {
            now.remove(name);
        }
        for name in is.extensions.iter().filter(absent) {
            if !now.contains_key(name) {
                let id = ResourceId::new(ResourceKind::Extension, name.clone());
                now.insert(name.clone(), Arc::new(self.packer().pack(id, "absent", &wasm::closed(name), BTreeSet::new())));
            }
        }
    }

    /// A table is one resource where a listener takes it whole, and one for each host where it goes by host.
    fn routes(&self, now: &mut Rendered, (old, was): (&Program, &Uses), (program, is): (&Program, &Uses)) {
        for (name, (before, after)) in changed(&old.routes, &program.routes, was, is) {
            if is.whole(name, after) {
                let none = RouteTable::default();
                let table = after.unwrap_or(&none);
                let id = ResourceId::new(ResourceKind::Routes, name.clone());
                let hosts = || table.hosts.values().map(|host| &**host);
                let refs = route::refs(hosts(), now.of_kind(ResourceKind::Extension));
                let resource = self.packer().pack(id, table, &route::message(name, table), refs);
                now.of_kind_mut(ResourceKind::Routes).insert(name.clone(), Arc::new(resource));
            } else if now.of_kind(ResourceKind::Routes).contains_key(name) {
                now.of_kind_mut(ResourceKind::Routes).remove(name);
            }
            let (none, extensions) = (Hosts::new(), now.of_kind(ResourceKind::Extension).clone());
            let scopes = (now.of_kind_mut(ResourceKind::ScopedRoutes), &extensions);
            self.scopes(scopes, name, was.hosts(name, before).unwrap_or(&none), is.hosts(name, after).unwrap_or(&none));
        }
    }

    fn scopes(&self, (now, extensions): (&mut KindMap, &KindMap), table: &str, old: &Hosts, new: &Hosts) {
        for change in old.diff(new) {
            let (before, after) = match change {
                DiffItem::Add(_, new) => (None, Some(new)),
                DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
                DiffItem::Remove(_, old) => (Some(old), None),
            };
            let (before, after) = (before.filter(|host| host.alone().is_some()), after.filter(|host| host.alone().is_some()));
            match (before, after) {
                (_, Some(host)) => _ = now.insert(RouteTable::scope_name(table, &host.name), Arc::new(self.scope(table, host, extensions))),
                (Some(host), None) => _ = now.remove(&RouteTable::scope_name(table, &host.name)),
                (None, None) => {}
            }
        }
    }

    fn scope(&self, table: &str, host: &VirtualHost, extensions: &KindMap) -> Resource {
        let id = ResourceId::new(ResourceKind::ScopedRoutes, RouteTable::scope_name(table, &host.name));
        self.packer().pack(id, host, &scoped::message(table, host), route::refs([host], extensions))
    }
}

type Hosts = OrdMap<Text, Arc<VirtualHost>>;

/// Brings the resources of a kind from the values of `old` to those of `new`.
fn follow<V: Eq>(resources: &mut KindMap, old: &OrdMap<Text, Arc<V>>, new: &OrdMap<Text, Arc<V>>, render: impl Fn(&Text, &V) -> Resource) {
    for change in old.diff(new) {
        match change {
            DiffItem::Add(name, value) | DiffItem::Update { new: (name, value), .. } => {
                resources.insert(name.clone(), Arc::new(render(name, value)));
            }
            DiffItem::Remove(name, _) => {
                resources.remove(name);
            }
        }
    }
}

/// How the listeners of a program use its tables and extensions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uses {
    extensions: BTreeSet<Text>,
    whole: BTreeSet<Text>,
    scoped: BTreeSet<Text>,
}

impl Uses {
    /// Listeners are few, and their chains too; a table that none of them names is rendered whole.
    fn of(program: &Program) -> Self {
        let mut uses = Self::default();
        for chain in program.listeners.values().flat_map(|listener| &listener.chains) {
            match &chain.handler {
                Handler::Http(http) => uses.add(http),
                Handler::Tcp(_) | Handler::Close => {}
            }
        }
        uses
    }

    fn add(&mut self, http: &HttpHandler) {
        match &http.routes {
            RouteSource::Table(name) => self.whole.insert(name.clone()),
            RouteSource::Scoped(name) => self.scoped.insert(name.clone()),
        };
        self.extensions.extend(http.filters.iter().filter_map(HttpFilter::extension).cloned());
    }

    /// A table that nobody declares is whole and has no hosts: a port whose table never comes stays shut.
    fn whole(&self, name: &Text, table: Option<&RouteTable>) -> bool {
        self.whole.contains(name) || (table.is_some() && !self.scoped.contains(name))
    }

    /// The hosts that go by themselves, if any of the table do.
    fn hosts<'a>(&self, name: &Text, table: Option<&'a RouteTable>) -> Option<&'a Hosts> {
        table.filter(|table| table.by_host || self.scoped.contains(name)).map(|table| &table.hosts)
    }

    /// The tables that these and those use differently.
    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Text> {
        self.whole.symmetric_difference(&other.whole).chain(self.scoped.symmetric_difference(&other.scoped))
    }
}

type Pair<'a> = (Option<&'a RouteTable>, Option<&'a RouteTable>);

/// The tables whose content or use changed, as they were and as they are.
fn changed<'a>(
    old: &'a OrdMap<Text, Arc<RouteTable>>,
    new: &'a OrdMap<Text, Arc<RouteTable>>,
    was: &'a Uses,
    is: &'a Uses,
) -> BTreeMap<&'a Text, Pair<'a>> {
    let edited = old.diff(new).map(|change| match change {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
    });
    let names = edited.chain(was.differing(is));
    names.map(|name| (name, (old.get(name).map(|table| &**table), new.get(name).map(|table| &**table)))).collect()
}
