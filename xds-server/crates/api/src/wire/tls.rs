//! BackendTLSPolicy.

use std::collections::BTreeMap;

use serde::Deserialize;
use windrose_vocab::{Code, Hostname};

use super::Enveloped;
use super::reference::Reference;
use crate::declared::backend::SubjectAltName;
use crate::declared::{BackendTls, Meta};
use crate::decode::{Path, Report};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BackendTlsPolicySpec {
    target_refs: Vec<WrittenTarget>,
    validation: WrittenValidation,
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenTarget {
    #[serde(flatten)]
    target: Reference,
    section_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenValidation {
    ca_certificate_refs: Vec<Reference>,
    hostname: String,
    subject_alt_names: Vec<WrittenName>,
    #[serde(rename = "wellKnownCACertificates")]
    well_known_ca_certificates: Option<String>,
}

#[derive(Deserialize)]
struct WrittenName {
    r#type: NameType,
    hostname: Option<String>,
    uri: Option<String>,
}

#[derive(Deserialize)]
enum NameType {
    Hostname,
    #[serde(rename = "URI")]
    Uri,
}

pub(super) fn policy(written: Enveloped<BackendTlsPolicySpec>, _: &Meta, report: &mut Report) -> Option<BackendTls> {
    let spec = written.spec;
    let root = Path::ROOT;
    let at_spec = root.field("spec");
    let at = at_spec.field("validation");
    super::no_options(spec.options.keys(), &at_spec, report);
    let validation = spec.validation;
    let targets = spec.target_refs.into_iter().map(|of| (of.target.into(), of.section_name.map(Into::into)));
    let system_ca = match validation.well_known_ca_certificates.as_deref() {
        None => false,
        Some("System") => true,
        Some(other) => {
            report.error(&at.field("wellKnownCACertificates"), Code::Unsupported, format!("`{other}` is not supported: `System` is"));
            false
        }
    };
    let at_names = at.field("subjectAltNames");
    let names = validation
        .subject_alt_names
        .into_iter()
        .enumerate()
        .filter_map(|(index, name)| subject_alt_name(name, &at_names.index(index), report));
    Some(BackendTls {
        targets: targets.collect(),
        subject_alt_names: names.collect(),
        hostname: validation.hostname.into(),
        ca: validation.ca_certificate_refs.into_iter().map(Into::into).collect(),
        system_ca,
    })
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
