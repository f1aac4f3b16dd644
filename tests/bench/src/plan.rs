//! Planning and rendering without a server: a world of HTTPRoutes with an exact host each, from nothing, and then one edit
//! after another. Each edit must come to one host's resource and no other, or the run is void.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use windrose_api::Declared;
use windrose_api::declared::backend::{ObjectReference, Service, ServicePort};
use windrose_api::declared::gateway::{Gateway, Infrastructure, Listener, Namespaces, Protocol};
use windrose_api::declared::route::{BackendRef, Match, ParentRef, PathMatch, Route, Rule};
use windrose_api::declared::{AnyObject, Changed, Meta, Object};
use windrose_envoy::{Modules, Rendered, Renderer, VersionKey};
use windrose_ir::Program;
use windrose_plan::{CertificateCheck, Plan, Planner, Refused, Settings};
use windrose_vocab::{Fingerprint, Hostname, Kind, NodeClass, ObjectRef, Port, ProxyKey, ResourceKind, TrustDomain, Weight};

/// What one size came to.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// HTTPRoutes, each with a host of its own.
    pub routes: usize,
    /// Plan and render everything from nothing: CPU of each round in milliseconds. Of CPU, for the machine may be shared.
    pub cold_ms: Vec<f64>,
    /// Plan and render one edit: CPU in microseconds, the mean of each round.
    pub edit_us: Vec<f64>,
}

/// Measures so many routes in so many rounds of so many edits.
///
/// # Errors
/// When an edit comes to anything but its own host.
pub fn measure(routes: usize, rounds: u32, edits: u32) -> anyhow::Result<Planned> {
    let mut planned = Planned { routes, cold_ms: Vec::new(), edit_us: Vec::new() };
    for round in 1..=rounds {
        let mut world = world(routes)?;
        let began = cpu();
        let mut edge = Edge::cold(&world)?;
        planned.cold_ms.push((cpu() - began).as_secs_f64() * 1e3);
        let mut taken = Duration::ZERO;
        for edit in 0..edits {
            let index = (edit as usize * 7_919) % routes;
            world.insert(route(index, round * edits + edit)?);
            taken += edge.edit(&world, index)?;
        }
        planned.edit_us.push(taken.as_secs_f64() * 1e6 / f64::from(edits));
    }
    Ok(planned)
}

/// The one proxy, as it is planned and rendered.
struct Edge {
    planner: Planner,
    renderer: Renderer,
    program: Arc<Program>,
    rendered: Rendered,
}

impl Edge {
    fn cold(world: &Declared) -> anyhow::Result<Self> {
        let mut planner = Planner::new(Settings::new(TrustDomain::parse("windrose.local")?, Arc::new(Nobody)));
        let all = Changed { objects: world.iter().map(|object| object.meta().object.clone()).collect() };
        let program = program(&planner.update(world, &Refused::default(), &all))?;
        let renderer = Renderer::new(NodeClass::default(), Modules::default(), VersionKey::new([0; 32]));
        let rendered = renderer.full(&program);
        let scopes = rendered.of_kind(ResourceKind::ScopedRoutes).len();
        ensure!(scopes == world.routes.len(), "{scopes} hosts of {}", world.routes.len());
        Ok(Self { planner, renderer, program, rendered })
    }

    /// How long it took.
    fn edit(&mut self, world: &Declared, index: usize) -> anyhow::Result<Duration> {
        let changed = Changed { objects: [name(index)].into() };
        let began = cpu();
        let program = program(&self.planner.update(world, &Refused::default(), &changed))?;
        let rendered = self.renderer.update(&self.rendered, &self.program, &program);
        let taken = cpu() - began;
        for kind in ResourceKind::ALL {
            let different = self.rendered.of_kind(kind).diff(rendered.of_kind(kind)).count();
            let expected = usize::from(kind == ResourceKind::ScopedRoutes);
            ensure!(different == expected, "an edit of one route changed {different} resources of {kind}, not {expected}");
        }
        (self.program, self.rendered) = (program, rendered);
        Ok(taken)
    }
}

