//! The objects of the control plane itself.

use serde_json::{Map, Value, json};
use windrose_api::declared::gateway::CONTROLLER;
use windrose_vocab::Kind;

use super::{NAME, Options, VERSION, rights};
use crate::{keys, lease, refused};

/// The label that says which version is installed.
pub const VERSION_LABEL: &str = "app.kubernetes.io/version";
/// How strict the namespace is with its Pods; what we run meets it.
pub const POD_SECURITY: &str = "restricted";
/// Keys, in memory: a subfolder, so that the process makes it itself and for itself alone (0700).
pub const KEYS_FOLDER: &str = "/state/keys";
/// Where that memory is mounted.
const STATE_FOLDER: &str = "/state";
/// The controller that our GatewayClass names.
pub const CONTROLLER_NAME: &str = CONTROLLER;
/// What the API server calls the webhook where it refuses something.
pub const WEBHOOK_NAME: &str = "validate.windrose.dev";
/// The variable by which a control plane is told which namespaces count.
pub const NAMESPACE_SELECTOR: &str = "WINDROSE_NAMESPACE_SELECTOR";
/// The user in the image.
const USER: u32 = 65532;
/// Where Envoys connect.
const XDS_PORT: u16 = 18000;
/// Readiness, metrics and reports.
const ADMIN_PORT: u16 = 18001;
/// Where the API server asks.
const WEBHOOK_PORT: u16 = 9443;
/// Where a leader listens to other replicas.
const REPLICAS_PORT: u16 = 18002;

pub(super) fn namespace(options: &Options) -> Value {
    let mut labels = labels();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), POD_SECURITY.into());
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": options.namespace, "labels": labels}})
}

pub(super) fn account(options: &Options) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(options)})
}

pub(super) fn service(options: &Options) -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    let mut ports = vec![port("xds", XDS_PORT)];
    ports.extend(options.webhook.then(|| port("webhook", 443)));
    let spec = json!({"selector": selector(), "ports": ports, "ipFamilyPolicy": "PreferDualStack"});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(options), "spec": spec})
}

pub(super) fn disruption_budget(options: &Options) -> Value {
    // Of two, one stays. A single one may go: else no node that has it could ever be drained.
    let spec = json!({"maxUnavailable": 1, "selector": {"matchLabels": selector()}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(options), "spec": spec})
}

pub(super) fn deployment(options: &Options) -> Value {
    let mut pod_labels = labels();
    pod_labels.extend(selector());
    let pod = json!({
        "serviceAccountName": NAME,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        // Apart where that can be, together where there is one node.
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector()},
        }}]}},
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector()},
        }],
        "containers": [container(options)],
        "volumes": [{"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}],
    });
    let spec = json!({
        "replicas": options.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector()},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": pod_labels}, "spec": pod},
    });
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(options), "spec": spec})
}

fn container(options: &Options) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let text = |name: &str, value: &str| json!({"name": name, "value": value});
    // The admin API refuses foreign host names, and the kubelet asks by the Pod's address.
    let ask = |path: &str| json!({"path": path, "port": "admin", "httpHeaders": [{"name": "Host", "value": "localhost"}]});
    let port = |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let mut ports = vec![port("xds", XDS_PORT), port("admin", ADMIN_PORT), port("replicas", REPLICAS_PORT)];
    ports.extend(options.webhook.then(|| port("webhook", WEBHOOK_PORT)));
    json!({
        "name": NAME,
        "image": options.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["controller"],
        "env": [
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"),
            text("WINDROSE_STATE", KEYS_FOLDER),
            text("WINDROSE_TRUST_DOMAIN", &options.trust_domain),
            text("WINDROSE_ENVOY_IMAGE", &options.envoy_image),
            text(NAMESPACE_SELECTOR, &options.namespace_selector),
        ],
        "ports": ports,
        // Ready when the cluster was read once: before that an Envoy would be told of nothing.
        "readinessProbe": {"httpGet": ask("/readyz"), "periodSeconds": 2, "failureThreshold": 3},
        // The server answers before it has read anything, but not before it has its keys.
        "startupProbe": {"httpGet": ask("/healthz"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"httpGet": ask("/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "state", "mountPath": STATE_FOLDER}],
    })
}

/// The class that people name in their Gateways.
pub(super) fn class() -> Value {
    let spec = json!({"controllerName": CONTROLLER_NAME, "description": "Stock Envoy, one fleet for each Gateway, configured by Windrose"});
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": NAME, "labels": labels()}, "spec": spec,
    })
}

/// Whom the API server asks about each object. An absent server blocks nobody: everything is checked again before it is served.
pub(super) fn webhook(options: &Options) -> Value {
    let rule = |group: &str| {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.group() == group);
        let resources: Vec<String> = kinds.map(crate::names::plural).collect();
        json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources, "scope": "*"})
    };
    // The running controller puts `caBundle` there, and renews it.
    let client = json!({"service": {"name": NAME, "namespace": options.namespace, "path": "/validate", "port": 443}});
    let webhook = json!({
        "name": WEBHOOK_NAME,
        "admissionReviewVersions": ["v1"],
        "clientConfig": client,
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "rules": rights::GROUPS.map(rule),
    });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME, "labels": labels()}, "webhooks": [webhook],
    })
}

/// What a running control plane made in its namespace, by name.
pub(super) fn made_by_itself(options: &Options) -> Vec<Value> {
    let named = |name: &str| json!({"name": name, "namespace": options.namespace});
    vec![
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": named(lease::LEASE)}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": named(keys::SECRET)}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": named(refused::SECRET)}),
    ]
}

pub(super) fn metadata(options: &Options) -> Value {
    json!({"name": NAME, "namespace": options.namespace, "labels": labels()})
}

pub(super) fn labels() -> Map<String, Value> {
    let all = [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/part-of", NAME), (VERSION_LABEL, VERSION)];
    all.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// What only Pods of the control plane carry; it never changes, because a Deployment's selector cannot.
fn selector() -> Map<String, Value> {
    let all = [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/component", "controller")];
    all.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}
