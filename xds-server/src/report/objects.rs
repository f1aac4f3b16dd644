//! One row for each object, also for those that cannot be read: what became of it, and which version of it is served.

use std::collections::BTreeMap;

use windrose_admin::report::{DiagnosticReport, InForce, ObjectReport, ProgrammedReport, RefusalReport};
use windrose_plan::{ConditionType, Plan, Refusal, RefusedBy, Verdict};
use windrose_state::StreamId;
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectRef, ObjectVersion, Severity};

use super::SourceReport;
use crate::ends::seconds;
use crate::pipeline::Picture;
use crate::progress::{Lag, Progress, Standing};

/// Proxies named in one row: the first tell what is wrong, and `windrose proxies` has them all.
const NAMED: usize = 8;

const LAST_GOOD: &str = "its last good version stays in force";

/// Why something is not programmed that no proxy was offered: a mistake of ours, or no certificate could be issued.
const NOT_PUBLISHED: &str = "NotPublished";

/// What the rows are made of.
pub(super) struct Known<'a> {
    pub(super) picture: &'a Picture,
    pub(super) source: &'a SourceReport,
    pub(super) progress: &'a Progress,
    /// What streams are called.
    pub(super) names: &'a BTreeMap<StreamId, String>,
}

/// All objects, or the one of that id, by kind, namespace and name.
pub(super) fn all(known: &Known<'_>, only: Option<&str>) -> Vec<ObjectReport> {
    let declared = &known.picture.declared;
    let wanted = |object: &ObjectRef| only.is_none_or(|only| super::is_called(object, only));
    let read = declared.iter().map(|object| object.meta().identity()).filter(|version| wanted(&version.object));
    let never_good = known.source.unread.iter().filter(|(object, _)| declared.get(object).is_none() && wanted(object));
    let plan = &known.picture.plan;
    let errors = plan.diagnostics.iter().rev().filter(|one| one.severity == Severity::Error);
    let errors: BTreeMap<&ObjectRef, &Diagnostic> = errors.filter_map(|one| Some((one.object.as_ref()?, &**one))).collect();
    let judged = |version: ObjectVersion| {
        let mut report = row(known, &version);
        let is_judged = report.reason != "Accepted" || plan.verdicts_of(&version.object).next().is_some();
        if is_judged {
            return report;
        }
        // Where there is no verdict, its first error says that nothing comes of it.
        if let Some(error) = errors.get(&version.object) {
            (report.accepted, report.reason, report.message) = (false, error.code.as_str().into(), error.message.clone());
        } else if let Some(words) = unserved(version.object.kind) {
            (report.accepted, report.reason, report.message) = (false, "NotServed".into(), words.into());
            report.in_force = InForce::Nothing;
        }
        report
    };
    let mut rows: Vec<ObjectReport> = read.map(judged).collect();
    rows.extend(never_good.map(|(object, problem)| unread(blank(object), problem, in_stead(known, object))));
    rows.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
    rows
}

/// Why nobody judged an object of a kind that is judged wherever it is ours.
fn unserved(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::GatewayClass => Some("it is of another controller"),
        Kind::Gateway => Some("its class is of another controller, or is not there"),
        Kind::ListenerSet | Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => {
            Some("it names nothing that is served here")
        }
        _ => None,
    }
}

fn row(known: &Known<'_>, version: &ObjectVersion) -> ObjectReport {
    let Known { picture, source, progress, .. } = known;
    let refusal = picture.refused.objects.get(version);
    // Its newest version is planned, and what it is planned as is what proxies have.
    let attached_too = refusal.filter(|refusal| refusal.by == RefusedBy::Target);
    if let Some(refusal) = refusal.filter(|_| attached_too.is_none()) {
        return refused(known, version, refusal);
    }
    let mut report = verdicts(&picture.plan, &version.object);
    let planned = attached_too.and_then(|refusal| refusal.last_good.as_ref()).map(|held| held.meta().identity());
    let standing = progress.of(planned.as_ref().unwrap_or(version)).filter(|_| picture.plan.takes_effect(&version.object));
    report.programmed = standing.as_ref().map(|standing| programmed(known, standing));
    if let Some(error) =
        standing.and_then(|standing| standing.unpublished.filter(|_| !standing.holds)).filter(|_| report.message.is_empty())
    {
        (report.reason, report.message) = (NOT_PUBLISHED.into(), format!("what runs stays as it is: {error}"));
    }
    if let Some(problem) = source.unread.get(&version.object) {
        return unread(report, problem, (InForce::LastGood, LAST_GOOD));
    }
    if let Some(refusal) = attached_too.filter(|refusal| !refusal.reason.is_empty()) {
        let words = if report.message.is_empty() { "what it names is not there" } else { report.message.as_str() };
        report.message = format!("{words}; {}", refusal.reason);
        (report.accepted, report.reason, report.in_force) = (false, Code::TargetNotFound.as_str().into(), InForce::LastGood);
        report.position = told_at(known, &version.object, Code::LastGood);
    }
    if source.held.contains(&version.object) {
        report.in_force = InForce::LastGood;
        (report.reason, report.message) =
            (Code::Syntax.as_str().into(), "its file cannot be read as a whole, so what it declared before stays in force".into());
    }
    report
}