/// What this thread used so far.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn program(plan: &Plan) -> anyhow::Result<Arc<Program>> {
    let found = plan.programs.get(&ProxyKey::gateway("shop", "edge"));
    found.cloned().ok_or_else(|| anyhow::anyhow!("the gateway is not planned"))
}

fn world(routes: usize) -> anyhow::Result<Declared> {
    let mut world = Declared::default();
    world.insert(gateway()?);
    world.insert(service()?);
    for index in 0..routes {
        world.insert(route(index, 0)?);
    }
    Ok(world)
}

fn gateway() -> anyhow::Result<AnyObject> {
    let listener = Listener {
        name: "http".into(),
        hostname: None,
        port: port(80)?,
        protocol: Protocol::Http,
        tls: None,
        allowed_kinds: Vec::new(),
        allowed_namespaces: Namespaces::Same,
        filters: Vec::new(),
    };
    let spec = Gateway {
        class: "windrose".into(),
        addresses: Vec::new(),
        reach: Vec::new(),
        listeners: vec![listener],
        backend_client_certificate: None,
        frontend_validation: None,
        frontend_validation_per_port: BTreeMap::new(),
        allowed_listener_sets: Namespaces::None,
        infrastructure: Infrastructure::default(),
    };
    Ok(AnyObject::Gateway(object(ObjectRef::new(Kind::Gateway, "shop", "edge"), 0, spec)))
}

fn service() -> anyhow::Result<AnyObject> {
    let ports = vec![ServicePort { name: "http".into(), port: port(80)?, app_protocol: None, udp: false, target: None }];
    let spec = Service { cluster_ips: Vec::new(), headless: false, external_name: None, selects: false, ports };
    Ok(AnyObject::Service(object(ObjectRef::new(Kind::Service, "shop", "web"), 0, spec)))
}

/// A route whose path tells its revision.
fn route(index: usize, revision: u32) -> anyhow::Result<AnyObject> {
    let target = |kind: Kind, name: &str| ObjectReference {
        group: kind.group().into(),
        kind: kind.as_str().into(),
        namespace: None,
        name: name.into(),
    };
    let path = PathMatch::Prefix(format!("/revision/{revision}").into());
    let backend = BackendRef { target: target(Kind::Service, "web"), port: Some(port(80)?), weight: Weight::DEFAULT, filters: Vec::new() };
    let rule = Rule {
        matches: vec![Match::Http { path, method: None, headers: Vec::new(), query: Vec::new() }],
        backends: vec![backend],
        ..Rule::default()
    };
    let spec = Route {
        parents: vec![ParentRef { target: target(Kind::Gateway, "edge"), section: None, port: None }],
        hostnames: vec![Hostname::parse(&format!("host-{index:05}.example"))?],
        rules: vec![rule],
    };
    Ok(AnyObject::Route(object(name(index), revision, spec)))
}

fn name(index: usize) -> ObjectRef {
    ObjectRef::new(Kind::HTTPRoute, "shop", format!("route-{index:05}"))
}

fn object<T>(object: ObjectRef, revision: u32, spec: T) -> Arc<Object<T>> {
    let version = Fingerprint::of("windrose.bench", &revision);
    Arc::new(Object { meta: Meta { object, version, created: 0, labels: BTreeMap::new(), annotations: BTreeMap::new() }, spec })
}

fn port(number: i64) -> anyhow::Result<Port> {
    Port::new(number).ok_or_else(|| anyhow::anyhow!("{number} is no port"))
}

/// There are no certificates here.
#[derive(Debug)]
struct Nobody;

impl CertificateCheck for Nobody {
    fn pair(&self, _: &str, _: &str) -> Result<(), String> {
        Err("nobody judges certificates here".to_owned())
    }

    fn other_names(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn bundle(&self, _: &str) -> Result<(), String> {
        Err("nobody judges certificates here".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_comes_to_its_own_host() {
        let planned = measure(3, 2, 5).unwrap();
        assert_eq!((planned.cold_ms.len(), planned.edit_us.len()), (2, 2));
    }
}
