//! Envoys that a former run left behind: it was killed, and the system did not end them with it. They hold the ports and the
//! sockets of those that are to be started, and share the ports with them without a word.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// Name of the file in an Envoy's folder that names its process.
const FILE: &str = "envoy.pid";
/// Between two looks whether one has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Remembers the process of the Envoy in `home`.
pub(super) fn remember(home: &Path, pid: u32) -> std::io::Result<()> {
    std::fs::write(home.join(FILE), pid.to_string())
}

/// Forgets an Envoy that was ended in order.
pub(super) fn forget(home: &Path) {
    let _ = std::fs::remove_file(home.join(FILE));
}

/// Ends all that are left in the folders of `folder`. Only one server uses it, so none of them is anybody else's.
pub(super) async fn end_all(folder: &Path, bootstrap: &str, patience: Duration) {
    let homes = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let found = homes.filter_map(|home| Some((left(&home, bootstrap)?, home)));
    let ending = found.map(|(pid, home)| async move {
        tracing::warn!(pid = pid.as_raw_nonzero().get(), home = %home.display(), "an Envoy of a former run is still there; it is ended");
        end(pid, &home, bootstrap, patience).await;
    });
    futures::future::join_all(ending).await;
}

/// The process of a former run, if it still runs. A number is used again, so it must have been started with this bootstrap.
fn left(home: &Path, bootstrap: &str) -> Option<Pid> {
    let pid = std::fs::read_to_string(home.join(FILE)).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
    runs(pid, &home.join(bootstrap)).then_some(pid)
}

async fn end(pid: Pid, home: &Path, bootstrap: &str, patience: Duration) {
    let bootstrap: PathBuf = home.join(bootstrap);
    for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, patience)] {
        let _ = kill_process(pid, signal);
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !runs(pid, &bootstrap) {
                return forget(home);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
    tracing::error!(pid = pid.as_raw_nonzero().get(), "an Envoy of a former run does not end; its ports are held");
}

/// Whether `pid` is a process that was started with this file.
fn runs(pid: Pid, bootstrap: &Path) -> bool {
    let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    words.split(|byte| *byte == 0).any(|word| word == bootstrap.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A process that was started with the bootstrap in a home of `folder`, and is deaf to SIGTERM if asked to.
    fn start(folder: &Path, name: &str, script: &str) -> Child {
        let home = folder.join(name);
        std::fs::create_dir_all(&home).unwrap();
        let child = Command::new("sh").args(["-c", script, "-c"]).arg(home.join("envoy.yaml")).spawn().unwrap();
        remember(&home, child.id()).unwrap();
        // For a moment a process that is being started has no arguments yet.
        let begun = Instant::now();
        while left(&home, "envoy.yaml").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{name} does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    #[tokio::test]
    async fn what_a_former_run_left_is_ended_even_when_it_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let mut gentle = start(folder.path(), "gentle", "while :; do sleep 0.05; done");
        let mut deaf = start(folder.path(), "deaf", "trap '' TERM; while :; do sleep 0.05; done");
        let waiting = std::thread::spawn(move || (gentle.wait().unwrap(), deaf.wait().unwrap()));
        end_all(folder.path(), "envoy.yaml", Duration::from_secs(1)).await;
        let (gentle, deaf) = waiting.join().unwrap();
        assert!(!gentle.success() && !deaf.success());
        assert!(!folder.path().join("gentle").join(FILE).exists());
    }

    #[tokio::test]
    async fn a_process_that_has_the_number_by_chance_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("edge");
        std::fs::create_dir(&home).unwrap();
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        remember(&home, other.id()).unwrap();
        end_all(folder.path(), "envoy.yaml", Duration::from_millis(100)).await;
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
