//! Each right of the control plane is one that it uses, and it needs no other: what it asks the API server for is written down by a proxy.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use serde_json::{Value, json};
use windrose_tests::wait::wait_until;

use crate::rights::{Right, owned_by_namespace, rights, role};
use crate::stage::{NAME, PATIENCE, SYSTEM, Stage, condition};

/// Rights that no ordinary day uses, each with what uses it.
const RARELY: [(&str, &str, &str, &str); 4] = [
    (
        "update",
        "gateways/finalizers",
        "gateway.networking.k8s.io",
        "asked for by the admission plugin OwnerReferencesPermissionEnforcement",
    ),
    ("patch", "secrets", "", "an authority that is renewed: once in years"),
    ("list", "clustertrustbundles", "certificates.k8s.io", "only where the cluster has the kind, which is not on everywhere"),
    ("watch", "clustertrustbundles", "certificates.k8s.io", "the same"),
];

/// What makes the control plane ask through a proxy.
const PROXY: &str = "windrose-test-proxy";

/// It is not asked for by HTTP, but the image has no other that a client could start with.
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_uses_each_right_that_it_has_and_needs_no_other() {
    let Some(stage) = Stage::open_alone("uses") else { return };
    stage.backend("echo", 1).await;
    let given: BTreeSet<Right> = ["clusterrole", "role"]
        .iter()
        .flat_map(|kind| role(&stage, kind)["rules"].take().as_array().unwrap().clone())
        .flat_map(|rule| rights(&rule))
        .collect();
    let rarely: BTreeSet<Right> = RARELY.iter().map(|(verb, resource, group, _)| Right::new(verb, resource, group)).collect();
    assert!(rarely.is_subset(&given), "the table names a right that nobody has: {rarely:?}");

    let listened = Listened::start(&stage).await;
    let unused = || {
        let used = listened.used();
        given.difference(&rarely).filter(|right| !used.contains(right)).map(Right::words).collect::<Vec<_>>()
    };
    live(&stage).await;
    wait_until(PATIENCE, "each right to be used", async || {
        let unused = unused();
        if unused.is_empty() { Ok(()) } else { Err(format!("nobody used: {}", unused.join(", "))) }
    })
    .await;
    assert_eq!(listened.forbidden(), Vec::<String>::new(), "it asks for what it has no right to");
}

/// The control plane, made to ask through a proxy that writes down what is asked, in the name of its account.
struct Listened<'a> {
    stage: &'a Stage,
    keys: Value,
    log: tempfile::NamedTempFile,
    _proxy: crate::stage::Started,
}

