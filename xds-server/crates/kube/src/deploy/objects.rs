//! The objects that run Envoys and lead to them, as JSON, in the order they are put into the cluster.

use serde_json::{Map, Value, json};

use super::{
    ACCEPT_ANNOTATION, AUDIENCE, BOOTSTRAP_FOLDER, CLASS_LABEL, Carries, Envoys, FLEET_LABEL, For, GATEWAY_LABEL, MANAGER, READY_GATE,
    RUN_FOLDER, Service, TOKEN_FOLDER, Wanted,
};
use crate::limits;
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
pub const TOKEN_SECONDS: u32 = 3600;
/// The user that Envoy runs as.
const USER: u32 = 65532;

/// Everything that is wanted.
#[must_use]
pub fn objects(wanted: &Wanted) -> Vec<Object> {
    let mut all = Vec::new();
    if let Some(envoys) = &wanted.envoys {
        all.extend([account(wanted), bootstrap(wanted, envoys), deployment(wanted, envoys)]);
    }
    all.extend(wanted.service.as_ref().map(|reached| service(wanted, reached)));
    if wanted.envoys.is_some() {
        all.extend(autoscaler(wanted));
        if wanted.parameters.replicas > 1 || wanted.parameters.autoscaling.is_some_and(|scaling| scaling.min > 1) {
            all.push(disruption_budget(wanted));
        }
    }
    all
}

fn account(wanted: &Wanted) -> Object {
    let value = json!({"metadata": metadata(wanted), "automountServiceAccountToken": false});
    object("v1", "ServiceAccount", "serviceaccounts", value)
}

fn bootstrap(wanted: &Wanted, envoys: &Envoys) -> Object {
    object("v1", "ConfigMap", "configmaps", json!({"metadata": metadata(wanted), "data": envoys.bootstrap}))
}

fn service(wanted: &Wanted, reached: &Service) -> Object {
    let parameters = &wanted.parameters;
    let port = |((number, carries), target): (&(u16, Carries), &u16)| {
        let (protocol, prefix) = match carries {
            Carries::Tcp => ("TCP", "tcp"),
            Carries::Udp => ("UDP", "udp"),
        };
        json!({"name": format!("{prefix}-{number}"), "port": number, "targetPort": target, "protocol": protocol})
    };
    let mut spec = json!({
        "type": parameters.service_type,
        "selector": selector(wanted),
        "ports": reached.ports.iter().map(port).collect::<Vec<_>>(),
        "ipFamilyPolicy": "PreferDualStack",
    });
    set(&mut spec, "loadBalancerClass", parameters.load_balancer_class.clone().map(Value::from));
    set(&mut spec, "externalTrafficPolicy", parameters.external_traffic_policy.clone().map(Value::from));
    match reached.addresses.first().filter(|_| parameters.service_type == "LoadBalancer") {
        Some(address) => set(&mut spec, "loadBalancerIP", Some(address.to_string().into())),
        None if !reached.addresses.is_empty() => {
            let addresses: Vec<String> = reached.addresses.iter().map(ToString::to_string).collect();
            set(&mut spec, "externalIPs", Some(addresses.into()));
        }
        None => {}
    }
    let mut metadata = metadata(wanted);
    let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.extend(parameters.service_annotations.iter().map(|(name, value)| (name.clone(), value.clone().into())));
        annotations.extend(marks(wanted));
    }
    object("v1", "Service", "services", json!({"metadata": metadata, "spec": spec}))
}

