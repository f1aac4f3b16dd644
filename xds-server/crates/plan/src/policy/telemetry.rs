//! TelemetryPolicy → traces, access logs and metrics. Proxy, namespace, mesh, and of logs the parameters of a Gateway, field by field.

use windrose_api::declared::Object;
use windrose_api::declared::backend::ObjectReference;
use windrose_api::policy::{AccessLog as DeclaredLog, Provider, TelemetryPolicy, Tracing as DeclaredTracing};
use windrose_ir::telemetry::{AccessLog, LogSink, TraceProvider, Tracing};
use windrose_vocab::{Code, Kind, ObjectKey, ObjectRef, Port, Text};

use super::{mesh, winner};
use crate::backend::{BackendId, ClusterKey, Flavor};
use crate::limits;
use crate::reference::{Problem, field};
use crate::route::{Carries, resolve_backend};
use crate::world::View;

/// The path that Zipkin's collectors take spans on.
const ZIPKIN_PATH: &str = "/api/v2/spans";

/// What a proxy tells, and the cluster it tells it to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Telemetry {
    pub(crate) tracing: Option<Tracing>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) metrics: bool,
    pub(crate) collector: Option<ClusterKey>,
}

/// What holds for one Gateway or Workload, which calls itself `service` in its spans, and logs so where no policy says otherwise.
pub(crate) fn effective(view: &View<'_>, proxy: &ObjectRef, service: &str, log: Option<&DeclaredLog>) -> Telemetry {
    let own = winner(view, Kind::TelemetryPolicy, proxy, None);
    let names = own.into_iter().chain(mesh::general(view, Kind::TelemetryPolicy, &proxy.key.namespace));
    let policies: Vec<_> = names.filter_map(|name| view.telemetry_policy(&name.key)).collect();
    let access_log = policies.iter().find_map(|policy| policy.spec.access_log.as_ref()).or(log).map(access_log);
    let metrics = policies.iter().find_map(|policy| policy.spec.metrics).unwrap_or(false);
    let tracing = policies.iter().find_map(|policy| policy.spec.tracing.as_ref().map(|tracing| (*policy, tracing)));
    let found = tracing.and_then(|(policy, tracing)| self::tracing(view, policy, tracing, service).ok());
    let (tracing, collector) = found.unzip();
    Telemetry { tracing, access_log, metrics, collector }
}

fn tracing(
    view: &View<'_>,
    policy: &Object<TelemetryPolicy>,
    declared: &DeclaredTracing,
    service: &str,
) -> Result<(Tracing, ClusterKey), Problem> {
    let backend = collector(view, &policy.meta.object, declared)?;
    let flavor = match declared.provider {
        Provider::Zipkin => Flavor::Http,
        Provider::OpenTelemetry => Flavor::Grpc,
    };
    let key = ClusterKey::new(backend, flavor);
    let provider = match declared.provider {
        Provider::Zipkin => TraceProvider::Zipkin { cluster: key.name(), host: declared.backend.as_str().into(), path: ZIPKIN_PATH.into() },
        Provider::OpenTelemetry => TraceProvider::OpenTelemetry { cluster: key.name(), host: declared.backend.as_str().into() },
    };
    let sampling_basis_points = declared.sampling_per_ten_thousand.unwrap_or(limits::TRACE_SAMPLING);
    Ok((Tracing { provider, sampling_basis_points, service: service.into(), tags: Vec::new() }, key))
}

fn collector(view: &View<'_>, policy: &ObjectRef, declared: &DeclaredTracing) -> Result<BackendId, Problem> {
    let key = ObjectKey::new(policy.key.namespace.clone(), declared.backend.as_str());
    let kind = if view.service(&key).is_none() && view.backend(&key).is_some() { Kind::Backend } else { Kind::Service };
    let reference = ObjectReference { group: kind.group().into(), kind: kind.as_str().into(), namespace: None, name: key.name.clone() };
    let port = declared.port.and_then(|port| Port::new(i64::from(port)));
    let carries = match declared.provider {
        Provider::Zipkin => Carries::Http,
        Provider::OpenTelemetry => Carries::Grpc,
    };
    resolve_backend(view, policy, &reference, port, carries).map(|resolved| resolved.id)
}

fn access_log(declared: &DeclaredLog) -> AccessLog {
    let field = |field: &windrose_api::policy::LogField| {
        let plain = is_header(&field.request_header);
        plain.then(|| (Text::from(field.name.as_str()), Text::from(format!("%REQ({})%", field.request_header))))
    };
    let mut fields: Vec<(Text, Text)> = declared.fields.iter().filter_map(field).collect();
    fields.sort();
    fields.dedup_by(|later, first| later.0 == first.0);
    AccessLog {
        sink: declared.file.as_ref().map_or(LogSink::Stdout, |file| LogSink::File(file.as_str().into())),
        fields,
        minimum_status: declared.minimum_status,
    }
}

/// A header's name stands in a format string: nothing that could end the command.
fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Tells what a policy says that cannot be.
pub(crate) fn judge(view: &View<'_>, policy: &Object<TelemetryPolicy>) {
    let own = &policy.meta.object;
    if let Some(tracing) = &policy.spec.tracing
        && let Err(problem) = collector(view, own, tracing)
    {
        view.tell(problem.at(own, field("spec.tracing.backend")));
    }
    policy.spec.access_log.iter().for_each(|log| judge_log(view, own, log));
}

/// Tells what cannot be logged of what an object says at `spec.accessLog`.
pub(crate) fn judge_log(view: &View<'_>, object: &ObjectRef, log: &DeclaredLog) {
    for (index, wrong) in log.fields.iter().enumerate().filter(|(_, field)| !is_header(&field.request_header)) {
        let message = format!("`{}` is not a header that can be logged", wrong.request_header);
        view.error(object, field(&format!("spec.accessLog.fields[{index}].requestHeader")), Code::OutOfRange, message);
    }
}