impl<'a> Listened<'a> {
    async fn start(stage: &'a Stage) -> Self {
        let (out, log) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let file = |of: &tempfile::NamedTempFile| File::create(of.path()).unwrap().into();
        let account = format!("--as=system:serviceaccount:{SYSTEM}:{NAME}");
        let address = format!("--address={}", our_address(stage));
        let proxy = stage.start_kubectl(&["proxy", &account, &address, "--port=0", "--accept-hosts=.*", "-v=6"], file(&out), file(&log));
        let at = wait_until(PATIENCE, "the proxy", async || {
            let said = std::fs::read_to_string(out.path()).unwrap();
            said.split_whitespace().last().and_then(|word| word.parse::<SocketAddr>().ok()).ok_or(said)
        })
        .await;
        let keys = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "windrose-keys", "namespace": SYSTEM},
            "type": "windrose.dev/keys",
            "data": serde_json::from_str::<Value>(&stage.kubectl(&["-n", SYSTEM, "get", "secret", "windrose-keys", "-o", "json"])).unwrap()["data"],
        });
        let listened = Self { stage, keys, log, _proxy: proxy };
        // As on the first day: nobody leads, and there are no keys.
        listened.empty().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{at}"), "certificate-authority": AUTHORITY}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": ""}}],
        });
        stage.kubectl(&["-n", SYSTEM, "create", "configmap", PROXY, &format!("--from-literal=config={config}")]);
        let patch = json!({"spec": {"replicas": 2, "template": {"spec": {
            "volumes": [{"name": "proxy", "configMap": {"name": PROXY}}],
            "containers": [{
                "name": NAME,
                "env": [{"name": "KUBECONFIG", "value": "/proxy/config"}],
                "volumeMounts": [{"name": "proxy", "mountPath": "/proxy"}],
            }],
        }}}});
        stage.kubectl(&["-n", SYSTEM, "patch", "deployment", NAME, "-p", &patch.to_string()]);
        stage.rolled_out();
        listened
    }

    /// No replica, no Lease, no keys.
    fn empty(&self) -> Result<(), String> {
        let system = |arguments: &[&str]| self.stage.try_kubectl(&[&["-n", SYSTEM], arguments].concat(), None);
        system(&["scale", "deployment", NAME, "--replicas=0"])?;
        system(&["wait", "pod", "--for=delete", "-l", "app.kubernetes.io/component=controller", "--timeout=120s"])?;
        system(&["delete", "lease/windrose-leader", "secret/windrose-keys", "--ignore-not-found"])?;
        Ok(())
    }

    /// What was asked and answered so far.
    fn used(&self) -> BTreeSet<Right> {
        std::fs::read_to_string(self.log.path()).unwrap().lines().flat_map(asked).collect()
    }

    /// What was asked without a right to it. In the namespaces of other stories, which are being taken away, nobody may make anything.
    fn forbidden(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log.path()).unwrap();
        let ours = |line: &str| !line.contains("/namespaces/windrose-test-") || line.contains(&format!("/{}/", self.stage.namespace));
        let forbidden = |line: &&str| line.contains("https://") && line.contains("403 Forbidden") && ours(line);
        log.lines().filter(forbidden).map(str::to_owned).collect()
    }
}

impl Drop for Listened<'_> {
    #[expect(clippy::print_stderr, reason = "a failure here must not hide that of the story")]
    fn drop(&mut self) {
        let system = |arguments: &[&str], input: Option<&str>| {
            if let Err(error) = self.stage.try_kubectl(&[&["-n", SYSTEM], arguments].concat(), input) {
                eprintln!("the installation is not as before: {error}");
            }
        };
        // With its former keys, so that Envoys from before the story trust it.
        system(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&self.keys.to_string()));
        system(&["rollout", "undo", "deployment", NAME], None);
        system(&["scale", "deployment", NAME, "--replicas=2"], None);
        system(&["delete", "configmap", PROXY, "--ignore-not-found"], None);
        system(&["rollout", "status", "deployment", NAME, "--timeout=180s"], None);
    }
}

/// Our address, as Pods see it.
fn our_address(stage: &Stage) -> IpAddr {
    let pod = stage.kubectl(&["get", "pod", "-o", "jsonpath={.items[0].status.podIP}"]);
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((pod.as_str(), 9)).unwrap();
    socket.local_addr().unwrap().ip()
}

/// The rights that a line of the proxy's log shows in use: `GET https://…/api/v1/pods?watch=true 200 OK in 1 milliseconds`,
/// or, since Kubernetes 1.33, `verb="GET" url="https://…" status="200 OK"`.
fn asked(line: &str) -> Vec<Right> {
    let value = |word: &str| word.rsplit_once("=\"").map_or(word, |(_, value)| value).trim_end_matches('"').to_owned();
    let words: Vec<String> = line.split(' ').map(value).collect();
    let Some(at) = words.iter().position(|word| word.starts_with("https://")) else { return Vec::new() };
    let around = (at.checked_sub(1).map(|before| words[before].as_str()), words.get(at + 1).map(String::as_str));
    let (Some(method), Some(status)) = around else { return Vec::new() };
    let (path, query) = words[at].split_once('?').unwrap_or((&words[at], ""));
    let Some((group, resource, named)) = requested(path) else { return Vec::new() };
    let watches = query.split('&').any(|one| one == "watch=true" || one == "watch=1");
    let verbs: &[&str] = match (method, status) {
        ("GET", "200") if watches => &["watch"],
        ("GET", "200") if named => &["get"],
        ("GET", "200") => &["list"],
        // An object that was not there is no failure: whoever may not get it is told otherwise.
        ("GET", "404") if named => &["get"],
        ("POST", "201") => &["create"],
        ("PUT", "200") => &["update"],
        // What is applied and not there is created, and both rights are asked for.
        ("PATCH", "201") => &["create", "patch"],
        ("PATCH", "200") => &["patch"],
        ("DELETE", "200" | "202") => &["delete"],
        _ => &[],
    };
    verbs.iter().map(|verb| Right::new(verb, &resource, group)).collect()
}

