//! What runs, put together for people: the plan's verdicts beside what proxies acknowledged. Asked again without a change it
//! answers from memory.

mod objects;
mod proxies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use windrose_admin::Source;
use windrose_admin::report::{CertificateReport, DiagnosticReport, ProxyReport, StatusReport};
use windrose_plan::{Plan, READY_LISTENER};
use windrose_state::{Accepted, DesiredReader, Observed, StreamStatus, View};
use windrose_vocab::{Fingerprint, Kind, ObjectRef, Resource, ResourceId, ResourceKind, Severity, Text};
use windrose_xds_serve::Counters;

use crate::ends;
use crate::metrics::{self, Convergence};
use crate::orphans::Orphans;
use crate::pipeline::Picture;
use crate::progress::{Moment, Progress};

/// What people are told, from where it is known.
pub(crate) struct Reports {
    pub(crate) picture: Arc<ArcSwap<Picture>>,
    pub(crate) desired: DesiredReader,
    pub(crate) observed: Arc<Observed>,
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) orphans: Arc<Orphans>,
    /// What the source says, with places in files: it changes with each read, also when nothing is planned anew.
    pub(crate) source: Arc<ArcSwap<SourceReport>>,
    pub(crate) memory: Mutex<Memory>,
    /// Why nothing new is planned any more, since it is so: a bug of ours. What is served stays.
    pub(crate) stopped: OnceLock<String>,
    /// Tells answers of two runs of the server apart.
    pub(crate) started: SystemTime,
}

/// What is remembered from look to look.
#[derive(Default)]
pub(crate) struct Memory {
    progress: Progress,
    convergence: Convergence,
    source: Arc<SourceReport>,
    readings: u64,
    /// The last whole status, with its revision.
    status: Option<(String, StatusReport)>,
}

/// Finds where something is declared, as `file:line:column`.
pub(crate) type Places = dyn Fn(&windrose_vocab::Diagnostic) -> Option<String> + Send + Sync;

/// What only the source knows.
#[derive(Default)]
pub(crate) struct SourceReport {
    /// Problems found while reading, with their places.
    pub(crate) diagnostics: Vec<DiagnosticReport>,
    /// Objects whose newest version cannot be read, with what is wrong.
    pub(crate) unread: BTreeMap<ObjectRef, DiagnosticReport>,
    /// Objects in effect that no document can be found for: their file cannot be read as a whole.
    pub(crate) held: BTreeSet<ObjectRef>,
    /// Kinds that cannot be read, and without which nothing new is served.
    pub(crate) kept: BTreeSet<Kind>,
    /// When it was read last with a change.
    pub(crate) read_at: Option<SystemTime>,
    /// Finds the place of a problem that the planner found.
    pub(crate) places: Option<Box<Places>>,
}

impl SourceReport {
    /// Why nothing is served yet. The reasons are the log's to tell: strangers read this.
    fn awaits(&self) -> String {
        let kinds: Vec<&str> = self.kept.iter().map(|kind| kind.as_str()).collect();
        match kinds.is_empty() {
            true => "nothing was read yet".to_owned(),
            false => format!("nothing was read yet: {} cannot be read, and the log says why", kinds.join(", ")),
        }
    }
}

impl Reports {
    /// Takes in what proxies acknowledged, so that it is known when.
    pub(crate) fn look(&self) {
        drop(self.looked(SystemTime::now()));
    }

    /// Looks, and lets `read` see how far everything is.
    pub(crate) fn with_progress<R>(&self, read: impl FnOnce(&Progress) -> R) -> R {
        let (memory, _, _) = self.looked(SystemTime::now());
        read(&memory.progress)
    }

    /// Identities of the streams that have answered everything they should have, accepted it or refused it, and on which a
    /// listener is open, if any should be.
    pub(crate) fn settled(&self) -> BTreeSet<Text> {
        self.answered(is_open)
    }

