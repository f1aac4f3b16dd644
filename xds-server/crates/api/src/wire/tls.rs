//! BackendTLSPolicy.

use gateway_api::backendtlspolicies::{
    BackendTlsPolicySpec, BackendTlsPolicyValidationSubjectAltNames as WrittenName,
    BackendTlsPolicyValidationSubjectAltNamesType as NameType,
};
use windrose_vocab::{Code, Hostname};

use super::Enveloped;
use crate::declared::backend::{ObjectReference, SubjectAltName};
use crate::declared::{BackendTls, Meta};
use crate::decode::{Path, Report};

pub(super) fn policy(written: Enveloped<BackendTlsPolicySpec>, _: &Meta, report: &mut Report) -> Option<BackendTls> {
    let spec = written.spec;
    let root = Path::ROOT;
    let at_spec = root.field("spec");
    let at = at_spec.field("validation");
    super::no_options(spec.options.iter().flatten().map(|(name, _)| name), &at_spec, report);
    let validation = spec.validation;
    let targets = spec.target_refs.into_iter();
    let system_ca = match validation.well_known_ca_certificates.as_deref() {
        None => false,
        Some("System") => true,
        Some(other) => {
            report.error(&at.field("wellKnownCACertificates"), Code::Unsupported, format!("`{other}` is not supported: `System` is"));
            false
        }
    };
    let names = validation.subject_alt_names.unwrap_or_default();
    let at_names = at.field("subjectAltNames");
    let names = names.into_iter().enumerate().filter_map(|(index, name)| subject_alt_name(name, &at_names.index(index), report));
    Some(BackendTls {
        targets: targets
            .map(|target| (same_namespace(target.group, target.kind, target.name), target.section_name.map(Into::into)))
            .collect(),
        subject_alt_names: names.collect(),
        hostname: validation.hostname.into(),
        ca: validation.ca_certificate_refs.into_iter().flatten().map(|ca| same_namespace(ca.group, ca.kind, ca.name)).collect(),
        system_ca,
    })
}

fn same_namespace(group: String, kind: String, name: String) -> ObjectReference {
    ObjectReference { group: group.into(), kind: kind.into(), namespace: None, name: name.into() }
}

fn subject_alt_name(written: WrittenName, at: &Path<'_>, report: &mut Report) -> Option<SubjectAltName> {
    match written.r#type {
        NameType::Hostname => match Hostname::parse(&written.hostname?) {
            Ok(hostname) => Some(SubjectAltName::Hostname(hostname)),
            Err(error) => {
                report.error(&at.field("hostname"), Code::OutOfRange, error.to_string());
                None
            }
        },
        NameType::Uri => Some(SubjectAltName::Uri(written.uri?.into())),
    }
}
