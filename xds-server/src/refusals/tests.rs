//! The real planner with proxies that answer as they are told: who is set aside, after how many answers, and who is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use windrose_api::Declared;
use windrose_plan::{Plan, Planner, Refused};
use windrose_state::{Accepted, Fault, Observation, Observed, Opened, Protocol, Reason, Scope, StreamId};
use windrose_vocab::{Fingerprint, NodeClass, ProxyKey, Resource, ResourceId, ResourceKind, TrustDomain};

use super::{ANSWER_MAX, Evidence, Refusals, SECOND_OPINION};
use crate::carried::Carried;
use crate::judges;
use crate::test_world::{SHOP, declared, route_of, workload};

/// What a proxy refuses: a route table that carries an object whose name begins so.
const BAD: &str = "bad";

struct Proxy {
    stream: StreamId,
    scope: Scope,
    identity: String,
    refuses: bool,
    answers: bool,
}

struct Stage {
    now: SystemTime,
    planner: Planner,
    declared: Declared,
    plan: Plan,
    refused: Refused,
    refusals: Refusals,
    carried: Carried,
    accepted: Accepted,
    observed: Observed,
    proxies: Vec<Proxy>,
}

fn edge() -> Scope {
    ProxyKey::gateway("shop", "edge").into()
}

/// A gateway, a service of two workloads, and a route of each name that answers at that path.
fn world(routes: &[(&str, &str)]) -> String {
    let workloads = ["a", "b", "c"].into_iter().zip(7000..).map(|(name, port)| workload(name, port));
    let routes = routes.iter().map(|(name, path)| {
        let parent = if name.contains("mesh") { "{ group: '', kind: Service, name: one, port: 80 }" } else { "{ name: edge }" };
        route_of(parent, name, path)
    });
    [SHOP.to_owned()].into_iter().chain(workloads).chain(routes).collect()
}

impl Stage {
    fn set(routes: &[(&str, &str)]) -> Self {
        let mut stage = Self {
            now: SystemTime::UNIX_EPOCH,
            planner: Planner::new(judges::settings(TrustDomain::parse("windrose.local").unwrap())),
            declared: Declared::default(),
            plan: Plan::default(),
            refused: Refused::default(),
            refusals: Refusals::default(),
            carried: Carried::default(),
            accepted: Accepted::new(),
            observed: Observed::new(),
            proxies: Vec::new(),
        };
        stage.declare(routes);
        stage
    }

    fn declare(&mut self, routes: &[(&str, &str)]) {
        let declared = declared(&world(routes));
        let changed = declared.changed_since(&self.declared);
        self.refusals.before(&self.declared, &declared, &changed, &self.refused);
        self.declared = declared;
        self.replan(&changed);
    }

    fn replan(&mut self, changed: &windrose_api::declared::Changed) {
        let before = std::mem::take(&mut self.plan);
        self.plan = self.planner.update(&self.declared, &self.refused, changed);
        for scope in self.scopes() {
            for (id, sources) in before.sources.get(&scope.proxy).into_iter().flatten() {
                let former = resource(&before, &scope, id).unwrap();
                if resource(&self.plan, &scope, id).is_none_or(|now| now.version != former.version) {
                    self.carried.replaced(&scope.proxy, &former, sources.clone());
                }
            }
        }
    }

    fn scopes(&self) -> Vec<Scope> {
        self.proxies.iter().map(|proxy| proxy.scope.clone()).collect()
    }

    fn connect(&mut self, scope: Scope, identity: &str, refuses: bool) -> usize {
        let opened = Opened {
            node: identity.into(),
            identity: identity.into(),
            scope: scope.clone(),
            protocol: Protocol::Delta,
            since: self.now,
            credential_expires: self.now,
            replica: None,
            version: None,
        };
        let stream = self.observed.open(opened).unwrap();
        self.proxies.push(Proxy { stream, scope, identity: identity.into(), refuses, answers: true });
        self.proxies.len() - 1
    }

    fn leave(&mut self, at: usize) {
        let gone = self.proxies.remove(at);
        self.observed.close(gone.stream);
    }

