//! The cluster's side: a namespace with a Gateway and a backend, routes, and what the replicas of the control plane say of themselves.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const NAMESPACE: &str = "windrose-bench";
/// The backend of the official conformance suite.
const ECHO: &str = "registry.k8s.io/gateway-api/echo-basic:v1.5.1";
/// Where replicas say what they take.
const ADMIN_PORT: u16 = 18001;
const PATIENCE: Duration = Duration::from_secs(180);
/// Requests at a time while the world is filled.
const AT_ONCE: usize = 16;

/// What one replica took: since it started, or by the second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Seconds of processor time.
    pub(super) cpu: f64,
    /// Bytes resident now.
    pub(super) memory: f64,
    /// Bytes of responses to proxies.
    pub(super) sent: f64,
    /// Changes that the proxies it concerns have acknowledged.
    pub(super) changes: f64,
    /// Seconds from the planning of each to the last acknowledgement, together.
    pub(super) converging: f64,
}

/// What the world's routes lead to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backends {
    pub(super) services: usize,
    /// Of all of them together.
    pub(super) endpoints: usize,
}

impl Backends {
    /// The Service of a route; without any, the one that answers.
    pub(super) fn of(self, route: usize) -> String {
        if self.services == 0 { "echo".to_owned() } else { Self::name(route % self.services) }
    }

    fn name(index: usize) -> String {
        format!("s{index}")
    }
}

pub(super) struct Cluster {
    client: Client,
    routes: Api<DynamicObject>,
    system: String,
}

