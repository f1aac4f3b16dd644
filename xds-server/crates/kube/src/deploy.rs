//! The Envoys of a Gateway, or of several: which objects they are made of, and putting those into the cluster. What they consist of
//! is decided here from plain words; whether a Gateway is served at all is the planner's.

mod apply;
mod objects;
mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;
use windrose_vocab::{ObjectKey, Text};

use crate::limits;
pub use apply::{Applier, Sweep, sweep};
pub use objects::{Object, TOKEN_SECONDS, objects};
pub use observed::{DeploymentMade, Ending, Made, PodMade, ServiceMade, observed};

/// Whom objects of ours belong to, in `app.kubernetes.io/managed-by` and as field manager.
pub const MANAGER: &str = "windrose";
/// The label that names the Gateway (GEP-1762).
pub const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// The label that names the class, on everything that is made.
pub const CLASS_LABEL: &str = "windrose.dev/gateway-class";
/// The label of Envoys that several Gateways share; it names the class.
pub const FLEET_LABEL: &str = "windrose.dev/fleet";
/// The condition of a Pod that says that its Envoy runs what it should (`readinessGates`).
pub const READY_GATE: &str = "windrose.dev/programmed";
/// The annotation of a Pod that says for how many seconds it accepts connections at least, once it is to end.
pub const ACCEPT_ANNOTATION: &str = "windrose.dev/accept-for";
/// For whom the token of a proxy is good.
pub const AUDIENCE: &str = "windrose.dev/xds";
/// Where the bootstrap lies in the container.
pub const BOOTSTRAP_FOLDER: &str = "/etc/windrose";
/// Where the token lies.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/windrose.dev";
/// Where Envoy's own socket is.
pub const RUN_FOLDER: &str = "/run/windrose";
/// The stock Envoy.
pub const IMAGE: &str = "docker.io/envoyproxy/envoy:distroless-v1.40.0";

/// What a port of a Service carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carries {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a Gateway should have, or the Envoys that several share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// For whom.
    pub of: For,
    /// Its class; of what is shared, that of the fleet.
    pub class: Text,
    /// Annotations by which we know later what it was made for.
    pub marks: BTreeMap<&'static str, Text>,
    /// The Gateways that own what is made, by name, with their identities in the cluster. All is gone with the last of them.
    pub owners: BTreeMap<Text, String>,
    /// Labels for everything that is made (`spec.infrastructure`).
    pub labels: BTreeMap<Text, Text>,
    /// Annotations for everything that is made.
    pub annotations: BTreeMap<Text, Text>,
    /// How Envoys are reached.
    pub service: Option<Service>,
    /// The Envoys themselves.
    pub envoys: Option<Envoys>,
    /// How both are made.
    pub parameters: Parameters,
}

/// For whom something is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum For {
    /// A Gateway with Envoys of its own.
    Gateway(ObjectKey),
    /// A Gateway that shares those of its class, for which it wants no more than a way to reach them.
    Member(ObjectKey),
    /// All Gateways of a class in a namespace, by those two.
    Fleet(ObjectKey),
}

/// How Envoys are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its ports, with those that Envoy opens for them.
    pub ports: BTreeMap<(u16, Carries), u16>,
    /// Addresses that are asked for.
    pub addresses: Vec<IpAddr>,
}

/// Envoys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envoys {
    /// The files that they are started with, by name.
    pub bootstrap: BTreeMap<String, String>,
    /// The port by which each says that it is up: none that comes or goes with a listener, for another one needs other Pods.
    pub ready_port: u16,
}

impl Wanted {
    /// Where it is made.
    #[must_use]
    pub fn namespace(&self) -> &Text {
        match &self.of {
            For::Gateway(key) | For::Member(key) | For::Fleet(key) => &key.namespace,
        }
    }

    /// The Gateways that it is made for.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<ObjectKey> {
        self.owners.keys().map(|name| ObjectKey::new(self.namespace().clone(), name.clone())).collect()
    }

    /// The name of everything that is made.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.of {
            For::Gateway(gateway) | For::Member(gateway) => crate::names::of_gateway(&gateway.name, &self.class),
            For::Fleet(_) => crate::names::of_fleet(&self.class),
        }
    }
}

/// The Gateway that owns what was made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace.
    pub namespace: Text,
    /// Its identity in the cluster.
    pub uid: String,
}

/// How the Envoys of a class are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// How many.
    pub replicas: u32,
    /// Their image.
    pub image: String,
    /// `resources` of the container.
    pub resources: Value,
    /// Type of the Service.
    pub service_type: String,
    /// Annotations of the Service.
    pub service_annotations: BTreeMap<String, String>,
    /// `loadBalancerClass` of the Service.
    pub load_balancer_class: Option<String>,
    /// `externalTrafficPolicy` of the Service.
    pub external_traffic_policy: Option<String>,
    /// Where Pods may run.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that they endure.
    pub tolerations: Vec<Value>,
    /// How the Pods spread.
    pub topology_spread: Vec<Value>,
    /// Priority class of the Pods.
    pub priority_class: Option<String>,
    /// Secrets for the registry of the image.
    pub image_pull_secrets: Vec<String>,
    /// A HorizontalPodAutoscaler between these numbers of replicas, at this percentage of CPU.
    pub autoscaling: Option<Autoscaling>,
    /// Worker threads of each Envoy.
    pub concurrency: u32,
    /// Seconds that a Pod accepts connections at least, once it is to end; where none are said, see [`Self::accept_seconds`].
    pub accept_for_seconds: Option<u32>,
    /// Seconds that a Pod goes on while its connections end.
    pub drain_seconds: u32,
}

impl Parameters {
    /// Seconds that a Pod accepts connections at least, once it is to end.
    #[must_use]
    pub fn accept_seconds(&self) -> u64 {
        let by_nodes = self.external_traffic_policy.as_deref() == Some("Local");
        let otherwise = if by_nodes { limits::ACCEPT_LOCAL.as_secs() } else { 0 };
        self.accept_for_seconds.map_or(otherwise, u64::from)
    }
}

/// Scaling by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoscaling {
    /// Least replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Percentage of the requested CPU that is aimed at.
    pub cpu_percent: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            replicas: 1,
            image: IMAGE.to_owned(),
            resources: serde_json::json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}),
            service_type: "LoadBalancer".to_owned(),
            service_annotations: BTreeMap::new(),
            load_balancer_class: None,
            external_traffic_policy: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            topology_spread: Vec::new(),
            priority_class: None,
            image_pull_secrets: Vec::new(),
            autoscaling: None,
            concurrency: 2,
            accept_for_seconds: None,
            drain_seconds: 30,
        }
    }
}
