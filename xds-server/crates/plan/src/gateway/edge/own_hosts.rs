//! Who may come in where HTTP listeners share a port: each listener's own rules hold for its own hosts, and those of the Gateway for all
//! others. A host belongs to the listener that names it most specifically, as it does for routes.

use std::collections::BTreeMap;

use windrose_ir::http::{Authorization, HostScope, HttpFilter};
use windrose_vocab::Hostname;

use super::{At, BoundListener, Spoken};
use crate::policy::edge as limits;

impl At<'_, '_> {
    /// The addresses that may come, then the rest of the rules.
    pub(super) fn who_may_come(self, listeners: &[&BoundListener]) -> Vec<HttpFilter> {
        let addresses = |one: Option<&BoundListener>| limits::effective(self.view, self.gateway, one.map(|one| &one.id)).addresses;
        let mut all = self.each_its_own(listeners, addresses);
        all.extend(self.each_its_own(listeners, |one| self.authorization(one)));
        all
    }

    fn each_its_own(
        self,
        listeners: &[&BoundListener],
        rules: impl Fn(Option<&BoundListener>) -> Option<Authorization>,
    ) -> Vec<HttpFilter> {
        let closed = self.frame.closed(Spoken::Http, self.port).filter(|_| listeners.iter().any(|one| one.spoken == Spoken::Http));
        let closed: Vec<&Hostname> = closed.map(|one| &one.hostname).collect();
        if let ([alone], []) = (listeners, &closed[..]) {
            return rules(Some(alone)).map(HttpFilter::Authorization).into_iter().collect();
        }
        let general = rules(None);
        // Hosts of a listener that is not served are nobody else's.
        let mut of_hosts: BTreeMap<&Hostname, Option<Authorization>> = closed.into_iter().map(|host| (host, general.clone())).collect();
        of_hosts.extend(listeners.iter().map(|one| (&one.hostname, rules(Some(one)))));
        let mut sets: Vec<&Authorization> = Vec::new();
        for set in general.iter().chain(of_hosts.values().flatten()) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        let filter = |set: &Authorization| {
            let judged = |of: &Option<Authorization>| of.as_ref() == Some(set);
            let scope = scope(judged(&general), of_hosts.iter().map(|(host, rules)| (*host, judged(rules))));
            if scope.others && scope.hosts.is_empty() {
                HttpFilter::Authorization(set.clone())
            } else {
                HttpFilter::HostAuthorization(scope, set.clone())
            }
        };
        sets.into_iter().map(filter).collect()
    }
}

/// The scope in the fewest names: one that says what the next more general one says is left out.
fn scope<'a>(others: bool, hosts: impl Iterator<Item = (&'a Hostname, bool)>) -> HostScope {
    let all: Vec<(&Hostname, bool)> = hosts.collect();
    let needed = |(host, judged): &(&Hostname, bool)| {
        let around = all.iter().filter(|(other, _)| other != host && other.covers(host));
        let next = around.max_by_key(|(other, _)| other.specificity()).map_or(others, |(_, judged)| *judged);
        next != *judged
    };
    HostScope { others, hosts: all.iter().filter(|one| needed(one)).map(|(host, judged)| ((*host).clone(), *judged)).collect() }
}
