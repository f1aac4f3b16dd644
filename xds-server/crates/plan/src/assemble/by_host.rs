//! Which tables the listeners of a program take host by host: those of Gateways whose hosts are all exact. Decided from
//! the hosts that are there, so listeners change when the first other host comes or the last one goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use windrose_ir::http::RouteSource;
use windrose_ir::{Handler, Listener, RouteTable};
use windrose_vocab::{ProxyRole, ResourceId, ResourceKind, Text};

use super::ProxyState;
use super::tables::TableState;
use crate::gateway;
use crate::plan::Sources;

impl ProxyState {
    /// Says what each resource of a table carries: the table as a whole, or each host that goes by itself.
    /// `changed` are the hosts that changed since the last call.
    pub(super) fn tell_sources(&mut self, name: &Text, state: &TableState, changed: &BTreeSet<Text>) {
        let whole = ResourceId::new(ResourceKind::Routes, name.clone());
        if !state.is_by_host() {
            self.take_whole(name, state.hosts.keys().chain(changed));
            self.sources.insert(whole, state.sources.clone());
        } else if self.by_host.insert(name.clone()) {
            self.listeners_due = true;
            self.sources.remove(&whole);
            state.hosts.keys().for_each(|host| self.tell_host(name, host, state));
        } else {
            changed.iter().for_each(|host| self.tell_host(name, host, state));
        }
    }

    fn tell_host(&mut self, table: &Text, host: &Text, state: &TableState) {
        match state.hosts.get(host) {
            Some(output) => drop(self.sources.insert(scope(table, host), Sources::of_unit(&output.sources))),
            None => drop(self.sources.remove(&scope(table, host))),
        }
    }

    /// The table goes by host no longer; `hosts` are all that did.
    pub(super) fn take_whole<'a>(&mut self, table: &Text, hosts: impl Iterator<Item = &'a Text>) {
        if self.by_host.remove(table) {
            self.listeners_due = true;
            hosts.for_each(|host| drop(self.sources.remove(&scope(table, host))));
        }
    }

    /// Puts the listeners of the proxy's parts into the program, each with its tables as they are taken now.
    pub(super) fn put_listeners(&mut self) {
        if !std::mem::take(&mut self.listeners_due) {
            return;
        }
        let shared = self.parts.values().any(|parts| parts.value.runs_on.role == ProxyRole::Fleet);
        let (name, ready) = gateway::ready();
        let is_wanted =
            |known: &Text| (shared && *known == name) || self.parts.values().any(|parts| parts.value.listeners.contains_key(known));
        let gone: Vec<Text> = self.program.listeners.keys().filter(|name| !is_wanted(name)).cloned().collect();
        gone.iter().for_each(|name| drop(self.program.listeners.remove(name)));
        if shared && !self.program.listeners.contains_key(&name) {
            self.program.listeners.insert(name, Arc::new(ready));
        }
        for (name, listener) in self.parts.values().flat_map(|parts| &parts.value.listeners) {
            let listener = by_host(listener, &self.by_host);
            if self.program.listeners.get(name) != Some(&listener) {
                self.program.listeners.insert(name.clone(), listener);
            }
        }
    }
}

fn scope(table: &str, host: &str) -> ResourceId {
    ResourceId::new(ResourceKind::ScopedRoutes, RouteTable::scope_name(table, host))
}

/// The listener, taking these tables host by host.
fn by_host(listener: &Arc<Listener>, tables: &BTreeSet<Text>) -> Arc<Listener> {
    let mut listener = Arc::clone(listener);
    for index in 0..listener.chains.len() {
        if let Handler::Http(http) = &listener.chains[index].handler
            && let RouteSource::Table(table) = &http.routes
            && tables.contains(table)
        {
            let routes = RouteSource::Scoped(table.clone());
            if let Handler::Http(http) = &mut Arc::make_mut(&mut listener).chains[index].handler {
                http.routes = routes;
            }
        }
    }
    listener
}
