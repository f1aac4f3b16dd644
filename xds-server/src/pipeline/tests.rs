//! The whole way from a world to what is published, with an authority that cannot issue at first.

use std::path::Path;
use std::time::{Duration, Instant};

use windrose_pki::{Authority, Directory, NodeAuthority, SystemEntropy};
use windrose_vocab::{ObjectKey, ResourceKind, TrustDomain};

use super::*;
use crate::judges;
use crate::revocations::Revoked;
use crate::test_world::{SHOP, declared, route, with_certificates, workload};

pub(super) struct Stage {
    folder: tempfile::TempDir,
    pub(super) pipeline: Pipeline,
    pub(super) picture: Arc<ArcSwap<Picture>>,
    pub(super) now: SystemTime,
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// An authority for identities of that trust domain.
fn svids(folder: &Path, name: &str, now: SystemTime) -> Svids {
    let directory = Directory::open(folder.join(name)).unwrap();
    Svids::new(Authority::open(directory, &domain(name), now, &SystemEntropy).unwrap())
}

/// What a pipeline stands on, in an empty folder.
pub(crate) fn parts(folder: &Path, authority: &str, now: SystemTime) -> Parts {
    let nodes = Directory::open(folder.join("nodes")).unwrap();
    let nodes = NodeAuthority::open(&nodes, &domain("shop.test"), now, &SystemEntropy).unwrap();
    Parts {
        settings: judges::settings(domain("shop.test")),
        modules: Modules::default(),
        version_key: VersionKey::new([7; 32]),
        svids: svids(folder, authority, now),
        nodes: Arc::new(Nodes::new(Arc::new(nodes), Revoked::default())),
        absences: Absences::open(folder, Path::new("/shop"), (now, Instant::now())).unwrap(),
        desired: Desired::new(),
        accepted: Arc::new(Accepted::new()),
        last_good: Arc::new(LastGood::open(folder, Path::new("/shop")).0),
        picture: Arc::new(ArcSwap::from_pointee(Picture::default())),
    }
}

/// A planner that fails on certificates, which is a bug.
#[derive(Debug)]
pub(crate) struct Bug;

impl windrose_plan::CertificateCheck for Bug {
    fn pair(&self, _: &str, _: &str) -> Result<(), String> {
        panic!("planted")
    }

    fn other_names(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn bundle(&self, _: &str) -> Result<(), String> {
        panic!("planted")
    }
}

impl Stage {
    pub(super) fn set(authority: &str) -> Self {
        Self::of(authority, |parts| parts)
    }

    pub(super) fn in_a_cluster(authority: &str) -> Self {
        Self::of(authority, |parts| Parts { settings: parts.settings.with_addresses(windrose_plan::Addresses::Assigned), ..parts })
    }

    fn of(authority: &str, change: impl FnOnce(Parts) -> Parts) -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let parts = change(parts(folder.path(), authority, now));
        let picture = Arc::clone(&parts.picture);
        Self { pipeline: Pipeline::new(parts, Remembered::default()), folder, picture, now }
    }

    pub(super) fn declare(&mut self, text: &str) {
        let declared = declared(text);
        let changed = declared.changed_since(&self.pipeline.declared);
        self.pipeline.declare(declared, &changed, self.now);
    }

    /// The proxies that are not served what is planned for them.
    fn unpublished(&self) -> Vec<String> {
        self.picture.load().unpublished.keys().map(|scope| scope.proxy.to_string()).collect()
    }

