//! Which object this is: kind and version, namespace and name, and the metadata we keep.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;
use windrose_vocab::{Code, Diagnostic, FieldPath, Fingerprint, Kind, ObjectRef, Severity, Text};

use super::nearest::{nearest, suggestion};
use super::report::{Path, Report};
use super::walk::{Unknown, walk};
use crate::declared::Meta;
use crate::name;
use crate::schema::{Schema, metadata_schema, schema};

/// The namespace of an object that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// An object whose name and kind are known.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) reference: ObjectRef,
    pub(crate) version: String,
}

/// Reads what the object is; the one diagnostic says why that cannot be told.
pub(crate) fn identify(node: &Value) -> Result<Identified, Diagnostic> {
    if !node.is_object() {
        return Err(unnamed(FieldPath::root(), Code::WrongType, "expected an object: a mapping with apiVersion, kind and metadata"));
    }
    let api_version = text(node, "/apiVersion", "apiVersion")?;
    let written = text(node, "/kind", "kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = kind(group, written)?;
    if schema(kind).version(version).is_none() {
        let message = format!("{kind} has no version `{}`", version.escape_debug());
        let known: Vec<_> = schema(kind).versions().collect();
        return Err(unnamed(FieldPath::parse("apiVersion"), Code::UnknownKind, message).hint(format!("known are {}", known.join(", "))));
    }
    let name = text(node, "/metadata/name", "metadata.name")?;
    let namespace = match node.pointer("/metadata/namespace") {
        _ if kind.is_cluster_scoped() => "",
        None | Some(Value::Null) => DEFAULT_NAMESPACE,
        Some(_) => text(node, "/metadata/namespace", "metadata.namespace")?,
    };
    Ok(Identified { reference: ObjectRef::new(kind, namespace, name), version: version.to_owned() })
}

fn text<'a>(node: &'a Value, pointer: &str, path: &str) -> Result<&'a str, Diagnostic> {
    match node.pointer(pointer) {
        None | Some(Value::Null) => Err(unnamed(FieldPath::parse(path), Code::MissingField, format!("required field `{path}` is missing"))),
        Some(Value::String(text)) if text.is_empty() => Err(unnamed(FieldPath::parse(path), Code::OutOfRange, "is empty")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(unnamed(FieldPath::parse(path), Code::WrongType, "expected a string").hint("put it in quotes")),
    }
}

/// A kind of somebody else is none of our business; one that was probably meant to be ours is an error.
fn kind(group: &str, written: &str) -> Result<Kind, Diagnostic> {
    if let Some(kind) = Kind::parse(written).filter(|kind| kind.group() == group) {
        return Ok(kind);
    }
    let unknown = |field: &str, message: String| unnamed(FieldPath::parse(field), Code::UnknownKind, message);
    let shown = written.escape_debug();
    let ours = matches!(group, "gateway.networking.k8s.io" | "windrose.dev");
    if let Some(kind) = Kind::parse(written)
        && (group.is_empty() || ours || nearest(group, [kind.group()]).is_some())
    {
        let message = format!("{kind} is not of group `{}`", group.escape_debug());
        return Err(unknown("apiVersion", message).hint(format!("write `apiVersion: {}`", schema(kind).api_version())));
    }
    let siblings: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.group() == group).map(Kind::as_str).collect();
    if ours || nearest(written, siblings.iter().copied()).is_some() {
        let diagnostic = unknown("kind", format!("no kind `{shown}` in group `{group}`"));
        return Err(match suggestion(written, siblings) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
    let foreign = unknown("kind", format!("`{shown}` of group `{}` is not used by Windrose and left out", group.escape_debug()));
    Err(Diagnostic { severity: Severity::Info, ..foreign })
}

fn unnamed(field: FieldPath, code: Code, message: impl Into<String>) -> Diagnostic {
    Diagnostic { object: None, field, severity: Severity::Error, code, message: message.into(), hint: None }
}

/// Checks and keeps the metadata. The version is left for whoever knows the content.
pub(crate) fn metadata(mut written: Value, object: &ObjectRef, report: &mut Report) -> Option<Meta> {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(metadata_schema);
    // Who owns which field is the API server's own note; its schema is open.
    if let Some(members) = written.as_object_mut() {
        members.remove("managedFields");
    }
    let at = Path::ROOT.field("metadata");
    walk(&SCHEMA, &mut written, Unknown::Refused, &at, report);
    names(object, &at, report);
    let meta: ObjectMeta = serde_json::from_value(written).ok()?;
    let created = meta.creation_timestamp.map(|time| since(&time)).unwrap_or_default();
    Some(Meta {
        object: object.clone(),
        version: Fingerprint::default(),
        created,
        labels: texts(meta.labels),
        annotations: texts(meta.annotations),
    })
}

/// When an object was created, whatever else is wrong with it; 0 where nobody says.
pub(super) fn created(node: &Value) -> u64 {
    let time = node.pointer("/metadata/creationTimestamp").and_then(|time| serde_json::from_value::<Time>(time.clone()).ok());
    time.map(|time| since(&time)).unwrap_or_default()
}

fn since(time: &Time) -> u64 {
    u64::try_from(time.0.as_second()).unwrap_or_default()
}

fn names(object: &ObjectRef, at: &Path<'_>, report: &mut Report) {
    let key = &object.key;
    let valid = match object.kind {
        Kind::Namespace | Kind::Service => name::is_label(&key.name),
        // That of a signer comes first, with colons.
        Kind::ClusterTrustBundle => key.name.split(':').all(name::is_subdomain),
        _ => name::is_subdomain(&key.name),
    };
    if !valid {
        report.error(&at.field("name"), Code::OutOfRange, "is not a DNS name: lower-case letters, digits and inner `-`");
    }
    if !key.namespace.is_empty() && !name::is_label(&key.namespace) {
        report.error(&at.field("namespace"), Code::OutOfRange, "is not a DNS label: lower-case letters, digits and inner `-`");
    }
}

fn texts(written: Option<BTreeMap<String, String>>) -> BTreeMap<Text, Text> {
    written.unwrap_or_default().into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}
