//! GatewayParameters.

use std::time::Duration;

use windrose_vocab::Code;

use super::{Check, telemetry};
use crate::decode::{Path, Report};
use crate::policy::GatewayParameters;

impl Check for GatewayParameters {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        if let Some(scaling) = &self.autoscaling {
            let inner = at.field("autoscaling");
            if scaling.min_replicas > scaling.max_replicas {
                let message = format!("is more than `maxReplicas` ({})", scaling.max_replicas);
                report.error(&inner.field("minReplicas"), Code::OutOfRange, message);
            }
            if self.replicas.is_some() {
                report.error(&at.field("replicas"), Code::Invalid, "contradicts `autoscaling`, which decides the number");
            }
        }
        if let Some(log) = &self.access_log {
            telemetry::access_log(log, &at.field("accessLog"), report);
        }
        let networks = self.service.iter().flat_map(|service| &service.external_addresses);
        let external = at.field("service");
        let external = external.field("externalAddresses");
        networks.enumerate().for_each(|(index, text)| super::network(text, &external.index(index), report));
        for (field, said) in [("acceptFor", self.accept_for), ("drain", self.drain)] {
            let range = (Duration::from_secs(1), Duration::from_secs(600));
            said.iter().for_each(|time| super::within(time.0, range, &at.field(field), report));
        }
    }
}
