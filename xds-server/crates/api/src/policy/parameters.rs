//! How the Envoys of a Gateway are run: what a GatewayClass or a Gateway names as its parameters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AccessLog;
use crate::scalar::Duration;

/// How the Envoys of Gateways are run in a Kubernetes cluster. A GatewayClass names one by `parametersRef`, for all its Gateways; a
/// Gateway names one of its own namespace by `infrastructure.parametersRef`, and each field that is there replaces that of the class,
/// where the class leaves it to Gateways (`overridable`). Where the Envoys are somebody else's (files), `accessLog` alone counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayParameters {
    /// Whose the Envoys are: each Gateway's own, or those of all Gateways of the class in one namespace. PerGateway where absent. Only
    /// the parameters of a class can say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// What Gateways may say for themselves by parameters of their own; none where empty. `accessLog`, `replicas`, `autoscaling`,
    /// `resources`, `concurrency`, `acceptFor`, `drain`, `pod.topologySpread` and `service.externalTrafficPolicy` where absent: who may make
    /// Gateways does not choose images, nodes or load balancers by that. A narrower `service.type` needs no leave. Only the parameters of a class can say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub overridable: Option<Vec<Overridable>>,
    /// Access log of the Gateways, also of those that share Envoys, unless a TelemetryPolicy that reaches one says another. Off where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// How many Envoys. 1 where absent; not used with `autoscaling`. Where this or `minReplicas` is more than 1, a PodDisruptionBudget lets
    /// one Envoy at a time be evicted.
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
    /// How long a Pod that is to end accepts connections at least: as long as a load balancer that goes by nodes or addresses Pods may take
    /// to hear of it. Where absent, 30s with `service.externalTrafficPolicy: Local`, else until 2s after no Service leads to it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_for: Option<Duration>,
    /// How long a Pod that is to end lets its connections end, once it accepts no more. 30s where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Duration>,
    /// What the container asks for, and what it may use at most. Where nothing is said of CPU: 50m of it; of memory: 64Mi, at most 1Gi.
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

/// A field that the parameters of a Gateway may say where its class leaves it to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names of the fields")]
pub enum Overridable {
    #[serde(rename = "accessLog")]
    AccessLog,
    #[serde(rename = "replicas")]
    Replicas,
    #[serde(rename = "image")]
    Image,
    #[serde(rename = "concurrency")]
    Concurrency,
    #[serde(rename = "acceptFor")]
    AcceptFor,
    #[serde(rename = "drain")]
    Drain,
    #[serde(rename = "resources")]
    Resources,
    #[serde(rename = "autoscaling")]
    Autoscaling,
    #[serde(rename = "service.type")]
    ServiceType,
    #[serde(rename = "service.annotations")]
    ServiceAnnotations,
    #[serde(rename = "service.loadBalancerClass")]
    LoadBalancerClass,
    #[serde(rename = "service.externalTrafficPolicy")]
    ExternalTrafficPolicy,
    #[serde(rename = "pod.nodeSelector")]
    NodeSelector,
    #[serde(rename = "pod.tolerations")]
    Tolerations,
    #[serde(rename = "pod.topologySpread")]
    TopologySpread,
    #[serde(rename = "pod.priorityClass")]
    PriorityClass,
    #[serde(rename = "pod.imagePullSecrets")]
    ImagePullSecrets,
}

/// What is left to Gateways where their class says nothing: how much of what they may have anyway. A log is written by the Envoys of
/// the Gateway itself, and a TelemetryPolicy in its namespace could say it as well.
const LEFT_TO_GATEWAYS: [Overridable; 9] = [
    Overridable::AccessLog,
    Overridable::Replicas,
    Overridable::Autoscaling,
    Overridable::Resources,
    Overridable::Concurrency,
    Overridable::AcceptFor,
    Overridable::Drain,
    Overridable::TopologySpread,
    Overridable::ExternalTrafficPolicy,
];

impl Overridable {
    /// The field as it is written, below `spec`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "accessLog",
            Self::Replicas => "replicas",
            Self::Image => "image",
            Self::Concurrency => "concurrency",
            Self::AcceptFor => "acceptFor",
            Self::Drain => "drain",
            Self::Resources => "resources",
            Self::Autoscaling => "autoscaling",
            Self::ServiceType => "service.type",
            Self::ServiceAnnotations => "service.annotations",
            Self::LoadBalancerClass => "service.loadBalancerClass",
            Self::ExternalTrafficPolicy => "service.externalTrafficPolicy",
            Self::NodeSelector => "pod.nodeSelector",
            Self::Tolerations => "pod.tolerations",
            Self::TopologySpread => "pod.topologySpread",
            Self::PriorityClass => "pod.priorityClass",
            Self::ImagePullSecrets => "pod.imagePullSecrets",
        }
    }
}