    /// Identities that have answered everything as well, on whose streams none is there that should be.
    pub(crate) fn shut(&self) -> BTreeSet<Text> {
        let mut shut = self.answered(is_shut);
        if !shut.is_empty() {
            let settled = self.settled();
            shut.retain(|identity| !settled.contains(identity));
        }
        shut
    }

    /// Identities of the streams that are so and have answered everything. Of streams that another replica has, it says so: it alone knows
    /// all that was accepted.
    fn answered(&self, are_so: impl Fn(&StreamStatus, &View) -> bool) -> BTreeSet<Text> {
        let answered = |stream: &StreamStatus| {
            let view = self.desired.current(&stream.opened.scope);
            let view = view.filter(|view| view.ready && !view.resources.is_empty() && stream.opened.replica.is_none());
            view.is_some_and(|view| {
                let refused = |id: &ResourceId, wanted| self.accepted.withheld(&stream.opened.identity, id, wanted).is_some();
                are_so(stream, &view) && has_answered(stream, &view, refused)
            })
        };
        self.observed.snapshot().into_iter().filter(answered).map(|stream| stream.opened.identity).collect()
    }

    fn looked(&self, now: SystemTime) -> (MutexGuard<'_, Memory>, Arc<Picture>, Vec<StreamStatus>) {
        // One after the other: an older picture must not follow a newer one.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (picture, streams) = (self.picture.load_full(), self.observed.snapshot());
        let moment = Moment { picture: &picture, streams: &streams, desired: &self.desired, accepted: &self.accepted, now };
        memory.progress.look(&moment);
        for took in memory.progress.take_convergence() {
            memory.convergence.observe(took);
        }
        let source = self.source.load_full();
        if !Arc::ptr_eq(&source, &memory.source) {
            (memory.source, memory.readings) = (source, memory.readings + 1);
        }
        (memory, picture, streams)
    }

    fn revision_of(&self, memory: &Memory) -> String {
        let stopped = if self.stopped.get().is_some() { "-stopped" } else { "" };
        let orphans = self.orphans.revision(SystemTime::now());
        format!("{:x}-{:x}-{:x}-{orphans:x}{stopped}", nanoseconds(self.started), memory.progress.revision(), memory.readings)
    }
}

impl Source for Reports {
    fn ready(&self) -> Result<(), String> {
        match self.stopped.get() {
            Some(why) => Err(why.clone()),
            None if self.picture.load().generation > 0 => Ok(()),
            None => Err(self.source.load().awaits()),
        }
    }

    fn revision(&self) -> String {
        let (memory, _, _) = self.looked(SystemTime::now());
        self.revision_of(&memory)
    }

    fn status(&self, only: Option<&str>) -> StatusReport {
        let (mut memory, picture, streams) = self.looked(SystemTime::now());
        let revision = self.revision_of(&memory);
        if let (None, Some((known, status))) = (only, &memory.status)
            && *known == revision
        {
            return status.clone();
        }
        let names: BTreeMap<_, _> = streams.iter().map(|stream| (stream.id, proxies::name(stream))).collect();
        let known = objects::Known { picture: &picture, source: &memory.source, progress: &memory.progress, names: &names };
        let orphans = if only.is_none() { self.orphans.told(SystemTime::now()) } else { Vec::new() };
        let status = StatusReport {
            version: env!("CARGO_PKG_VERSION").into(),
            generation: picture.generation,
            objects: objects::all(&known, only),
            diagnostics: self.stopped().into_iter().chain(diagnostics(&memory.source, &picture.plan, only)).chain(orphans).collect(),
            certificates: if only.is_none() { certificates(&picture, &streams) } else { Vec::new() },
        };
        if only.is_none() {
            memory.status = Some((revision, status.clone()));
        }
        status
    }

    fn proxies(&self) -> Vec<ProxyReport> {
        let (memory, picture, streams) = self.looked(SystemTime::now());
        let known = proxies::Known { picture: &picture, accepted: &self.accepted };
        let report = |stream: &StreamStatus| {
            let view = self.desired.current(&stream.opened.scope);
            proxies::report(stream, view.as_deref(), &known, memory.progress.behind_since(stream.id))
        };
        streams.iter().map(report).chain(self.orphans.proxies(SystemTime::now())).collect()
    }

