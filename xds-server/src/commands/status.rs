//! `windrose status`: what runs, object by object.

mod asked;

use std::fmt::Write;

use comfy_table::{Cell, Color};
use windrose_admin::report::{InForce, ObjectReport, ProgrammedReport, StatusReport};
use windrose_vocab::Code;

use self::asked::Asked;
use crate::args;
use crate::client::Server;
use crate::output::{self, lines, span, table, verdict};

/// What ends sooner than this is forecast.
const FORECAST: u64 = 14 * 86_400;
/// A message up to this length stands in the row, a longer one below the table.
const MESSAGE_MAX: usize = 100;

pub(crate) async fn run(options: args::Status) -> anyhow::Result<()> {
    let server = Server::find(&options.target)?;
    let asked = options.objects.iter().map(|object| Asked::parse(object)).collect::<anyhow::Result<Vec<_>>>()?;
    super::watch(options.watch, options.output, &server, "/v1/status", |report: &StatusReport| {
        let part = asked::part(report, &asked)?;
        output::print(options.output, &part, |wide| show(&part, wide, super::now()))
    })
    .await
}

/// The report for people.
pub(crate) fn show(report: &StatusReport, wide: bool, now: u64) -> String {
    if report.objects.is_empty() && report.diagnostics.is_empty() {
        return "nothing is declared\n".into();
    }
    let mut headings = vec!["object", "accepted", "resolved", "programmed", "since", "reason"];
    if wide {
        headings.push("place");
    }
    let mut rows = table(&headings);
    for object in &report.objects {
        rows.add_row(row(object, wide, now));
    }
    let mut text = lines(&rows);
    refusals(&mut text, report);
    long_messages(&mut text, report, wide);
    problems(&mut text, report);
    forecast(&mut text, report, wide, now);
    text
}

fn row(object: &ObjectReport, wide: bool, now: u64) -> Vec<Cell> {
    let programmed = object.programmed.as_ref();
    let since = programmed.and_then(|programmed| programmed.since).map_or_else(|| "-".into(), |since| output::age(now, since));
    let mut cells = vec![
        Cell::new(object.id()),
        verdict(yes(object.accepted), object.accepted),
        verdict(yes(object.resolved), object.resolved),
        programmed.map_or_else(|| in_force_only(object.in_force), |programmed| progress(programmed, object.in_force)),
        Cell::new(since),
        Cell::new(reason(object, wide)),
    ];
    if wide {
        cells.push(Cell::new(object.position.as_deref().unwrap_or("-")));
    }
    cells
}

/// `2/3`: of three proxies two have it. Green once it is programmed; yellow while it waits, or in place of a newer version.
fn progress(programmed: &ProgrammedReport, in_force: InForce) -> Cell {
    let counts = format!("{}/{}", programmed.acknowledged, programmed.targets);
    let refused = [Code::RefusedByEnvoy, Code::InternalError].iter().any(|code| programmed.reason == code.as_str());
    match in_force {
        InForce::LastGood => Cell::new(format!("{counts} last good")).fg(Color::Yellow),
        InForce::Declared | InForce::Nothing if programmed.status => Cell::new(counts).fg(Color::Green),
        InForce::Closed => Cell::new("closed").fg(Color::Red),
        InForce::Declared | InForce::Nothing => Cell::new(counts).fg(if refused { Color::Red } else { Color::Yellow }),
    }
}

fn in_force_only(in_force: InForce) -> Cell {
    match in_force {
        InForce::Declared => Cell::new("-"),
        InForce::LastGood => Cell::new("last good").fg(Color::Yellow),
        InForce::Nothing => Cell::new("nothing").fg(Color::Red),
        InForce::Closed => Cell::new("closed").fg(Color::Red),
    }
}

/// The word for it, and the message where that is short.
fn reason(object: &ObjectReport, wide: bool) -> String {
    let waits = object.programmed.as_ref().filter(|programmed| !programmed.status && object.reason == "Accepted");
    let (reason, message) = match waits.map(|programmed| programmed.reason.as_str()) {
        Some("Pending") => ("Pending", "no proxy that it concerns is connected"),
        Some(waits) => (waits, ""),
        None => (object.reason.as_str(), object.message.as_str()),
    };
    if message.is_empty() || !wide && message.len() > MESSAGE_MAX { reason.to_owned() } else { format!("{reason}: {message}") }
}

fn refusals(text: &mut String, report: &StatusReport) {
    for object in &report.objects {
        for refusal in object.programmed.iter().flat_map(|programmed| &programmed.refused) {
            let _ = writeln!(text, "\n{}: {} refused {}:\n  {}", object.id(), refusal.proxy, refusal.resource, refusal.reason);
        }
    }
}

/// What has no room in its row and no diagnostic that says it.
fn long_messages(text: &mut String, report: &StatusReport, wide: bool) {
    let told = |object: &ObjectReport| report.diagnostics.iter().any(|one| one.object.as_deref() == Some(&object.id()));
    let long = report.objects.iter().filter(|object| !wide && object.message.len() > MESSAGE_MAX);
    for object in long.filter(|object| object.in_force == InForce::Declared && !told(object)) {
        let _ = writeln!(text, "\n{}: {}:\n  {}", object.id(), object.reason, object.message);
    }
}