    pub(super) fn view(&self, proxy: ProxyKey) -> Option<Arc<windrose_state::View>> {
        self.pipeline.reader.current(&proxy.into())
    }
}

fn orders() -> String {
    let serves = ", serves: [{ service: one, port: 80, listen: 15080, application: \"127.0.0.1:9001\" }] }";
    format!("{SHOP}{}", workload("orders", 7000).replace("}] }", &format!("}}]{serves}")))
}

/// A stage with the bug.
fn with_bug() -> Stage {
    Stage::of("shop.test", |mut parts| {
        parts.settings.certificates = Arc::new(Bug);
        parts
    })
}

#[test]
fn an_object_that_we_fail_on_hides_no_other() {
    let mut stage = with_bug();
    stage.declare(SHOP);
    let edge = || ProxyKey::gateway("shop", "edge");
    let before = stage.view(edge()).unwrap();
    stage.declare(&format!("{SHOP}{}{}", route("web", "/web"), with_certificates(&["tls"])));
    let picture = stage.picture.load_full();
    let failed: Vec<_> = picture.refused.objects.iter().map(|(version, refusal)| (version.object.to_string(), refusal.by)).collect();
    assert_eq!(failed, [("Secret/shop/tls".to_owned(), windrose_plan::RefusedBy::Ourselves)], "without it the Gateway goes on");
    let said = picture.plan.diagnostics.iter().find(|one| one.code == windrose_vocab::Code::InternalError).unwrap();
    assert!(said.message.contains("a bug to report (at ") && said.message.contains("tests.rs:"), "{}", said.message);
    assert!(!said.message.contains("planted"), "never the words");
    assert_ne!(before.of_kind(ResourceKind::Routes), stage.view(edge()).unwrap().of_kind(ResourceKind::Routes), "the route is there");

    // It is mended by an edit, of which only it knows.
    stage.declare(&format!("{SHOP}{}", route("web", "/other")));
    assert!(stage.picture.load().refused.objects.is_empty());
    assert!(stage.pipeline.parts.last_good.share(&picture.refused, usize::MAX) == b"[]", "a newer server may be able to");
}

#[test]
fn what_could_be_planned_before_goes_on_in_that_version() {
    let mut stage = with_bug();
    let edge = || ProxyKey::gateway("shop", "edge");
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: pair, namespace: shop }\nstringData: { tls.crt: a, tls.key: b }\n";
    stage.declare(&format!("{SHOP}{secret}"));
    let served = stage.view(edge()).unwrap();
    let tls = "protocol: HTTP }, { name: tls, port: 8443, protocol: HTTPS, tls: { certificateRefs: [{ name: pair }] } }]";
    let edited = SHOP.replace("protocol: HTTP }]", tls);
    stage.declare(&format!("{edited}{secret}"));
    assert_eq!(*stage.view(edge()).unwrap(), *served, "only the Gateway changed");
    stage.declare(&format!("{edited}{secret}{}", route("web", "/web")));
    assert_ne!(*stage.view(edge()).unwrap(), *served, "and takes new routes");
}

#[test]
fn a_server_that_starts_serves_all_but_what_it_fails_on() {
    let (mut stage, mut good) = (with_bug(), Stage::set("shop.test"));
    let all = format!("{SHOP}{}", route("web", "/web"));
    stage.declare(&format!("{all}{}", with_certificates(&["tls"])));
    good.declare(&all);
    let edge = ProxyKey::gateway("shop", "edge");
    assert_eq!(stage.view(edge.clone()).unwrap().resources, good.view(edge).unwrap().resources);
}

#[test]
fn what_waits_for_a_certificate_is_told_and_published_with_it() {
    let mut stage = Stage::set("elsewhere.test");
    stage.declare(&orders());
    assert_eq!(stage.unpublished(), ["workload/shop/orders"], "its authority issues nothing for it");
    assert!(stage.view(ProxyKey::gateway("shop", "edge")).unwrap().ready, "the gateway needs none");
    stage.pipeline.follow_time(stage.now);
    assert_eq!(stage.unpublished(), ["workload/shop/orders"]);
    stage.pipeline.parts.svids = svids(stage.folder.path(), "shop.test", stage.now);
    stage.pipeline.follow_time(stage.now);
    assert!(stage.unpublished().is_empty());
    assert!(stage.view(ProxyKey::workload("shop", "orders")).unwrap().ready);
}

#[test]
fn time_publishes_only_what_it_changes() {
    let mut stage = Stage::set("shop.test");
    stage.declare(&orders());
    let orders = || ProxyKey::workload("shop", "orders");
    let (before, shown) = (stage.view(orders()).unwrap(), stage.picture.load_full());
    stage.pipeline.follow_time(stage.now);
    assert!(Arc::ptr_eq(&before, &stage.view(orders()).unwrap()));
    assert!(Arc::ptr_eq(&shown, &stage.picture.load_full()), "nothing is shown anew");
    stage.pipeline.follow_time(stage.now + Duration::from_secs(86_400));
    let after = stage.view(orders()).unwrap();
    let secrets = |view: &windrose_state::View| view.of_kind(ResourceKind::Secret).clone();
    assert_ne!(secrets(&before), secrets(&after), "its slot is over");
}

#[test]
fn a_proxy_that_goes_leaves_nothing_unpublished() {
    let mut stage = Stage::set("elsewhere.test");
    stage.declare(&orders());
    stage.declare(SHOP);
    assert!(stage.unpublished().is_empty());
}

