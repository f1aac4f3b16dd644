//! `windrose status`: what runs, object by object.

use std::fmt::Write;

use windrose_admin::report::{ObjectReport, StatusReport};

use crate::args;
use crate::client::Server;
use crate::output::{self, lines, span, table, verdict};

pub(crate) async fn run(options: args::Status) -> anyhow::Result<()> {
    let server = Server::find(&options.target)?;
    super::watch(options.watch, async || {
        let mut report: StatusReport = server.get("/v1/status").await?;
        if let Some(wanted) = &options.object {
            keep(&mut report, wanted)?;
        }
        let now = super::now();
        output::print(options.output, &report, |wide| show(&report, wide, now))
    })
    .await
}

/// Keeps one object and what is said of it.
fn keep(report: &mut StatusReport, wanted: &str) -> anyhow::Result<()> {
    report.objects.retain(|object| name(object) == wanted);
    report.diagnostics.retain(|diagnostic| diagnostic.object.as_deref() == Some(wanted));
    anyhow::ensure!(!report.objects.is_empty(), "no object `{wanted}` (write it as KIND/NAMESPACE/NAME; `windrose status` lists them)");
    Ok(())
}

/// The report for people.
pub(crate) fn show(report: &StatusReport, wide: bool, now: u64) -> String {
    let mut rows = table(&["object", "accepted", "resolved", "programmed", "since", "reason"]);
    for object in &report.objects {
        let programmed = object.programmed.as_ref().map_or_else(
            || comfy_table::Cell::new("-"),
            |programmed| verdict(format!("{}/{}", programmed.acknowledged, programmed.targets), programmed.is_true()),
        );
        let since =
            object.programmed.as_ref().and_then(|programmed| programmed.since).map_or_else(|| "-".into(), |since| output::age(now, since));
        let reason = if wide || object.message.len() < 100 { join(&object.reason, &object.message) } else { object.reason.clone() };
        rows.add_row(vec![
            comfy_table::Cell::new(name(object)),
            verdict(yes(object.accepted), object.accepted),
            verdict(yes(object.resolved), object.resolved),
            programmed,
            comfy_table::Cell::new(since),
            comfy_table::Cell::new(reason),
        ]);
    }
    let mut text = lines(&rows);
    refusals(&mut text, report);
    problems(&mut text, report);
    forecast(&mut text, report, now);
    text
}

fn refusals(text: &mut String, report: &StatusReport) {
    for object in &report.objects {
        for refusal in object.programmed.iter().flat_map(|programmed| &programmed.refused) {
            let _ = writeln!(text, "\n{}: {} refused {}:\n  {}", name(object), refusal.proxy, refusal.resource, refusal.reason);
        }
    }
}

fn problems(text: &mut String, report: &StatusReport) {
    for diagnostic in &report.diagnostics {
        let place = diagnostic.position.as_deref().or(diagnostic.object.as_deref()).unwrap_or("-");
        let _ = write!(text, "\n{place}: {}[{}]: {}", diagnostic.severity, diagnostic.code, diagnostic.message);
        if let Some(hint) = &diagnostic.hint {
            let _ = write!(text, " ({hint})");
        }
    }
    if !report.diagnostics.is_empty() {
        text.push('\n');
    }
}

fn forecast(text: &mut String, report: &StatusReport, now: u64) {
    for certificate in &report.certificates {
        let left = certificate.not_after.saturating_sub(now);
        let who = if certificate.renewed_automatically { "renewed by itself" } else { "renew it yourself" };
        let _ = write!(text, "\n{}: {} left, {who}", certificate.subject, span(left));
    }
    if !report.certificates.is_empty() {
        text.push('\n');
    }
}

fn name(object: &ObjectReport) -> String {
    if object.namespace.is_empty() {
        format!("{}/{}", object.kind, object.name)
    } else {
        format!("{}/{}/{}", object.kind, object.namespace, object.name)
    }
}

fn join(reason: &str, message: &str) -> String {
    if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_admin::report::{ProgrammedReport, RefusalReport};

    #[test]
    fn a_refused_object_shows_the_words_of_envoy() {
        let refused =
            RefusalReport { proxy: "gateway/shop/edge".into(), resource: "LDS shop/edge/80".into(), reason: "cannot bind".into() };
        let object = ObjectReport {
            kind: "Gateway".into(),
            namespace: "shop".into(),
            name: "edge".into(),
            accepted: true,
            resolved: true,
            programmed: Some(ProgrammedReport { acknowledged: 0, targets: 1, since: None, refused: vec![refused] }),
            ..ObjectReport::default()
        };
        let text = show(&StatusReport { objects: vec![object], ..StatusReport::default() }, false, 0);
        assert!(text.contains("Gateway/shop/edge"), "{text}");
        assert!(text.contains("0/1"), "{text}");
        assert!(text.contains("cannot bind"), "{text}");
    }
}