    fn metrics(&self) -> String {
        let (memory, picture, streams) = self.looked(SystemTime::now());
        let views = |stream: &StreamStatus| self.desired.current(&stream.opened.scope);
        metrics::text(&metrics::Sources {
            counters: &self.counters,
            picture: &picture,
            streams: &streams,
            desired: &views,
            convergence: &memory.convergence,
            source: &memory.source,
            certificates: &certificates(&picture, &streams),
            started: self.started,
            stopped: self.stopped.get().is_some(),
        })
    }
}

impl Reports {
    /// What concerns every object once nothing new is planned.
    fn stopped(&self) -> Option<DiagnosticReport> {
        let why = self.stopped.get()?;
        Some(DiagnosticReport {
            severity: Severity::Error.to_string(),
            code: "Stopped".into(),
            object: None,
            field: String::new(),
            position: None,
            message: why.clone(),
            hint: Some("start the server again, and tell its developers what its log says".into()),
        })
    }
}

/// Whether the client accepted or refused each resource that it should have, now or (`withheld`) before.
fn has_answered(stream: &StreamStatus, view: &View, withheld: impl Fn(&ResourceId, Fingerprint) -> bool) -> bool {
    stream.behind(view).iter().all(|(id, lack)| lack.refused.is_some() || withheld(id, lack.wanted))
}

/// Whether the client has one of the listeners that it should have, in whatever version, and what that needs to open; so has one that should
/// have none. That by which it says so is none of them.
fn is_open(stream: &StreamStatus, view: &View) -> bool {
    // Without its certificates a listener waits for ever, acknowledged or not.
    let has = |id: &ResourceId| stream.of_kind(id.kind).acked.get(&*id.name).is_some();
    let secrets = |listener: &Resource| listener.refs.iter().filter(|id| id.kind == ResourceKind::Secret).all(has);
    let mut own = own_listeners(stream, view).peekable();
    own.peek().is_none() || own.flatten().any(|listener| secrets(listener))
}

/// Whether it has none of them at all. One whose certificate is refused may go on with the former one.
fn is_shut(stream: &StreamStatus, view: &View) -> bool {
    let mut own = own_listeners(stream, view).peekable();
    own.peek().is_some() && own.all(|listener| listener.is_none())
}

/// The listeners that a client should have, each as it has it.
fn own_listeners<'a>(stream: &'a StreamStatus, view: &'a View) -> impl Iterator<Item = Option<&'a Arc<Resource>>> {
    let names = view.of_kind(ResourceKind::Listener).keys().filter(|name| &***name != READY_LISTENER);
    names.map(|name| stream.of_kind(ResourceKind::Listener).acked.get(&**name))
}

fn diagnostics(source: &SourceReport, plan: &Plan, only: Option<&str>) -> Vec<DiagnosticReport> {
    let place = |diagnostic: &windrose_vocab::Diagnostic| source.places.as_ref().and_then(|places| places(diagnostic));
    let planned = plan.diagnostics.iter();
    let planned = planned.filter(|one| only.is_none_or(|only| one.object.as_ref().is_some_and(|object| is_called(object, only))));
    let read = source.diagnostics.iter().filter(|one| only.is_none() || one.object.as_deref() == only).cloned();
    read.chain(planned.map(|diagnostic| describe(diagnostic, place(diagnostic)))).collect()
}