impl Cluster {
    pub(super) async fn open(system: &str) -> anyhow::Result<Self> {
        let client = Client::try_default().await?;
        let routes = of(&client, "gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
        Ok(Self { client, routes, system: system.to_owned() })
    }

    /// Makes the namespace anew, with everything but routes; returns where the Gateway is reached.
    pub(super) async fn stage(&self) -> anyhow::Result<SocketAddr> {
        let namespaces: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource("", "v1", "Namespace", "namespaces"));
        self.remove().await;
        until("the former namespace to be gone", async || Ok(namespaces.get_opt(NAMESPACE).await?.is_none().then_some(()))).await?;
        namespaces.create(&PostParams::default(), &object("v1", "Namespace", NAMESPACE, &Value::Null)?).await?;
        let labels = json!({"app": "echo"});
        let container = json!({"name": "echo", "image": ECHO, "env": [{"name": "POD_NAME", "value": "echo"}, {"name": "NAMESPACE", "value": NAMESPACE}]});
        let deployment =
            json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}});
        let service = json!({"selector": labels, "ports": [{"port": 8080, "targetPort": 3000}]});
        let gateway = json!({"gatewayClassName": "windrose", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]});
        let create = async |group: &str, kind: &str, plural: &str, name: &str, spec: &Value| {
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            of(&self.client, group, "v1", kind, plural).create(&PostParams::default(), &object(&version, kind, name, spec)?).await?;
            anyhow::Ok(())
        };
        create("apps", "Deployment", "deployments", "echo", &deployment).await?;
        create("", "Service", "services", "echo", &service).await?;
        create("gateway.networking.k8s.io", "Gateway", "gateways", "edge", &gateway).await?;
        let deployments = of(&self.client, "apps", "v1", "Deployment", "deployments");
        until("the backend", async || Ok(deployments.get("echo").await?.data["status"]["readyReplicas"].as_u64().map(|_| ()))).await?;
        let gateways = of(&self.client, "gateway.networking.k8s.io", "v1", "Gateway", "gateways");
        let address = until("the Gateway to be programmed", async || {
            let status = gateways.get("edge").await?.data["status"].take();
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let programmed = conditions.clone().any(|one| one["type"] == "Programmed" && one["status"] == "True");
            Ok(status["addresses"][0]["value"].as_str().filter(|_| programmed).and_then(|address| address.parse::<IpAddr>().ok()))
        });
        Ok(SocketAddr::new(address.await?, 80))
    }

    pub(super) async fn close(&self) {
        self.remove().await;
    }

    async fn remove(&self) {
        let namespaces: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource("", "v1", "Namespace", "namespaces"));
        // What is not there need not go.
        let _ = namespaces.delete(NAMESPACE, &DeleteParams::default()).await;
    }

    /// A route to the backend that answers.
    pub(super) async fn create(&self, index: usize) -> anyhow::Result<()> {
        self.create_to(index, "echo").await
    }

    async fn create_to(&self, index: usize, service: &str) -> anyhow::Result<()> {
        let spec = json!({
            "parentRefs": [{"name": "edge"}], "hostnames": [super::host(index)],
            "rules": [{"backendRefs": [{"name": service, "port": 8080}]}],
        });
        let route = object("gateway.networking.k8s.io/v1", "HTTPRoute", &format!("r{index}"), &spec)?;
        self.routes.create(&PostParams::default(), &route).await.map(drop).with_context(|| format!("route {index}"))
    }

    /// Adds Services with so many endpoints each, where nobody answers, and routes to them.
    pub(super) async fn fill(&self, routes: std::ops::Range<usize>, backends: Backends) -> anyhow::Result<()> {
        let service = |index| self.create_service(index, backends.endpoints / backends.services.max(1));
        stream::iter(0..backends.services).map(service).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let route = |index| async move { self.create_to(index, &backends.of(index)).await };
        stream::iter(routes).map(route).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    /// How many times a route was modified while something was done; nobody but who writes statuses does it meanwhile.
    pub(super) async fn modified_meanwhile(&self, done: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<usize> {
        let now = self.routes.list_metadata(&ListParams::default().limit(1)).await?.metadata.resource_version.context("no version")?;
        let mut modified = 0_usize;
        let counted = async {
            let mut events = pin!(self.routes.watch_metadata(&WatchParams::default(), &now).await?);
            while let Some(event) = events.try_next().await? {
                modified += usize::from(matches!(event, WatchEvent::Modified(_)));
            }
            bail!("the watch ended")
        };
        tokio::select! {
            ended = counted => ended,
            done = done => done,
        }?;
        Ok(modified)
    }

    /// Headless, for the cluster's own proxy has nothing to do with what is measured.
    async fn create_service(&self, index: usize, endpoints: usize) -> anyhow::Result<()> {
        let name = Backends::name(index);
        let spec = json!({"clusterIP": "None", "ports": [{"port": 8080}]});
        let services = of(&self.client, "", "v1", "Service", "services");
        services.create(&PostParams::default(), &object("v1", "Service", &name, &spec)?).await.with_context(|| name.clone())?;
        let address = |endpoint: usize| format!("10.{}.{}.{}", 100 + endpoint % 100, index / 250, 1 + index % 250);
        let endpoints: Vec<Value> = (0..endpoints).map(|one| json!({"addresses": [address(one)], "conditions": {"ready": true}})).collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": 8080}], "endpoints": endpoints,
        });
        let slices = of(&self.client, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
        slices.create(&PostParams::default(), &serde_json::from_value(slice)?).await.map(drop).with_context(|| name)
    }

    /// Changes what a route does.
    pub(super) async fn touch(&self, index: usize, service: &str, value: usize) -> anyhow::Result<()> {
        let set = json!([{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-bench", "value": value.to_string()}]}}]);
        let patch = json!({"spec": {"rules": [{"filters": set, "backendRefs": [{"name": service, "port": 8080}]}]}});
        let name = format!("r{index}");
        self.routes.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop).with_context(|| name)
    }

    /// Returns when every replica took almost nothing for a while: what was written before is over.
    pub(super) async fn quiet(&self) -> anyhow::Result<()> {
        let mut before = self.usage().await?;
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let now = self.usage().await?;
            if now.iter().all(|(name, now)| before.get(name).is_some_and(|before| now.cpu - before.cpu < 0.06)) {
                return Ok(());
            }
            before = now;
        }
        bail!("the control plane is not quiet after {PATIENCE:?}")
    }

    /// What each replica took since it started, by its name.
    pub(super) async fn usage(&self) -> anyhow::Result<BTreeMap<String, Usage>> {
        let pods: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.system, &resource("", "v1", "Pod", "pods"));
        let mut found = BTreeMap::new();
        for pod in pods.list(&ListParams::default().labels("app.kubernetes.io/component=controller")).await? {
            let address: IpAddr = pod.data["status"]["podIP"].as_str().context("a replica without an address")?.parse()?;
            let text = metrics(SocketAddr::new(address, ADMIN_PORT)).await?;
            let number = |name: &str| {
                let line =
                    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).with_context(|| format!("no {name}"))?;
                line.trim().parse::<f64>().with_context(|| line.to_owned())
            };
            let usage = Usage {
                cpu: number("process_cpu_seconds_total")?,
                memory: number("process_resident_memory_bytes")?,
                sent: number("windrose_xds_response_bytes_total")?,
                changes: number("windrose_convergence_seconds_count")?,
                converging: number("windrose_convergence_seconds_sum")?,
            };
            found.insert(pod.name_any(), usage);
        }
        if found.is_empty() {
            bail!("no replica of the control plane is in {}", self.system);
        }
        Ok(found)
    }
}

async fn metrics(address: SocketAddr) -> anyhow::Result<String> {
    let (mut sender, connection) = handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::spawn(connection);
    let request = Request::get("/metrics").header(HOST, "localhost").body(Empty::<Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

async fn until<T>(what: &str, mut find: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(found) = find().await? {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("waited {PATIENCE:?} for {what}")
}

fn of(client: &Client, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), NAMESPACE, &resource(group, version, kind, plural))
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> anyhow::Result<DynamicObject> {
    let mut value = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if !spec.is_null() {
        value["spec"] = spec.clone();
    }
    Ok(serde_json::from_value(value)?)
}
