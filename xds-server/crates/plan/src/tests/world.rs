//! Small worlds: builders with defaults for everything that a test does not speak of.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrose_api::Declared;
use windrose_api::declared::backend::{ObjectReference, ServicePort, SliceEndpoint};
use windrose_api::declared::gateway::{
    CONTROLLER, GatewayClass, GrantFrom, GrantTo, Infrastructure, Listener, ListenerTls, Namespaces, Protocol,
};
use windrose_api::declared::route::{BackendRef, Match, ParentRef, PathMatch, Rule};
use windrose_api::declared::workload::{Calls, Serves};
use windrose_api::declared::{
    AnyObject, ConfigMap, EndpointSlice, Gateway, Grant, Meta, Namespace, Object, Route, Secret, Service, Workload,
};
use windrose_api::policy::{Fleet, GatewayParameters, TargetRef};
use windrose_ir::Program;
use windrose_ir::route::{RouteAction, VirtualHost};
use windrose_vocab::{Diagnostic, Fingerprint, Hostname, Kind, ObjectRef, Port, ProxyKey, Sensitive, Text, TrustDomain, Weight};

use crate::{Addresses, CertificateCheck, Plan, Refused, Settings, Subject};

pub(super) const NS: &str = "shop";

/// A certificate is good when it says so, and for every host unless it names one.
#[derive(Debug)]
struct Judge;

impl CertificateCheck for Judge {
    fn pair(&self, chain: &str, _: &str) -> Result<(), String> {
        if chain.contains("GOOD") { Ok(()) } else { Err("is not a certificate".to_owned()) }
    }

    fn other_names(&self, chain: &str, hostname: &str) -> Option<String> {
        let (_, only) = chain.split_once("ONLY ")?;
        (only != hostname).then(|| format!("`{only}`"))
    }

    fn bundle(&self, bundle: &str) -> Result<(), String> {
        if bundle.contains("GOOD") { Ok(()) } else { Err("is not a bundle".to_owned()) }
    }
}

pub(super) fn settings() -> Settings {
    Settings::new(TrustDomain::parse("windrose.local").unwrap(), Arc::new(Judge))
}

pub(super) fn declared(objects: impl IntoIterator<Item = AnyObject>) -> Declared {
    let mut declared = Declared::default();
    objects.into_iter().for_each(|object| declared.insert(object));
    declared
}

pub(super) fn plan(objects: impl IntoIterator<Item = AnyObject>) -> Plan {
    crate::plan(&declared(objects), &Refused::default(), &settings())
}

/// The plan of a world in which somebody else assigns the addresses of Gateways; our class has no parameters unless one says otherwise.
pub(super) fn plan_in_cluster(objects: impl IntoIterator<Item = AnyObject>) -> Plan {
    let plain = GatewayClass { controller: CONTROLLER.into(), parameters_ref: None };
    let class = AnyObject::GatewayClass(object(Kind::GatewayClass, "", "windrose", plain));
    let world = declared(std::iter::once(class).chain(objects));
    crate::plan(&world, &Refused::default(), &settings().with_addresses(Addresses::Assigned))
}

pub(super) fn object<T: std::fmt::Debug>(kind: Kind, namespace: &str, name: &str, spec: T) -> Arc<Object<T>> {
    let version = Fingerprint::of("test", format!("{spec:?}").as_str());
    let meta =
        Meta { object: ObjectRef::new(kind, namespace, name), version, created: 0, labels: BTreeMap::new(), annotations: BTreeMap::new() };
    Arc::new(Object { meta, spec })
}

/// The same object, created at this second.
pub(super) fn aged<T: Clone>(object: &Arc<Object<T>>, created: u64) -> Arc<Object<T>> {
    let mut object = Object::clone(object);
    object.meta.created = created;
    Arc::new(object)
}

pub(super) fn port(number: i64) -> Port {
    Port::new(number).unwrap()
}

pub(super) fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

pub(super) fn reference(kind: Kind, name: &str) -> ObjectReference {
    let (namespace, name) = name.split_once('/').map_or((None, name), |(namespace, name)| (Some(Text::from(namespace)), name));
    ObjectReference { group: kind.group().into(), kind: kind.as_str().into(), namespace, name: name.into() }
}

pub(super) fn listener(name: &str, number: i64, hostname: &str) -> Listener {
    Listener {
        name: name.into(),
        hostname: (!hostname.is_empty()).then(|| host(hostname)),
        port: port(number),
        protocol: Protocol::Http,
        tls: None,
        allowed_kinds: Vec::new(),
        allowed_namespaces: Namespaces::Same,
        filters: Vec::new(),
    }
}

