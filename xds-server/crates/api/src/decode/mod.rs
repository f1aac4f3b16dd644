//! The one decoder, for files, the watch of a cluster and the webhook: an object as plain data, checked against the schema of its
//! kind, and then in our own words. It tells every problem at once; an object with an error does not come out.

mod identity;
mod nearest;
mod report;
mod scalar;
mod walk;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;
use windrose_vocab::{Canonical, Diagnostic, Fingerprint, Kind, ObjectRef, Writer};

pub(crate) use identity::metadata;
pub(crate) use nearest::nearest;
pub use nearest::{choices, suggestion};
pub(crate) use report::{Path, Report};

use crate::declared::{AnyObject, SetAside};
use crate::policy::{TargetRef, target_kinds};
use crate::schema::{Schema, schema};
use crate::wire;
use walk::{Unknown, walk};

/// An object as plain data: mappings, lists, and scalars with the type that YAML or JSON gave them.
pub type Node = Value;

/// Where an object comes from, as far as decoding depends on it.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A file. Values that stand in other files are read through this port.
    Files(&'a dyn ValueFiles),
    /// A cluster, which knows generations and no files.
    Cluster,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Files(_) => "Files",
            Self::Cluster => "Cluster",
        })
    }
}

/// Reads the files that objects name.
pub trait ValueFiles {
    /// The content of the file at `path`, which is relative to the file that declares the object.
    ///
    /// # Errors
    /// When it cannot be read or is larger than [`crate::limits::VALUE_BYTES_MAX`]; the text says which and why.
    fn read(&self, path: &str) -> Result<Bytes, String>;
}

/// What became of one object.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The object, if nothing is wrong with it.
    pub object: Option<AnyObject>,
    /// What it is called, if that much could be read.
    pub reference: Option<ObjectRef>,
    /// What could be read of it in any case: a policy that is set aside still has targets to be careful with.
    pub aside: SetAside,
    /// Everything there is to tell.
    pub diagnostics: Vec<Diagnostic>,
}

/// Decodes one object.
#[must_use]
pub fn decode(node: Node, source: Source<'_>) -> Decoded {
    let identified = match identity::identify(&node) {
        Ok(identified) => identified,
        Err(diagnostic) => return Decoded { diagnostics: vec![diagnostic], ..Decoded::default() },
    };
    let mut report = Report::new(identified.reference.clone());
    let aside = aside(&node, &identified);
    let object = object(node, &identified, source, &mut report).filter(|_| report.errors() == 0);
    Decoded { object, reference: Some(identified.reference), aside, diagnostics: report.finish() }
}

fn object(mut node: Node, identified: &identity::Identified, source: Source<'_>, report: &mut Report) -> Option<AnyObject> {
    let kind = identified.reference.kind;
    let members = node.as_object_mut()?;
    members.remove("status");
    let written = members.insert("metadata".to_owned(), Value::Object(serde_json::Map::new())).unwrap_or_default();
    let metadata = metadata(written, &identified.reference, report);

    let unknown = if is_kubernetes(kind) { Unknown::Warned } else { Unknown::Refused };
    walk(schema(kind).version(&identified.version)?, &mut node, unknown, &Path::ROOT, report);
    if report.errors() > 0 {
        return None;
    }
    wire::read_files(kind, &mut node, source, report);
    let mut meta = metadata?;
    // Equal content is one version, in files and in a cluster, on every replica and after a name was deleted and came back.
    meta.version = Fingerprint::of("object", &Content(&node, &meta.labels, &meta.annotations));
    wire::convert(node, meta, report)
}

/// Kubernetes' own kinds grow a field now and then; one that we do not know yet is no mistake.
fn is_kubernetes(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap | Kind::ClusterTrustBundle)
}

/// What a policy attaches to, whatever else is wrong with how it says that: a kind has one group only, and what is no name of a part is
/// taken for the whole.
fn aside(node: &Node, identified: &identity::Identified) -> SetAside {
    let listed = match node.pointer("/spec/targetRefs") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let written: Vec<&Value> = listed.iter().chain(node.pointer("/spec/targetRef")).collect();
    let kinds = target_kinds(identified.reference.kind);
    let targets: Vec<TargetRef> = written.iter().filter_map(|target| self::target(target, kinds)).collect();
    SetAside {
        created: identity::created(node),
        more: targets.len() < written.len(),
        targets: targets.into(),
        harmless: is_harmless(node, identified),
    }
}

