//! GatewayClass, Gateway and ListenerSet, with the listeners that the last two share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use windrose_vocab::{Code, Hostname, Kind, ObjectKey, Port, Severity, Text};

use super::Enveloped;
use super::reference::Reference;
use super::route::{WrittenFilter, filters};
use crate::declared::backend::ObjectReference;
use crate::declared::gateway::{
    FrontendValidation, GatewayAddress, Infrastructure, Listener, ListenerTls, Namespaces, Protocol, Reach, Selector, SelectorExpression,
};
use crate::declared::{Gateway, GatewayClass, ListenerSet, Meta};
use crate::decode::{Path, Report};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewayClassSpec {
    controller_name: String,
    parameters_ref: Option<Reference>,
}

pub(super) fn class(written: Enveloped<GatewayClassSpec>, _: &Meta, _: &mut Report) -> Option<GatewayClass> {
    let spec = written.spec;
    Some(GatewayClass { controller: spec.controller_name.into(), parameters_ref: spec.parameters_ref.map(Into::into) })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GatewaySpec {
    gateway_class_name: String,
    addresses: Vec<WrittenAddress>,
    listeners: Vec<WrittenListener>,
    tls: GatewayTls,
    allowed_listeners: AllowedListeners,
    default_scope: Option<String>,
    infrastructure: WrittenInfrastructure,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenInfrastructure {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    parameters_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenAddress {
    r#type: String,
    value: Option<String>,
    routability: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GatewayTls {
    backend: BackendSide,
    frontend: Frontend,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BackendSide {
    client_certificate_ref: Option<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Frontend {
    default: FrontendTls,
    per_port: Vec<PortTls>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FrontendTls {
    validation: Option<Validation>,
}

#[derive(Deserialize)]
struct PortTls {
    port: i64,
    tls: FrontendTls,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    ca_certificate_refs: Vec<Reference>,
    #[serde(default)]
    mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AllowedListeners {
    namespaces: WrittenNamespaces,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenNamespaces {
    from: Option<String>,
    selector: Option<WrittenSelector>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<WrittenExpression>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenExpression {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListenerSetSpec {
    parent_ref: Reference,
    listeners: Vec<WrittenListener>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenListener {
    name: String,
    hostname: Option<String>,
    port: i64,
    protocol: String,
    tls: Option<WrittenTls>,
    allowed_routes: AllowedRoutes,
    filters: WrittenListenerFilters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenListenerFilters {
    requests: Vec<WrittenFilter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenTls {
    mode: String,
    certificate_refs: Vec<Reference>,
    options: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AllowedRoutes {
    kinds: Vec<GroupKind>,
    namespaces: WrittenNamespaces,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupKind {
    group: String,
    kind: String,
}

pub(super) fn gateway(written: Enveloped<GatewaySpec>, _: &Meta, report: &mut Report) -> Option<Gateway> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let spec = written.spec;
    if spec.default_scope.as_deref().is_some_and(|scope| scope != "None") {
        let message = "default Gateways are not supported: a route attaches only to the parents it names";
        report.tell(&at.field("defaultScope"), Severity::Warning, Code::Unsupported, message.to_owned(), None);
    }
    let per_port = spec.tls.frontend.per_port.into_iter();
    let (said, plain): (Vec<_>, Vec<_>) = spec.addresses.into_iter().enumerate().partition(|(_, address)| !address.routability.is_empty());
    Some(Gateway {
        class: spec.gateway_class_name.into(),
        addresses: plain.into_iter().filter_map(|(_, written)| address(written)).collect(),
        reach: said.into_iter().map(|(position, written)| reach(position, written)).collect(),
        listeners: listeners(spec.listeners, &at, report),
        backend_client_certificate: spec.tls.backend.client_certificate_ref.map(Into::into),
        frontend_validation: spec.tls.frontend.default.validation.map(validation),
        frontend_validation_per_port: per_port
            .filter_map(|entry| Some((Port::new(entry.port)?, entry.tls.validation.map(validation))))
            .collect(),
        allowed_listener_sets: {
            let at = at.field("allowedListeners");
            namespaces(spec.allowed_listeners.namespaces, Namespaces::None, &at.field("namespaces"), report)
        },
        infrastructure: infrastructure(spec.infrastructure),
    })
}

pub(super) fn listener_set(written: Enveloped<ListenerSetSpec>, meta: &Meta, report: &mut Report) -> Option<ListenerSet> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let parent = ObjectReference::from(written.spec.parent_ref);
    if (&*parent.group, &*parent.kind) != (Kind::Gateway.group(), Kind::Gateway.as_str()) {
        report.error(
            &at.field("parentRef"),
            Code::InvalidKind,
            format!("`{}` cannot be the parent of a ListenerSet: a Gateway can", parent.kind),
        );
    }
    let namespace = parent.namespace.unwrap_or_else(|| meta.object.key.namespace.clone());
    Some(ListenerSet { gateway: ObjectKey::new(namespace, parent.name), listeners: listeners(written.spec.listeners, &at, report) })
}

fn infrastructure(written: WrittenInfrastructure) -> Infrastructure {
    let texts = |written: BTreeMap<String, String>| written.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    Infrastructure {
        labels: texts(written.labels),
        annotations: texts(written.annotations),
        parameters_ref: written.parameters_ref.map(Into::into),
    }
}

/// An address without a value asks for any of its type, which is what no address asks for too.
fn address(written: WrittenAddress) -> Option<GatewayAddress> {
    let value = written.value.filter(|value| !value.is_empty())?;
    Some(match (written.r#type.as_str(), value.parse::<IpAddr>()) {
        ("IPAddress", Ok(address)) => GatewayAddress::Ip(address),
        ("Hostname", _) => GatewayAddress::Hostname(value.into()),
        _ => GatewayAddress::Other(written.r#type.into(), value.into()),
    })
}

fn reach(position: usize, written: WrittenAddress) -> Reach {
    let value = written.value.filter(|value| !value.is_empty()).map(Into::into);
    Reach { position, kind: written.r#type.into(), value, from: written.routability.into() }
}

fn validation(written: Validation) -> FrontendValidation {
    FrontendValidation {
        ca_certificates: written.ca_certificate_refs.into_iter().map(Into::into).collect(),
        insecure_fallback: written.mode == "AllowInsecureFallback",
    }
}

fn listeners(written: Vec<WrittenListener>, at: &Path<'_>, report: &mut Report) -> Vec<Listener> {
    let at = at.field("listeners");
    written.into_iter().enumerate().filter_map(|(index, written)| listener(written, &at.index(index), report)).collect()
}

fn listener(written: WrittenListener, at: &Path<'_>, report: &mut Report) -> Option<Listener> {
    let hostname = written.hostname.filter(|hostname| !hostname.is_empty());
    let routes = at.field("allowedRoutes");
    Some(Listener {
        hostname: match hostname.as_deref().map(Hostname::parse).transpose() {
            Ok(hostname) => hostname,
            Err(error) => {
                report.error(&at.field("hostname"), Code::OutOfRange, error.to_string());
                return None;
            }
        },
        port: Port::new(written.port)?,
        name: written.name.into(),
        protocol: protocol(&written.protocol),
        tls: written.tls.map(|written| tls(written, &at.field("tls"), report)),
        allowed_kinds: written.allowed_routes.kinds.into_iter().map(known_kind).collect(),
        allowed_namespaces: namespaces(written.allowed_routes.namespaces, Namespaces::Same, &routes.field("namespaces"), report),
        filters: filters(written.filters.requests),
    })
}

fn protocol(written: &str) -> Protocol {
    match written {
        "HTTP" => Protocol::Http,
        "HTTPS" => Protocol::Https,
        "TLS" => Protocol::Tls,
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => Protocol::Other(other.into()),
    }
}

fn tls(written: WrittenTls, at: &Path<'_>, report: &mut Report) -> ListenerTls {
    super::no_options(written.options.keys(), at, report);
    ListenerTls { passthrough: written.mode == "Passthrough", certificates: written.certificate_refs.into_iter().map(Into::into).collect() }
}

fn known_kind(written: GroupKind) -> Result<Kind, Text> {
    Kind::parse(&written.kind).filter(|kind| kind.group() == written.group).ok_or_else(|| written.kind.into())
}

fn namespaces(written: WrittenNamespaces, default: Namespaces, at: &Path<'_>, report: &mut Report) -> Namespaces {
    match (written.from.as_deref(), written.selector) {
        (Some("All"), _) => Namespaces::All,
        (Some("Same"), _) => Namespaces::Same,
        (Some("None"), _) => Namespaces::None,
        (Some("Selector"), Some(written)) => Namespaces::Selector(selector(written, &at.field("selector"), report)),
        (Some("Selector"), None) => {
            report.error(&at.field("selector"), Code::MissingField, "required field `selector` is missing: `from` is `Selector`");
            Namespaces::None
        }
        (Some(_) | None, _) => default,
    }
}

fn selector(written: WrittenSelector, at: &Path<'_>, report: &mut Report) -> Selector {
    let at = at.field("matchExpressions");
    let expressions = written.match_expressions.into_iter().enumerate();
    Selector {
        labels: written.match_labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        expressions: expressions.filter_map(|(index, written)| expression(written, &at.index(index), report)).collect(),
    }
}

fn expression(written: WrittenExpression, at: &Path<'_>, report: &mut Report) -> Option<SelectorExpression> {
    let key: Text = written.key.into();
    let values = || written.values.iter().map(|value| value.as_str().into()).collect();
    match (written.operator.as_str(), written.values.is_empty()) {
        ("In", false) => Some(SelectorExpression::In(key, values())),
        ("NotIn", false) => Some(SelectorExpression::NotIn(key, values())),
        ("Exists", true) => Some(SelectorExpression::Exists(key)),
        ("DoesNotExist", true) => Some(SelectorExpression::DoesNotExist(key)),
        ("In" | "NotIn", true) => {
            report.error(&at.field("values"), Code::MissingField, format!("`{}` needs values", written.operator));
            None
        }
        ("Exists" | "DoesNotExist", false) => {
            report.error(&at.field("values"), Code::Invalid, format!("`{}` takes no values", written.operator));
            None
        }
        _ => {
            let hint = "known here: `In`, `NotIn`, `Exists`, `DoesNotExist`";
            report.error_with_hint(&at.field("operator"), Code::OutOfRange, "is none of the allowed values", hint);
            None
        }
    }
}