    /// Each proxy takes what it should have, as a session would send it; returns how many route tables were answered.
    fn answer(&mut self) -> usize {
        let mut answered = 0;
        for proxy in self.proxies.iter().filter(|proxy| proxy.answers) {
            for (id, sources) in self.plan.sources.get(&proxy.scope.proxy).into_iter().flatten() {
                let sent = Arc::new(resource(&self.plan, &proxy.scope, id).unwrap());
                let status = self.observed.stream(proxy.stream).unwrap();
                let mut acked = status.of_kind(id.kind).acked.clone();
                let has = acked.get(&*id.name).is_some_and(|one| one.version == sent.version);
                let known = status.of_kind(id.kind).rejected.get(&*id.name).is_some_and(|one| one.version == sent.version);
                if has || known || self.accepted.withheld(&proxy.identity, id, sent.version).is_some() {
                    continue;
                }
                answered += usize::from(id.kind == ResourceKind::Routes);
                let bad = id.kind == ResourceKind::Routes && sources.iter().any(|one| one.object.key.name.starts_with(BAD));
                let news = if proxy.refuses && bad {
                    let reason = Reason::new("no such thing");
                    self.accepted.rejected(&proxy.identity.as_str().into(), &sent, &reason);
                    Observation::Rejected {
                        kind: id.kind,
                        name: Some(id.name.clone()),
                        version: sent.version,
                        fault: Fault::Content,
                        reason,
                    }
                } else {
                    self.accepted.acked(&proxy.scope, &proxy.identity, [&sent]);
                    acked.insert(id.name.clone(), sent);
                    Observation::Acked { kind: id.kind, acked }
                };
                self.observed.record(proxy.stream, [news], self.now);
            }
        }
        answered
    }

    fn look(&mut self) -> bool {
        let streams = self.observed.snapshot();
        let plan = &self.plan;
        let evidence = Evidence {
            streams: &streams,
            plan,
            declared: &self.declared,
            accepted: &self.accepted,
            carried: &self.carried,
            refused: &self.refused,
            desired: &|scope, id| resource(plan, scope, id).map(|one| one.version),
            now: self.now,
        };
        let found = self.refusals.look(&evidence);
        let any = found.is_some();
        if let Some((refused, changed)) = found {
            self.refused = refused;
            self.replan(&changed);
        }
        let plan = &self.plan;
        self.refusals.asked(&|scope, id| resource(plan, scope, id).map(|one| one.version));
        any
    }

    /// Answers and looks until nothing moves any more; returns how many route tables were answered.
    fn settle(&mut self) -> usize {
        let mut answers = 0;
        for _ in 0..1_000 {
            self.now += Duration::from_millis(100);
            let answered = self.answer();
            answers += answered;
            if !self.look() && answered == 0 {
                return answers;
            }
        }
        panic!("it does not come to rest");
    }

    fn aside(&self) -> Vec<String> {
        self.refused.objects.keys().map(|version| version.object.key.name.to_string()).collect()
    }

    /// The routes of a proxy's table, good or bad, as it has accepted them.
    fn runs(&self, at: usize) -> Vec<String> {
        let proxy = &self.proxies[at];
        let status = self.observed.stream(proxy.stream).unwrap();
        let acked = status.of_kind(ResourceKind::Routes).acked.values().next().cloned().unwrap();
        String::from_utf8(acked.bytes.to_vec()).unwrap().split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}

/// What is made of a resource's objects: its version depends on them and on the class anywhere alone, its bytes name the routes.
fn resource(plan: &Plan, scope: &Scope, id: &ResourceId) -> Option<Resource> {
    let sources = plan.sources.get(&scope.proxy)?.get(id)?;
    let version = Fingerprint::of("test", &format!("{:?} {:?}", scope.class.anywhere(), sources.iter().collect::<Vec<_>>()));
    let routes = sources.iter().filter(|one| one.object.kind == windrose_vocab::Kind::HTTPRoute);
    let names: BTreeMap<_, _> = routes.map(|one| (one.object.key.name.to_string(), ())).collect();
    let bytes = Bytes::from(names.into_keys().collect::<Vec<_>>().join(" "));
    Some(Resource { id: id.clone(), version, bytes, refs: Arc::from([]) })
}

/// Good routes and, where named, bad ones; every name at its own path.
fn with<'a>(names: &'a [String], bad: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    names.iter().map(|name| (name.as_str(), "/")).chain(bad.iter().map(|name| (*name, "/"))).collect()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("r{number:03}")).collect()
}