fn deployment(wanted: &Wanted, envoys: &Envoys) -> Object {
    let parameters = &wanted.parameters;
    let mut template_labels = labels(wanted);
    template_labels.extend(selector(wanted));
    let mut template_annotations = annotations(wanted);
    // Envoy reads its bootstrap once: another one needs other Pods.
    template_annotations.insert("windrose.dev/bootstrap".to_owned(), fingerprint(envoys).into());
    // By what it says itself: the parameters may say something else by the time that it ends.
    template_annotations.insert(ACCEPT_ANNOTATION.to_owned(), parameters.accept_seconds().to_string().into());
    let mut pod = json!({
        "serviceAccountName": wanted.name(),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": held_seconds(wanted) + limits::ENVOY_ENDS.as_secs(),
        "readinessGates": [{"conditionType": READY_GATE}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            // Ports below 1024 without a capability.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [container(wanted, envoys)],
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

/// Without the ports that it opens: nobody needs to read them here, and one that comes or goes would replace all Pods.
fn container(wanted: &Wanted, envoys: &Envoys) -> Value {
    let parameters = &wanted.parameters;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!({
        "name": "envoy",
        "image": parameters.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "-c", format!("{BOOTSTRAP_FOLDER}/envoy.yaml"),
            "--service-node", "$(POD_NAME)",
            "--service-cluster", cluster(wanted),
            "--concurrency", parameters.concurrency.to_string(),
            "--drain-time-s", parameters.drain_seconds.to_string(),
            "--drain-strategy", "immediate",
            "--disable-hot-restart",
            "--log-level", "warning",
        ],
        "env": [field("POD_NAME", "metadata.name")],
        "resources": parameters.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]},
        },
        // Meanwhile the server withdraws the listeners, and connections end in their own time.
        "lifecycle": {"preStop": {"sleep": {"seconds": held_seconds(wanted)}}},
        "volumeMounts": [
            {"name": "bootstrap", "mountPath": BOOTSTRAP_FOLDER, "readOnly": true},
            {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": true},
            {"name": "run", "mountPath": RUN_FOLDER},
        ],
        // An Envoy that starts again in its Pod has no listener at first, and its gate is open already.
        "readinessProbe": {"tcpSocket": {"port": envoys.ready_port}, "periodSeconds": 2, "failureThreshold": 2},
    })
}

/// Seconds that a Pod is held before Envoy is told to end: its connections have the whole drain after its listeners are withdrawn.
fn held_seconds(wanted: &Wanted) -> u64 {
    let parameters = &wanted.parameters;
    limits::LISTENERS_STAY.as_secs().max(parameters.accept_seconds()) + u64::from(parameters.drain_seconds)
}

/// What the Envoys say they are part of.
fn cluster(wanted: &Wanted) -> String {
    match &wanted.of {
        For::Gateway(key) | For::Member(key) | For::Fleet(key) => format!("{}.{}", key.name, key.namespace),
    }
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
        "namespace": &**wanted.namespace(),
        "labels": labels(wanted),
        "annotations": annotations(wanted),
        "ownerReferences": wanted.owners.iter().map(|(name, uid)| owner(wanted, name, uid)).collect::<Vec<_>>(),
    })
}

/// One of several owners does not control what they own.
fn owner(wanted: &Wanted, name: &str, uid: &str) -> Value {
    let mut owner = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": name, "uid": uid});
    match wanted.of {
        For::Gateway(_) | For::Member(_) => {
            set(&mut owner, "controller", Some(true.into()));
            set(&mut owner, "blockOwnerDeletion", Some(true.into()));
        }
        For::Fleet(_) => {}
    }
    owner
}

fn labels(wanted: &Wanted) -> Map<String, Value> {
    let mut all: Map<String, Value> = wanted.labels.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).collect();
    if let For::Gateway(gateway) | For::Member(gateway) = &wanted.of {
        all.insert(GATEWAY_LABEL.to_owned(), label_value(&gateway.name).into());
    } else {
        all.extend(selector(wanted));
    }
    all.insert(CLASS_LABEL.to_owned(), label_value(&wanted.class).into());
    all.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.into());
    all
}

fn annotations(wanted: &Wanted) -> Map<String, Value> {
    wanted.annotations.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).chain(marks(wanted)).collect()
}

/// Last of all annotations: they are nobody else's.
fn marks(wanted: &Wanted) -> impl Iterator<Item = (String, Value)> {
    wanted.marks.iter().map(|(name, value)| ((*name).to_owned(), value.to_string().into()))
}

