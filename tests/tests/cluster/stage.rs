//! A namespace of a real cluster for one story, and `kubectl` to tell it.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::skip;
use windrose_tests::wait::wait_until;

/// For images that start, addresses that are assigned and Envoys that connect, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Answers with the request as JSON: the backend of the official conformance suite.
const ECHO: &str = "registry.k8s.io/gateway-api/echo-basic:v1.5.1";
/// Where Windrose is installed.
pub(crate) const SYSTEM: &str = "windrose-system";

/// What the control plane and its roles are called.
pub(crate) const NAME: &str = "windrose";

/// Held by a story beside which no other may be told.
static INSTALLATION: RwLock<()> = RwLock::new(());

/// One story's namespace; it goes with the story.
pub(crate) struct Stage {
    pub(crate) namespace: String,
    config: String,
    _beside_others: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

impl Stage {
    /// A fresh namespace; none where no cluster is named.
    pub(crate) fn open(story: &str) -> Option<Self> {
        let guard = INSTALLATION.read().unwrap_or_else(PoisonError::into_inner);
        Self::set(story, Some(guard), None)
    }

    /// The same, for a story that disturbs the whole installation.
    pub(crate) fn open_alone(story: &str) -> Option<Self> {
        let guard = INSTALLATION.write().unwrap_or_else(PoisonError::into_inner);
        Self::set(story, None, Some(guard))
    }

    fn set(story: &str, beside_others: Option<RwLockReadGuard<'static, ()>>, alone: Option<RwLockWriteGuard<'static, ()>>) -> Option<Self> {
        let Some(config) = std::env::var("WINDROSE_TEST_CLUSTER").ok().filter(|config| !config.is_empty()) else {
            skip::because("no cluster: WINDROSE_TEST_CLUSTER names no kubeconfig (`make cluster-test` makes one)");
            return None;
        };
        let stage = Self { namespace: format!("windrose-test-{story}"), config, _beside_others: beside_others, _alone: alone };
        stage.try_kubectl(&["delete", "namespace", &stage.namespace, "--ignore-not-found", "--wait=true"], None).unwrap();
        stage.kubectl(&["create", "namespace", &stage.namespace]);
        Some(stage)
    }

    /// Runs the `windrose` that is installed, as a person would; what it prints, also where it says that something is wrong.
    pub(crate) fn windrose(&self, arguments: &[&str]) -> String {
        self.windrose_and_words(arguments).0
    }

    /// The same, with what it says beside.
    pub(crate) fn windrose_and_words(&self, arguments: &[&str]) -> (String, String) {
        let binary = std::env::var_os("WINDROSE_BIN").expect("WINDROSE_BIN names the binary that is installed");
        let output = Command::new(binary).env("KUBECONFIG", &self.config).args(arguments).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.stdout.is_empty(), "windrose {}: {words}", arguments.join(" "));
        (String::from_utf8(output.stdout).unwrap(), words)
    }

    /// Runs `kubectl` in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, None).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
    }

    /// Runs `kubectl` in the namespace, and goes on beside it.
    pub(crate) fn start_kubectl(&self, arguments: &[&str], output: Stdio, errors: Stdio) -> Started {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.config).args(["--namespace", &self.namespace]).args(arguments);
        Started(command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap())
    }

    /// Waits until every replica of the control plane runs what its Deployment says.
    pub(crate) fn rolled_out(&self) {
        self.kubectl(&["-n", SYSTEM, "rollout", "status", "deployment", NAME, "--timeout=180s"]);
    }

    /// Applies objects.
    pub(crate) fn apply(&self, yaml: &str) {
        self.try_kubectl(&["apply", "--server-side", "-f", "-"], Some(yaml)).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    pub(crate) fn try_kubectl(&self, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        self.try_anywhere(&[&["--namespace", &self.namespace], arguments].concat(), input)
    }

    /// The same for objects that name their namespaces.
    pub(crate) fn anywhere(&self, arguments: &[&str], input: &str) {
        self.try_anywhere(arguments, Some(input)).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")));
    }

    pub(crate) fn try_anywhere(&self, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        self.run(arguments, input).map(|(output, _)| output)
    }

    /// What `kubectl` prints, and its warnings; or why it fails.
    pub(crate) fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<(String, String), String> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.config).args(arguments);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| format!("kubectl: {cause}"))?;
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|cause| cause.to_string())?;
        }
        let output = child.wait_with_output().map_err(|cause| cause.to_string())?;
        let [told, beside] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if output.status.success() { Ok((told, beside)) } else { Err(beside) }
    }

    /// An object as JSON.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// Starts a backend that answers with the request, and waits until it can.
    pub(crate) async fn backend(&self, name: &str, replicas: u32) {
        self.apply(&format!(
            r"
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ selector: {{ app: {name} }}, ports: [{{ name: http, port: 8080, targetPort: 3000 }}] }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name} }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: echo
        image: {ECHO}
        env:
        - {{ name: POD_NAME, valueFrom: {{ fieldRef: {{ fieldPath: metadata.name }} }} }}
        - {{ name: NAMESPACE, valueFrom: {{ fieldRef: {{ fieldPath: metadata.namespace }} }} }}
