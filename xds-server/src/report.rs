//! What runs, put together for people: the plan's verdicts beside what proxies acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use windrose_admin::Source;
use windrose_admin::report::{
    CertificateReport, DiagnosticReport, ObjectReport, ProgrammedReport, ProxyReport, RefusalReport, StatusReport, TypeReport,
};
use windrose_plan::{ConditionType, Plan, Verdict};
use windrose_state::{Accepted, DesiredReader, Needed, Observed, Programmed, Scope, StreamStatus};
use windrose_vocab::{Code, NodeClass, ObjectRef, ObjectVersion, ProxyKey, ResourceKind};
use windrose_xds_serve::Counters;

use crate::metrics;
use crate::pipeline::Picture;

/// What people are told, from where it is known.
pub(crate) struct Reports {
    pub(crate) picture: Arc<ArcSwap<Picture>>,
    pub(crate) desired: DesiredReader,
    pub(crate) observed: Arc<Observed>,
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) counters: Arc<Counters>,
    /// What the source says, with places in files: it changes with each read, also when nothing is planned anew.
    pub(crate) source: Arc<ArcSwap<SourceReport>>,
    pub(crate) programmed: Mutex<Programmed<Subject>>,
}

/// A version of an object on proxies of one class.
pub(crate) type Subject = (ObjectVersion, NodeClass);

/// Finds where something is declared, as `file:line:column`.
pub(crate) type Places = dyn Fn(&windrose_vocab::Diagnostic) -> Option<String> + Send + Sync;

/// What only the source knows.
#[derive(Default)]
pub(crate) struct SourceReport {
    /// Problems found while reading, with their places.
    pub(crate) diagnostics: Vec<DiagnosticReport>,
    /// Finds the place of a problem that the planner found.
    pub(crate) places: Option<Box<Places>>,
}

impl Source for Reports {
    fn ready(&self) -> Result<(), String> {
        if self.picture.load().generation > 0 { Ok(()) } else { Err("nothing was read yet".into()) }
    }

    fn status(&self) -> StatusReport {
        let picture = self.picture.load_full();
        let streams = self.observed.snapshot();
        let needs = self.needs(&picture.plan, &streams);
        let mut programmed = self.programmed.lock().unwrap_or_else(PoisonError::into_inner);
        programmed.retain(|(version, _)| needs.contains_key(version));
        let mut objects: Vec<ObjectReport> = Vec::new();
        for object in picture.declared.iter() {
            let version = object.meta().identity();
            let mut report = verdicts(&picture.plan, &version.object);
            report.programmed = needs.get(&version).map(|proxies| progress(&mut programmed, &version, proxies, &streams, &self.accepted));
            refused_by_envoy(&mut report, &picture.plan, &version.object);
            objects.push(report);
        }
        objects.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
        StatusReport {
            version: env!("CARGO_PKG_VERSION").into(),
            generation: picture.generation,
            objects,
            diagnostics: self.diagnostics(&picture.plan),
            certificates: picture.certificates.iter().map(certificate).collect(),
        }
    }

    fn proxies(&self) -> Vec<ProxyReport> {
        let picture = self.picture.load_full();
        self.observed.snapshot().iter().map(|stream| proxy(stream, &picture.plan)).collect()
    }

    fn metrics(&self) -> String {
        metrics::text(&self.counters, &self.picture.load(), &self.observed.snapshot())
    }
}

/// Resources at their versions, by the proxies that get them: a class of its own has versions of its own.
type Needs = BTreeMap<Scope, Vec<Needed>>;

impl Reports {
    /// What each version of an object became, on which proxies.
    fn needs(&self, plan: &Plan, streams: &[StreamStatus]) -> BTreeMap<ObjectVersion, Needs> {
        let connected: BTreeSet<Scope> = streams.iter().map(|stream| stream.opened.scope.clone()).collect();
        let mut needs: BTreeMap<ObjectVersion, Needs> = BTreeMap::new();
        for (proxy, resources) in &plan.sources {
            let mut scopes: Vec<Scope> = connected.iter().filter(|scope| scope.proxy == *proxy).cloned().collect();
            if scopes.is_empty() {
                scopes.push(Scope::from(proxy.clone()));
            }
            for scope in scopes {
                let Some(view) = self.desired.current(&scope) else { continue };
                for (id, sources) in resources {
                    let Some(resource) = view.get(id.kind, &id.name) else { continue };
                    let needed = Needed { id: id.clone(), version: resource.version };
                    for version in sources.iter() {
                        needs.entry(version.clone()).or_default().entry(scope.clone()).or_default().push(needed.clone());
                    }
                }
            }
        }
        needs
    }

    fn diagnostics(&self, plan: &Plan) -> Vec<DiagnosticReport> {
        let source = self.source.load();
        let place = |diagnostic: &windrose_vocab::Diagnostic| source.places.as_ref().and_then(|places| places(diagnostic));
        let planned = plan.diagnostics.iter().map(|diagnostic| describe(diagnostic, place(diagnostic)));
        source.diagnostics.iter().cloned().chain(planned).collect()
    }
}

/// One diagnostic, with its place where it is known.
pub(crate) fn describe(diagnostic: &windrose_vocab::Diagnostic, position: Option<String>) -> DiagnosticReport {
    DiagnosticReport {
        severity: diagnostic.severity.to_string(),
        code: diagnostic.code.to_string(),
        object: diagnostic.object.as_ref().map(ToString::to_string),
        field: diagnostic.field.to_string(),
        position,
        message: diagnostic.message.clone(),
        hint: diagnostic.hint.clone(),
    }
}

