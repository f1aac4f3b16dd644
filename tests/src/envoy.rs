//! A real Envoy with a bootstrap of the test's own, and its admin interface; and Envoy as a judge of configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Call, Reply};
use crate::places;
use crate::process::Process;
use crate::wait::wait_until;

/// How long an Envoy may take from exec to `LIVE`: well under a second alone, more on a loaded machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts the admin interface on a free port of loopback, whatever the bootstrap says.
const ADMIN: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";

/// A pattern for a path that the planner takes and Envoy refuses: the planner counts the instructions of a regular expression, and
/// a repeated nothing has none; RE2 counts repetitions.
pub const REPEATED_TOO_OFTEN: &str = r"/(?:(?:\b){100}){100}a";

/// What Envoy says of it.
pub const REPEATED_WORDS: &str = "invalid repetition size";

/// What an Envoy is started with, besides its bootstrap.
#[derive(Debug, Clone)]
pub struct EnvoyOptions {
    /// Worker threads.
    pub concurrency: u32,
    /// Log levels, as `--component-log-level` takes them, such as `config:debug,upstream:debug`. Empty: `info` for all.
    pub component_log_level: String,
    /// Seconds that old connections keep an old filter chain.
    pub drain_time_s: u32,
    /// Wait until `/ready` says LIVE. An Envoy whose xDS server answers nothing is not ready for 15 s.
    pub until_ready: bool,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self { concurrency: 1, component_log_level: String::new(), drain_time_s: 1, until_ready: true }
    }
}

/// A running Envoy; dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct EnvoyProcess {
    process: Process,
    admin: SocketAddr,
    /// After `process`: fields are dropped in this order.
    folder: TempDir,
}

impl EnvoyProcess {
    /// Starts Envoy with a bootstrap (YAML or JSON) and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start; its last words are shown.
    pub async fn start(bootstrap: &str) -> Self {
        Self::start_with(bootstrap, &EnvoyOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Panics
    /// When it does not start; its last words are shown.
    pub async fn start_with(bootstrap: &str, options: &EnvoyOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = written(bootstrap, folder.path());
        let home = folder.path().to_owned();
        Self::launch(&config, &home, folder, options).await
    }

    /// Starts Envoy in a folder that `windrose bootstrap` wrote, with its `envoy.yaml`.
    ///
    /// # Panics
    /// When it does not start; its last words are shown.
    pub async fn start_in(home: &Path, options: &EnvoyOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self::launch(Path::new("envoy.yaml"), home, folder, options).await
    }

    async fn launch(config: &Path, home: &Path, folder: TempDir, options: &EnvoyOptions) -> Self {
        let mut process = launch(config, home, options, folder.path());
        let admin = admin_address(&mut process, &folder.path().join("admin")).await;
        let envoy = Self { process, admin, folder };
        if options.until_ready {
            envoy.ready().await;
        }
        envoy
    }

    /// Waits until `/ready` says LIVE.
    ///
    /// # Panics
    /// When that takes more than 30 s.
    pub async fn ready(&self) {
        wait_until(START_TIMEOUT, "Envoy to be ready", async || match self.admin_get("/ready").await {
            Ok(reply) if reply.status == 200 => Ok(()),
            Ok(reply) => Err(reply.text().trim().to_owned()),
            Err(cause) => Err(cause.to_string()),
        })
        .await;
    }

    /// The address of its admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// `GET` at the admin interface.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin_get(&self, path: &str) -> Result<Reply, crate::client::CallError> {
        Call::get(self.admin, path).send().await
    }

    /// `/config_dump` as JSON, with the endpoints.
    ///
    /// # Panics
    /// When Envoy does not answer.
    pub async fn config_dump(&self) -> Value {
        self.admin_get("/config_dump?include_eds").await.expect("Envoy's admin answers").json()
    }

    /// The value of a counter or gauge by its full name; 0 when it is not there.
    ///
    /// # Panics
    /// When Envoy does not answer.
    pub async fn stat(&self, name: &str) -> u64 {
        let stats = self.admin_get("/stats?format=text").await.expect("Envoy's admin answers").text();
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// The folder of this Envoy, for sockets and files of the test; it goes with the value.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process: its log, signals, end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn launch(config: &Path, home: &Path, options: &EnvoyOptions, folder: &Path) -> Process {
    let mut command = Command::new(places::envoy());
    command.current_dir(home).arg("--config-path").arg(config).args(["--config-yaml", ADMIN]);
    command.arg("--admin-address-path").arg(folder.join("admin"));
    // Hot restart would need an id that no other Envoy has, and leaves shared memory behind when killed.
    command.args(["--disable-hot-restart", "--log-level", "info"]);
    command.args(["--concurrency", &options.concurrency.to_string()]);
    command.args(["--drain-time-s", &options.drain_time_s.to_string()]);
    if !options.component_log_level.is_empty() {
        command.args(["--component-log-level", &options.component_log_level]);
    }
    Process::start("envoy", command, &folder.join("log"))
}

async fn admin_address(process: &mut Process, path: &Path) -> SocketAddr {
    wait_until(START_TIMEOUT, "Envoy's admin address", async || {
        if let Some(status) = process.ended() {
            panic!("Envoy ended with {status}");
        }
        let text = std::fs::read_to_string(path).map_err(|cause| cause.to_string())?;
        text.trim().parse().map_err(|cause| format!("{text}: {cause}"))
    })
    .await
}

fn written(bootstrap: &str, folder: &Path) -> PathBuf {
    // Envoy chooses the parser by the name's end; JSON is YAML too.
    let path = folder.join("bootstrap.yaml");
    std::fs::write(&path, bootstrap).expect("the bootstrap can be written");
    path
}

/// Asks the real Envoy about a bootstrap, YAML or JSON (`--mode validate`).
///
/// It looks at nothing that comes by path or by xDS: what is to be judged must be in it, inlined.
///
/// # Errors
/// Envoy's own words when it refuses.
pub fn validate(bootstrap: &str) -> Result<(), String> {
    judge("bootstrap.yaml", bootstrap.as_bytes())
}

/// The same of an encoded `envoy.config.bootstrap.v3.Bootstrap`.
///
/// # Errors
/// Envoy's own words when it refuses.
pub fn validate_encoded(bootstrap: &[u8]) -> Result<(), String> {
    judge("bootstrap.pb", bootstrap)
}

/// Envoy chooses the parser by the end of the file's name.
fn judge(name: &str, bootstrap: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join(name);
    std::fs::write(&config, bootstrap).expect("the bootstrap can be written");
    let mut command = Command::new(places::envoy());
    command.args(["--mode", "validate", "--log-level", "error", "--disable-hot-restart", "--config-path"]).arg(config);
    let output = command.output().expect("Envoy can be run");
    if output.status.success() {
        return Ok(());
    }
    let words = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&words).trim().to_owned())
}
