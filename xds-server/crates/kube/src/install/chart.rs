//! The same objects as a Helm chart: what a user may set stands in the templates as words of Helm.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{IMAGE, Options, VERSION, definitions, resources, yaml};
use crate::deploy;

/// The oldest Kubernetes that we run on.
pub(super) const KUBERNETES_MIN: &str = "1.30.0";

/// What stands for a value while objects are written, and what Helm is told instead. None of them needs quotes in YAML.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("windrose-placeholder-namespace", "{{ .Release.Namespace }}"),
    ("windrose-placeholder-image", "{{ .Values.image | quote }}"),
    ("windrose-placeholder-envoy-image", "{{ .Values.envoyImage | quote }}"),
    ("windrose-placeholder-trust-domain", "{{ .Values.trustDomain | quote }}"),
    ("windrose-placeholder-replicas", "{{ .Values.replicas }}"),
    ("windrose-placeholder-selector", "{{ .Values.namespaceSelector | quote }}"),
];

/// The files of the chart, by their paths in it.
#[must_use]
pub fn chart() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("Chart.yaml", yaml::document(&about())),
        ("values.yaml", values()),
        ("values.schema.json", format!("{:#}\n", values_schema())),
        ("templates/definitions.yaml", templates_of_definitions()),
        ("templates/windrose.yaml", templates()),
        ("templates/NOTES.txt", NOTES.to_owned()),
    ])
}

fn about() -> Value {
    json!({
        "apiVersion": "v2",
        "name": "windrose",
        "description": "One control plane for the API gateway and the service mesh, on stock Envoy",
        "type": "application",
        "version": VERSION,
        "appVersion": VERSION,
        "kubeVersion": format!(">={KUBERNETES_MIN}-0"),
        "home": "https://github.com/windrose-dev/windrose",
    })
}

fn values() -> String {
    let default = Options::default();
    format!(
        "# The image of the control plane.\nimage: {IMAGE}\n\
         # How many of it. All serve, one leads.\nreplicas: {}\n\
         # The image of the Envoys that Gateways run.\nenvoyImage: {}\n\
         # Trust domain of the identities that it issues. It cannot be changed without new identities for all.\ntrustDomain: {}\n\
         # Labels of the namespaces whose objects count, such as \"team=shop\" or \"env in (prod,stage)\"; all where empty.\nnamespaceSelector: \"\"\n\
         # Whether the definitions of windrose.dev come with the chart. They stay when it is uninstalled.\ndefinitions: true\n",
        default.replicas,
        deploy::IMAGE,
        default.trust_domain,
    )
}

fn values_schema() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({
        "$schema": "https://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "image": text, "envoyImage": text, "trustDomain": text,
            "namespaceSelector": {"type": "string"},
            "replicas": {"type": "integer", "minimum": 1},
            "definitions": {"type": "boolean"},
            // Helm puts these into the values of a chart that is part of another.
            "global": {"type": "object"},
            "enabled": {"type": "boolean"},
        },
        "required": ["image", "envoyImage", "replicas", "trustDomain"],
    })
}

/// Definitions are kept when a release is uninstalled: with them, everything that was declared would go.
fn templates_of_definitions() -> String {
    let kept = |mut definition: Value| {
        definition["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
        definition
    };
    let all: Vec<Value> = definitions().into_iter().map(kept).collect();
    format!("{{{{- if .Values.definitions }}}}\n{}{{{{- end }}}}\n", escaped(&yaml::documents(&all)))
}

fn templates() -> String {
    let [namespace, image, envoy_image, trust_domain, replicas, selector] = PLACEHOLDERS.map(|(placeholder, _)| placeholder);
    let options = Options {
        namespace: namespace.to_owned(),
        image: image.to_owned(),
        envoy_image: envoy_image.to_owned(),
        trust_domain: trust_domain.to_owned(),
        namespace_selector: selector.to_owned(),
        ..Options::default()
    };
    let mut all = resources(&options);
    for object in all.iter_mut().filter(|object| object["kind"] == "Deployment") {
        object["spec"]["replicas"] = replicas.into();
    }
    PLACEHOLDERS.iter().fold(escaped(&yaml::documents(&all)), |text, (placeholder, words)| text.replace(placeholder, words))
}

/// Braces that are none of Helm's.
fn escaped(text: &str) -> String {
    text.replace("{{", r#"{{ "{{" }}"#)
}

const NOTES: &str = "\
Windrose {{ .Chart.AppVersion }} is installed in namespace {{ .Release.Namespace }}.

  windrose check --namespace {{ .Release.Namespace }}      what runs, and what does not
  kubectl get gatewayclass windrose

A Gateway of class `windrose` gets its own Envoys: docs/kubernetes/first-gateway.md
";