/// The object's conditions, those towards its parents and those of its sections as one: the first that is not as it should be speaks.
fn verdicts(plan: &Plan, object: &ObjectRef) -> ObjectReport {
    let mut report = ObjectReport {
        kind: object.kind.to_string(),
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        accepted: true,
        resolved: true,
        reason: String::new(),
        ..ObjectReport::default()
    };
    let first = windrose_plan::Subject::object(object.clone());
    let of_object = plan.verdicts.range(first..).take_while(|(subject, _)| subject.object == *object);
    of_object.for_each(|(_, verdict)| join(&mut report, verdict));
    if report.reason.is_empty() {
        report.reason = "Accepted".into();
    }
    report
}

fn join(report: &mut ObjectReport, verdict: &Verdict) {
    for (condition, state) in &verdict.conditions {
        let wrong = match condition {
            ConditionType::Accepted => {
                report.accepted &= state.status;
                !state.status
            }
            ConditionType::ResolvedRefs => {
                report.resolved &= state.status;
                !state.status
            }
            ConditionType::Conflicted | ConditionType::PartiallyInvalid | ConditionType::OverlappingTlsConfig => state.status,
        };
        if wrong && report.reason.is_empty() {
            (report.reason, report.message) = (state.reason.into(), state.message.clone());
        }
    }
}

fn progress(
    programmed: &mut Programmed<Subject>,
    version: &ObjectVersion,
    proxies: &Needs,
    streams: &[StreamStatus],
    accepted: &Accepted,
) -> ProgrammedReport {
    let mut report = ProgrammedReport::default();
    let mut since: Option<SystemTime> = None;
    for (scope, needed) in proxies {
        let subject = (version.clone(), scope.class.clone());
        let of_scope: Vec<StreamStatus> = streams.iter().filter(|stream| stream.opened.scope == *scope).cloned().collect();
        let one = programmed.progress(&subject, &scope.proxy, needed, &of_scope, SystemTime::now());
        report.acknowledged += one.acked;
        report.targets += one.of;
        since = since.max(one.since);
        let refusals = one.reasons.iter().map(|(id, reason)| refusal(&scope.proxy, &id.to_string(), reason.as_str()));
        report.refused.extend(refusals);
        // A version that was refused before is not sent again, so no stream answers for it.
        let unanswered = needed.iter().filter(|wanted| one.acked < one.of && !one.reasons.contains_key(&wanted.id));
        let known = unanswered.filter_map(|wanted| Some((wanted.id.to_string(), accepted.reason(&wanted.id, wanted.version)?)));
        report.refused.extend(known.map(|(id, reason)| refusal(&scope.proxy, &id, reason.as_str())));
    }
    report.since = since.filter(|_| report.is_true()).map(seconds);
    report
}

/// An object whose newest version Envoy refused runs in its last good one, or not at all: never "programmed".
fn refused_by_envoy(report: &mut ObjectReport, plan: &Plan, object: &ObjectRef) {
    let found = plan.diagnostics.iter().find(|one| one.code == Code::RefusedByEnvoy && one.object.as_ref() == Some(object));
    if let Some(diagnostic) = found {
        let programmed = report.programmed.get_or_insert_default();
        programmed.acknowledged = 0;
        programmed.targets = programmed.targets.max(1);
        programmed.since = None;
        (report.reason, report.message) = (Code::RefusedByEnvoy.as_str().into(), diagnostic.message.clone());
    }
}

fn proxy(stream: &StreamStatus, plan: &Plan) -> ProxyReport {
    let proxy = stream.opened.scope.proxy.clone();
    let kinds = ResourceKind::ALL.into_iter().map(|kind| (kind, stream.of_kind(kind)));
    let counted = kinds.clone().filter(|(_, status)| !status.sent.is_empty());
    let types = counted.map(|(kind, status)| {
        let acknowledged =
            status.sent.iter().filter(|(name, sent)| status.acked.get(*name).is_some_and(|acked| acked.version == sent.version));
        (kind.short().to_owned(), TypeReport { acknowledged: acknowledged.count(), sent: status.sent.len() })
    });
    let refused = kinds.flat_map(|(kind, status)| {
        let named = status.rejected.iter().map(move |(name, rejection)| (format!("{kind} {name}"), rejection));
        named.chain(status.rejected_response.iter().map(move |rejection| (format!("{kind} (a whole response)"), rejection)))
    });
    ProxyReport {
        proxy: proxy.to_string(),
        stream: 0,
        node: stream.opened.node.to_string(),
        identity: stream.opened.identity.to_string(),
        spiffe_id: plan.identities.get(&proxy).map(ToString::to_string),
        connected: seconds(stream.opened.since),
        credential_expires: None,
        types: types.collect(),
        refused: refused.map(|(resource, rejection)| refusal(&proxy, &resource, rejection.reason.as_str())).collect(),
        synced: stream.is_in_sync(),
    }
}

fn refusal(proxy: &ProxyKey, resource: &str, reason: &str) -> RefusalReport {
    RefusalReport { proxy: proxy.to_string(), resource: resource.to_owned(), reason: reason.to_owned() }
}

fn certificate((subject, end, automatic): &(String, SystemTime, bool)) -> CertificateReport {
    CertificateReport { subject: subject.clone(), not_after: seconds(*end), renewed_automatically: *automatic }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