fn problems(text: &mut String, report: &StatusReport) {
    for diagnostic in &report.diagnostics {
        let place = diagnostic.position.as_deref().or(diagnostic.object.as_deref()).unwrap_or("-");
        let _ = write!(text, "\n{place}: {}[{}]: ", diagnostic.severity, diagnostic.code);
        if let Some(object) = diagnostic.object.as_deref().filter(|object| *object != place) {
            let _ = write!(text, "{object}: ");
        }
        if !diagnostic.field.is_empty() {
            let _ = write!(text, "{}: ", diagnostic.field);
        }
        text.push_str(&diagnostic.message);
        if let Some(hint) = &diagnostic.hint {
            let _ = write!(text, " ({hint})");
        }
    }
    if !report.diagnostics.is_empty() {
        text.push('\n');
    }
}

/// What somebody has to renew and ends soon; of what renews itself one line, or all where there is room.
fn forecast(text: &mut String, report: &StatusReport, wide: bool, now: u64) {
    let ends_soon = |end: u64| end.saturating_sub(now) < FORECAST;
    let (automatic, by_hand): (Vec<_>, Vec<_>) = report.certificates.iter().partition(|one| one.renewed_automatically);
    let mut told = Vec::new();
    for one in by_hand.iter().filter(|one| wide || ends_soon(one.not_after)) {
        let how = if one.kind == "node_credential" { " (windrose bootstrap --renew)" } else { "" };
        told.push(match one.not_after.checked_sub(now) {
            Some(left) => format!("{}: {} left, renew it{how}", one.subject, span(left)),
            None => format!("{}: expired {} ago", one.subject, span(now - one.not_after)),
        });
    }
    if wide {
        told.extend(
            automatic.iter().map(|one| format!("{}: {} left, renewed by itself", one.subject, span(one.not_after.saturating_sub(now)))),
        );
    } else if let Some(first) = automatic.first() {
        let left = span(first.not_after.saturating_sub(now));
        told.push(format!("{} certificates renew themselves; the first ends in {left} (-o wide lists them)", automatic.len()));
    }
    if !told.is_empty() {
        let _ = writeln!(text, "\n{}", told.join("\n"));
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_admin::report::{CertificateReport, RefusalReport};

    fn gateway() -> ObjectReport {
        ObjectReport {
            kind: "Gateway".into(),
            namespace: "shop".into(),
            name: "edge".into(),
            accepted: true,
            resolved: true,
            reason: "Accepted".into(),
            ..ObjectReport::default()
        }
    }

    fn shown(objects: Vec<ObjectReport>) -> String {
        show(&StatusReport { objects, ..StatusReport::default() }, false, 100)
    }

    #[test]
    fn a_refused_object_shows_the_words_of_envoy() {
        let refused =
            RefusalReport { proxy: "gateway/shop/edge (e)".into(), resource: "LDS shop/edge/80".into(), reason: "cannot bind".into() };
        let programmed = ProgrammedReport { targets: 1, refused: vec![refused], ..ProgrammedReport::default() };
        let text = shown(vec![ObjectReport { programmed: Some(programmed), ..gateway() }]);
        for words in ["Gateway/shop/edge", "0/1", "cannot bind"] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    #[test]
    fn a_row_says_since_when_and_that_a_last_good_version_is_in_force() {
        let programmed = ProgrammedReport {
            status: true,
            reason: "Programmed".into(),
            since: Some(35),
            acknowledged: 2,
            targets: 2,
            ..ProgrammedReport::default()
        };
        let last_good = ObjectReport {
            programmed: Some(programmed),
            in_force: InForce::LastGood,
            reason: "UnknownField".into(),
            message: "no field `prot`".into(),
            ..gateway()
        };
        let text = shown(vec![last_good]);
        for words in ["2/2 last good", "1m05s", "UnknownField: no field `prot`"] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
    }

    #[test]
    fn an_object_without_a_proxy_says_what_it_waits_for() {
        let programmed = ProgrammedReport { reason: "Pending".into(), ..ProgrammedReport::default() };
        assert!(shown(vec![ObjectReport { programmed: Some(programmed), ..gateway() }]).contains("Pending: no proxy"));
    }

    #[test]
    fn credentials_are_forecast_when_they_end_soon_and_what_renews_itself_is_counted() {
        let certificate = |kind: &str, subject: &str, not_after: u64, renewed_automatically: bool| CertificateReport {
            kind: kind.into(),
            subject: subject.into(),
            not_after,
            renewed_automatically,
        };
        let certificates = vec![
            certificate("certificate", "of a Gateway", 40, false),
            certificate("authority", "given", 100 + 1_800, false),
            certificate("node_credential", "credential a", 100 + 3_600, false),
            certificate("svid", "spiffe://x", 100 + 7_200, true),
            certificate("node_credential", "credential b", 100 + 2 * FORECAST, false),
        ];
        let report = StatusReport { objects: vec![gateway()], certificates, ..StatusReport::default() };
        let text = show(&report, false, 100);
        assert!(text.contains("of a Gateway: expired 1m00s ago\n"), "{text}");
        assert!(text.contains("given: 30m00s left, renew it\n"), "{text}");
        assert!(text.contains("credential a: 1h00m left, renew it (windrose bootstrap --renew)\n"), "{text}");
        assert!(text.contains("1 certificates renew themselves; the first ends in 2h00m"), "{text}");
        assert!(!text.contains("credential b") && show(&report, true, 100).contains("credential b"), "{text}");
    }
}
