//! The real `windrose serve` as a process: its folder, its state, its addresses; and what its command line says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::address::Loopback;
use crate::client::{Call, CallError, Reply};
use crate::places;
use crate::process::Process;
use crate::wait::wait_until;

/// How long a server may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a server reads, keeps and listens. Starting twice with the same value is a restart.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The folder (or file) that declares what to serve.
    pub folder: PathBuf,
    /// Keys and last-good state.
    pub state: PathBuf,
    /// Where Envoys connect.
    pub xds: SocketAddr,
    /// Readiness, metrics and the API of the command line.
    pub admin: SocketAddr,
    /// More arguments.
    pub arguments: Vec<String>,
}

impl ServerOptions {
    /// Port 18000 for xDS and 18001 for admin at `home`.
    pub fn new(folder: &Path, state: &Path, home: &Loopback) -> Self {
        Self { folder: folder.to_owned(), state: state.to_owned(), xds: home.port(18_000), admin: home.port(18_001), arguments: Vec::new() }
    }
}

/// A running control plane; dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    process: Process,
    options: ServerOptions,
}

impl ServerProcess {
    /// Starts it and waits until `/readyz` says yes. Its log is `server.log` in the state folder's parent.
    ///
    /// # Panics
    /// When it does not become ready; its last words are shown.
    pub async fn start(options: &ServerOptions) -> Self {
        let mut server = Self::launch(options);
        wait_until(START_TIMEOUT, "the server to be ready", async || {
            if let Some(status) = server.process.ended() {
                panic!("windrose serve ended with {status}");
            }
            match server.admin_get("/readyz").await {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(reply.text()),
                Err(cause) => Err(cause.to_string()),
            }
        })
        .await;
        server
    }

    /// Starts it and waits for nothing: for a server that is expected to refuse.
    pub fn launch(options: &ServerOptions) -> Self {
        let mut command = Command::new(places::windrose());
        command.arg("serve").arg(&options.folder).arg("--state").arg(&options.state);
        command.args(["--listen", &options.xds.to_string(), "--admin", &options.admin.to_string()]);
        command.args(&options.arguments);
        let log = options.state.parent().unwrap_or(&options.state).join("server.log");
        Self { process: Process::start("windrose", command, &log), options: options.clone() }
    }

    /// What it was started with.
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// The process: its log, signals, end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All that it has logged, restarts included.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `GET` at its admin address.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn admin_get(&self, path: &str) -> Result<Reply, CallError> {
        Call::get(self.options.admin, path).send().await
    }

    /// Writes the bootstrap of a proxy (`--gateway shop/edge` is `("gateway", "shop/edge")`) into `folder`, over one that is there;
    /// Envoy starts there by `EnvoyProcess::start_in`.
    ///
    /// # Panics
    /// When the command fails; its words are shown.
    pub fn bootstrap(&self, role: &str, name: &str, folder: &Path, more: &[&str]) {
        let state = self.options.state.to_string_lossy();
        let (role, server) = (format!("--{role}"), self.options.xds.to_string());
        let folder = folder.to_string_lossy();
        let arguments = ["bootstrap", &role, name, "-O", &folder, "--server", &server, "--state", &state];
        let over: &[&str] = if more.contains(&"--renew") { &[] } else { &["--force"] };
        let output = windrose(&[&arguments, over, more].concat());
        assert!(output.status.success(), "windrose bootstrap: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a subcommand that asks this server, such as `status -o json`.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let state = self.options.state.to_string_lossy();
        windrose(&[arguments, &["--state", &state]].concat())
    }
}

/// Runs `windrose` with these arguments to its end.
///
/// # Panics
/// When it cannot be started.
pub fn windrose(arguments: &[&str]) -> Output {
    Command::new(places::windrose()).args(arguments).output().expect("windrose can be run")
}