/// Of which group, of which resource with its subresource, and whether one object is named.
fn requested(url: &str) -> Option<(&str, String, bool)> {
    let (root, rest) = url.splitn(4, '/').nth(3)?.split_once('/')?;
    let (group, rest) = match root {
        "api" => ("", rest),
        "apis" => rest.split_once('/')?,
        _ => return None,
    };
    let mut parts: Vec<&str> = rest.split('/').skip(1).collect();
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts.drain(..2);
    }
    let subresource = parts.get(2).map(|subresource| format!("/{subresource}")).unwrap_or_default();
    Some((group, format!("{}{subresource}", parts.first()?), parts.len() > 1))
}

/// A Gateway's life, with every kind beside it that has a status.
async fn live(stage: &Stage) {
    let owner = owned_by_namespace(stage);
    let class = |name: &str, controller: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": name, "ownerReferences": [owner]}, "spec": {"controllerName": controller},
        })
    };
    let classes = [class("windrose-test-uses", "windrose.dev/gateway-controller"), class("windrose-test-foreign", "example.com/none")];
    stage.apply(&json!({"apiVersion": "v1", "kind": "List", "items": classes}).to_string());
    stage.apply(WORLD);
    stage.address("edge", 80).await;
    // An equal event of a few minutes is counted in the one that is there.
    for backend in ["none", "echo", "none"] {
        stage.gateway("broken", backend);
        let wanted = if backend == "echo" { "True" } else { "False" };
        wait_until(PATIENCE, "the status of the route", async || {
            let route = stage.object("httproute", "broken");
            let resolved = condition(&route["status"]["parents"][0]["conditions"], "ResolvedRefs");
            if resolved["status"] == wanted { Ok(()) } else { Err(resolved.to_string()) }
        })
        .await;
    }
    // What was made for a Gateway that another controller takes over is taken away.
    stage.kubectl(&["patch", "gateway", "edge", "--type=merge", "-p", r#"{"spec":{"gatewayClassName":"windrose-test-foreign"}}"#]);
}

const WORLD: &str = r"
apiVersion: v1
kind: Secret
metadata: { name: certificate }
type: Opaque
---
apiVersion: v1
kind: ConfigMap
metadata: { name: keys }
data: { ca.crt: none }
---
apiVersion: windrose.dev/v1alpha1
kind: GatewayParameters
metadata: { name: edge }
spec: { autoscaling: { minReplicas: 2, maxReplicas: 3 } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: windrose-test-uses
  allowedListeners: { namespaces: { from: Same } }
  infrastructure: { parametersRef: { group: windrose.dev, kind: GatewayParameters, name: edge } }
  listeners:
  - { name: http, port: 80, protocol: HTTP }
  - { name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: certificate }] } }
  - { name: tls, port: 444, protocol: TLS, tls: { mode: Passthrough } }
  - { name: tcp, port: 445, protocol: TCP }
  - { name: udp, port: 446, protocol: UDP }
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: { name: more }
spec: { parentRef: { name: edge }, listeners: [{ name: more, port: 81, protocol: HTTP }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: http }
spec:
  parentRefs: [{ name: edge, sectionName: http }]
  rules:
  - backendRefs: [{ name: echo, port: 8080 }, { name: secure, port: 443 }]
---
apiVersion: v1
kind: Service
metadata: { name: secure }
spec: { ports: [{ port: 443 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: grpc }
spec: { parentRefs: [{ name: edge, sectionName: http }], hostnames: [grpc.example], rules: [{ backendRefs: [{ name: echo, port: 8080 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: tls }
spec: { parentRefs: [{ name: edge, sectionName: tls }], hostnames: [tls.example], rules: [{ backendRefs: [{ name: echo, port: 8080 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: tcp }
spec: { parentRefs: [{ name: edge, sectionName: tcp }], rules: [{ backendRefs: [{ name: echo, port: 8080 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: { name: udp }
spec: { parentRefs: [{ name: edge, sectionName: udp }], rules: [{ backendRefs: [{ name: echo, port: 8080 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: secure }
spec:
  targetRefs: [{ group: '', kind: Service, name: secure }]
  validation: { hostname: secure.example, caCertificateRefs: [{ group: '', kind: ConfigMap, name: keys }] }
---
apiVersion: windrose.dev/v1alpha1
kind: Backend
metadata: { name: far }
spec: { endpoints: [{ host: far.example, port: 443 }] }
---
apiVersion: windrose.dev/v1alpha1
kind: Workload
metadata: { name: near }
spec: { serviceAccount: near, address: 10.0.0.12 }
---
apiVersion: windrose.dev/v1alpha1
kind: AuthPolicy
metadata: { name: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: http }]
  jwt: [{ name: main, issuer: 'https://id.example', audiences: [shop], jwks: { object: { kind: ConfigMap, name: keys } } }]
---
apiVersion: windrose.dev/v1alpha1
kind: RateLimitPolicy
metadata: { name: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: http }]
  limits: [{ name: each, key: [{ clientAddress: true }], quota: { requests: 5, window: 10s } }]
---
apiVersion: windrose.dev/v1alpha1
kind: TranscodingPolicy
metadata: { name: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: http }]
  descriptors: { configMap: none }
  services: [orders.v1.Orders]
---
apiVersion: windrose.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: edge }
spec: { targetRefs: [{ kind: Service, name: echo }], timeouts: { connect: 1s } }
---
apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: { name: edge }
spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }], trustedHops: 1 }
---
apiVersion: windrose.dev/v1alpha1
kind: MeshPolicy
metadata: { name: mesh }
spec: { mtls: Strict }
---
apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: echo }
spec: { targetRefs: [{ kind: Service, name: echo }], action: Allow, rules: [{ from: [{ serviceAccount: near }] }] }
---
apiVersion: windrose.dev/v1alpha1
kind: TelemetryPolicy
metadata: { name: all }
spec: { targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }], metrics: true }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_either_log_shows_its_rights() {
        let line =
            |method: &str, path: &str, status: &str| format!("I1 rt.go:560] {method} https://a:6443{path} {status} in 1 milliseconds");
        for (line, verbs, resource, group) in [
            (line("GET", "/api/v1/pods?watch=true&x=y", "200 OK"), &["watch"][..], "pods", ""),
            (line("GET", "/api/v1/namespaces?limit=500", "200 OK"), &["list"], "namespaces", ""),
            (line("GET", "/api/v1/namespaces/x/secrets/y", "404 Not Found"), &["get"], "secrets", ""),
            (line("GET", "/api/v1/namespaces/x/secrets/y", "403 Forbidden"), &[], "", ""),
            (line("PATCH", "/apis/apps/v1/namespaces/x/deployments/y", "201 Created"), &["create", "patch"], "deployments", "apps"),
            (
                r#""Response" verb="PATCH" url="https://a/apis/apps/v1/namespaces/x/deployments/y/status?f=g" status="200 OK""#.to_owned(),
                &["patch"],
                "deployments/status",
                "apps",
            ),
            ("I1 proxy_server.go:131] Filter accepting GET /api/v1/pods 10.0.0.1".to_owned(), &[], "", ""),
        ] {
            let wanted: Vec<Right> = verbs.iter().map(|verb| Right::new(verb, resource, group)).collect();
            assert_eq!(asked(&line), wanted, "{line}");
        }
    }
}
