//! What Envoy refused, over a restart of the server: the last good version of the one object that is to blame, and no other is held up.

use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::{EnvoyProcess, REPEATED_WORDS};
use windrose_tests::server::ServerProcess;
use windrose_tests::wait::wait_until;

use crate::refused::repeated_too_often;
use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service};

const GOOD: &str = "{ type: Exact, value: /a }";

fn routes(home: &Loopback, special: &str, more: &[String]) -> String {
    let ends = [("one", 9001), ("other", 9002)].map(|(name, port)| documents(&[service(name), endpoint(name, home.port(port))]));
    let mut all = vec![
        gateway(&[("http", home.port(8080))]),
        ends.join("\n---\n"),
        route("web", EVERYTHING, "one"),
        route("special", special, "other"),
    ];
    all.extend_from_slice(more);
    documents(&all)
}

struct Scene {
    stage: Stage,
    _edge: EnvoyProcess,
    _backs: [EchoServer; 2],
}

impl Scene {
    /// The good world, running on one Envoy and remembered.
    async fn set() -> Self {
        let home = Loopback::claim();
        let backs = [EchoServer::start("one", home.port(9001)).await, EchoServer::start("other", home.port(9002)).await];
        let declared = routes(&home, GOOD, &[]);
        let stage = Stage::set(home, &declared).await;
        let edge = stage.envoy("gateway", "edge", &[]).await;
        let scene = Self { stage, _edge: edge, _backs: backs };
        scene.answers("/a", "other").await;
        scene.kept("HTTPRoute").await;
        scene
    }

    fn declare(&self, special: &str, more: &[String]) {
        self.stage.declare("shop.yaml", &routes(&self.stage.home, special, more));
    }

    async fn answers(&self, path: &str, name: &str) {
        answered_by(&Call::get(self.stage.home.port(8080), path), name).await;
    }

    async fn kept(&self, words: &str) {
        let path = self.stage.server.options().state.join("last-good.log");
        wait_until(PATIENCE, &format!("{words} to be kept"), async || {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(words) { Ok(()) } else { Err("it is not".to_owned()) }
        })
        .await;
    }

    async fn refused(&self, name: &str) {
        wait_until(PATIENCE, &format!("{name} to be refused"), async || {
            let object = self.stage.object("HTTPRoute", name).to_string();
            if object.contains("RefusedByEnvoy") && object.contains(REPEATED_WORDS) { Ok(()) } else { Err(object) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_what_is_declared_beside_a_refused_route_takes_effect() {
    let mut scene = Scene::set().await;
    scene.declare(&repeated_too_often(), &[]);
    scene.refused("special").await;
    scene.kept(REPEATED_WORDS).await;
    scene.stage.kill_and_restart().await;
    scene.refused("special").await;

    scene.declare(&repeated_too_often(), &[route("new", "{ type: Exact, value: /new }", "other")]);
    scene.answers("/new", "other").await;
    scene.answers("/a", "other").await;
    scene.answers("/", "one").await;
    scene.refused("special").await;
    assert!(!scene.stage.object("HTTPRoute", "new").to_string().contains("RefusedByEnvoy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_edited_while_no_server_runs_and_refused_later_goes_back_to_what_was_good_before() {
    let mut scene = Scene::set().await;
    let options = scene.stage.server.options().clone();
    scene.stage.server.process().kill();
    scene.declare(&repeated_too_often(), &[route("new", "{ type: Exact, value: /new }", "other")]);
    scene.stage.server = ServerProcess::start(&options).await;

    scene.answers("/new", "other").await;
    scene.refused("special").await;
    scene.answers("/a", "other").await;
    scene.answers("/", "one").await;
}
