//! Everything that runs during the demonstration, in one folder, ended in order.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use windrose_tests::client::{Call, Reply};
use windrose_tests::process::Process;

use crate::{Arguments, Failure};

/// The edge, as the demonstration's Gateway declares it.
pub(crate) const EDGE: &str = "127.0.0.1:8080";
const XDS: &str = "127.0.0.1:18000";
const ADMIN: &str = "127.0.0.1:18001";
/// Time for a process to end in order.
const END_MAX: Duration = Duration::from_secs(20);

/// The running pieces. Dropping it kills what still runs.
pub(crate) struct Stage {
    folder: PathBuf,
    windrose: PathBuf,
    control_plane: Process,
    services: Vec<Process>,
}

impl Stage {
    /// Lays out the folder and starts everything.
    pub(crate) fn set(arguments: &Arguments) -> Result<Self, Failure> {
        let folder = arguments.folder.clone();
        refuse_held(&[EDGE, XDS, ADMIN, "127.0.1.1:9000", "127.0.1.2:9000", "127.0.1.3:9000", "127.0.1.4:9000"])?;
        lay_out(&folder, &arguments.config)?;
        let sample = std::env::current_exe()?.with_file_name("sample-service");
        let config = folder.join("config");
        std::fs::write(config.join("orders.pb"), output(Command::new(&sample).arg("descriptor"))?.stdout)?;
        let state = folder.join("state");
        let jwks = output(Command::new(&arguments.windrose).args(["token", "--jwks", "--state"]).arg(&state))?;
        std::fs::write(config.join("jwks.json"), jwks.stdout)?;
        let services = SERVICES.iter().map(|(name, words)| start(&folder, name, Command::new(&sample).args(*words))).collect();
        let mut run = Command::new(&arguments.windrose);
        run.arg("run").arg(&config).args(["--listen", XDS, "--admin", ADMIN, "--state"]).arg(&state);
        let control_plane = start(&folder, "windrose", &mut run);
        Ok(Self { folder, windrose: arguments.windrose.clone(), control_plane, services })
    }

    /// Waits until the edge answers as it should, through a sidecar.
    pub(crate) async fn first_answer(&mut self, within: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let answer = self.get("/v1/products").send().await;
            if answer.as_ref().is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.control_plane.ended() {
                return Err(format!("windrose run ended ({status}):\n{}", last_lines(&self.control_plane.log())).into());
            }
            if begun.elapsed() > within {
                let seen = answer.map_or_else(|error| error.to_string(), |reply| format!("{} {}", reply.status, reply.text()));
                return Err(format!("no answer in {within:?}; the last one: {seen}\n{}", last_lines(&self.control_plane.log())).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A request to the edge.
    pub(crate) fn get(&self, path: &str) -> Call {
        Call::get(address(EDGE), path).timeout(Duration::from_secs(10))
    }

    /// A POST of JSON to the edge.
    pub(crate) fn post(&self, path: &str, json: &str) -> Call {
        Call::post(address(EDGE), path, json.to_owned()).header("content-type", "application/json").timeout(Duration::from_secs(10))
    }

    /// Tells a catalogue instance how to behave, past all proxies; the answer has its counters.
    pub(crate) async fn control(&self, instance: &str, query: &str) -> Result<serde_json::Value, Failure> {
        let reply: Reply = Call::post(address(instance), &format!("/control?{query}"), "").send().await?;
        Ok(reply.json())
    }

    /// A development token.
    pub(crate) fn token(&self, words: &[&str]) -> Result<String, Failure> {
        let made = output(Command::new(&self.windrose).arg("token").args(words).arg("--state").arg(self.folder.join("state")))?;
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// A command of `windrose` that asks the running server.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Output, Failure> {
        Ok(Command::new(&self.windrose).args(words).env("WINDROSE_STATE", self.folder.join("state")).output()?)
    }

    /// A file of the configuration that is served.
    pub(crate) fn config(&self, file: &str) -> PathBuf {
        self.folder.join("config").join(file)
    }

    /// Draws the fleet until Ctrl-C.
    pub(crate) async fn live_table(&self) -> Result<(), Failure> {
        let state = self.folder.join("state");
        let mut table =
            tokio::process::Command::new(&self.windrose).args(["proxies", "--watch", "--state"]).arg(state).kill_on_drop(true).spawn()?;
        table.wait().await?;
        Ok(())
    }

    /// Ends everything: the control plane first, which ends its Envoys.
    pub(crate) async fn end(&mut self) {
        self.control_plane.terminate(END_MAX).await;
        for service in &mut self.services {
            service.terminate(END_MAX).await;
        }
    }
}

/// Instances and their arguments; the addresses are those of the Workloads.
const SERVICES: [(&str, &[&str]); 4] = [
    ("orders", &["orders", "--instance", "orders", "--listen", "127.0.1.1:9000", "--inventory", "http://127.0.1.1:7001"]),
    ("inventory", &["inventory", "--instance", "inventory", "--listen", "127.0.1.2:9000"]),
    ("catalog-v1", &["catalog", "--instance", "catalog-v1", "--version", "v1", "--listen", "127.0.1.3:9000"]),
    ("catalog-v2", &["catalog", "--instance", "catalog-v2", "--version", "v2", "--listen", "127.0.1.4:9000"]),
];

/// An address literal of this file or of the steps.
pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 1)))
}

/// Envoys share a port without a word (SO_REUSEPORT), and whoever holds it would answer in our place.
fn refuse_held(addresses: &[&str]) -> Result<(), Failure> {
    for text in addresses {
        let address = address(text);
        TcpListener::bind(address).map_err(|cause| {
            let port = address.port();
            format!("{address} is held by another process ({cause}): `ss -ltnp 'sport = :{port}'` shows which; end it and start again")
        })?;
    }
    Ok(())
}

fn lay_out(folder: &Path, config: &Path) -> Result<(), Failure> {
    if folder.exists() {
        let ours = folder.join("config").is_dir() || std::fs::read_dir(folder)?.next().is_none();
        if !ours {
            return Err(format!("{} is not a folder of an earlier demonstration; it would be emptied", folder.display()).into());
        }
        std::fs::remove_dir_all(folder)?;
    }
    let copy = folder.join("config");
    std::fs::create_dir_all(&copy)?;
    for entry in std::fs::read_dir(config).map_err(|cause| format!("{}: {cause}", config.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            std::fs::copy(&path, copy.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn start(folder: &Path, name: &str, command: &mut Command) -> Process {
    let log = folder.join(format!("{name}.log"));
    let mut owned = Command::new(command.get_program());
    owned.args(command.get_args());
    Process::start(name, owned, &log)
}

fn output(command: &mut Command) -> Result<Output, Failure> {
    let done = command.output().map_err(|cause| format!("{command:?}: {cause}"))?;
    if done.status.success() { Ok(done) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)).into()) }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