pub(super) fn https(name: &str, hostname: &str, secret: &str) -> Listener {
    let tls = ListenerTls { passthrough: false, certificates: vec![reference(Kind::Secret, secret)] };
    Listener { protocol: Protocol::Https, tls: Some(tls), ..listener(name, 443, hostname) }
}

pub(super) fn tls_passthrough(name: &str, hostname: &str) -> Listener {
    let tls = ListenerTls { passthrough: true, certificates: Vec::new() };
    Listener { protocol: Protocol::Tls, tls: Some(tls), ..listener(name, 443, hostname) }
}

pub(super) fn gateway_spec(listeners: Vec<Listener>) -> Gateway {
    Gateway {
        class: "windrose".into(),
        addresses: Vec::new(),
        reach: Vec::new(),
        listeners,
        backend_client_certificate: None,
        frontend_validation: None,
        frontend_validation_per_port: BTreeMap::new(),
        allowed_listener_sets: Namespaces::None,
        infrastructure: Infrastructure::default(),
    }
}

pub(super) fn gateway(listeners: Vec<Listener>) -> AnyObject {
    AnyObject::Gateway(object(Kind::Gateway, NS, "edge", gateway_spec(listeners)))
}

/// Our class, with these parameters.
pub(super) fn class(parameters: &GatewayParameters) -> [AnyObject; 2] {
    let spec = GatewayClass { controller: CONTROLLER.into(), parameters_ref: Some(reference(Kind::GatewayParameters, "ops/sizes")) };
    [
        AnyObject::GatewayClass(object(Kind::GatewayClass, "", "windrose", spec)),
        AnyObject::GatewayParameters(object(Kind::GatewayParameters, "ops", "sizes", parameters.clone())),
    ]
}

/// Parameters that say whose Envoys are.
pub(super) fn fleet(fleet: Fleet) -> GatewayParameters {
    GatewayParameters { fleet: Some(fleet), ..GatewayParameters::default() }
}

pub(super) fn service(name: &str, number: i64) -> AnyObject {
    service_speaking(NS, name, number, None)
}

pub(super) fn service_speaking(namespace: &str, name: &str, number: i64, protocol: Option<&str>) -> AnyObject {
    let ports =
        vec![ServicePort { name: "http".into(), port: port(number), app_protocol: protocol.map(Text::from), udp: false, target: None }];
    let spec = Service { cluster_ips: Vec::new(), headless: false, external_name: None, selects: false, ports };
    AnyObject::Service(object(Kind::Service, namespace, name, spec))
}

pub(super) fn slice(service: &str, addresses: &[&str]) -> AnyObject {
    let endpoints = addresses.iter().map(|address| SliceEndpoint {
        addresses: [address.parse().unwrap()].into(),
        ready: true,
        serving: true,
        terminating: false,
        zone: "".into(),
        for_zones: Default::default(),
        pod: None,
    });
    let spec = EndpointSlice { service: Some(service.into()), ports: vec![("http".into(), port(8080))], endpoints: endpoints.collect() };
    AnyObject::EndpointSlice(object(Kind::EndpointSlice, NS, &format!("{service}-1"), spec))
}

pub(super) fn prefix(path: &str) -> Match {
    Match::Http { path: PathMatch::Prefix(path.into()), method: None, headers: Vec::new(), query: Vec::new() }
}

pub(super) fn exact(path: &str) -> Match {
    Match::Http { path: PathMatch::Exact(path.into()), method: None, headers: Vec::new(), query: Vec::new() }
}

pub(super) fn to(service: &str) -> BackendRef {
    let (name, number) = service.split_once(':').unwrap_or((service, "80"));
    BackendRef {
        target: reference(Kind::Service, name),
        port: Port::new(number.parse().unwrap()),
        weight: Weight::DEFAULT,
        filters: Vec::new(),
    }
}

pub(super) fn rule(matches: Vec<Match>, service: &str) -> Rule {
    Rule { matches, backends: vec![to(service)], ..Rule::default() }
}

pub(super) fn parent(kind: Kind, name: &str) -> ParentRef {
    ParentRef { target: reference(kind, name), section: None, port: None }
}

pub(super) fn route_spec(hosts: &[&str], rules: Vec<Rule>) -> Route {
    Route { parents: vec![parent(Kind::Gateway, "edge")], hostnames: hosts.iter().map(|text| host(text)).collect(), rules }
}

pub(super) fn http_route(name: &str, spec: Route) -> Arc<Object<Route>> {
    object(Kind::HTTPRoute, NS, name, spec)
}

pub(super) fn route(name: &str, hosts: &[&str], rules: Vec<Rule>) -> AnyObject {
    AnyObject::Route(http_route(name, route_spec(hosts, rules)))
}

