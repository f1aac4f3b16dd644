//! The objects that run a Gateway's Envoys, as JSON, in the order they are put into the cluster.

use serde_json::{Map, Value, json};

use super::{AUDIENCE, BOOTSTRAP_FOLDER, Carries, GATEWAY_LABEL, MANAGER, READY_GATE, RUN_FOLDER, TOKEN_FOLDER, Wanted};
use crate::names::label_value;

/// One object to be in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Group and version, such as `apps/v1`.
    pub api_version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Lower-case plural.
    pub plural: &'static str,
    /// All of it.
    pub value: Value,
}

impl Object {
    /// One of that kind (version, kind, plural) and name, of which nothing else is known.
    #[must_use]
    pub(super) fn named((api_version, kind, plural): (&'static str, &'static str, &'static str), namespace: &str, name: &str) -> Self {
        Self { api_version, kind, plural, value: json!({"metadata": {"name": name, "namespace": namespace}}) }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether that is an object of the same kind and name.
    #[must_use]
    pub fn is_called_as(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name() == other.name()
    }
}

/// Seconds that a token is good for; the kubelet replaces it at four fifths.
const TOKEN_SECONDS: u32 = 3600;
/// Seconds for Envoy to end after its connections did.
const END_SECONDS: u32 = 15;
/// The user that Envoy runs as.
const USER: u32 = 65532;

/// Everything that runs the Envoys of a Gateway.
#[must_use]
pub fn objects(wanted: &Wanted) -> Vec<Object> {
    let mut all = vec![account(wanted), bootstrap(wanted), deployment(wanted), service(wanted)];
    all.extend(autoscaler(wanted));
    if wanted.parameters.replicas > 1 || wanted.parameters.autoscaling.is_some_and(|scaling| scaling.min > 1) {
        all.push(disruption_budget(wanted));
    }
    all
}

fn account(wanted: &Wanted) -> Object {
    let value = json!({"metadata": metadata(wanted), "automountServiceAccountToken": false});
    object("v1", "ServiceAccount", "serviceaccounts", value)
}

fn bootstrap(wanted: &Wanted) -> Object {
    object("v1", "ConfigMap", "configmaps", json!({"metadata": metadata(wanted), "data": wanted.bootstrap}))
}

fn service(wanted: &Wanted) -> Object {
    let parameters = &wanted.parameters;
    let port = |(number, carries): &(u16, Carries)| {
        let (protocol, prefix) = match carries {
            Carries::Tcp => ("TCP", "tcp"),
            Carries::Udp => ("UDP", "udp"),
        };
        json!({"name": format!("{prefix}-{number}"), "port": number, "targetPort": number, "protocol": protocol})
    };
    let mut spec = json!({
        "type": parameters.service_type,
        "selector": selector(wanted),
        "ports": wanted.ports.iter().map(port).collect::<Vec<_>>(),
        "ipFamilyPolicy": "PreferDualStack",
    });
    set(&mut spec, "loadBalancerClass", parameters.load_balancer_class.clone().map(Value::from));
    set(&mut spec, "externalTrafficPolicy", parameters.external_traffic_policy.clone().map(Value::from));
    match wanted.addresses.first().filter(|_| parameters.service_type == "LoadBalancer") {
        Some(address) => set(&mut spec, "loadBalancerIP", Some(address.to_string().into())),
        None if !wanted.addresses.is_empty() => {
            let addresses: Vec<String> = wanted.addresses.iter().map(ToString::to_string).collect();
            set(&mut spec, "externalIPs", Some(addresses.into()));
        }
        None => {}
    }
    let mut metadata = metadata(wanted);
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.extend(parameters.service_annotations.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    }
    object("v1", "Service", "services", json!({"metadata": metadata, "spec": spec}))
}

fn deployment(wanted: &Wanted) -> Object {
    let parameters = &wanted.parameters;
    let mut template_labels = labels(wanted);
    template_labels.extend(selector(wanted));
    let mut template_annotations = annotations(wanted);
    // Envoy reads its bootstrap once: another one needs other Pods.
    template_annotations.insert("windrose.dev/bootstrap".to_owned(), fingerprint(wanted).into());
    let mut pod = json!({
        "serviceAccountName": wanted.name(),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": parameters.drain_seconds + END_SECONDS,
        "readinessGates": [{"conditionType": READY_GATE}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            // Ports below 1024 without a capability.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [container(wanted)],
        "volumes": [
            {"name": "bootstrap", "configMap": {"name": wanted.name()}},
            {"name": "run", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "token", "projected": {"defaultMode": 0o440, "sources": [
                {"serviceAccountToken": {"path": "token", "audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS}},
            ]}},
        ],
    });
    let some = |value: &Value| !value.as_object().is_some_and(Map::is_empty) && !value.as_array().is_some_and(Vec::is_empty);
    set(&mut pod, "nodeSelector", Some(json!(parameters.node_selector)).filter(some));
    set(&mut pod, "tolerations", Some(json!(parameters.tolerations)).filter(some));
    let mut spread = parameters.topology_spread.clone();
    spread.iter_mut().for_each(|one| set(one, "labelSelector", Some(json!({"matchLabels": selector(wanted)}))));
    set(&mut pod, "topologySpreadConstraints", Some(json!(spread)).filter(some));
    set(&mut pod, "priorityClassName", parameters.priority_class.clone().map(Value::from));
    let secrets: Vec<Value> = parameters.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
    set(&mut pod, "imagePullSecrets", Some(json!(secrets)).filter(some));
    let mut spec = json!({
        "selector": {"matchLabels": selector(wanted)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 2,
        "template": {"metadata": {"labels": template_labels, "annotations": template_annotations}, "spec": pod},
    });
    // An autoscaler owns the number, where there is one.
    set(&mut spec, "replicas", parameters.autoscaling.is_none().then(|| parameters.replicas.into()));
    object("apps/v1", "Deployment", "deployments", json!({"metadata": metadata(wanted), "spec": spec}))
}

fn container(wanted: &Wanted) -> Value {
    let parameters = &wanted.parameters;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let first = wanted.ports.iter().find(|(_, carries)| *carries == Carries::Tcp).map(|(number, _)| *number);
    let mut container = json!({
        "name": "envoy",
        "image": parameters.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "-c", format!("{BOOTSTRAP_FOLDER}/envoy.yaml"),
            "--service-node", "$(POD_NAME)",
            "--service-cluster", format!("{}.{}", wanted.gateway.name, wanted.gateway.namespace),
            "--concurrency", parameters.concurrency.to_string(),
            "--drain-time-s", parameters.drain_seconds.to_string(),
            "--drain-strategy", "immediate",
            "--disable-hot-restart",
            "--log-level", "warning",
        ],
        "env": [field("POD_NAME", "metadata.name")],
        "ports": wanted.ports.iter().map(|(number, carries)| {
            json!({"containerPort": number, "protocol": if *carries == Carries::Tcp { "TCP" } else { "UDP" }})
        }).collect::<Vec<_>>(),
        "resources": parameters.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        // Meanwhile the server withdraws the listeners, and connections end in their own time.
        "lifecycle": {"preStop": {"sleep": {"seconds": parameters.drain_seconds}}},
        "volumeMounts": [
            {"name": "bootstrap", "mountPath": BOOTSTRAP_FOLDER, "readOnly": true},
            {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": true},
            {"name": "run", "mountPath": RUN_FOLDER},
        ],
    });
    // An Envoy that starts again in its Pod has no listener at first, and its gate is open already.
    let probe = |number| json!({"tcpSocket": {"port": number}, "periodSeconds": 2, "failureThreshold": 2});
    set(&mut container, "readinessProbe", first.map(probe));
    container
}

fn autoscaler(wanted: &Wanted) -> Option<Object> {
    let scaling = wanted.parameters.autoscaling?;
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name()},
        "minReplicas": scaling.min,
        "maxReplicas": scaling.max,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent},
        }}],
    });
    let value = json!({"metadata": metadata(wanted), "spec": spec});
    Some(object("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", value))
}

