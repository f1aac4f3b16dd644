//! A folder that declares things, a state folder beside it, and the server on both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::server::{ServerOptions, ServerProcess};
use windrose_tests::tls::TlsClient;
use windrose_tests::wait::wait_until;

/// How long a change may take to show, on a machine that is busy: only what never comes is to be found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The folders, and the address of the server.
pub(crate) struct Place {
    pub(crate) home: Loopback,
    folder: TempDir,
}

impl Place {
    /// A folder with these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { home: Loopback::claim(), folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.declared()).unwrap();
        files.iter().for_each(|(name, text)| place.write(name, text));
        place
    }

    /// A path beside the folder that is served.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that is served.
    pub(crate) fn declared(&self) -> PathBuf {
        self.beside("declared")
    }

    /// Writes a file of it in place, as a careless editor does.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.declared().join(name), text).unwrap();
    }

    /// What a server is started with here.
    pub(crate) fn options(&self) -> ServerOptions {
        self.options_with_state(&self.beside("state"))
    }

    /// The same with another state folder.
    pub(crate) fn options_with_state(&self, state: &Path) -> ServerOptions {
        ServerOptions::new(&self.declared(), state, &self.home)
    }

    /// A server that is ready.
    pub(crate) async fn serve(&self) -> ServerProcess {
        ServerProcess::start(&self.options()).await
    }
}

/// What `windrose status` says, as JSON.
pub(crate) fn status(server: &ServerProcess) -> Value {
    let output = server.ask(&["status", "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Names of the objects of a kind in the status.
pub(crate) fn names(status: &Value, kind: &str) -> Vec<String> {
    let objects = status["objects"].as_array().into_iter().flatten().filter(|object| object["kind"] == kind);
    objects.filter_map(|object| object["name"].as_str().map(str::to_owned)).collect()
}

/// Waits until the status is as wanted.
pub(crate) async fn until(server: &ServerProcess, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_until(PATIENCE, what, async || {
        let status = status(server);
        if wanted(&status) { Ok(status) } else { Err(status.to_string()) }
    })
    .await
}

/// A Service that nobody uses.
pub(crate) fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  ports:\n  - name: http\n    port: {port}\n"
    )
}

/// A Workload without anything.
pub(crate) fn workload(name: &str, home: &Loopback) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1\nkind: Workload\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ serviceAccount: {name}, address: \"{}\" }}\n",
        home.ip()
    )
}

/// What the server says to one who comes with this token: `let in`, or its refusal.
pub(crate) async fn knock(server: SocketAddr, token: &str) -> String {
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let call = Call::post(server, path, "").http2().tls(&TlsClient::trusting_anyone(), "localhost");
    let reply = call.header("content-type", "application/grpc").bearer(token).send().await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(cause) => return cause.to_string(),
    };
    let said = |name: &str| {
        let value = reply.headers.get(name).or_else(|| reply.trailers.get(name));
        value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    match said("grpc-status").as_str() {
        "16" => said("grpc-message"),
        _ => "let in".to_owned(),
    }
}
