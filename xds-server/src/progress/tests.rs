//! Times and counts of one gateway's objects, with the real planner and streams that acknowledge as they are told.

use std::sync::Arc;

use bytes::Bytes;
use windrose_plan::Planner;
use windrose_state::{Desired, Fault, KindMap, Observation, Observed, Opened, Protocol, Reason, ResourceSet};
use windrose_vocab::{Fingerprint, Kind, ObjectRef, Resource, ResourceId, ResourceKind, TrustDomain};

use super::*;
use crate::judges;
use crate::test_world::{SHOP, declared, route};

pub(crate) struct Stage {
    planner: Planner,
    desired: Desired,
    observed: Observed,
    accepted: Accepted,
    pub(crate) picture: Arc<Picture>,
    pub(crate) progress: Progress,
}

fn scope() -> Scope {
    ProxyKey::gateway("shop", "edge").into()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Stage {
    fn set(routes: &[String]) -> Self {
        Self::of(&format!("{SHOP}{}", routes.concat()))
    }

    /// What this text declares, planned at second 1.
    pub(crate) fn of(text: &str) -> Self {
        let mut stage = Self {
            planner: Planner::new(judges::settings(TrustDomain::parse("windrose.local").unwrap())),
            desired: Desired::new(),
            observed: Observed::new(),
            accepted: Accepted::new(),
            picture: Arc::default(),
            progress: Progress::default(),
        };
        stage.declare_text(text, 1);
        stage
    }

    fn declare(&mut self, routes: &[String], seconds: u64) {
        self.declare_text(&format!("{SHOP}{}", routes.concat()), seconds);
    }

    pub(crate) fn declare_text(&mut self, text: &str, seconds: u64) {
        let declared = declared(text);
        let changed = declared.changed_since(&self.picture.declared);
        let former = Arc::clone(&self.picture);
        let plan = self.planner.update(&declared, &former.refused, &changed);
        let mut carried = former.carried.clone();
        for (id, sources) in former.plan.sources.get(&scope().proxy).into_iter().flatten() {
            carried.replaced(&scope().proxy, &resource(&former.plan, id), sources.clone());
        }
        let all = plan.sources.get(&scope().proxy).unwrap();
        let resources: ResourceSet = all.keys().map(|id| resource(&plan, id)).collect();
        let resources = resources.rebased_on(self.desired.base(&scope()).unwrap_or(&ResourceSet::new()));
        self.desired.publish(&scope(), &resources, &KindMap::new()).unwrap();
        let (generation, published) = (former.generation + 1, Some(at(seconds)));
        self.picture = Arc::new(Picture { generation, published, declared, plan, carried, ..Picture::default() });
    }

    pub(crate) fn connect(&self, seconds: u64) -> StreamId {
        self.connect_as("edge", seconds)
    }

    pub(crate) fn connect_as(&self, identity: &str, seconds: u64) -> StreamId {
        let opened = Opened {
            node: "edge".into(),
            identity: identity.into(),
            scope: scope(),
            protocol: Protocol::Delta,
            since: at(seconds),
            credential_expires: at(1_000),
            replica: None,
            version: None,
        };
        self.observed.open(opened).unwrap()
    }

    /// The stream acknowledges everything of these kinds as it should be now.
    pub(crate) fn acknowledge(&self, stream: StreamId, kinds: &[ResourceKind], seconds: u64) {
        let view = self.desired.reader().current(&scope()).unwrap();
        let news = kinds.iter().map(|kind| Observation::Acked { kind: *kind, acked: view.of_kind(*kind).clone() });
        self.observed.record(stream, news, at(seconds));
    }

    fn refuse_routes(&self, stream: StreamId, seconds: u64) {
        let view = self.desired.reader().current(&scope()).unwrap();
        let (name, table) = view.of_kind(ResourceKind::Routes).iter().next().unwrap();
        let (kind, name, version) = (ResourceKind::Routes, Some(name.clone()), table.version);
        let news = Observation::Rejected { kind, name, version, fault: Fault::Content, reason: Reason::new("no such thing") };
        self.observed.record(stream, [news], at(seconds));
    }

    pub(crate) fn look(&mut self, seconds: u64) {
        let (streams, desired) = (self.observed.snapshot(), self.desired.reader());
        let moment = Moment { picture: &self.picture, streams: &streams, desired: &desired, accepted: &self.accepted, now: at(seconds) };
        self.progress.look(&moment);
    }

    fn version(&self, kind: Kind, name: &str) -> ObjectVersion {
        self.picture.declared.get(&ObjectRef::new(kind, "shop", name)).unwrap().meta().identity()
    }

    /// `yes`, `no` or what it was refused for, of how many, since when.
    fn standing(&self, kind: Kind, name: &str) -> (bool, usize, usize, u64) {
        let standing = self.progress.of(&self.version(kind, name)).unwrap();
        let since = standing.since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        (standing.holds, standing.acknowledged, standing.targets, since)
    }
}

/// What is made of a resource's objects; a listener needs its route table.
fn resource(plan: &windrose_plan::Plan, id: &ResourceId) -> Resource {
    let sources = &plan.sources[&scope().proxy];
    let version = Fingerprint::of("test", &format!("{:?}", sources[id].iter().collect::<Vec<_>>()));
    let tables = sources.keys().filter(|other| id.kind == ResourceKind::Listener && other.kind == ResourceKind::Routes);
    Resource { id: id.clone(), version, bytes: Bytes::new(), refs: tables.cloned().collect() }
}

pub(crate) const ALL: [ResourceKind; 7] = ResourceKind::ALL;

#[test]
fn without_a_proxy_nothing_is_programmed_and_then_it_is_since_the_last_acknowledgement() {
    let mut stage = Stage::set(&[route("web", "/")]);
    stage.look(2);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (false, 0, 0, 1));
    let (a, b) = (stage.connect(3), stage.connect(3));
    stage.acknowledge(a, &ALL, 4);
    stage.look(5);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (false, 1, 2, 1));
    let runs_at = |stage: &Stage| stage.progress.runs_at(&scope().proxy, &stage.version(Kind::HTTPRoute, "web"), |_| true);
    assert!(!runs_at(&stage));
    stage.acknowledge(b, &ALL, 6);
    stage.look(60);
    assert!(runs_at(&stage));
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 2, 2, 6), "not when it was looked at");
    assert_eq!(stage.progress.behind_since(a), None);
}

