//! Kubernetes' own kinds, as plain data.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::certificates::v1beta1 as certificates;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use windrose_vocab::{Code, Port, Sensitive, Severity, Text};

use super::Enveloped;
use crate::declared::backend::{ServicePort, SliceEndpoint};
use crate::declared::{ClusterTrustBundle, ConfigMap, EndpointSlice, Meta, Namespace, Secret, Service};
use crate::decode::{Path, Report};

/// The label that names the Service of an EndpointSlice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

pub(super) fn namespace(_: core::Namespace, _: &Meta, _: &mut Report) -> Option<Namespace> {
    Some(Namespace::default())
}

pub(super) fn service(written: core::Service, _: &Meta, report: &mut Report) -> Option<Service> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let spec = written.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    unique_ports(&ports, &at.field("ports"), report);
    let listed = spec.cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
    let at_ports = at.field("ports");
    Some(Service {
        headless: listed.iter().any(|address| address == "None"),
        cluster_ips: cluster_ips(&listed, &at, report),
        external_name: spec.external_name.filter(|_| spec.type_.as_deref() == Some("ExternalName")).map(Into::into),
        selects: spec.selector.is_some_and(|selector| !selector.is_empty()),
        ports: ports.into_iter().enumerate().filter_map(|(index, written)| service_port(written, &at_ports.index(index), report)).collect(),
    })
}

fn cluster_ips(listed: &[String], at: &Path<'_>, report: &mut Report) -> Vec<IpAddr> {
    let addresses = listed.iter().filter(|address| !address.is_empty() && *address != "None");
    let parsed = addresses.filter_map(|address| {
        let parsed = address.parse().ok();
        if parsed.is_none() {
            report.error(&at.field("clusterIP"), Code::OutOfRange, format!("`{}` is not an IP address", address.escape_debug()));
        }
        parsed
    });
    parsed.collect()
}

/// Several ports need names, and every name and number once: endpoints are found by them.
fn unique_ports(ports: &[core::ServicePort], at: &Path<'_>, report: &mut Report) {
    let mut names = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (index, port) in ports.iter().enumerate() {
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            report.error(&at.index(index).field("name"), Code::MissingField, "required field `name` is missing: there are several ports");
        } else if let Some(first) = names.insert(name, index) {
            report.error(&at.index(index).field("name"), Code::Invalid, format!("item {first} has the same name"));
        }
        if let Some(first) = numbers.insert((port.port, port.protocol.as_deref().unwrap_or("TCP")), index) {
            report.error(&at.index(index).field("port"), Code::Invalid, format!("item {first} has the same port and protocol"));
        }
    }
}

fn service_port(written: core::ServicePort, at: &Path<'_>, report: &mut Report) -> Option<ServicePort> {
    let udp = match written.protocol.as_deref() {
        None | Some("TCP") => false,
        Some("UDP") => true,
        Some(other) => {
            let message = format!("`{}` is not supported, the port is left out", other.escape_debug());
            report.tell(&at.field("protocol"), Severity::Warning, Code::Unsupported, message, None);
            return None;
        }
    };
    Some(ServicePort {
        name: written.name.unwrap_or_default().into(),
        port: port(written.port, &at.field("port"), report)?,
        app_protocol: written.app_protocol.map(Into::into),
        udp,
        target: match written.target_port {
            Some(IntOrString::Int(number)) => Port::new(i64::from(number)),
            Some(IntOrString::String(_)) | None => None,
        },
    })
}

fn port(number: i32, at: &Path<'_>, report: &mut Report) -> Option<Port> {
    let port = Port::new(i64::from(number));
    if port.is_none() {
        report.error(at, Code::OutOfRange, format!("`{number}` is out of range: 1 to 65535"));
    }
    port
}