fn blank(object: &ObjectRef) -> ObjectReport {
    ObjectReport {
        kind: object.kind.to_string(),
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        accepted: true,
        resolved: true,
        ..ObjectReport::default()
    }
}

/// What holds in the place of what was never good.
fn in_stead(known: &Known<'_>, object: &ObjectRef) -> (InForce, &'static str) {
    let stead = windrose_plan::stead(&known.picture.plan, &known.picture.declared, object);
    (if stead.closes { InForce::Closed } else { InForce::Nothing }, stead.words)
}

/// Its newest version cannot be read.
fn unread(report: ObjectReport, problem: &DiagnosticReport, (in_force, stead): (InForce, &str)) -> ObjectReport {
    ObjectReport {
        accepted: false,
        resolved: report.resolved && in_force == InForce::LastGood,
        in_force,
        reason: problem.code.clone(),
        message: format!("{}; {stead}", problem.message),
        position: problem.position.clone(),
        ..report
    }
}

/// Its newest version runs nowhere: Envoy refused it, or we cannot plan it.
fn refused(known: &Known<'_>, version: &ObjectVersion, refusal: &Refusal) -> ObjectReport {
    let good = refusal.last_good.as_ref().and_then(|good| known.progress.of(&good.meta().identity()));
    let targets = good.map_or(0, |standing| standing.targets);
    let object = &version.object;
    let code = refusal.code();
    let message = told(known, object, code).map_or_else(|| refusal.reason.clone(), |told| told.message.clone());
    ObjectReport {
        in_force: if refusal.last_good.is_some() { InForce::LastGood } else { in_stead(known, object).0 },
        programmed: Some(ProgrammedReport {
            reason: code.as_str().into(),
            since: known.progress.refused_since(version).map(seconds),
            targets,
            ..ProgrammedReport::default()
        }),
        reason: code.as_str().into(),
        message,
        position: told_at(known, object, code),
        ..verdicts(&known.picture.plan, object)
    }
}

/// What the plan says of an object, of that kind.
fn told<'k>(known: &'k Known<'_>, object: &ObjectRef, code: Code) -> Option<&'k Diagnostic> {
    let about = |one: &&Diagnostic| one.code == code && one.object.as_ref() == Some(object);
    known.picture.plan.diagnostics.iter().map(|one| &**one).find(about)
}

/// Where in the files that is.
fn told_at(known: &Known<'_>, object: &ObjectRef, code: Code) -> Option<String> {
    let whole = || Diagnostic::error(object.clone(), FieldPath::root(), code, String::new());
    let diagnostic = told(known, object, code).cloned().unwrap_or_else(whole);
    known.source.places.as_ref().and_then(|places| places(&diagnostic))
}

/// The object's conditions, those towards its parents and those of its sections as one: the first that is not as it should be speaks.
fn verdicts(plan: &Plan, object: &ObjectRef) -> ObjectReport {
    let mut report = blank(object);
    plan.verdicts_of(object).for_each(|(_, verdict)| join(&mut report, verdict));
    if report.reason.is_empty() {
        report.reason = "Accepted".into();
    }
    report
}

fn join(report: &mut ObjectReport, verdict: &Verdict) {
    for (condition, state) in verdict.conditions.iter() {
        let wrong = match condition {
            ConditionType::Accepted => {
                report.accepted &= state.status;
                !state.status
            }
            ConditionType::ResolvedRefs => {
                report.resolved &= state.status;
                !state.status
            }
            ConditionType::Conflicted
            | ConditionType::PartiallyInvalid
            | ConditionType::OverlappingTlsConfig
            | ConditionType::InsecureFrontendValidationMode => state.status,
        };
        if wrong && report.reason.is_empty() {
            (report.reason, report.message) = (state.reason.into(), state.message.clone());
        }
    }
}

fn programmed(known: &Known<'_>, standing: &Standing<'_>) -> ProgrammedReport {
    let lags = || standing.lags.into_iter().flatten();
    let name = |id: &StreamId| known.names.get(id).cloned().unwrap_or_default();
    let refusals = lags().filter_map(|(id, lag)| refusal(name(id), lag));
    let refused: Vec<RefusalReport> = refusals.take(NAMED).collect();
    let reason = match (standing.holds, refused.is_empty(), standing.targets) {
        (true, _, _) => "Programmed",
        (false, false, _) => Code::RefusedByEnvoy.as_str(),
        (false, true, _) if standing.unpublished.is_some() => NOT_PUBLISHED,
        (false, true, 0) => "Pending",
        (false, true, _) => "Acknowledging",
    };
    ProgrammedReport {
        status: standing.holds,
        reason: reason.into(),
        since: Some(seconds(standing.since)),
        acknowledged: standing.acknowledged,
        targets: standing.targets,
        behind: lags().map(|(id, _)| name(id)).take(NAMED).collect(),
        refused,
    }
}

fn refusal(proxy: String, lag: &Lag) -> Option<RefusalReport> {
    let reason = lag.refused.as_ref()?.as_str().to_owned();
    Some(RefusalReport { proxy, resource: lag.resource.to_string(), reason })
}