#[test]
fn one_bad_route_waits_alone_and_the_good_ones_of_the_same_edit_are_served() {
    let mut stage = Stage::set(&[("old", "/")]);
    let edge = stage.connect(edge(), "edge", true);
    stage.settle();
    let good = names(31);
    let mut all = with(&good, &["bad"]);
    all.push(("old", "/"));
    stage.declare(&all);
    let answers = stage.settle();
    assert_eq!(stage.aside(), ["bad"]);
    assert!(answers <= 2 + 2 * 5, "{answers} answers for 32 suspects");
    assert_eq!(stage.runs(edge).len(), 32, "31 new ones and the old one");
}

#[test]
fn two_bad_routes_are_both_found_and_their_last_good_versions_stay() {
    let good = names(6);
    let mut stage = Stage::set(&with(&good, &[]));
    let edge = stage.connect(edge(), "edge", true);
    stage.settle();
    stage.declare(&[with(&good, &[]), vec![("bad-1", "/"), ("bad-2", "/"), ("new", "/")]].concat());
    stage.settle();
    assert_eq!(stage.aside(), ["bad-1", "bad-2"]);
    assert!(stage.runs(edge).contains(&"new".to_owned()));
    assert!(stage.refused.objects.values().all(|refusal| refusal.reason == "no such thing"), "nobody is on trial any more");
}

#[test]
fn at_a_first_start_everything_can_be_suspected_and_only_the_bad_one_is_set_aside() {
    let good = names(15);
    let mut stage = Stage::set(&with(&good, &["bad"]));
    let edge = stage.connect(edge(), "edge", true);
    let answers = stage.settle();
    assert_eq!(stage.aside(), ["bad"]);
    assert!(answers <= 2 + 2 * 4, "{answers} answers for 16 suspects");
    assert_eq!(stage.runs(edge).len(), 15);
}

#[test]
fn at_a_new_table_that_is_refused_what_runs_elsewhere_stays() {
    let mut stage = Stage::set(&[("old", "/")]);
    stage.connect(edge(), "edge", true);
    stage.settle();
    let old = stage.declared.iter().find(|one| &*one.meta().object.key.name == "old").unwrap().meta().identity();
    let table = stage.plan.sources[&edge().proxy].keys().find(|id| id.kind == ResourceKind::Routes).cloned().unwrap();
    let other = ResourceId::new(ResourceKind::Routes, "new table");
    let streams = stage.observed.snapshot();
    let evidence = Evidence {
        streams: &streams,
        plan: &stage.plan,
        declared: &stage.declared,
        accepted: &stage.accepted,
        carried: &stage.carried,
        refused: &stage.refused,
        desired: &|scope, id| resource(&stage.plan, scope, id).map(|one| one.version),
        now: stage.now,
    };
    assert!(evidence.runs_elsewhere(&edge(), &other, &old));
    assert!(!evidence.runs_elsewhere(&edge(), &table, &old), "no other one has it");
}

#[test]
fn where_the_culprit_is_none_of_the_suspects_nobody_is_set_aside() {
    let mut stage = Stage::set(&[("bad", "/")]);
    stage.connect(edge(), "edge", true);
    // A former run of the server is known to have had a table accepted, though not what it carried, and this one refused.
    let id = stage.plan.sources[&edge().proxy].keys().find(|id| id.kind == ResourceKind::Routes).cloned().unwrap();
    let refused = resource(&stage.plan, &edge(), &id).unwrap();
    let accepted = Resource { version: Fingerprint::of("test", "former"), ..refused.clone() };
    stage.accepted.acked(&edge(), "edge", [&Arc::new(accepted)]);
    stage.accepted.rejected(&"edge".into(), &refused, &Reason::new("no such thing"));
    stage.settle();
    stage.declare(&[("bad", "/"), ("new", "/")]);
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new(), "the new one is not to blame for the old one");
    assert!(!stage.refusals.is_waiting());
}

