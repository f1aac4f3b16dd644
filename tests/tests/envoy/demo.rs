//! The demonstration in the hands of somebody who has seen enough: Ctrl-C in the middle of it ends all that it started.

use std::process::Command;
use std::time::Duration;

use windrose_tests::process::{Process, gone};
use windrose_tests::wait::wait_until;
use windrose_tests::{places, skip};

use crate::stage::PATIENCE;

/// How long the demonstration may take to its first step, with five Envoys on a machine that is busy.
const FIRST_STEP_MAX: Duration = Duration::from_secs(60);

/// It has addresses of its own, which another one on this machine may hold: a network of its own has them all.
const IN_A_NETWORK: [&str; 4] = ["-rn", "sh", "-c", "ip link set lo up && exec \"$@\""];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_in_the_middle_of_the_demonstration_leaves_nothing_running() {
    if !Command::new("unshare").args(IN_A_NETWORK).args(["sh", "true"]).status().is_ok_and(|status| status.success()) {
        return skip::because("no network namespace can be made, and the addresses of the demonstration may be held");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(IN_A_NETWORK).arg("sh").arg(env!("CARGO_BIN_EXE_demo")).arg("--folder").arg(folder.path().join("demo"));
    command.current_dir(places::checkout()).env("ENVOY", places::envoy()).env("WINDROSE_BIN", places::windrose());
    let mut demo = Process::start_group("demo", command, &folder.path().join("demo.log"));
    wait_until(FIRST_STEP_MAX, "the first step", async || if demo.log().contains("\n1. ") { Ok(()) } else { Err(demo.log()) }).await;

    let started = demo.descendants();
    let names: Vec<_> = started.iter().map(|id| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default()).collect();
    let count = |name: &str| names.iter().filter(|one| one.trim() == name).count();
    assert_eq!((count("envoy"), count("sample-service")), (5, 4), "{names:?}");
    demo.press_ctrl_c();
    assert!(demo.wait(PATIENCE).await.success(), "{}", demo.log());
    assert!(demo.log().contains("Ended; nothing is left running."), "{}", demo.log());
    for process in started {
        gone(process, PATIENCE).await;
    }
}