#[test]
fn a_gateway_that_cannot_be_decoded_is_there() {
    let mut stage = Stage::set("shop.test");
    stage.declare(SHOP);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), SHOP.replace("[{ name: http, port: 8080, protocol: HTTP }]", "7")).unwrap();
    let broken = windrose_files::load(&[folder.path().to_owned()]).declared;
    assert!(broken.gateways.is_empty());
    let changed = broken.changed_since(&stage.pipeline.declared);
    stage.pipeline.declare(broken, &changed, stage.now);
    assert!(!stage.pipeline.parts.absences.is_absent(&ProxyKey::gateway("shop", "edge")));
    stage.declare(&SHOP.replace("name: edge", "name: other"));
    assert!(stage.pipeline.parts.absences.is_absent(&ProxyKey::gateway("shop", "edge")));
}

#[test]
fn a_gateway_whose_namespace_is_left_out_keeps_what_it_has_and_its_credentials() {
    let (mut stage, edge) = (Stage::set("shop.test"), || ProxyKey::gateway("shop", "edge"));
    stage.declare(SHOP);
    let before = stage.view(edge()).unwrap();
    let mut feed = stage.pipeline.reader.subscribe(&edge().into()).unwrap();
    let mut left_out = declared("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    let namespace = left_out.namespaces.get_mut(&ObjectKey::new("", "shop")).unwrap();
    Arc::make_mut(namespace).spec.left_out = true;
    let changed = left_out.changed_since(&stage.pipeline.declared);
    stage.pipeline.declare(left_out, &changed, stage.now);
    assert!(Arc::ptr_eq(&before, &feed.current()), "nobody tells its Envoys to close their listeners");
    assert!(!stage.pipeline.parts.absences.is_absent(&edge()));
    assert!(stage.pipeline.served.is_empty() && stage.pipeline.parts.desired.scopes().next().is_none());

    stage.declare(&SHOP.replace("port: 8080", "port: 8081"));
    let after = feed.current();
    assert!(after.ready && !Arc::ptr_eq(&before, &after), "it is served again");
    stage.declare("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    assert!(feed.current().of_kind(ResourceKind::Listener).is_empty(), "one that is deleted ends");
}

/// Our class under another name, and the shop under it.
fn under_own_class() -> (String, String) {
    let class = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: { name: own }\n\
                 spec: { controllerName: windrose.dev/gateway-controller }\n";
    (SHOP.replace("gatewayClassName: windrose", "gatewayClassName: own"), class.to_owned())
}

impl Stage {
    /// Whether a stream of this proxy goes on.
    fn goes_on(&self, proxy: &ProxyKey) -> bool {
        let peer = windrose_xds_serve::Peer {
            identity: "pod".into(),
            proxy: proxy.clone(),
            credential: "pod".into(),
            issued_at: self.now,
            expires_at: self.now + Duration::from_secs(60),
            zone: None,
        };
        !windrose_xds_serve::Identify::is_revoked(&*self.pipeline.parts.nodes, &peer)
    }
}

#[test]
fn a_gateway_whose_class_is_gone_for_a_moment_keeps_what_it_has_and_its_streams() {
    let (mut stage, edge) = (Stage::set("shop.test"), ProxyKey::gateway("shop", "edge"));
    let (shop, class) = under_own_class();
    stage.declare(&format!("{shop}{class}"));
    let mut feed = stage.pipeline.reader.subscribe(&edge.clone().into()).unwrap();
    let before = feed.current();
    for _ in 0..2 {
        stage.declare(&shop);
        assert!(Arc::ptr_eq(&before, &feed.current()), "nobody tells its Envoys to close their listeners");
        assert!(stage.goes_on(&edge));
        assert_eq!(*stage.picture.load().standing, BTreeSet::from([edge.clone()]));
        stage.declare(&format!("{shop}{}", route("web", "/web")));
    }
    stage.declare(&format!("{shop}{class}{}", route("web", "/web")));
    assert!(!Arc::ptr_eq(&before, &feed.current()) && stage.goes_on(&edge), "it is served again");
    assert!(stage.picture.load().standing.is_empty());

    stage.declare(&shop);
    let foreign = class.replace("windrose.dev/", "other.example/");
    stage.declare(&format!("{shop}{foreign}"));
    assert!(feed.current().ready && feed.current().of_kind(ResourceKind::Listener).is_empty(), "another controller's");
    stage.declare(&format!("{shop}{class}"));
    assert!(!feed.current().of_kind(ResourceKind::Listener).is_empty());
    stage.declare(&shop);
    stage.declare(&class);
    assert!(feed.current().of_kind(ResourceKind::Listener).is_empty() && !stage.goes_on(&edge), "one that is deleted ends");
}

#[test]
fn a_gateway_without_a_listener_that_may_be_served_closes_and_its_streams_go_on() {
    let (mut stage, edge) = (Stage::set("shop.test"), ProxyKey::gateway("shop", "edge"));
    let good = format!("{SHOP}{}", route("web", "/web"));
    stage.declare(&good);
    let mut feed = stage.pipeline.reader.subscribe(&edge.clone().into()).unwrap();
    let mut zone = stage.asked(&in_zone("a"));
    assert!(!zone.current().of_kind(ResourceKind::Listener).is_empty());
    let bad = good.replace("protocol: HTTP }]", "protocol: HTTPS, tls: { certificateRefs: [{ name: gone }] } }]");
    stage.declare(&bad);
    for feed in [&mut feed, &mut zone, &mut stage.asked(&in_zone("b"))] {
        assert!(feed.current().ready && feed.current().resources.is_empty(), "it must close, whoever hears of it when");
    }
    assert!(stage.goes_on(&edge));
    stage.declare(&good);
    assert!([&mut feed, &mut zone].iter_mut().all(|feed| !feed.current().of_kind(ResourceKind::Listener).is_empty()));
    stage.declare(&bad);
    stage.declare("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    assert!(!stage.goes_on(&edge), "one that is deleted ends");
}

#[test]
fn envoys_of_a_gateway_keep_what_they_have_until_those_that_it_shares_are_there() {
    let (edge, fleet) = (ProxyKey::gateway("shop", "edge"), ProxyKey::fleet("shop", "own"));
    let mut stage = Stage::of("shop.test", |mut parts| {
        parts.settings = parts.settings.with_addresses(windrose_plan::Addresses::Assigned);
        parts
    });
    let (shop, class) = under_own_class();
    let parameters = "  parametersRef: { group: windrose.dev, kind: GatewayParameters, name: shared, namespace: ops }\n---\n\
                      apiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: { name: shared, namespace: ops }\n\
                      spec: { fleet: PerNamespace }\n";
    let shares = class
        .replace("spec: { controllerName: windrose.dev/gateway-controller }", "spec:\n  controllerName: windrose.dev/gateway-controller")
        + parameters;
    let [apart, together] = [class, shares].map(|class| format!("{shop}{class}"));
    stage.declare(&apart);
    let mut feed = stage.pipeline.reader.subscribe(&edge.clone().into()).unwrap();
    let before = feed.current();
    stage.declare(&together);
    assert!(Arc::ptr_eq(&before, &feed.current()) && stage.goes_on(&edge) && stage.goes_on(&fleet));
    stage.declare(&apart);
    assert!(stage.goes_on(&edge) && stage.goes_on(&fleet), "and back");
    assert!(!feed.current().of_kind(ResourceKind::Listener).is_empty());
}

#[test]
fn a_server_that_starts_closes_what_may_not_be_served_although_it_saw_nothing_go() {
    let edge = ProxyKey::gateway("shop", "edge");
    let (shop, class) = under_own_class();
    let no_listener = SHOP.replace("protocol: HTTP }]", "protocol: HTTPS, tls: { certificateRefs: [{ name: gone }] } }]");
    let foreign = format!("{shop}{}", class.replace("windrose.dev/", "other.example/"));
    for text in [no_listener, foreign] {
        let mut stage = Stage::set("shop.test");
        stage.declare(&text);
        assert!(stage.goes_on(&edge) && stage.picture.load().standing.contains(&edge), "its Envoy is let in");
        for scope in [edge.clone().into(), in_zone("a")] {
            let mut feed = stage.asked(&scope);
            assert!(feed.current().ready && feed.current().resources.is_empty(), "and closes what it has");
        }
        stage.declare("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
        assert!(!stage.goes_on(&edge), "one that is deleted ends");
    }
    let mut stage = Stage::set("shop.test");
    stage.declare(&shop);
    assert!(stage.goes_on(&edge) && !stage.asked(&edge.clone().into()).current().ready, "whose it is nobody can say: it keeps what it has");
    stage.declare(&format!("{shop}{class}"));
    assert!(!stage.picture.load().standing.contains(&edge), "it is served");
    let mut stage = Stage::set("shop.test");
    stage.declare(SHOP);
    assert!(stage.picture.load().standing.is_empty(), "all that is declared is served");
}

/// What a leader refuses, as it tells others: the route `web` as it is declared now, in place of which it has `in_place`.
fn refused(leader: &Stage, in_place: Option<&str>) -> Arc<Verdicts> {
    let route = windrose_vocab::ObjectRef::new(Kind::HTTPRoute, "shop", "web");
    let version = leader.pipeline.declared.get(&route).unwrap().meta().identity();
    let last_good = in_place.map(|text| declared(text).get(&route).unwrap());
    let refusal = windrose_plan::Refusal { by: windrose_plan::RefusedBy::Envoy, reason: "no such thing".into(), last_good };
    let refused = Refused { objects: [(version, refusal)].into_iter().collect() };
    let content = leader.pipeline.parts.last_good.share(&refused, usize::MAX).into();
    Arc::new(Verdicts { content, on_trial: true })
}

#[test]
fn a_replica_serves_what_the_leader_serves_and_forgets_an_open_trial_with_the_leader() {
    let of = |path: &str| format!("{SHOP}{}", route("web", path));
    let edge = || ProxyKey::gateway("shop", "edge");
    let served = |stage: &Stage| stage.view(edge()).unwrap().of_kind(ResourceKind::Routes).clone();
    let (mut leader, mut follower, mut good) = (Stage::set("shop.test"), Stage::set("shop.test"), Stage::set("shop.test"));
    good.declare(&of("/good"));
    leader.declare(&of("/bad"));
    follower.declare(&of("/good"));
    follower.pipeline.follow_judge(Judge::Another(None), follower.now);
    follower.declare(&of("/bad"));
    let bad = served(&follower);
    assert_eq!(bad, served(&leader), "replicas agree");

    // It has seen the version that runs in place of the refused one, so that it need not be told.
    let verdicts = refused(&leader, Some(&of("/good")));
    follower.pipeline.follow_judge(Judge::Another(Some(Arc::clone(&verdicts))), follower.now);
    assert_eq!(served(&follower), served(&good));
    let left_out = Verdicts { on_trial: false, ..(*refused(&leader, None)).clone() };
    follower.pipeline.follow_judge(Judge::Another(Some(Arc::new(left_out))), follower.now);
    let without = served(&follower);
    assert_ne!(without, bad);

    // What was decided stays when the leader is gone, what was on trial does not.
    follower.pipeline.follow_judge(Judge::Another(Some(verdicts)), follower.now);
    assert_eq!(served(&follower), served(&good));
    follower.pipeline.follow_judge(Judge::Another(None), follower.now);
    assert_eq!(served(&follower), without, "who tried it cannot say how it ended");
    follower.pipeline.follow_judge(Judge::Ourselves, follower.now);
    assert_eq!(served(&follower), without);
}

#[test]
fn a_replica_that_has_just_started_is_told_what_runs_in_place_of_a_refused_version() {
    let of = |path: &str| format!("{SHOP}{}", route("web", path));
    let (mut leader, mut started) = (Stage::set("shop.test"), Stage::set("shop.test"));
    let good = declared(&of("/good")).get(&windrose_vocab::ObjectRef::new(Kind::HTTPRoute, "shop", "web")).unwrap().meta().identity();
    let content = serde_json::json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{"matches": [{"path": {"value": "/good"}}], "backendRefs": [{"name": "one", "port": 80}]}],
        },
    });
    let kept = windrose_files::Kept::of(good.clone(), Path::new("kubernetes").into(), content).unwrap();
    leader.pipeline.parts.last_good.note(vec![(good.object.clone(), Some(kept))]);
    leader.declare(&of("/bad"));
    started.declare(&of("/bad"));
    let verdicts = refused(&leader, Some(&of("/good")));
    started.pipeline.follow_judge(Judge::Another(Some(verdicts)), started.now);
    let in_place = started.pipeline.refused.objects.values().next().unwrap().last_good.as_ref().map(|object| object.meta().identity());
    assert_eq!(in_place, Some(good.clone()));

    // It leads now, and tells another one that has never seen it either.
    let again = started.pipeline.parts.last_good.share(&started.pipeline.refused, usize::MAX);
    let told = Stage::set("shop.test").pipeline.parts.last_good.take(&again, |_| None).unwrap();
    let in_place = told.objects.values().next().unwrap().last_good.as_ref().map(|object| object.meta().identity());
    assert_eq!(in_place, Some(good));
}

