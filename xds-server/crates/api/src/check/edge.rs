//! EdgePolicy.

use super::{Check, network, positive, target};
use crate::decode::{Path, Report};
use crate::policy::EdgePolicy;

impl Check for EdgePolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        if let Some(times) = &self.timeouts {
            let at = at.field("timeouts");
            positive(times.handshake, "handshake", &at, report);
            positive(times.headers, "headers", &at, report);
        }
        if let Some(rules) = &self.addresses {
            let at = at.field("addresses");
            let allow = at.field("allow");
            rules.allow.iter().enumerate().for_each(|(index, text)| network(text, &allow.index(index), report));
            let deny = at.field("deny");
            rules.deny.iter().enumerate().for_each(|(index, text)| network(text, &deny.index(index), report));
        }
    }
}