#[test]
fn what_the_surroundings_of_a_proxy_keep_out_blames_nobody_though_another_one_refused_it_for_its_own_sake() {
    let mut stage = Stage::set(&[("old", "/")]);
    let held = stage.connect(edge(), "held", true);
    stage.settle();
    stage.proxies[held].answers = false;
    stage.declare(&[("old", "/"), ("bad", "/")]);
    let id = stage.plan.sources[&edge().proxy].keys().find(|id| id.kind == ResourceKind::Routes).cloned().unwrap();
    let (name, sent, reason) = (Some(id.name.clone()), resource(&stage.plan, &edge(), &id).unwrap(), Reason::new("no such thing"));
    stage.accepted.rejected(&"another that is gone".into(), &sent, &reason);
    let news = Observation::Rejected { kind: id.kind, name, version: sent.version, fault: Fault::Client, reason };
    stage.observed.record(stage.proxies[held].stream, [news], stage.now);
    stage.now += SECOND_OPINION;
    stage.settle();
    assert_eq!(stage.aside(), [""; 0]);
}

#[test]
fn a_proxy_that_leaves_during_the_trial_ends_it_and_a_returning_one_opens_it_again() {
    let good = names(8);
    let mut stage = Stage::set(&with(&good, &[]));
    let at = stage.connect(edge(), "edge", true);
    stage.settle();
    let new: Vec<String> = (0..8).map(|number| format!("new{number}")).collect();
    let all = [with(&good, &[]), with(&new, &["bad"])].concat();
    stage.declare(&all);
    stage.answer();
    stage.look();
    assert_eq!(stage.aside().len(), 9, "all that is new is suspected");
    stage.leave(at);
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new(), "nothing is proven");

    let at = stage.connect(edge(), "edge", true);
    stage.settle();
    assert_eq!(stage.aside(), ["bad"]);
    assert_eq!(stage.runs(at).len(), 16);
}

#[test]
fn a_version_that_another_proxy_of_the_gateway_accepts_blames_nobody() {
    let mut stage = Stage::set(&[("old", "/")]);
    let (_odd, slow) = (stage.connect(edge(), "odd", true), stage.connect(edge(), "slow", false));
    stage.settle();
    stage.declare(&[("old", "/"), ("bad", "/")]);
    stage.proxies[slow].answers = false;
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new(), "the other one may still contradict");
    assert!(stage.refusals.is_waiting());
    stage.proxies[slow].answers = true;
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new());
    assert!(stage.runs(slow).contains(&"bad".to_owned()));
}

#[test]
fn a_proxy_that_stays_silent_does_not_save_the_bad_one_for_long() {
    let mut stage = Stage::set(&[("old", "/")]);
    let (_edge, silent) = (stage.connect(edge(), "a", true), stage.connect(edge(), "b", true));
    stage.settle();
    stage.proxies[silent].answers = false;
    stage.declare(&[("old", "/"), ("bad", "/")]);
    stage.settle();
    stage.now += SECOND_OPINION;
    stage.settle();
    assert_eq!(stage.aside(), ["bad"]);
}

#[test]
fn a_trial_that_nobody_answers_sets_nobody_aside() {
    let good = names(4);
    let mut stage = Stage::set(&[("old", "/")]);
    let at = stage.connect(edge(), "edge", true);
    stage.settle();
    stage.declare(&[with(&good, &["bad"]), vec![("old", "/")]].concat());
    stage.answer();
    stage.look();
    stage.proxies[at].answers = false;
    while stage.refusals.is_waiting() {
        stage.now += ANSWER_MAX;
        stage.look();
    }
    assert_eq!(stage.aside(), Vec::<String>::new());
}

#[test]
fn of_two_classes_the_one_that_refuses_is_asked() {
    let mut stage = Stage::set(&[("old", "/")]);
    let with_modules = Scope::new(edge().proxy, NodeClass { modules: Some("/filters".into()), zone: None });
    let (plain, other) = (stage.connect(edge(), "plain", false), stage.connect(with_modules, "modules", true));
    stage.settle();
    let good = names(7);
    stage.declare(&[with(&good, &["bad"]), vec![("old", "/")]].concat());
    stage.settle();
    assert_eq!(stage.aside(), ["bad"]);
    assert_eq!((stage.runs(plain).len(), stage.runs(other).len()), (8, 8));
}

fn in_zone(name: &str) -> Scope {
    Scope::new(edge().proxy, NodeClass { modules: None, zone: Some(name.into()) })
}