"
        ));
        let wanted = replicas.to_string();
        wait_until(PATIENCE, "the backend", async || {
            let ready = self.kubectl(&["get", "deployment", name, "-o", "jsonpath={.status.readyReplicas}"]);
            if ready == wanted { Ok(()) } else { Err(format!("{ready} of {wanted}")) }
        })
        .await;
    }

    /// A Deployment with these labels that is called as the control plane's is, and runs nothing.
    pub(crate) fn installation_without_pods(&self, labels: &str) {
        self.apply(&format!(
            r"
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {NAME}, labels: {labels} }}
spec:
  replicas: 0
  selector: {{ matchLabels: {{ app: none }} }}
  template:
    metadata: {{ labels: {{ app: none }} }}
    spec: {{ containers: [{{ name: none, image: none }}] }}
"
        ));
    }

    /// Waits until nothing of these kinds carries the labels.
    pub(crate) async fn gone(&self, kinds: &str, labels: &str) {
        wait_until(PATIENCE, "it to be gone", async || {
            let left = self.kubectl(&["get", kinds, "-l", labels, "-o", "name"]);
            if left.trim().is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }

    /// A class of ours with parameters; it is of no namespace, so whoever makes it takes it away.
    pub(crate) fn class(&self, name: &str, parameters: &str) {
        self.apply(&gateway_parameters(name, parameters));
        self.apply(&format!(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{ name: {name} }}
spec:
  controllerName: windrose.dev/gateway-controller
  parametersRef: {{ group: windrose.dev, kind: GatewayParameters, name: {name}, namespace: {namespace} }}
",
            namespace = self.namespace
        ));
    }

    /// A Gateway of one HTTP listener, and a route of all requests to a backend.
    pub(crate) fn gateway(&self, name: &str, backend: &str) {
        self.gateway_as(name, "gatewayClassName: windrose, listeners: [{ name: http, port: 80, protocol: HTTP }]", backend);
    }

    /// The same of any Gateway.
    pub(crate) fn gateway_as(&self, name: &str, spec: &str, backend: &str) {
        self.apply(&format!(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name} }}
spec: {{ {spec} }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs: [{{ name: {name} }}]
  rules: [{{ backendRefs: [{{ name: {backend}, port: 8080 }}] }}]
"
        ));
    }

    /// A Gateway of one HTTP listener without routes, whose Envoys are run by these `GatewayParameters`.
    pub(crate) fn gateway_with(&self, name: &str, parameters: &str) {
        self.apply(&gateway_parameters(name, parameters));
        self.apply(&format!(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name} }}
spec:
  gatewayClassName: windrose
  listeners: [{{ name: http, port: 80, protocol: HTTP }}]
  infrastructure: {{ parametersRef: {{ group: windrose.dev, kind: GatewayParameters, name: {name} }} }}
"
        ));
    }

    /// A route of the Gateway `edge` to the backend `echo`, for paths that match a regular expression.
    pub(crate) fn regex_route(&self, name: &str, pattern: &str) {
        self.apply(&format!(
            r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name} }}
spec:
  parentRefs: [{{ name: edge }}]
  rules:
  - matches: [{{ path: {{ type: RegularExpression, value: '{pattern}' }} }}]
    backendRefs: [{{ name: echo, port: 8080 }}]