pub(super) fn grant(namespace: &str, from: (Kind, &str), to: Kind) -> AnyObject {
    let from = GrantFrom { group: from.0.group().into(), kind: from.0.as_str().into(), namespace: from.1.into() };
    let to = GrantTo { group: to.group().into(), kind: to.as_str().into(), name: None };
    AnyObject::Grant(object(Kind::ReferenceGrant, namespace, "grant", Grant { from: vec![from], to: vec![to] }))
}

pub(super) fn namespace(name: &str, labels: &[(&str, &str)]) -> AnyObject {
    let mut namespace = Object::clone(&object(Kind::Namespace, "", name, Namespace::default()));
    namespace.meta.labels = labels.iter().map(|(key, value)| (Text::from(*key), Text::from(*value))).collect();
    AnyObject::Namespace(Arc::new(namespace))
}

pub(super) fn certificate(namespace: &str, name: &str, chain: &str) -> AnyObject {
    let data = [("tls.crt", chain), ("tls.key", "KEY")].map(|(key, value)| (Text::from(key), Sensitive::new(value.as_bytes().to_vec())));
    AnyObject::Secret(object(Kind::Secret, namespace, name, Secret { kind: "kubernetes.io/tls".into(), data: data.into_iter().collect() }))
}

pub(super) fn bundle(name: &str, text: &str) -> AnyObject {
    let data = BTreeMap::from([(Text::from("ca.crt"), text.as_bytes().to_vec().into())]);
    AnyObject::ConfigMap(object(Kind::ConfigMap, NS, name, ConfigMap { data }))
}

pub(super) fn workload(name: &str, address: &str, service: &str, calls: Option<Vec<Calls>>) -> AnyObject {
    let serves = vec![Serves {
        service: service.into(),
        port: port(80),
        listen: port(15080),
        application: ("127.0.0.1".parse().unwrap(), port(8080)),
    }];
    let spec = Workload { account: name.into(), address: address.parse().unwrap(), zone: "".into(), serves, calls };
    AnyObject::Workload(object(Kind::Workload, NS, name, spec))
}

pub(super) fn calls(service: &str, listen: i64) -> Calls {
    let (namespace, name) = service.split_once('/').map_or((None, service), |(namespace, name)| (Some(Text::from(namespace)), name));
    Calls { namespace, service: name.into(), port: None, listen: Some(("127.0.0.1".parse().unwrap(), port(listen))) }
}

pub(super) fn target(kind: Kind, name: &str, section: Option<&str>) -> TargetRef {
    TargetRef {
        group: kind.group().to_owned(),
        kind: kind.as_str().to_owned(),
        name: name.to_owned(),
        section_name: section.map(str::to_owned),
    }
}

pub(super) fn edge_program(plan: &Plan) -> &Arc<Program> {
    &plan.programs[&ProxyKey::gateway(NS, "edge")]
}

pub(super) fn virtual_host<'a>(program: &'a Program, table: &str, name: &str) -> &'a VirtualHost {
    &program.routes[&Text::from(table)].hosts[&Text::from(name)]
}

/// Clusters of each route of a host, in order; a status where it answers by itself.
pub(super) fn targets(host: &VirtualHost) -> Vec<String> {
    let target = |action: &RouteAction| match action {
        RouteAction::Forward(forward) => {
            forward.backends.iter().map(|backend| backend.cluster.as_deref().unwrap_or("500").to_owned()).collect::<Vec<_>>().join("+")
        }
        RouteAction::Redirect(redirect) => format!("{}", redirect.status),
        RouteAction::Respond { status, .. } => status.to_string(),
    };
    host.routes.iter().map(|route| target(&route.action)).collect()
}

pub(super) fn reasons(plan: &Plan, subject: &Subject) -> Vec<String> {
    let verdict = plan.verdicts.get(subject).cloned().unwrap_or_default();
    verdict.conditions.iter().map(|(kind, condition)| format!("{}={} {}", kind.as_str(), condition.status, condition.reason)).collect()
}

/// What is told, but that the Services of these worlds have no endpoints.
fn spoken(plan: &Plan) -> impl Iterator<Item = &Diagnostic> {
    plan.diagnostics.iter().map(|one| &**one).filter(|one| !one.message.ends_with("has no endpoint, so nobody answers who is sent to it"))
}

pub(super) fn told(plan: &Plan) -> Vec<String> {
    spoken(plan).map(ToString::to_string).collect()
}

pub(super) fn codes(plan: &Plan) -> Vec<&'static str> {
    spoken(plan).map(|diagnostic| diagnostic.code.as_str()).filter(|code| *code != "Open").collect()
}

pub(super) fn route_verdict(name: &str) -> Subject {
    Subject::parent(ObjectRef::new(Kind::HTTPRoute, NS, name), parent(Kind::Gateway, "edge"))
}
