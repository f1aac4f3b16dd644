//! `windrose run`: its Envoys end with it, however it ends, and it knows what stands in their way.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use windrose_tests::address::Loopback;
use windrose_tests::client::{Call, CallError, Reply};
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::places;
use windrose_tests::process::{Process, gone};
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, answered_by, documents, endpoint, gateway, route, service};

/// A folder with one Gateway, and what is run on it.
struct Local {
    home: Loopback,
    folder: TempDir,
    back: EchoServer,
}

impl Local {
    async fn new() -> Self {
        let home = Loopback::claim();
        let back = EchoServer::start("one", home.port(9001)).await;
        let folder = tempfile::tempdir().unwrap();
        let declared =
            [gateway(&[("http", home.port(8080))]), service("one"), endpoint("one", home.port(9001)), route("web", EVERYTHING, "one")];
        std::fs::write(folder.path().join("shop.yaml"), documents(&declared)).unwrap();
        Self { home, folder, back }
    }

    fn run(&self) -> Process {
        let mut command = Command::new(places::windrose());
        command.arg("run").arg(self.folder.path().join("shop.yaml")).arg("--envoy").arg(places::envoy());
        command.arg("--state").arg(self.state()).args(["--log-format", "text"]);
        command.args(["--listen", &self.home.port(18_000).to_string(), "--admin", &self.home.port(18_001).to_string()]);
        Process::start("windrose run", command, &self.folder.path().join("run.log"))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The Envoy of a run that was killed where the system ends no process with its parent: as the run started it.
    fn outlived(&self) -> Process {
        let home = self.state().join("envoys/gateway-shop-edge");
        let mut command = Command::new(places::envoy());
        command.arg("-c").arg(home.join("envoy.yaml")).args(["--use-dynamic-base-id", "--concurrency", "1"]);
        let envoy = Process::start("former envoy", command, &self.folder.path().join("former.log"));
        std::fs::write(home.join("envoy.pid"), envoy.pid().to_string()).unwrap();
        envoy
    }

    async fn answers(&self) {
        answered_by(&Call::get(self.home.port(8080), "/"), "one").await;
    }

    /// The process of the Gateway's Envoy, as the run remembers it.
    fn envoy(&self) -> u32 {
        let file = self.state().join("envoys/gateway-shop-edge/envoy.pid");
        std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoys_end_with_a_run_that_is_killed() {
    let local = Local::new().await;
    let mut run = local.run();
    local.answers().await;
    let envoy = local.envoy();
    run.kill();
    gone(envoy, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_outlived_a_former_run_is_ended_by_the_next() {
    let local = Local::new().await;
    let mut run = local.run();
    local.answers().await;
    let ended = local.envoy();
    run.kill();
    gone(ended, PATIENCE).await;
    let outlived = local.outlived();
    let former = outlived.pid();
    let mut run = local.run();
    gone(former, PATIENCE).await;
    local.answers().await;
    assert!(run.log().contains("an Envoy of a former run is still there"), "{}", run.log());
    assert_ne!(local.envoy(), former);
    let last = local.envoy();
    assert!(run.terminate(PATIENCE).await.success());
    gone(last, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_shares_a_port_is_named() {
    let local = Local::new().await;
    let port = local.home.port(8080);
    let bootstrap = format!(
        "static_resources: {{ listeners: [{{ name: other, address: {{ socket_address: {{ address: {}, port_value: {} }} }}, filter_chains: [{{ filters: [{{ name: echo, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }} }}] }}] }}] }}",
        port.ip(),
        port.port()
    );
    let mut other = EnvoyProcess::start(&bootstrap).await;
    let run = local.run();
    let said = format!("process {} (envoy) listens on a port of a local Envoy", other.process().pid());
    wait_until(PATIENCE, "the other one to be named", async || {
        let log = run.log();
        if log.contains(&said) { Ok(()) } else { Err(log) }
    })
    .await;
    other.process().kill();
    local.answers().await;
}

fn said(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// A request that its service answers after so many milliseconds; returns when it is under way.
async fn slow_request(local: &Local, delay: &str) -> tokio::task::JoinHandle<Result<Reply, CallError>> {
    let before = local.back.requests();
    let call = Call::get(local.home.port(8080), "/slow").header("x-echo-delay-ms", delay);
    let answer = tokio::spawn(async move { call.send().await });
    wait_until(PATIENCE, "the request to be under way", async || said(local.back.requests() > before, "it is not")).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_before_the_run_ends() {
    let local = Local::new().await;
    let mut run = local.run();
    local.answers().await;
    let (envoy, slow) = (local.envoy(), slow_request(&local, "4000").await);
    run.signal("INT");
    wait_until(PATIENCE, "new connections to be refused", async || {
        let refused = Call::get(local.home.port(8080), "/").send().await.is_err_and(|error| error.step() == "connect");
        said(refused, "they are taken")
    })
    .await;
    assert!(!slow.is_finished(), "it is still under way");
    let reply = slow.await.unwrap().unwrap();
    assert_eq!((reply.status, reply.json()["path"].as_str().unwrap()), (200, "/slow"));
    assert!(run.wait(PATIENCE).await.success());
    assert!(run.log().contains("waiting up to 5s for what is under way"), "{}", run.log());
    gone(envoy, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_twice_to_end_cuts_what_is_under_way() {
    let local = Local::new().await;
    let mut run = local.run();
    local.answers().await;
    let (envoy, slow) = (local.envoy(), slow_request(&local, "9000").await);
    run.signal("INT");
    wait_until(PATIENCE, "the run to wait", async || said(run.log().contains("waiting up to"), &run.log())).await;
    run.signal("INT");
    assert!(run.wait(PATIENCE).await.success());
    assert!(!run.log().contains("not answered within"), "it waited all the same: {}", run.log());
    assert!(run.log().contains("told again: ending at once"), "{}", run.log());
    assert!(slow.await.unwrap().is_err());
    gone(envoy, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_answered_in_time_is_cut_and_counted() {
    let local = Local::new().await;
    let mut run = local.run();
    local.answers().await;
    let (envoy, slow) = (local.envoy(), slow_request(&local, "60000").await);
    assert!(run.terminate(PATIENCE).await.success());
    assert!(run.log().contains("not answered within 5s; they are cut"), "{}", run.log());
    assert!(slow.await.unwrap().is_err());
    gone(envoy, PATIENCE).await;
}
