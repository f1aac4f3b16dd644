//! The whole way from a world to what is published, with an authority that cannot issue at first.

use std::path::Path;
use std::time::{Duration, Instant};

use windrose_pki::{Authority, Directory, NodeAuthority, SystemEntropy};
use windrose_vocab::TrustDomain;

use super::*;
use crate::judges;
use crate::revocations::Revoked;
use crate::test_world::{SHOP, declared, workload};

struct Stage {
    folder: tempfile::TempDir,
    pipeline: Pipeline,
    picture: Arc<ArcSwap<Picture>>,
    now: SystemTime,
}

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// An authority for identities of that trust domain.
fn svids(folder: &Path, name: &str, now: SystemTime) -> Svids {
    let directory = Directory::open(folder.join(name)).unwrap();
    Svids::new(Authority::open(directory, &domain(name), now, &SystemEntropy).unwrap())
}

impl Stage {
    fn set(authority: &str) -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let nodes = Directory::open(folder.path().join("nodes")).unwrap();
        let nodes = NodeAuthority::open(&nodes, &domain("shop.test"), now, &SystemEntropy).unwrap();
        let (last_good, remembered) = LastGood::open(folder.path(), Path::new("/shop"));
        let picture = Arc::new(ArcSwap::from_pointee(Picture::default()));
        let parts = Parts {
            settings: judges::settings(domain("shop.test")),
            modules: Modules::default(),
            version_key: VersionKey::new([7; 32]),
            svids: svids(folder.path(), authority, now),
            nodes: Arc::new(Nodes::new(Arc::new(nodes), Revoked::default())),
            absences: Absences::open(folder.path(), Path::new("/shop"), (now, Instant::now())).unwrap(),
            desired: Desired::new(),
            accepted: Arc::new(Accepted::new()),
            last_good: Arc::new(last_good),
            picture: Arc::clone(&picture),
        };
        Self { pipeline: Pipeline::new(parts, remembered), folder, picture, now }
    }

    fn declare(&mut self, text: &str) {
        let declared = declared(text);
        let changed = declared.changed_since(&self.pipeline.declared);
        self.pipeline.declare(declared, &changed, self.now);
    }

    /// The proxies that are not served what is planned for them.
    fn unpublished(&self) -> Vec<String> {
        self.picture.load().unpublished.keys().map(|scope| scope.proxy.to_string()).collect()
    }

    fn view(&self, proxy: ProxyKey) -> Option<Arc<windrose_state::View>> {
        self.pipeline.reader.current(&proxy.into())
    }
}

fn orders() -> String {
    let serves = ", serves: [{ service: one, port: 80, listen: 15080, application: \"127.0.0.1:9001\" }] }";
    format!("{SHOP}{}", workload("orders", 7000).replace("}] }", &format!("}}]{serves}")))
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