pub(super) fn endpoint_slice(written: discovery::EndpointSlice, meta: &Meta, report: &mut Report) -> Option<EndpointSlice> {
    let root = Path::ROOT;
    let ports = written.ports.unwrap_or_default().into_iter().enumerate();
    let endpoints = if written.address_type == "FQDN" {
        let message = "endpoints by host name are not supported and left out";
        report.tell(&root.field("addressType"), Severity::Warning, Code::Unsupported, message.to_owned(), None);
        Vec::new()
    } else {
        written.endpoints
    };
    let at_ports = root.field("ports");
    let at_endpoints = root.field("endpoints");
    Some(EndpointSlice {
        service: meta.labels.get(SERVICE_LABEL).cloned(),
        ports: ports
            .filter_map(|(index, written)| {
                Some((written.name.unwrap_or_default().into(), port(written.port?, &at_ports.index(index).field("port"), report)?))
            })
            .collect(),
        endpoints: endpoints
            .into_iter()
            .enumerate()
            .map(|(index, endpoint)| slice_endpoint(endpoint, &at_endpoints.index(index), report))
            .collect(),
    })
}

/// What an endpoint does not say is taken as Kubernetes says: ready, serving if ready, not going away.
fn slice_endpoint(written: discovery::Endpoint, at: &Path<'_>, report: &mut Report) -> SliceEndpoint {
    let conditions = written.conditions.unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let at = at.field("addresses");
    let addresses = written.addresses.iter().enumerate().filter_map(|(index, address)| {
        let parsed = address.parse().ok();
        if parsed.is_none() {
            report.error(&at.index(index), Code::OutOfRange, format!("`{}` is not an IP address", address.escape_debug()));
        }
        parsed
    });
    SliceEndpoint {
        addresses: addresses.collect(),
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        zone: written.zone.unwrap_or_default().into(),
        for_zones: for_zones(written.hints),
        pod: written.target_ref.filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| target.name).map(Into::into),
    }
}

/// Most endpoints have no hints, and those share the empty list.
fn for_zones(hints: Option<discovery::EndpointHints>) -> Arc<[Text]> {
    let zones = hints.and_then(|hints| hints.for_zones).unwrap_or_default();
    if zones.is_empty() { Arc::default() } else { zones.into_iter().map(|zone| zone.name.into()).collect() }
}

/// Values from files have been put into `data` before. `stringData` wins, as in Kubernetes.
pub(super) fn secret(written: core::Secret, _: &Meta, report: &mut Report) -> Option<Secret> {
    let mut data: BTreeMap<Text, Sensitive> = BTreeMap::new();
    data.extend(written.data.unwrap_or_default().into_iter().map(|(key, value)| (key.into(), Sensitive::new(value.0))));
    let texts = written.string_data.unwrap_or_default().into_iter();
    data.extend(texts.map(|(key, value)| (key.into(), Sensitive::new(value.into_bytes()))));
    keys(data.keys(), "data", report);
    Some(Secret { kind: written.type_.unwrap_or_else(|| "Opaque".to_owned()).into(), data })
}

pub(super) fn config_map(written: core::ConfigMap, _: &Meta, report: &mut Report) -> Option<ConfigMap> {
    let mut data: BTreeMap<Text, Bytes> = BTreeMap::new();
    data.extend(written.data.unwrap_or_default().into_iter().map(|(key, value)| (key.into(), value.into())));
    let root = Path::ROOT;
    for (key, value) in written.binary_data.unwrap_or_default() {
        if data.insert(key.as_str().into(), value.0.into()).is_some() {
            report.error(&root.field("binaryData").field(&key), Code::Invalid, "is in `data` too");
        }
    }
    keys(data.keys(), "data", report);
    Some(ConfigMap { data })
}

/// Of both versions, which say the same.
pub(super) fn trust_bundle(
    written: Enveloped<certificates::ClusterTrustBundleSpec>,
    _: &Meta,
    _: &mut Report,
) -> Option<ClusterTrustBundle> {
    Some(ClusterTrustBundle { certificates: written.spec.trust_bundle.into() })
}

fn keys<'a>(keys: impl Iterator<Item = &'a Text>, field: &str, report: &mut Report) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    for key in keys.filter(|key| key.is_empty() || key.len() > 253 || !key.bytes().all(plain)) {
        let message = "is not a key: letters, digits, `-`, `_` and `.`, at most 253";
        report.error(&Path::ROOT.field(field).field(key), Code::OutOfRange, message);
    }
}
