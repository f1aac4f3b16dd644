//! TelemetryPolicy.

use super::{Check, header_name, target, unique};
use crate::decode::{Path, Report};
use crate::policy::{AccessLog, TelemetryPolicy};

impl Check for TelemetryPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        if let Some(log) = &self.access_log {
            access_log(log, &at.field("accessLog"), report);
        }
    }
}

pub(super) fn access_log(log: &AccessLog, at: &Path<'_>, report: &mut Report) {
    let at = at.field("fields");
    unique(log.fields.iter().map(|field| field.name.as_str()), "name", &at, report);
    let headers = log.fields.iter().enumerate();
    headers.for_each(|(index, field)| header_name(&field.request_header, &at.index(index).field("requestHeader"), report));
}
