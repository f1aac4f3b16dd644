//! What the planner asks about certificates, answered by the authority's room, which knows them.

use windrose_plan::CertificateCheck;

/// Checks of PEM texts without a clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificates;

impl CertificateCheck for Certificates {
    fn pair(&self, chain_pem: &str, key_pem: &str) -> Result<(), String> {
        windrose_pki::check_pair(chain_pem, key_pem).map(|_| ()).map_err(|problem| problem.to_string())
    }

    fn bundle(&self, bundle_pem: &str) -> Result<(), String> {
        windrose_pki::check_bundle(bundle_pem).map(|_| ()).map_err(|problem| problem.to_string())
    }
}
