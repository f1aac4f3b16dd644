//! How the Envoys of a Gateway are run in a cluster: what a GatewayClass or a Gateway names as its parameters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scalar::Duration;

/// How the Envoys of Gateways are run in a Kubernetes cluster. A GatewayClass names one by `parametersRef`, for all its Gateways; a
/// Gateway names one of its own namespace by `infrastructure.parametersRef`, and each field that is there replaces that of the class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayParameters {
    /// Whose the Envoys are: each Gateway's own, or those of all Gateways of the class in one namespace. PerGateway where absent. Only
    /// the parameters of a class can say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// How many Envoys. 1 where absent; not used with `autoscaling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<u32>,
    /// The image of stock Envoy. The one this version is tested with where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Worker threads of each Envoy. 2 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: Option<u32>,
    /// How long a Pod that is to end lets its connections end first. 30s where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Duration>,
    /// What the container asks for, and what it may use at most. 50m of CPU and 64Mi, at most 1Gi, where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Number of replicas by load. Fixed where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The Service in front of the Envoys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceParameters>,
    /// Where the Pods run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodParameters>,
}

/// Who shares Envoys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fleet {
    /// Nobody: each Gateway has its own.
    PerGateway,
    /// All Gateways of the class in a namespace, each with a Service and addresses of its own. Their parameters are those of the class;
    /// those of a Gateway say no more than its `service`.
    PerNamespace,
}

/// Quantities by resource, such as `cpu: 500m`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What is reserved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// What is allowed at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Least number of replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: u32,
    /// Largest number of replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// Percentage of the requested CPU that is aimed at. 70 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: Option<u32>,
}

/// The Service in front of the Envoys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceParameters {
    /// Its type. LoadBalancer where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<ServiceType>,
    /// Annotations, for the load balancer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Which load balancer. The cluster's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Whether traffic may pass through a node without an Envoy (`Cluster`), or stays on its node and keeps the client's address
    /// (`Local`). As Kubernetes does it where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTraffic>,
}

/// Types of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub enum ServiceType {
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// Where external traffic may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words of Kubernetes")]
pub enum ExternalTraffic {
    Cluster,
    Local,
}

/// Where Pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodParameters {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pods endure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// How the Pods spread over nodes and zones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread: Vec<Spread>,
    /// Their priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class: Option<String>,
    /// Secrets for the registry of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
}

/// A taint that is endured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Toleration {
    /// Key of the taint. All where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `Exists` or `Equal`. Equal where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Value of the taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Effect: `NoSchedule`, `PreferNoSchedule`, `NoExecute`. All where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How long a `NoExecute` taint is endured, in seconds. For ever where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<u32>,
}

/// How Pods spread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    /// The label of nodes that tells the places apart, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 253))]
    pub topology_key: String,
    /// By how many Pods two places may differ. 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: Option<u32>,
    /// Whether a Pod waits rather than break this. It does not where absent.
    #[serde(default)]
    pub required: bool,
}