#[test]
fn once_true_a_proxy_that_comes_later_or_all_that_leave_do_not_end_it() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let first = stage.connect(2);
    stage.acknowledge(first, &ALL, 3);
    stage.look(4);
    let second = stage.connect(5);
    stage.look(6);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 1, 2, 3));
    stage.observed.close(first);
    stage.observed.close(second);
    stage.look(7);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 0, 0, 3));
}

#[test]
fn a_new_version_begins_anew_and_the_others_of_its_table_go_on() {
    let mut stage = Stage::set(&[route("web", "/"), route("other", "/o")]);
    let edge = stage.connect(2);
    stage.acknowledge(edge, &ALL, 3);
    stage.look(4);
    assert_eq!(stage.progress.take_convergence(), [Duration::from_secs(2)], "planned at 1, acknowledged at 3");
    stage.declare(&[route("web", "/new"), route("other", "/o")], 10);
    stage.look(11);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (false, 0, 1, 10));
    assert_eq!(stage.standing(Kind::HTTPRoute, "other"), (true, 1, 1, 3), "it runs there, in the table before");
    assert_eq!(stage.progress.behind_since(edge), Some(at(11)));
    stage.acknowledge(edge, &ALL, 12);
    stage.look(20);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 1, 1, 12));
    assert_eq!(stage.progress.take_convergence(), [Duration::from_secs(2)]);
}

#[test]
fn a_refusal_concerns_what_is_new_in_what_was_refused() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let edge = stage.connect(2);
    stage.acknowledge(edge, &ALL, 3);
    stage.look(4);
    stage.progress.take_convergence();
    stage.declare(&[route("web", "/"), route("bad", "/b")], 10);
    stage.refuse_routes(edge, 11);
    stage.look(12);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 1, 1, 3));
    assert_eq!(stage.standing(Kind::HTTPRoute, "bad"), (false, 0, 1, 10));
    let bad = stage.version(Kind::HTTPRoute, "bad");
    let lag = stage.progress.of(&bad).unwrap().lags.unwrap()[&edge].clone();
    assert_eq!(lag.refused.unwrap().as_str(), "no such thing");
    assert!(stage.progress.take_convergence().is_empty());
}

#[test]
fn a_proxy_that_comes_later_and_refuses_ends_it() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let first = stage.connect(2);
    stage.acknowledge(first, &ALL, 3);
    stage.look(4);
    let odd = stage.connect(5);
    stage.acknowledge(odd, &[ResourceKind::Cluster, ResourceKind::Endpoints, ResourceKind::Listener], 6);
    stage.refuse_routes(odd, 7);
    stage.look(8);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (false, 1, 2, 7));
    stage.observed.close(odd);
    stage.look(9);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 1, 1, 8), "the one that refused is gone");
}

#[test]
fn an_acknowledged_listener_without_its_routes_is_not_programmed() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let edge = stage.connect(2);
    stage.acknowledge(edge, &[ResourceKind::Cluster, ResourceKind::Endpoints, ResourceKind::Listener], 3);
    stage.look(4);
    assert!(!stage.standing(Kind::Gateway, "edge").0);
    stage.acknowledge(edge, &[ResourceKind::Routes], 5);
    stage.look(6);
    assert_eq!(stage.standing(Kind::Gateway, "edge"), (true, 1, 1, 5));
}

#[test]
fn what_is_no_longer_declared_is_forgotten_and_looking_again_changes_nothing() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let edge = stage.connect(2);
    stage.acknowledge(edge, &ALL, 3);
    stage.look(4);
    let (web, revision) = (stage.version(Kind::HTTPRoute, "web"), stage.progress.revision());
    stage.look(5);
    assert_eq!(stage.progress.revision(), revision);
    stage.declare(&[], 6);
    stage.look(7);
    assert!(stage.progress.of(&web).is_none());
    assert!(stage.progress.revision() > revision);
}

#[test]
fn what_is_not_published_is_not_programmed_and_what_ran_before_goes_on() {
    let mut stage = Stage::set(&[route("web", "/")]);
    let edge = stage.connect(2);
    stage.acknowledge(edge, &ALL, 3);
    stage.look(4);
    let refused = |stage: &mut Stage, error: Option<&str>| {
        let unpublished = error.map(|error| (scope(), error.to_owned())).into_iter().collect();
        stage.picture = Arc::new(Picture { unpublished: Arc::new(unpublished), ..(*stage.picture).clone() });
    };
    stage.declare(&[route("web", "/"), route("new", "/n")], 10);
    stage.acknowledge(edge, &ALL, 11);
    refused(&mut stage, Some("no certificate"));
    stage.look(12);
    assert_eq!(stage.standing(Kind::HTTPRoute, "web"), (true, 0, 1, 3));
    assert_eq!(stage.standing(Kind::HTTPRoute, "new"), (false, 0, 1, 10));
    assert_eq!(stage.progress.of(&stage.version(Kind::HTTPRoute, "new")).unwrap().unpublished, Some("no certificate"));
    refused(&mut stage, None);
    stage.look(13);
    assert!(stage.standing(Kind::HTTPRoute, "new").0);
}