"
        ));
    }

    /// What the status of a route says once Envoy has refused it.
    pub(crate) async fn refused(&self, route: &str) -> Value {
        wait_until(PATIENCE, "Envoy's words", async || {
            let route = self.object("httproute", route);
            let programmed = condition(&route["status"]["parents"][0]["conditions"], "Programmed");
            if programmed["reason"] == "RefusedByEnvoy" { Ok(programmed) } else { Err(route["status"].to_string()) }
        })
        .await
    }

    /// Two backends, and a Gateway that sends all requests to the first of them; the call that it answers.
    pub(crate) async fn two_backends(&self, first: &str, other: &str) -> Call {
        self.backend(first, 1).await;
        self.backend(other, 1).await;
        self.gateway("edge", first);
        let call = Call::get(self.address("edge", 80).await, "/");
        self.answered(&call, first).await;
        call
    }

    /// The address of a Gateway, once its status says that it is programmed.
    pub(crate) async fn address(&self, gateway: &str, port: u16) -> SocketAddr {
        wait_until(PATIENCE, "the Gateway to be programmed", async || {
            let status = self.object("gateway", gateway)["status"].take();
            let programmed = condition(&status["conditions"], "Programmed");
            if programmed["status"] != "True" {
                return Err(format!("{programmed}"));
            }
            let address = status["addresses"][0]["value"].as_str().unwrap_or_default();
            address.parse().map(|ip| SocketAddr::new(ip, port)).map_err(|_| format!("no address: {status}"))
        })
        .await
    }

    /// Waits until a call is answered by a Pod of that backend.
    pub(crate) async fn answered(&self, call: &Call, backend: &str) {
        wait_until(PATIENCE, "the answer", async || match call.send().await {
            Ok(reply) if reply.status == 200 && reply.json()["pod"].as_str().is_some_and(|pod| pod.starts_with(backend)) => Ok(()),
            Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }
}

/// The control plane, switched off meanwhile; dropping it brings it back, also where the story fails.
pub(crate) struct Off<'a>(&'a Stage);

impl<'a> Off<'a> {
    pub(crate) fn switch(stage: &'a Stage) -> Self {
        stage.kubectl(&["-n", SYSTEM, "scale", "deployment", NAME, "--replicas=0"]);
        let gone = ["-n", SYSTEM, "wait", "pod", "--for=delete", "-l", "app.kubernetes.io/component=controller", "--timeout=120s"];
        stage.kubectl(&gone);
        Self(stage)
    }
}

impl Drop for Off<'_> {
    #[expect(clippy::print_stderr, reason = "whoever reads why the next story failed")]
    fn drop(&mut self) {
        let back = self.0.try_kubectl(&["-n", SYSTEM, "scale", "deployment", NAME, "--replicas=2"], None);
        let ready = self.0.try_kubectl(&["-n", SYSTEM, "rollout", "status", "deployment", NAME, "--timeout=180s"], None);
        for error in [back.err(), ready.err()].into_iter().flatten() {
            eprintln!("the control plane is not back: {error}");
        }
    }
}

/// A command that runs beside a story, and ends with it.
pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    /// What whoever reads of a story that failed wants to know and cannot ask any more.
    #[expect(clippy::print_stderr, reason = "what a failed test says")]
    fn tell_what_there_was(&self) {
        let controllers = ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/component=controller", "--prefix", "--tail=40"];
        let asked: [&[&str]; 4] = [
            &["get", "gateways,httproutes", "-o", "yaml"],
            &["get", "pods", "-o", "wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &controllers,
        ];
        for arguments in asked {
            let told = self.try_kubectl(arguments, None).unwrap_or_else(|error| error);
            eprintln!("== {}: kubectl {}\n{told}", self.namespace, arguments.join(" "));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_what_there_was();
        }
        let _ = self.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], None);
    }
}

/// How Envoys are run.
pub(crate) fn gateway_parameters(name: &str, spec: &str) -> String {
    format!("apiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

/// Whether the definitions of Gateway API are those of v1.7, which has more fields.
pub(crate) fn is_newer() -> bool {
    std::env::var("WINDROSE_TEST_GATEWAY_API").is_ok_and(|version| version.starts_with("v1.7"))
}

/// The condition of a type.
pub(crate) fn condition(conditions: &Value, kind: &str) -> Value {
    let mut all = conditions.as_array().into_iter().flatten();
    all.rfind(|one| one["type"] == kind).cloned().unwrap_or_default()
}