/// Whether that is the object's id, without spelling out those of thousands.
fn is_called(object: &ObjectRef, id: &str) -> bool {
    id.strip_prefix(object.kind.as_str()).is_some_and(|rest| rest.starts_with('/')) && object.to_string() == id
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

/// Everything that will run out, soonest first: what the authority made, what is declared, and what proxies connected with.
fn certificates(picture: &Picture, streams: &[StreamStatus]) -> Vec<CertificateReport> {
    let known = picture.certificates.iter().chain(&*picture.declared_certificates).cloned();
    let shown: BTreeSet<_> = streams.iter().map(|stream| (proxies::name(stream), stream.opened.credential_expires)).collect();
    let shown =
        shown.into_iter().map(|(proxy, end)| ends::report("node_credential", format!("the node credential of {proxy}"), end, false));
    let mut all: Vec<_> = known.chain(shown).collect();
    all.sort_by_key(|one| one.not_after);
    all
}

fn nanoseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use windrose_state::{Fault, KindMap, Observation, Opened, Protocol, Reason, ResourceSet};
    use windrose_vocab::{NodeClass, ProxyKey};

    use super::*;

    /// What a proxy has of these listeners once it said so: answered, open, and shut. The listener `tls` needs a Secret that nobody has.
    fn said(wanted: &[&str], acked: &[&str], refused: &[&str]) -> (bool, bool, bool) {
        let version = Fingerprint::from_bits(1);
        let id = |name: &&str| ResourceId::new(ResourceKind::Listener, *name);
        let refs = |name: &str| (name == "tls").then(|| ResourceId::new(ResourceKind::Secret, "certificate")).into_iter().collect();
        let resource = |name: &&str| Arc::new(Resource { id: id(name), version, bytes: bytes::Bytes::new(), refs: refs(name) });
        let map = |names: &[&str]| names.iter().map(|name| (Text::from(*name), resource(name))).collect::<KindMap>();
        let mut resources = ResourceSet::new();
        resources.set_kind(ResourceKind::Listener, map(wanted));
        let (observed, kind) = (Observed::new(), ResourceKind::Listener);
        let (scope, since) = (ProxyKey::gateway("shop", "edge").into(), SystemTime::UNIX_EPOCH);
        let (node, identity, protocol) = ("edge".into(), "edge".into(), Protocol::Delta);
        let stream = Opened { node, identity, scope, protocol, since, credential_expires: since, replica: None, version: None };
        let stream = observed.open(stream).unwrap();
        let refusal = |name: &&str| {
            let (name, reason) = (Some(Text::from(*name)), Reason::new("cannot bind"));
            Observation::Rejected { kind, name, version, fault: Fault::Client, reason }
        };
        observed.record(stream, refused.iter().map(refusal).chain([Observation::Acked { kind, acked: map(acked) }]), since);
        let (stream, view) = (observed.stream(stream).unwrap(), View::ready(NodeClass::default(), resources));
        (has_answered(&stream, &view, |_, _| false), is_open(&stream, &view), is_shut(&stream, &view))
    }

    #[test]
    fn a_proxy_that_refuses_all_its_listeners_has_answered_and_is_not_open() {
        assert_eq!(said(&["a", "b", READY_LISTENER], &["a", READY_LISTENER], &[]), (false, true, false), "not yet");
        assert_eq!(said(&["a", "b", READY_LISTENER], &["a", READY_LISTENER], &["b"]), (true, true, false), "one serves");
        assert_eq!(said(&["a", "b", READY_LISTENER], &[READY_LISTENER], &["a", "b"]), (true, false, true));
        assert_eq!(said(&["tls", READY_LISTENER], &["tls", READY_LISTENER], &[]), (true, false, false), "its certificate was refused");
        assert_eq!(said(&["a", "tls"], &["a", "tls"], &[]), (true, true, false));
        assert_eq!(said(&[READY_LISTENER], &[READY_LISTENER], &[]), (true, true, false), "it should have none");
    }

    #[test]
    fn who_is_not_ready_names_what_it_waits_for() {
        let of = |kinds: &[Kind]| SourceReport { kept: kinds.iter().copied().collect(), ..SourceReport::default() }.awaits();
        assert_eq!(of(&[]), "nothing was read yet");
        let waits = of(&[Kind::HTTPRoute, Kind::AuthPolicy]);
        assert!(waits.contains("HTTPRoute") && waits.contains("AuthPolicy") && waits.contains("cannot be read"), "{waits}");
    }
}
