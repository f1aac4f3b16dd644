//! MeshPolicy.

use windrose_vocab::Code;

use super::{Check, target};
use crate::decode::{Path, Report};
use crate::policy::MeshPolicy;

impl Check for MeshPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        let at = at.field("ports");
        let mut seen = std::collections::BTreeMap::new();
        for (index, entry) in self.ports.iter().enumerate() {
            if let Some(first) = seen.insert(entry.port, index) {
                report.error(&at.index(index).field("port"), Code::Invalid, format!("`{}` is the port of item {first} too", entry.port));
            }
        }
    }
}
