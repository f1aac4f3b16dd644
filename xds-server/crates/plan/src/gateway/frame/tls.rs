//! TLS of a Gateway: the certificates that its listeners show, how they check those of clients, and its own towards backends.

use std::sync::Arc;

use windrose_api::declared::Object;
use windrose_api::declared::gateway::{FrontendValidation, Gateway};
use windrose_ir::Secret;
use windrose_vocab::{Code, Diagnostic, Port, Text};

use super::{ClientCheck, ListenerTls, Spoken};
use crate::gateway::{Candidate, Certificate, certificate, trust};
use crate::plan::{Condition, ConditionType, Subject};
use crate::reference::{Problem, field};
use crate::world::View;

/// TLS that ends at a listener; none where it passes through, or where no certificate can be shown, or no client be checked.
pub(super) fn tls(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    candidate: &Candidate<'_>,
    spoken: Spoken,
    (accepted, references): (&mut Condition, &mut Condition),
) -> Option<ListenerTls> {
    if !matches!(spoken, Spoken::Https | Spoken::TlsTerminated) {
        return None;
    }
    let path = format!("spec.listeners[{}].tls", candidate.index);
    let declared = candidate.listener.tls.as_ref().map_or(&[][..], |tls| &tls.certificates);
    if declared.is_empty() {
        let message = "a listener that ends TLS needs a certificate";
        let told = Diagnostic::error(candidate.id.owner.clone(), field(&path), Code::MissingField, message);
        view.tell(told.hint("set `tls.certificateRefs` to a Secret of type kubernetes.io/tls"));
        *references = Condition::no("InvalidCertificateRef", message);
    }
    let mut certificates = Vec::new();
    for (index, reference) in declared.iter().enumerate() {
        let problem = match certificate(view, &candidate.id.owner, reference) {
            Ok(Certificate { name, secret, stale }) => {
                certificates.push((name, secret));
                stale
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            view.tell(problem.at(&candidate.id.owner, field(&format!("{path}.certificateRefs[{index}]"))));
            *references = Condition::no(problem.reason, problem.message);
        }
    }
    warn_other_names(view, candidate, &path, &certificates);
    let validation = (spoken == Spoken::Https).then(|| validation(gateway, candidate.listener.port)).flatten();
    let client = match validation.map(|(path, validation)| client_check(view, gateway, &path, validation, candidate.listener.port)) {
        None => None,
        Some(Ok((check, None))) => Some(check),
        Some(Ok((check, Some(problem)))) => {
            *references = Condition::no(problem.reason, problem.message);
            Some(check)
        }
        Some(Err(problem)) => {
            *references = Condition::no(problem.reason, problem.message.clone());
            *accepted = Condition::no("NoValidCACertificate", problem.message);
            return None;
        }
    };
    (!certificates.is_empty()).then_some(ListenerTls { certificates, client })
}

fn validation(gateway: &Object<Gateway>, port: Port) -> Option<(String, &FrontendValidation)> {
    match gateway.spec.frontend_validation_per_port.get(&port) {
        Some(own) => own.as_ref().map(|validation| ("spec.tls.frontend.perPort".to_owned(), validation)),
        None => {
            gateway.spec.frontend_validation.as_ref().map(|all| ("spec.tls.frontend.default.validation.caCertificateRefs".to_owned(), all))
        }
    }
}

/// The check, with the last problem if some of the references are of no use; an error if all are.
fn client_check(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    path: &str,
    validation: &FrontendValidation,
    port: Port,
) -> Result<(ClientCheck, Option<Problem>), Problem> {
    let owner = &gateway.meta.object;
    let mut bundle = String::new();
    let mut last = None;
    for (index, reference) in validation.ca_certificates.iter().enumerate() {
        match trust(view, owner, reference, ["InvalidCACertificateKind", "InvalidCACertificateRef"]) {
            Ok(text) => {
                bundle.push_str(text.trim_end());
                bundle.push('\n');
            }
            Err(problem) => {
                let path = if path.ends_with("perPort") { path.to_owned() } else { format!("{path}[{index}]") };
                view.tell(problem.at(owner, field(&path)));
                last = Some(problem);
            }
        }
    }
    if bundle.is_empty() {
        let none = || Problem::new("InvalidCACertificateRef", Code::MissingField, "no CA certificate to check clients by");
        return Err(last.unwrap_or_else(none));
    }
    if validation.insecure_fallback {
        let message = "clients without a valid certificate are let in, so services are told of no certificate";
        view.warn(owner, field("spec.tls.frontend"), Code::Unsafe, message);
        let insecure = Condition { status: true, reason: "ConfigurationChanged", message: message.to_owned() };
        view.condition(&Subject::object(owner.clone()), ConditionType::InsecureFrontendValidationMode, insecure);
    }
    let name = format!("{owner}/{port}/client-ca");
    let trust = (name.into(), Arc::new(Secret::Trust { bundle: bundle.into() }));
    Ok((ClientCheck { trust, required: !validation.insecure_fallback }, last))
}

/// Tells where no certificate is for the listener's hostname: clients that look at it go away. The specification leaves that to users.
fn warn_other_names(view: &View<'_>, candidate: &Candidate<'_>, path: &str, certificates: &[(Text, Arc<Secret>)]) {
    let Some(hostname) = candidate.listener.hostname.as_ref().filter(|hostname| !hostname.is_any()) else { return };
    let others = certificates.iter().map(|(name, secret)| match &**secret {
        Secret::Certificate { chain, .. } => {
            let names = view.settings().certificates.other_names(chain, hostname.as_str())?;
            Some(format!("{name} is for {names}"))
        }
        Secret::Trust { .. } => None,
    });
    let others = others.collect::<Option<Vec<String>>>().filter(|others| !others.is_empty());
    let Some(others) = others else { return };
    let message = format!("no certificate is for `{hostname}`, and clients that ask for it refuse the connection: {}", others.join("; "));
    let told =
        Diagnostic::warning(candidate.id.owner.clone(), field(&format!("{path}.certificateRefs")), Code::InvalidCertificate, message);
    view.tell(told.hint("make one with that name in its subjectAltName"));
}

/// The certificate that backends are shown, if one is declared and can be had.
pub(super) fn client_certificate(view: &View<'_>, gateway: &Object<Gateway>) -> Option<(Text, Arc<Secret>)> {
    let subject = Subject::object(gateway.meta.object.clone());
    let reference = gateway.spec.backend_client_certificate.as_ref()?;
    let (found, problem) = match certificate(view, &gateway.meta.object, reference) {
        Ok(Certificate { name, secret, stale }) => (Some((name, secret)), stale),
        Err(problem) => (None, Some(problem)),
    };
    let resolved = match problem {
        None => Condition::yes("ResolvedRefs"),
        Some(problem) => {
            view.tell(problem.at(&gateway.meta.object, field("spec.tls.backend.clientCertificateRef")));
            let reason = if problem.reason == "RefNotPermitted" { problem.reason } else { "InvalidClientCertificateRef" };
            Condition::no(reason, problem.message)
        }
    };
    view.condition(&subject, ConditionType::ResolvedRefs, resolved);
    found
}