impl GatewayParameters {
    /// A field that only the parameters of a class can say, if these say one.
    #[must_use]
    pub fn of_class_alone(&self) -> Option<&'static str> {
        let external = self.service.as_ref().is_some_and(|service| !service.external_addresses.is_empty());
        let said = [("fleet", self.fleet.is_some()), ("overridable", self.overridable.is_some()), ("service.externalAddresses", external)];
        said.into_iter().find_map(|(field, said)| said.then_some(field))
    }

    /// Whether these say anything that only whoever deploys the Envoys can follow.
    #[must_use]
    pub fn says_how_to_deploy(&self) -> bool {
        *self != Self { overridable: self.overridable.clone(), access_log: self.access_log.clone(), ..Self::default() }
    }

    /// The first field that these, of a Gateway, say and the parameters of its class do not leave to it.
    #[must_use]
    pub fn kept_by(&self, class: &Self) -> Option<Overridable> {
        let left = class.overridable.as_deref().unwrap_or(&LEFT_TO_GATEWAYS);
        self.said(class).into_iter().find_map(|(field, said)| (said && !left.contains(&field)).then_some(field))
    }

    /// Every field that a class can leave to Gateways, and whether these say it.
    fn said(&self, class: &Self) -> [(Overridable, bool); 17] {
        let Self {
            fleet: _,
            overridable: _,
            access_log,
            replicas,
            image,
            concurrency,
            accept_for,
            drain,
            resources,
            autoscaling,
            service,
            pod,
        } = self;
        let service = |said: fn(&ServiceParameters) -> bool| service.as_ref().is_some_and(said);
        let pod = |said: fn(&PodParameters) -> bool| pod.as_ref().is_some_and(said);
        [
            (Overridable::AccessLog, access_log.is_some()),
            (Overridable::Replicas, replicas.is_some()),
            (Overridable::Image, image.is_some()),
            (Overridable::Concurrency, concurrency.is_some()),
            (Overridable::AcceptFor, accept_for.is_some()),
            (Overridable::Drain, drain.is_some()),
            (Overridable::Resources, resources.is_some()),
            (Overridable::Autoscaling, autoscaling.is_some()),
            // A narrower one gives nobody anything.
            (Overridable::ServiceType, self.service_type(class) > Self::default().service_type(class)),
            (Overridable::ServiceAnnotations, service(|service| !service.annotations.is_empty())),
            (Overridable::LoadBalancerClass, service(|service| service.load_balancer_class.is_some())),
            (Overridable::ExternalTrafficPolicy, service(|service| service.external_traffic_policy.is_some())),
            (Overridable::NodeSelector, pod(|pod| !pod.node_selector.is_empty())),
            (Overridable::Tolerations, pod(|pod| !pod.tolerations.is_empty())),
            (Overridable::TopologySpread, pod(|pod| !pod.topology_spread.is_empty())),
            (Overridable::PriorityClass, pod(|pod| pod.priority_class.is_some())),
            (Overridable::ImagePullSecrets, pod(|pod| !pod.image_pull_secrets.is_empty())),
        ]
    }

    /// The type of the Service of a Gateway with these parameters, under those of its class.
    #[must_use]
    pub fn service_type(&self, class: &Self) -> ServiceType {
        let said = |parameters: &Self| parameters.service.as_ref()?.r#type;
        said(self).or_else(|| said(class)).unwrap_or(ServiceType::LoadBalancer)
    }

    /// Whether a Gateway with these parameters may ask for an address, under those of its class. A load balancer gives what it has; every
    /// other Service would take, on all nodes, what is sent to an address of anybody's (`externalIPs`).
    #[must_use]
    pub fn may_ask_for(&self, class: &Self, address: IpAddr) -> bool {
        let lent = class.service.iter().flat_map(|service| &service.external_addresses);
        self.service_type(class) == ServiceType::LoadBalancer || lent.into_iter().any(|network| is_in(address, network))
    }
}

/// Whether an address is in a network (`192.0.2.0/24`); in one that cannot be read, none is.
fn is_in(address: IpAddr, network: &str) -> bool {
    let parsed = network.split_once('/').and_then(|(first, bits)| Some((first.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?)));
    match (parsed, address) {
        (Some((IpAddr::V4(first), bits @ 0..=32)), IpAddr::V4(address)) => {
            (u32::from(first) ^ u32::from(address)).checked_shr(32 - bits).unwrap_or_default() == 0
        }
        (Some((IpAddr::V6(first), bits @ 0..=128)), IpAddr::V6(address)) => {
            (u128::from(first) ^ u128::from(address)).checked_shr(128 - bits).unwrap_or_default() == 0
        }
        _ => false,
    }
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
    /// Networks (`192.0.2.0/24`) of which Gateways may ask for addresses where the Service is no LoadBalancer: every node then takes
    /// what is sent to such an address, wherever it belongs. None where absent. Only the parameters of a class can say it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub external_addresses: Vec<String>,
}