fn disruption_budget(wanted: &Wanted) -> Object {
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": selector(wanted)}});
    object("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", json!({"metadata": metadata(wanted), "spec": spec}))
}

fn object(api_version: &'static str, kind: &'static str, plural: &'static str, mut value: Value) -> Object {
    set(&mut value, "apiVersion", Some(api_version.into()));
    set(&mut value, "kind", Some(kind.into()));
    Object { api_version, kind, plural, value }
}

fn metadata(wanted: &Wanted) -> Value {
    json!({
        "name": wanted.name(),
        "namespace": &*wanted.gateway.namespace,
        "labels": labels(wanted),
        "annotations": annotations(wanted),
        "ownerReferences": [{
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": &*wanted.gateway.name,
            "uid": wanted.uid, "controller": true, "blockOwnerDeletion": true,
        }],
    })
}

fn labels(wanted: &Wanted) -> Map<String, Value> {
    let mut all: Map<String, Value> = wanted.labels.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).collect();
    all.extend(selector(wanted));
    all.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.into());
    all
}

fn annotations(wanted: &Wanted) -> Map<String, Value> {
    wanted.annotations.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).collect()
}

/// What only these Pods carry.
fn selector(wanted: &Wanted) -> Map<String, Value> {
    let mut selector = Map::new();
    selector.insert(GATEWAY_LABEL.to_owned(), label_value(&wanted.gateway.name).into());
    selector.insert("windrose.dev/gateway-class".to_owned(), label_value(&wanted.class).into());
    selector
}

fn fingerprint(wanted: &Wanted) -> String {
    windrose_vocab::Fingerprint::of("bootstrap", &wanted.bootstrap).to_string()
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value);
    }
}
