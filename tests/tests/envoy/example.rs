//! The first route in five minutes, as README tells it: the example that `windrose init` writes, run on this machine, answers; and
//! Ctrl-C leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::places;
use windrose_tests::process::{Process, gone};
use windrose_tests::server::windrose;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, answered_by};

/// Where the example has its Gateway and its service.
const ADDRESS: &str = "127.0.0.1";
const LISTENER: u16 = 8080;
const SERVICE: u16 = 9000;

/// The example as it is written, but at an address of the test's own.
fn example(home: &Loopback, folder: &Path) -> PathBuf {
    let shop = folder.join("shop");
    let output = windrose(&["init", &shop.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["gateway.yaml", "backend.yaml"] {
        let text = std::fs::read_to_string(shop.join(file)).unwrap();
        assert!(text.contains(ADDRESS), "{file}: {text}");
        std::fs::write(shop.join(file), text.replace(ADDRESS, &home.ip().to_string())).unwrap();
    }
    shop
}

/// `windrose run shop` where a person would type it; its state lies there too.
fn run(home: &Loopback, folder: &TempDir) -> Process {
    let mut command = Command::new(places::windrose());
    command.current_dir(folder.path()).args(["run", "shop"]).env("ENVOY", places::envoy());
    command.args(["--listen", &home.port(18_000).to_string(), "--admin", &home.port(18_001).to_string()]);
    Process::start_group("windrose run", command, &folder.path().join("run.log"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_answers_follows_an_edit_and_ends_with_ctrl_c() {
    let (home, folder) = (Loopback::claim(), tempfile::tempdir().unwrap());
    let shop = example(&home, folder.path());
    let _web = EchoServer::start("web", home.port(SERVICE)).await;
    let mut run = run(&home, &folder);
    let call = Call::get(home.port(LISTENER), "/");
    answered_by(&call, "web").await;

    let route = std::fs::read_to_string(shop.join("route.yaml")).unwrap();
    std::fs::write(shop.join("route.yaml"), route.replace("value: /", "value: /moved")).unwrap();
    wait_until(PATIENCE, "the edit", async || match call.send().await {
        Ok(reply) if reply.status == 404 => Ok(()),
        other => Err(format!("{:?}", other.map(|reply| reply.status))),
    })
    .await;
    answered_by(&Call::get(home.port(LISTENER), "/moved"), "web").await;

    let started = run.descendants();
    assert!(!started.is_empty(), "the Envoy of the Gateway");
    run.press_ctrl_c();
    assert!(run.wait(PATIENCE).await.success(), "{}", run.log());
    for process in started {
        gone(process, PATIENCE).await;
    }
    assert!(call.send().await.is_err(), "somebody answers still");
    assert!(!folder.path().join(".windrose/state/admin.sock").exists());
}
