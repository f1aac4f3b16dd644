//! What the stories share: a folder of declared YAML, the real server on it, bootstraps for its proxies, its word on
//! status; and the pieces of YAML they are written in.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Reply};
use windrose_tests::envoy::{EnvoyOptions, EnvoyProcess};
use windrose_tests::server::{ServerOptions, ServerProcess};
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;

/// How long a change may take to show, on a machine that is busy: only what never comes is to be found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running server and its folder; dropping it ends the server.
pub(crate) struct Stage {
    pub(crate) home: Loopback,
    pub(crate) server: ServerProcess,
    place: TempDir,
}

impl Stage {
    /// Starts the server on one file with this text.
    pub(crate) async fn set(home: Loopback, declared: &str) -> Self {
        Self::set_with(home, declared, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn set_with(home: Loopback, declared: &str, arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("declared");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("shop.yaml"), declared).unwrap();
        let mut options = ServerOptions::new(&folder, &place.path().join("state"), &home);
        options.arguments = arguments.iter().map(ToString::to_string).collect();
        let server = ServerProcess::start(&options).await;
        Self { home, server, place }
    }

    /// Replaces a file as a careful editor does: whole, then renamed.
    pub(crate) fn declare(&self, file: &str, text: &str) {
        let folder = &self.server.options().folder;
        let new = folder.join(format!("{file}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.join(file)).unwrap();
    }

    /// Kills the server (SIGKILL) and starts it again with the same folders and addresses.
    pub(crate) async fn kill_and_restart(&mut self) {
        let options = self.server.options().clone();
        self.server.process().kill();
        self.server = ServerProcess::start(&options).await;
    }

    /// Writes a bootstrap and starts Envoy with it: role `gateway` or `workload`, a name of namespace `shop`.
    pub(crate) async fn envoy(&self, role: &str, name: &str, more: &[&str]) -> EnvoyProcess {
        self.server.bootstrap(role, &format!("shop/{name}"), &self.envoy_home(name), more);
        self.same_envoy(name).await
    }

    /// The same with a bootstrap that was made for this place and written in another.
    pub(crate) async fn moved_envoy(&self, role: &str, name: &str, more: &[&str]) -> EnvoyProcess {
        let (written, home) = (self.envoy_home("written"), self.envoy_home(name));
        self.server.bootstrap(role, &format!("shop/{name}"), &written, &[&["--at", &home.to_string_lossy()], more].concat());
        std::fs::rename(written, home).unwrap();
        self.same_envoy(name).await
    }

    /// Makes a new credential in the folder of an Envoy.
    pub(crate) fn renew(&self, role: &str, name: &str, more: &[&str]) {
        self.server.bootstrap(role, &format!("shop/{name}"), &self.envoy_home(name), &[&["--renew"], more].concat());
    }

    /// The same, where connections of a listener that changed may stay for so many seconds.
    pub(crate) async fn envoy_that_drains(&self, role: &str, name: &str, more: &[&str], drain_time_s: u32) -> EnvoyProcess {
        self.server.bootstrap(role, &format!("shop/{name}"), &self.envoy_home(name), more);
        EnvoyProcess::start_in(&self.envoy_home(name), &EnvoyOptions { drain_time_s, ..EnvoyOptions::default() }).await
    }

    /// Starts Envoy with the bootstrap that was written before.
    pub(crate) async fn same_envoy(&self, name: &str) -> EnvoyProcess {
        EnvoyProcess::start_in(&self.envoy_home(name), &EnvoyOptions::default()).await
    }

    /// Starts the Envoy of a Gateway with this bearer token in the place of its own; it may never be ready.
    pub(crate) async fn envoy_with_token(&self, name: &str, token: &str) -> EnvoyProcess {
        let home = self.envoy_home(name);
        self.server.bootstrap("gateway", &format!("shop/{name}"), &home, &["--identity", "token"]);
        std::fs::write(home.join("credential/token"), token).unwrap();
        EnvoyProcess::start_in(&home, &EnvoyOptions { until_ready: false, ..EnvoyOptions::default() }).await
    }

    /// Somebody with the keys of the mesh that this server made.
    pub(crate) fn thief(&self) -> TestAuthority {
        let file = |name: &str| std::fs::read_to_string(self.server.options().state.join(name)).unwrap();
        TestAuthority::stolen(&file("root.pem"), &file("intermediate.pem"))
    }

    fn envoy_home(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// What `windrose status` or `windrose proxies` says, as JSON.
    pub(crate) fn ask(&self, subcommand: &str) -> Value {
        let output = self.server.ask(&[subcommand, "-o", "json"]);
        // Its exit code tells whether all is well; here its words count.
        serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Waits until this proxy is connected and has acknowledged everything.
    pub(crate) async fn synced(&self, proxy: &str) {
        wait_until(PATIENCE, &format!("{proxy} to be in step"), async || {
            let all = self.ask("proxies");
            let found = list(&all, "proxies").into_iter().any(|one| one["proxy"] == proxy && one["synced"] == true);
            if found { Ok(()) } else { Err(all.to_string()) }
        })
        .await;
    }

    /// The report of one object (`Kind`, name) as the status has it now.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let status = self.ask("status");
        let found = list(&status, "objects").into_iter().find(|one| one["kind"] == kind && one["name"] == name);
        found.unwrap_or_else(|| panic!("{kind}/{name} is not in {status}"))
    }
}

/// A list, be it the answer itself or a field of it.
fn list(answer: &Value, field: &str) -> Vec<Value> {
    answer.as_array().or_else(|| answer[field].as_array()).cloned().unwrap_or_default()
}

/// Calls until the answer is as wanted.
pub(crate) async fn until(call: &Call, what: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
    wait_until(PATIENCE, what, async || {
        let reply = call.send().await.map_err(|cause| cause.to_string())?;
        if wanted(&reply) { Ok(reply) } else { Err(format!("{} {}", reply.status, reply.text())) }
    })
    .await
}

/// Calls until this echo server answers.
pub(crate) async fn answered_by(call: &Call, name: &str) {
    until(call, &format!("an answer of {name}"), |reply| reply.header("x-echo-server") == name).await;
}

/// Waits until Envoy's counter or gauge has this value.
pub(crate) async fn counted(envoy: &EnvoyProcess, name: &str, value: u64) {
    wait_until(PATIENCE, &format!("{name} to be {value}"), async || match envoy.stat(name).await {
        now if now == value => Ok(()),
        now => Err(now.to_string()),
    })
    .await;
}

/// Waits until Envoy's counter is more than this.
pub(crate) async fn beyond(envoy: &EnvoyProcess, name: &str, count: u64) {
    wait_until(PATIENCE, &format!("{name} to grow"), async || match envoy.stat(name).await {
        now if now > count => Ok(()),
        now => Err(now.to_string()),
    })
    .await;
}

/// Waits until nobody listens there any more.
pub(crate) async fn free(at: SocketAddr) {
    wait_until(PATIENCE, "the port to be free", async || TcpListener::bind(at).map(drop).map_err(|cause| cause.to_string())).await;
}

/// A call to a sidecar of Service `web` as somebody with this certificate.
pub(crate) fn showing(identity: &Identity, call: &Call) -> Call {
    call.clone().host("web.shop").tls(&TlsClient::trusting_anyone().showing(identity), "web.shop")
}

/// Joins documents to a file.
pub(crate) fn documents(all: &[String]) -> String {
    all.join("\n---\n")
}

/// The Gateway `edge` with one HTTP listener for each name and address; all on the address of the first.
pub(crate) fn gateway(listeners: &[(&str, SocketAddr)]) -> String {
    let ip = listeners[0].1.ip();
    let listeners: Vec<_> = listeners.iter().map(|(name, at)| format!("{{ name: {name}, port: {}, protocol: HTTP }}", at.port())).collect();
    gateway_of(ip, &format!("[{}]", listeners.join(", ")))
}

/// The Gateway `edge` at an address, with these listeners as YAML writes them.
pub(crate) fn gateway_of(ip: IpAddr, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: windrose
  addresses: [{{ type: IPAddress, value: \"{ip}\" }}]
  listeners: {listeners}"
    )
}

/// A Service with port 80.
pub(crate) fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ ports: [{{ name: http, port: 80 }}] }}")
}

/// The one endpoint of a Service.
pub(crate) fn endpoint(service: &str, at: SocketAddr) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {service}-1, namespace: shop, labels: {{ kubernetes.io/service-name: {service} }} }}
addressType: IPv4
ports: [{{ name: http, port: {} }}]
endpoints: [{{ addresses: [\"{}\"] }}]",
        at.port(),
        at.ip()
    )
}

/// An HTTPRoute of the edge from a match (`matches: [...]` content, in flow style) to a Service.
pub(crate) fn route(name: &str, matching: &str, service: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: shop }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ matches: [{{ path: {matching} }}], backendRefs: [{{ name: {service}, port: 80 }}] }}]"
    )
}