#[test]
fn a_proxy_of_another_zone_contradicts() {
    let mut stage = Stage::set(&[("old", "/")]);
    let (_, slow) = (stage.connect(in_zone("a"), "a", true), stage.connect(in_zone("b"), "b", false));
    stage.settle();
    stage.proxies[slow].answers = false;
    stage.declare(&[("old", "/"), ("bad", "/")]);
    stage.answer();
    assert!(!stage.look() && stage.refusals.is_waiting(), "the other may say otherwise");
    stage.proxies[slow].answers = true;
    stage.settle();
    assert_eq!(stage.aside(), [""; 0]);
}

#[test]
fn zones_are_tried_together_and_cost_no_more_questions_than_one() {
    let asked = |scopes: &[Scope]| {
        let mut stage = Stage::set(&[("old", "/")]);
        for (number, scope) in scopes.iter().enumerate() {
            stage.connect(scope.clone(), &number.to_string(), true);
        }
        stage.settle();
        stage.declare(&[with(&names(7), &["bad"]), vec![("old", "/")]].concat());
        let answers = stage.settle();
        assert_eq!(stage.aside(), ["bad"]);
        answers
    };
    let three = asked(&[in_zone("a"), in_zone("b"), in_zone("c")]);
    assert!(three <= 3 * asked(&[edge()]), "{three}");
}

#[test]
fn a_good_edit_during_a_trial_is_served_after_it_and_a_bad_one_is_found_too() {
    let good = names(8);
    let mut stage = Stage::set(&with(&good, &[]));
    let at = stage.connect(edge(), "edge", true);
    stage.settle();
    let all = [with(&good, &["bad"]), vec![("x1", "/"), ("x2", "/"), ("x3", "/")]].concat();
    stage.declare(&all);
    for _ in 0..2 {
        stage.answer();
        stage.look();
    }
    assert!(stage.refusals.is_waiting(), "the trial runs");
    stage.declare(&[all, vec![("bad-later", "/"), ("good-later", "/")]].concat());
    stage.settle();
    assert_eq!(stage.aside(), ["bad", "bad-later"]);
    assert_eq!(stage.runs(at).len(), 12);
}

#[test]
fn a_bad_route_that_is_mended_during_the_trial_leaves_nobody_aside() {
    let good = names(8);
    let mut stage = Stage::set(&with(&good, &[]));
    let at = stage.connect(edge(), "edge", true);
    stage.settle();
    stage.declare(&with(&good, &["bad", "x1"]));
    stage.answer();
    stage.look();
    stage.declare(&with(&good, &["x1", "mended"]));
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new());
    assert_eq!(stage.runs(at).len(), 10);
}

#[test]
fn a_single_sidecar_blames_no_object_of_others_until_a_second_one_agrees() {
    let workload = |name: &str| Scope::from(ProxyKey::workload("shop", name));
    let mut stage = Stage::set(&[]);
    let (_a, b) = (stage.connect(workload("a"), "a", true), stage.connect(workload("b"), "b", false));
    stage.settle();
    stage.declare(&[("bad-mesh-1", "/")]);
    stage.settle();
    stage.now += SECOND_OPINION;
    stage.settle();
    assert_eq!(stage.aside(), Vec::<String>::new());
    assert!(stage.runs(b).contains(&"bad-mesh-1".to_owned()));

    stage.connect(workload("c"), "c", true);
    stage.declare(&[("bad-mesh-2", "/")]);
    stage.proxies[b].refuses = true;
    stage.settle();
    stage.now += SECOND_OPINION;
    stage.settle();
    assert_eq!(stage.aside(), ["bad-mesh-2"]);
}

#[test]
fn an_object_that_concerns_one_sidecar_alone_is_its_own_matter() {
    let mut stage = Stage::set(&[]);
    stage.connect(ProxyKey::workload("shop", "a").into(), "a", true);
    stage.settle();
    stage.declare(&[("bad-mesh", "/")]);
    stage.settle();
    assert_eq!(stage.aside(), ["bad-mesh"]);
}

#[test]
fn a_deleted_object_has_no_earlier_version_when_it_comes_back() {
    let mut stage = Stage::set(&[("old", "/"), ("x", "/")]);
    stage.connect(edge(), "edge", true);
    stage.settle();
    stage.declare(&[("old", "/"), ("x", "/2")]);
    stage.declare(&[("old", "/")]);
    stage.settle();
    assert!(stage.refusals.previous.keys().all(|object| &*object.key.name != "x"));
}
