//! A plan as text for people and for golden files: every decision on a line of its own, no secret, nothing that is a default.

mod program;
mod routes;

use std::fmt::Write as _;

use windrose_vocab::ProxyKey;

use crate::plan::{Condition, Coverage, Plan, Verdict};

/// The plan, sorted, without its diagnostics.
#[must_use]
pub fn print(plan: &Plan) -> String {
    let mut out = Text::default();
    for (proxy, program) in &plan.programs {
        out.line(0, &heading(plan, proxy));
        program::print(&mut out, program);
    }
    if !plan.verdicts.is_empty() {
        out.line(0, "verdicts");
    }
    for (subject, verdict) in &plan.verdicts {
        let routes = plan.attached_routes.get(subject).map(|count| format!("; {count} attached")).unwrap_or_default();
        out.line(1, &format!("{subject}: {}{routes}", conditions(verdict)));
    }
    if !plan.coverage.is_empty() {
        out.line(0, "coverage");
    }
    for (covered, coverage) in &plan.coverage {
        out.line(1, &format!("{covered}: {}", protection(coverage)));
    }
    out.0
}

/// Text that grows line by line.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{:indent$}{text}", "", indent = depth * 2);
    }
}

fn heading(plan: &Plan, proxy: &ProxyKey) -> String {
    match plan.identities.get(proxy) {
        Some(identity) => format!("{proxy} is {identity}"),
        None => proxy.to_string(),
    }
}

fn conditions(verdict: &Verdict) -> String {
    let one = |(kind, condition): (crate::plan::ConditionType, &Condition)| {
        let sign = if condition.status { "" } else { "not " };
        let plain = condition.status && condition.reason == kind.as_str() && condition.message.is_empty();
        let quiet = condition.reason == "NoConflicts";
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
        let reason = if plain || quiet { String::new() } else { format!(" ({}{message})", condition.reason) };
        (!quiet).then(|| format!("{sign}{}{reason}", kind.as_str()))
    };
    verdict.conditions.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

fn protection(coverage: &Coverage) -> String {
    let names = |policies: &[windrose_vocab::ObjectRef]| policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ");
    match coverage {
        Coverage::Protected(policies) => format!("protected by {}", names(policies)),
        Coverage::Denied(policies) => format!("denied by {}", names(policies)),
        Coverage::Public { policy, reason, approved_by } => format!("public by {policy}, approved by {approved_by}: {reason}"),
        Coverage::Redirects => "redirects".to_owned(),
        Coverage::Open => "open".to_owned(),
    }
}
