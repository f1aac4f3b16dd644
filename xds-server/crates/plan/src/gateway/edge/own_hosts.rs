//! Who may come in where HTTP listeners share a port, and which headers no client may send: each listener's own rules hold for its own
//! hosts, and those of the Gateway for all others. A host belongs to the listener that names it most specifically, as it does for routes.

use std::collections::BTreeMap;

use windrose_ir::http::{Authorization, HostScope, HttpFilter};
use windrose_vocab::{Hostname, Text};

use super::{At, BoundListener, Spoken};
use crate::policy::edge as limits;

impl At<'_, '_> {
    /// The addresses that may come, then the rest of the rules.
    pub(super) fn who_may_come(self, listeners: &[&BoundListener]) -> Vec<HttpFilter> {
        let addresses = |one: Option<&BoundListener>| limits::effective(self.view, self.gateway, one.map(|one| &one.id)).addresses;
        let both = [self.each_its_own(listeners, addresses), self.each_its_own(listeners, |one| self.authorization(one))];
        let filter = |(scope, rules): (Option<HostScope>, Authorization)| match scope {
            None => HttpFilter::Authorization(rules),
            Some(scope) => HttpFilter::HostAuthorization(scope, rules),
        };
        both.into_iter().flatten().map(filter).collect()
    }

    /// The headers that the services of a listener set.
    pub(super) fn taken_off(self, listeners: &[&BoundListener]) -> Vec<HttpFilter> {
        let names = |one: Option<&BoundListener>| {
            let names: Vec<Text> = one?.answered().into_iter().collect();
            (!names.is_empty()).then_some(names)
        };
        let filter = |(scope, names): (Option<HostScope>, Vec<Text>)| match scope {
            None => HttpFilter::TakeOff(names),
            Some(scope) => HttpFilter::HostTakeOff(scope, names),
        };
        self.each_its_own(listeners, names).into_iter().map(filter).collect()
    }

    /// Each of the rules that are different, with whose requests it is for; all where that is absent.
    fn each_its_own<T: Clone + PartialEq>(
        self,
        listeners: &[&BoundListener],
        rules: impl Fn(Option<&BoundListener>) -> Option<T>,
    ) -> Vec<(Option<HostScope>, T)> {
        let closed = self.frame.closed(Spoken::Http, self.port).filter(|_| listeners.iter().any(|one| one.spoken == Spoken::Http));
        let closed: Vec<&Hostname> = closed.map(|one| &one.hostname).collect();
        if let ([alone], []) = (listeners, &closed[..]) {
            return rules(Some(alone)).map(|rules| (None, rules)).into_iter().collect();
        }
        let general = rules(None);
        // Hosts of a listener that is not served are nobody else's.
        let mut of_hosts: BTreeMap<&Hostname, Option<T>> = closed.into_iter().map(|host| (host, general.clone())).collect();
        of_hosts.extend(listeners.iter().map(|one| (&one.hostname, rules(Some(one)))));
        let mut sets: Vec<&T> = Vec::new();
        for set in general.iter().chain(of_hosts.values().flatten()) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        let scoped = |set: &T| {
            let judged = |of: &Option<T>| of.as_ref() == Some(set);
            let scope = scope(judged(&general), of_hosts.iter().map(|(host, rules)| (*host, judged(rules))));
            let all = scope.others && scope.hosts.is_empty();
            ((!all).then_some(scope), set.clone())
        };
        sets.into_iter().map(scoped).collect()
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
