//! From what is declared to the resources of every proxy, as text: what a case is compared by, wherever its objects come from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use windrose_api::Declared;
use windrose_envoy::{Modules, Near, Renderer, VersionKey, print};
use windrose_ir::Program;
use windrose_plan::{CertificateCheck, Plan, Refused, Settings, plan};
use windrose_vocab::{NodeClass, Resource, ResourceKind, Text, TrustDomain};

/// Where golden resources look for filter modules: no machine's own folder.
const GOLDEN_MODULES: &str = "/usr/share/windrose/filters";

/// The trust domain of every case.
pub(crate) const TRUST_DOMAIN: &str = "windrose.local";

/// What follows from it.
pub(crate) fn planned(declared: &Declared) -> Plan {
    let trust_domain = TrustDomain::parse(TRUST_DOMAIN).unwrap();
    plan(declared, &Refused::default(), &Settings::new(trust_domain, Arc::new(Certificates)))
}

/// The resources of every proxy as a stream of documents, each proxy under its name.
pub(crate) fn rendered(plan: &Plan) -> String {
    let renderer = renderer(GOLDEN_MODULES);
    let mut text = String::new();
    for (proxy, program) in &plan.programs {
        let resources = all(&renderer, program);
        write!(text, "# ==== {proxy} ====\n{}", print::documents(resources.iter().map(|resource| &**resource))).unwrap();
        for zone in zones(program) {
            let own = near(GOLDEN_MODULES, program, &zone);
            let own = own.own().values().map(|resource| &**resource);
            write!(text, "# ==== {proxy} in zone {zone}, beside the rest ====\n{}", print::documents(own)).unwrap();
        }
    }
    text
}

/// The zones that endpoints of a program are meant for.
pub(crate) fn zones(program: &Program) -> BTreeSet<Text> {
    let localities = program.endpoints.values().flat_map(|set| &set.localities);
    localities.flat_map(|locality| &locality.endpoints).flat_map(|endpoint| endpoint.zones.iter().cloned()).collect()
}

/// The endpoints of a program as one zone sees them, for nodes with modules in that folder.
pub(crate) fn near(modules: &str, program: &Program, zone: &str) -> Near {
    let class = renderer(modules).full(program);
    let zoned =
        Renderer::new(NodeClass { modules: Some(modules.into()), zone: Some(zone.into()) }, Modules::default(), VersionKey::new([0; 32]));
    zoned.near(&Near::default(), &Program::default(), (program, class.of_kind(ResourceKind::Endpoints)))
}

/// A renderer for nodes with modules in that folder.
pub(crate) fn renderer(modules: &str) -> Renderer {
    let class = NodeClass { modules: Some(modules.into()), zone: None };
    Renderer::new(class, Modules::default(), VersionKey::new([0; 32]))
}

/// All resources of a program.
pub(crate) fn all(renderer: &Renderer, program: &Program) -> Vec<Arc<Resource>> {
    renderer.full(program).iter().cloned().collect()
}

/// The authority's own judgement, as the server gives it to the planner.
#[derive(Debug)]
struct Certificates;

impl CertificateCheck for Certificates {
    fn pair(&self, chain_pem: &str, key_pem: &str) -> Result<(), String> {
        windrose_pki::check_pair(chain_pem, key_pem).map(drop).map_err(|problem| problem.to_string())
    }

    fn other_names(&self, chain_pem: &str, hostname: &str) -> Option<String> {
        windrose_pki::other_names(chain_pem, hostname)
    }

    fn bundle(&self, bundle_pem: &str) -> Result<(), String> {
        windrose_pki::check_bundle(bundle_pem).map(drop).map_err(|problem| problem.to_string())
    }
}