/// The same route for one host, as YAML writes it.
pub(crate) fn at_host(host: &str, route: &str) -> String {
    route.replace("  rules: [", &format!("  hostnames: [{host}]\n  rules: ["))
}

/// A Workload with a service account of its own name. `serves`: service, sidecar's port, application's port.
/// `calls`: service, port on which its sidecar listens for it.
pub(crate) fn workload(name: &str, at: IpAddr, serves: &[(&str, u16, u16)], calls: &[(&str, u16)]) -> String {
    let serves = serves.iter().map(|(service, listen, application)| {
        format!("{{ service: {service}, port: 80, listen: {listen}, application: \"{at}:{application}\" }}")
    });
    let calls = calls.iter().map(|(service, listen)| format!("{{ service: {service}, port: 80, listen: \"{at}:{listen}\" }}"));
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: Workload
metadata: {{ name: {name}, namespace: shop }}
spec:
  serviceAccount: {name}
  address: \"{at}\"
  serves: [{}]
  calls: [{}]",
        serves.collect::<Vec<_>>().join(", "),
        calls.collect::<Vec<_>>().join(", ")
    )
}

/// The match of every path.
pub(crate) const EVERYTHING: &str = "{ type: PathPrefix, value: / }";

/// An AuthPolicy that lets nobody by to an HTTPRoute: nobody has the key. Its name is that of the route.
pub(crate) fn closed(route: &str) -> String {
    format!(
        "apiVersion: windrose.dev/v1alpha1
kind: AuthPolicy
metadata: {{ name: {route}, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {route} }}]
  jwt:
    - name: nobody
      issuer: https://nobody.example
      audiences: [nobody]
      jwks: {{ inline: '{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}}]}}' }}"
    )
}