/// Types of a Service, each with all that the ones before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: &Value) -> GatewayParameters {
        serde_json::from_value(spec.clone()).unwrap()
    }

    fn kept(own: &Value, class: &Value) -> Option<&'static str> {
        read(own).kept_by(&read(class)).map(Overridable::as_str)
    }

    #[test]
    fn who_may_make_gateways_does_not_choose_what_runs_where() {
        let harmless = json!({
            "replicas": 2, "concurrency": 1, "acceptFor": "1m", "drain": "3s", "resources": {}, "pod": {"topologySpread": [{"topologyKey": "zone"}]},
            "service": {"externalTrafficPolicy": "Local"}, "accessLog": {"minimumStatus": 500},
        });
        assert_eq!(kept(&harmless, &json!({})), None);
        for (said, field) in [
            (json!({"image": "evil"}), "image"),
            (json!({"pod": {"imagePullSecrets": ["theirs"]}}), "pod.imagePullSecrets"),
            (json!({"pod": {"tolerations": [{"operator": "Exists"}]}}), "pod.tolerations"),
            (json!({"pod": {"nodeSelector": {"control-plane": ""}}}), "pod.nodeSelector"),
            (json!({"pod": {"priorityClass": "system-node-critical"}}), "pod.priorityClass"),
            (json!({"service": {"annotations": {"public": "true"}}}), "service.annotations"),
            (json!({"service": {"loadBalancerClass": "public"}}), "service.loadBalancerClass"),
        ] {
            assert_eq!(kept(&said, &json!({})), Some(field));
            assert_eq!(kept(&said, &json!({"overridable": [field]})), None);
            assert_eq!(kept(&said, &json!({"overridable": ["replicas"]})), Some(field));
        }
        assert_eq!(kept(&json!({"replicas": 2}), &json!({"overridable": []})), Some("replicas"));
        assert_eq!(kept(&json!({"accessLog": {}}), &json!({"overridable": ["replicas"]})), Some("accessLog"));
        assert_eq!(kept(&json!({"service": {}, "pod": {}}), &json!({"overridable": []})), None);
    }

    #[test]
    fn a_narrower_service_needs_no_leave() {
        let of = |kind: &str| json!({"service": {"type": kind}});
        assert_eq!(kept(&of("ClusterIP"), &json!({})), None);
        assert_eq!(kept(&of("LoadBalancer"), &json!({})), None);
        assert_eq!(kept(&of("LoadBalancer"), &of("NodePort")), Some("service.type"));
        assert_eq!(kept(&of("NodePort"), &of("ClusterIP")), Some("service.type"));
        let leaves = json!({"overridable": ["service.type"], "service": {"type": "ClusterIP"}});
        assert_eq!(kept(&of("NodePort"), &leaves), None);
    }

    #[test]
    fn what_is_the_classes_alone_is_told() {
        let alone = |own: Value| read(&own).of_class_alone();
        assert_eq!(alone(json!({"fleet": "PerGateway"})), Some("fleet"));
        assert_eq!(alone(json!({"overridable": ["image"], "image": "evil"})), Some("overridable"));
        assert_eq!(alone(json!({"service": {"externalAddresses": ["0.0.0.0/0"]}})), Some("service.externalAddresses"));
        assert_eq!(alone(json!({"replicas": 2, "service": {}})), None);
    }

    #[test]
    fn an_address_is_only_a_load_balancers_to_give_or_the_classes_to_lend() {
        let may = |own: &Value, class: &Value, address: &str| read(own).may_ask_for(&read(class), address.parse().unwrap());
        let (nothing, inner) = (json!({}), json!({"service": {"type": "ClusterIP"}}));
        assert!(may(&nothing, &nothing, "192.0.2.1"));
        assert!(!may(&inner, &nothing, "8.8.8.8") && !may(&nothing, &inner, "8.8.8.8"));
        let lends = |networks: &[&str]| json!({"service": {"type": "NodePort", "externalAddresses": networks}});
        let some = lends(&["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/33"]);
        assert!(may(&nothing, &some, "192.0.2.255") && may(&nothing, &some, "2001:db8:1::1"));
        assert!(!may(&nothing, &some, "192.0.3.0") && !may(&nothing, &some, "2001:db9::") && !may(&nothing, &some, "::ffff:192.0.2.1"));
        let all = lends(&["0.0.0.0/0"]);
        assert!(may(&nothing, &all, "203.0.113.7") && !may(&nothing, &all, "::1"));
    }

    #[test]
    fn fields_are_called_what_they_are_written_as() {
        for (field, _) in GatewayParameters::default().said(&GatewayParameters::default()) {
            assert_eq!(json!(field), json!(field.as_str()));
        }
    }
}