/// Whether a policy that cannot be decoded says so much all the same: that it watches only, or nothing of who may come and what is known of
/// them. A name that no field has may be one of those, misspelt or in the wrong place.
fn is_harmless(node: &Node, identified: &identity::Identified) -> bool {
    const JUDGES: [&str; 4] = ["addresses", "trustedHops", "paths", "tls"];
    let is_set = |name: &str| node.get("spec").and_then(|spec| spec.get(name)) == Some(&Value::Bool(true));
    match identified.reference.kind {
        Kind::AuthorizationPolicy => is_set("audit"),
        Kind::RateLimitPolicy => is_set("shadow"),
        Kind::EdgePolicy => {
            let spec = schema(Kind::EdgePolicy).version(&identified.version).and_then(|root| root.properties.get("spec"));
            let fields = spec.into_iter().flat_map(|spec| &spec.properties).filter(|(name, _)| !JUDGES.contains(&&***name));
            let mut known: BTreeSet<&str> = BTreeSet::new();
            fields.for_each(|(name, field)| {
                known.insert(name);
                names(field, &mut known);
            });
            let beside = |name: &String| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "spec" | "status");
            let in_spec = node.get("spec").is_some_and(|spec| spec.is_object() && has_only(spec, &known));
            in_spec && node.as_object().is_some_and(|members| members.keys().all(beside))
        }
        _ => false,
    }
}

/// The names of all fields below a place.
fn names<'s>(schema: &'s Schema, all: &mut BTreeSet<&'s str>) {
    for (name, field) in &schema.properties {
        all.insert(name);
        names(field, all);
    }
    schema.items.iter().for_each(|items| names(items, all));
}

fn has_only(node: &Value, known: &BTreeSet<&str>) -> bool {
    match node {
        Value::Object(members) => members.iter().all(|(name, value)| known.contains(name.as_str()) && has_only(value, known)),
        Value::Array(items) => items.iter().all(|item| has_only(item, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// A kind that there is not is taken for the one of these that is meant.
fn target(written: &Value, kinds: &[Kind]) -> Option<TargetRef> {
    let text = |field: &str| written.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let kind = text("kind")?;
    let meant = || nearest(&kind, kinds.iter().map(|kind| kind.as_str())).map(str::to_owned);
    let kind = if Kind::parse(&kind).is_some() { kind } else { meant().unwrap_or(kind) };
    let group = Kind::parse(&kind).map_or_else(|| text("group").unwrap_or_default(), |kind| kind.group().to_owned());
    Some(TargetRef { group, kind, name: text("name")?, section_name: text("sectionName") })
}

type Texts = std::collections::BTreeMap<windrose_vocab::Text, windrose_vocab::Text>;

/// Everything that makes two versions of an object differ, whatever order its mappings were written in. Not the API version that it
/// was read in: a cluster that begins to serve a newer one has changed no object, and replicas may ask for different ones meanwhile.
struct Content<'a>(&'a Value, &'a Texts, &'a Texts);

impl Canonical for Content<'_> {
    fn write(&self, w: &mut Writer) {
        let members = self.0.as_object().into_iter().flatten().filter(|(name, _)| *name != "apiVersion");
        write_mapping(members.collect(), w);
        self.1.write(w);
        self.2.write(w);
    }
}

fn write_value(value: &Value, w: &mut Writer) {
    match value {
        Value::Null => w.variant("null"),
        Value::Bool(value) => {
            w.variant("bool");
            value.write(w);
        }
        Value::Number(number) => {
            w.variant("number");
            number.to_string().write(w);
        }
        Value::String(text) => {
            w.variant("string");
            text.write(w);
        }
        Value::Array(items) => {
            w.variant("list");
            w.length(items.len());
            items.iter().for_each(|item| write_value(item, w));
        }
        Value::Object(members) => {
            w.variant("mapping");
            write_mapping(members.iter().collect(), w);
        }
    }
}

fn write_mapping(mut members: Vec<(&String, &Value)>, w: &mut Writer) {
    w.length(members.len());
    members.sort_by_key(|(name, _)| *name);
    for (name, value) in members {
        name.write(w);
        write_value(value, w);
    }
}
