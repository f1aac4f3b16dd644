//! TLS to a backend as a BackendTLSPolicy or a Backend says: whom to trust, which name to expect, which certificate to show.

use std::collections::BTreeMap;
use std::sync::Arc;

use windrose_api::declared::backend::{BackendEndpoint, ObjectReference, SubjectAltName};
use windrose_api::declared::route::ParentRef;
use windrose_api::declared::{Backend, BackendTls, Object};
use windrose_ir::Secret;
use windrose_ir::cluster::{SubjectName, UpstreamTls};
use windrose_vocab::{Code, ObjectRef, Text};

use crate::gateway::{Certificate, certificate, trust};
use crate::plan::{Condition, ConditionType, Subject};
use crate::reference::{Problem, field};
use crate::world::View;

/// TLS to a backend, with the secrets that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginTls {
    pub(crate) tls: UpstreamTls,
    pub(crate) secrets: BTreeMap<Text, Arc<Secret>>,
}

/// What a BackendTLSPolicy comes to; none where a CA certificate cannot be had: then nothing may be sent.
pub(crate) fn of_policy(view: &View<'_>, policy: &Object<BackendTls>) -> Option<OriginTls> {
    let own = &policy.meta.object;
    let tell = |kind: ConditionType, condition: Condition| {
        for (target, section) in &policy.spec.targets {
            let parent = ParentRef { target: target.clone(), section: section.clone(), port: None };
            view.condition(&Subject::parent(own.clone(), parent), kind, condition.clone());
        }
    };
    let bundle = match bundle(view, own, &policy.spec) {
        Ok(bundle) => bundle,
        Err((problem, all)) => {
            tell(ConditionType::ResolvedRefs, Condition::no(problem.reason, problem.message.clone()));
            if all {
                tell(ConditionType::Accepted, Condition::no("NoValidCACertificate", problem.message));
            }
            return None;
        }
    };
    tell(ConditionType::ResolvedRefs, Condition::yes("ResolvedRefs"));
    let subject_names = policy.spec.subject_alt_names.iter().map(|name| match name {
        SubjectAltName::Hostname(host) => SubjectName::Dns(host.as_str().into()),
        SubjectAltName::Uri(uri) => SubjectName::Uri(uri.clone()),
    });
    Some(with_trust(own, policy.spec.hostname.clone(), bundle, subject_names.collect()))
}

/// The bundle, none for the system's; else the last problem, and whether no reference holds at all.
fn bundle(view: &View<'_>, policy: &ObjectRef, spec: &BackendTls) -> Result<Option<Text>, (Problem, bool)> {
    if spec.ca.is_empty() && spec.system_ca {
        return Ok(None);
    }
    let mut bundle = String::new();
    let mut last = None;
    for (index, reference) in spec.ca.iter().enumerate() {
        match trust(view, policy, reference, ["InvalidKind", "InvalidCACertificateRef"]) {
            Ok(text) => append(&mut bundle, &text),
            Err(problem) => {
                view.tell(problem.at(policy, field(&format!("spec.validation.caCertificateRefs[{index}]"))));
                last = Some(problem);
            }
        }
    }
    match last {
        Some(problem) => Err((problem, bundle.is_empty())),
        None if bundle.is_empty() => {
            let problem = Problem::new("InvalidCACertificateRef", Code::MissingField, "no CA certificate to check the backend by");
            view.tell(problem.at(policy, field("spec.validation")));
            Err((problem, true))
        }
        None => Ok(Some(bundle.into())),
    }
}

fn append(bundle: &mut String, text: &str) {
    bundle.push_str(text.trim_end());
    bundle.push('\n');
}

fn with_trust(owner: &ObjectRef, sni: Text, bundle: Option<Text>, subject_names: Vec<SubjectName>) -> OriginTls {
    let name = bundle.is_some().then(|| Text::from(format!("{owner}/ca")));
    let secrets = name.iter().cloned().zip(bundle.map(|bundle| Arc::new(Secret::Trust { bundle }))).collect();
    OriginTls { tls: UpstreamTls::Origin { sni, trust: name, subject_names, client_certificate: None }, secrets }
}

/// What a Backend's own TLS comes to; none where it says none, or a reference does not hold, which is told.
pub(crate) fn origin_tls(view: &View<'_>, backend: &Object<Backend>) -> Option<OriginTls> {
    let own = &backend.meta.object;
    let declared = backend.spec.tls.as_ref()?;
    let host = backend.spec.endpoints.iter().find_map(|endpoint| match endpoint {
        BackendEndpoint::Host(host, _) => Some(host.clone()),
        BackendEndpoint::Ip(_, _) | BackendEndpoint::Unix(_) => None,
    });
    let Some(sni) = declared.hostname.clone().or(host) else {
        view.error(own, field("spec.tls.hostname"), Code::MissingField, "TLS to an address needs the name to expect in its certificate");
        return None;
    };
    let told = |problem: Problem, path: &str| view.tell(problem.at(own, field(path)));
    let ca = |reference: &ObjectReference| trust(view, own, reference, ["InvalidKind", "InvalidCACertificateRef"]);
    let bundle = declared.ca.as_ref().map(ca).transpose().map_err(|problem| told(problem, "spec.tls.ca")).ok()?;
    let client = declared.client_certificate.as_ref().map(|reference| certificate(view, own, reference));
    let client = client.transpose().map_err(|problem| told(problem, "spec.tls.clientCertificate")).ok()?;
    let mut all = with_trust(own, sni, bundle, Vec::new());
    if let Some(Certificate { name, secret, stale }) = client {
        stale.into_iter().for_each(|problem| told(problem, "spec.tls.clientCertificate"));
        if let UpstreamTls::Origin { client_certificate, .. } = &mut all.tls {
            *client_certificate = Some(name.clone());
        }
        all.secrets.insert(name, secret);
    }
    Some(all)
}
