//! What the planner asks others, because it may not see them: the authority about certificates, the filters about their tables.

use std::sync::Arc;

use windrose_ir::Extension;
use windrose_plan::{CertificateCheck, FilterCheck, Settings};
use windrose_vocab::TrustDomain;

/// Settings of a planner whose questions are answered here.
pub(crate) fn settings(trust_domain: TrustDomain) -> Settings {
    Settings::new(trust_domain, Arc::new(Certificates)).with_filters(Arc::new(Filters))
}

/// Checks of PEM texts without a clock.
#[derive(Clone, Copy, Debug)]
struct Certificates;

impl CertificateCheck for Certificates {
    fn pair(&self, chain_pem: &str, key_pem: &str) -> Result<(), String> {
        windrose_pki::check_pair(chain_pem, key_pem).map(|_| ()).map_err(|problem| problem.to_string())
    }

    fn other_names(&self, chain_pem: &str, hostname: &str) -> Option<String> {
        windrose_pki::other_names(chain_pem, hostname)
    }

    fn bundle(&self, bundle_pem: &str) -> Result<(), String> {
        windrose_pki::check_bundle(bundle_pem).map(|_| ()).map_err(|problem| problem.to_string())
    }
}

/// The filters' own word on their tables.
#[derive(Clone, Copy, Debug)]
struct Filters;

impl FilterCheck for Filters {
    fn refused(&self, extension: &Extension) -> Vec<(String, String)> {
        windrose_envoy::refused_policies(extension)
    }
}