/// What only the Pods carry that are meant.
fn selector(wanted: &Wanted) -> Map<String, Value> {
    let class = label_value(&wanted.class);
    let of = match &wanted.of {
        For::Gateway(gateway) => (GATEWAY_LABEL, label_value(&gateway.name)),
        For::Member(_) | For::Fleet(_) => (FLEET_LABEL, class.clone()),
    };
    [of, (CLASS_LABEL, class)].into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn fingerprint(envoys: &Envoys) -> String {
    windrose_vocab::Fingerprint::of("bootstrap", &envoys.bootstrap).to_string()
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use windrose_vocab::{ObjectKey, Text};

    use super::*;
    use crate::deploy::{Autoscaling, Parameters};

    fn wanted(of: For, owners: &[&str]) -> Wanted {
        let (service, envoys) = match of {
            For::Gateway(_) => (true, true),
            For::Member(_) => (true, false),
            For::Fleet(_) => (false, true),
        };
        let (port, target) = if envoys { (80, 80) } else { (80, 12_345) };
        Wanted {
            of,
            class: "shared".into(),
            marks: BTreeMap::new(),
            owners: owners.iter().map(|name| (Text::from(*name), format!("uid of {name}"))).collect(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service: service.then(|| Service { ports: [((port, Carries::Tcp), target)].into(), addresses: Vec::new() }),
            envoys: envoys.then(|| Envoys { bootstrap: BTreeMap::new(), ready_port: 9_999 }),
            parameters: Parameters { replicas: 2, ..Parameters::default() },
        }
    }

    fn of_kind(objects: &[Object], kind: &str) -> Option<Value> {
        objects.iter().find(|object| object.kind == kind).map(|object| object.value.clone())
    }

    /// Whether what the Service selects is what the Deployment's Pods carry.
    fn leads_to(service: &[Object], envoys: &[Object]) -> bool {
        let selector = of_kind(service, "Service").unwrap()["spec"]["selector"].as_object().unwrap().clone();
        let labels = of_kind(envoys, "Deployment").unwrap()["spec"]["template"]["metadata"]["labels"].clone();
        selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    #[test]
    fn the_service_of_a_member_leads_to_the_fleet_and_that_of_another_gateway_to_its_own() {
        let key = |name: &str| ObjectKey::new("shop", name);
        let fleet = objects(&wanted(For::Fleet(key("shared")), &["a", "b"]));
        let member = objects(&wanted(For::Member(key("a")), &["a"]));
        let own = objects(&wanted(For::Gateway(key("a")), &["a"]));
        assert_eq!(
            [leads_to(&member, &fleet), leads_to(&own, &own), leads_to(&member, &own), leads_to(&own, &fleet)],
            [true, true, false, false]
        );
        let kinds = |objects: &[Object]| objects.iter().map(|object| object.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&member), ["Service"]);
        assert_eq!(kinds(&fleet), ["ServiceAccount", "ConfigMap", "Deployment", "PodDisruptionBudget"]);
        assert_eq!(of_kind(&member, "Service").unwrap()["spec"]["ports"][0]["targetPort"], 12_345);
    }

    #[test]
    fn what_parameters_say_of_pods_and_services_is_in_them() {
        let spread = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        let parameters = Parameters {
            image: "registry.example/envoy:1".to_owned(),
            resources: json!({"limits": {"memory": "1Gi"}}),
            service_type: "NodePort".to_owned(),
            service_annotations: [("lb.example/scheme".to_owned(), "internal".to_owned())].into(),
            load_balancer_class: Some("lb.example/class".to_owned()),
            external_traffic_policy: Some("Local".to_owned()),
            node_selector: [("disk".to_owned(), "fast".to_owned())].into(),
            tolerations: vec![json!({"key": "edge", "operator": "Exists"})],
            topology_spread: vec![spread.clone()],
            priority_class: Some("high".to_owned()),
            image_pull_secrets: vec!["registry".to_owned()],
            autoscaling: Some(Autoscaling { min: 2, max: 9, cpu_percent: 60 }),
            concurrency: 4,
            ..Parameters::default()
        };
        let of = wanted(For::Gateway(ObjectKey::new("shop", "a")), &["a"]);
        let objects = objects(&Wanted { parameters, ..of });
        let [service, deployment, scaler] =
            ["Service", "Deployment", "HorizontalPodAutoscaler"].map(|kind| of_kind(&objects, kind).unwrap());
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(
            [&pod["nodeSelector"], &pod["tolerations"]],
            [&json!({"disk": "fast"}), &json!([{"key": "edge", "operator": "Exists"}])]
        );
        assert_eq!([&pod["priorityClassName"], &pod["imagePullSecrets"]], [&json!("high"), &json!([{"name": "registry"}])]);
        let spreads = &pod["topologySpreadConstraints"][0];
        assert_eq!(spreads["topologyKey"], "zone");
        assert_eq!(spreads["labelSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
        let container = &pod["containers"][0];
        assert_eq!([&container["image"], &container["resources"]["limits"]["memory"]], ["registry.example/envoy:1", "1Gi"]);
        assert!(container["args"].as_array().unwrap().windows(2).any(|pair| *pair == [json!("--concurrency"), json!("4")]));
        assert!(deployment["spec"]["replicas"].is_null(), "the autoscaler's");
        assert_eq!([&scaler["spec"]["minReplicas"], &scaler["spec"]["maxReplicas"]], [2, 9]);
        assert!(of_kind(&objects, "PodDisruptionBudget").is_some());
        let spec = &service["spec"];
        assert_eq!([&spec["type"], &spec["loadBalancerClass"], &spec["externalTrafficPolicy"]], ["NodePort", "lb.example/class", "Local"]);
        assert_eq!([&spec["ipFamilyPolicy"], &service["metadata"]["annotations"]["lb.example/scheme"]], ["PreferDualStack", "internal"]);
        assert!(deployment["metadata"]["annotations"]["lb.example/scheme"].is_null());
    }

    #[test]
    fn a_port_that_comes_or_goes_changes_no_pod() {
        let with = |ports: &[u16]| {
            let of = wanted(For::Gateway(ObjectKey::new("shop", "a")), &["a"]);
            let ports = ports.iter().map(|port| ((*port, Carries::Tcp), *port)).collect();
            let objects = objects(&Wanted { service: Some(Service { ports, addresses: Vec::new() }), ..of });
            of_kind(&objects, "Deployment").unwrap()["spec"]["template"].clone()
        };
        let template = with(&[80, 443]);
        assert_eq!([with(&[443]), with(&[443, 8443])], [template.clone(), template.clone()]);
        assert_eq!(template["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"], 9_999);
    }

    #[test]
    fn connections_have_the_whole_drain_after_the_listeners_are_gone() {
        let of = wanted(For::Gateway(ObjectKey::new("shop", "a")), &["a"]);
        let objects = objects(&Wanted { parameters: Parameters { drain_seconds: 30, ..Parameters::default() }, ..of });
        let pod = &of_kind(&objects, "Deployment").unwrap()["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], 30 + limits::LISTENERS_STAY.as_secs());
        assert_eq!(pod["terminationGracePeriodSeconds"], 30 + limits::LISTENERS_STAY.as_secs() + limits::ENVOY_ENDS.as_secs());
    }

    #[test]
    fn a_pod_is_held_as_long_as_it_has_to_accept_and_its_connections_have_the_drain_after_that() {
        let held = |accept_for_seconds, policy: Option<&str>| {
            let of = wanted(For::Gateway(ObjectKey::new("shop", "a")), &["a"]);
            let external_traffic_policy = policy.map(str::to_owned);
            let parameters = Parameters { accept_for_seconds, external_traffic_policy, drain_seconds: 30, ..Parameters::default() };
            let template = of_kind(&objects(&Wanted { parameters, ..of }), "Deployment").unwrap()["spec"]["template"].clone();
            let says = template["metadata"]["annotations"][ACCEPT_ANNOTATION].as_str().unwrap().to_owned();
            let pod = &template["spec"];
            let held = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
            assert_eq!(pod["terminationGracePeriodSeconds"], held + limits::ENVOY_ENDS.as_secs());
            (held, says)
        };
        assert_eq!(held(None, Some("Cluster")), (38, "0".to_owned()));
        assert_eq!(held(None, Some("Local")), (60, "30".to_owned()));
        assert_eq!(held(Some(90), None), (120, "90".to_owned()));
        assert_eq!(held(Some(3), Some("Local")), (38, "3".to_owned()), "what is said holds, and endpoints take their time");
    }

    #[test]
    fn what_is_shared_goes_with_the_last_of_its_gateways_and_is_controlled_by_none() {
        let fleet = objects(&wanted(For::Fleet(ObjectKey::new("shop", "shared")), &["a", "b"]));
        for object in &fleet {
            let owners = object.value["metadata"]["ownerReferences"].as_array().unwrap();
            let names: Vec<_> = owners.iter().map(|owner| (owner["name"].as_str().unwrap(), owner["controller"].is_null())).collect();
            assert_eq!(names, [("a", true), ("b", true)], "{}", object.kind);
        }
        let own = objects(&wanted(For::Gateway(ObjectKey::new("shop", "a")), &["a"]));
        assert!(own.iter().all(|object| object.value["metadata"]["ownerReferences"][0]["controller"] == true));
    }
}