/// The shop with an endpoint for each of these zones, each where it says; a `-` is meant for nobody.
fn zoned(zones: &[&str]) -> String {
    let endpoint = |(number, zone): (usize, &&str)| match *zone {
        "-" => format!("{{ addresses: [127.0.0.{number}] }}"),
        zone => format!("{{ addresses: [127.0.0.{number}], zone: {zone}, hints: {{ forZones: [{{ name: {zone} }}] }} }}"),
    };
    let endpoints: Vec<String> = zones.iter().enumerate().map(endpoint).collect();
    SHOP.replace("{ addresses: [127.0.0.1] }", &endpoints.join(", ")) + &route("web", "/")
}

fn in_zone(zone: &str) -> Scope {
    Scope::new(ProxyKey::gateway("shop", "edge"), windrose_vocab::NodeClass { modules: None, zone: Some(zone.into()) })
}

impl Stage {
    fn asked(&mut self, scope: &Scope) -> windrose_state::Feed {
        let feed = self.pipeline.reader.subscribe(scope).unwrap();
        self.pipeline.follow_demand(self.now);
        feed
    }
}

#[test]
fn zones_share_all_but_the_endpoints_that_they_see_otherwise() {
    let mut stage = Stage::set("shop.test");
    stage.declare(&zoned(&["-", "-"]));
    let mut feeds = ["a", "b", "c"].map(|zone| stage.asked(&in_zone(zone)));
    let anywhere = |stage: &Stage| stage.view(ProxyKey::gateway("shop", "edge")).unwrap();
    let views = |feeds: &mut [windrose_state::Feed; 3]| feeds.each_mut().map(windrose_state::Feed::current);
    assert!(views(&mut feeds).iter().all(|view| view.resources.is_same(&anywhere(&stage).resources)), "nothing is meant for any");

    stage.declare(&zoned(&["a", "b"]));
    let class = anywhere(&stage);
    let [a, b, c] = views(&mut feeds);
    for kind in ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Endpoints) {
        assert!([&a, &b, &c].iter().all(|view| view.of_kind(kind).ptr_eq(class.of_kind(kind))), "{kind}");
    }
    let version = |view: &windrose_state::View| view.get(ResourceKind::Endpoints, "shop/one/80").unwrap().version;
    let versions: BTreeSet<_> = [&class, &a, &b].map(|view| version(view)).into();
    assert_eq!(versions.len(), 3);
    assert!(c.resources.is_same(&class.resources), "nothing is meant for it");

    // An edit elsewhere is the same for all.
    stage.declare(&(zoned(&["a", "b"]) + &route("other", "/other")));
    let now = views(&mut feeds);
    assert!(now[0].of_kind(ResourceKind::Endpoints).ptr_eq(a.of_kind(ResourceKind::Endpoints)));
    assert!(now[0].of_kind(ResourceKind::Routes).ptr_eq(anywhere(&stage).of_kind(ResourceKind::Routes)));

    // What only another zone sees otherwise is no news.
    stage.declare(&zoned(&["a", "b"]).replace("{ name: b }", "{ name: b }, { name: c }"));
    let before = now;
    stage.declare(&(zoned(&["a", "b"]).replace("{ name: b }", "{ name: b }, { name: c }") + &route("other", "/other")));
    let after = views(&mut feeds);
    let endpoints = |view: &windrose_state::View| view.of_kind(ResourceKind::Endpoints).clone();
    assert_eq!(endpoints(&before[0]), endpoints(&after[0]));
    assert_eq!(version(&after[1]), version(&after[2]));
    assert_ne!(version(&before[2]), version(&after[2]));

    stage.declare(&zoned(&["b", "-"]));
    assert!(views(&mut feeds).iter().all(|view| view.resources.is_same(&anywhere(&stage).resources)), "one without a hint ends it");
}

#[test]
fn a_zone_that_made_room_is_served_no_longer_and_again_when_it_is_asked_for() {
    let mut stage = Stage::set("shop.test");
    stage.declare(&zoned(&["a", "b"]));
    drop(stage.asked(&in_zone("a")));
    assert!(stage.pipeline.served.contains_key(&in_zone("a")));
    let _b = stage.asked(&in_zone("b"));
    assert!(!stage.pipeline.served.contains_key(&in_zone("a")));
    assert!(stage.asked(&in_zone("a")).current().ready);
}
