//! The JSON Schema of every kind: the official ones of Gateway API, those of Kubernetes, and ours from the doc comments.
//! A schema is data to walk along with a value; it knows nothing of where the value came from.

mod derived;
mod official;
mod parse;
mod rule;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;
use windrose_vocab::Kind;

pub use rule::{Rule, Subject, Verdict, unrunnable};

/// One place in a kind's schema: what a value there must be.
#[derive(Debug, Default)]
pub struct Schema {
    pub(crate) types: Option<Type>,
    pub(crate) nullable: bool,
    pub(crate) properties: BTreeMap<Box<str>, Schema>,
    pub(crate) additional: Additional,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) default: Option<Value>,
    pub(crate) limits: Limits,
    pub(crate) list: List,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
    pub(crate) rules: Vec<Rule>,
}

/// What YAML type a value must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// What members besides the named ones a mapping may have.
#[derive(Debug, Default)]
pub(crate) enum Additional {
    #[default]
    Refused,
    Any,
    Each(Box<Schema>),
}

/// How a list is identified.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    #[default]
    Atomic,
    Set,
    Map(Vec<Box<str>>),
}

/// What a single value must satisfy.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) choices: Vec<Value>,
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) length_min: Option<usize>,
    pub(crate) length_max: Option<usize>,
    pub(crate) items_min: Option<usize>,
    pub(crate) items_max: Option<usize>,
    pub(crate) members_min: Option<usize>,
    pub(crate) members_max: Option<usize>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) format: Option<Box<str>>,
}

/// A regular expression (RE2 syntax), compiled when it is first asked.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// Whether `text` matches; nothing does where the expression itself is broken, which a test excludes.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

/// The schemas of one kind, one for each version that is served.
#[derive(Debug)]
pub struct KindSchema {
    /// The kind.
    pub kind: Kind,
    names: Vec<&'static str>,
    /// Each schema once, and the versions that it is of; read when an object is.
    roots: OnceLock<Vec<(Vec<&'static str>, Schema)>>,
}

/// The schema of `kind`, in all its versions.
#[must_use]
pub fn schema(kind: Kind) -> &'static KindSchema {
    static CELLS: [OnceLock<KindSchema>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    static OVERFLOW: OnceLock<KindSchema> = OnceLock::new();
    CELLS.get(kind as usize).unwrap_or(&OVERFLOW).get_or_init(|| KindSchema::load(kind))
}

/// The schema of every kind's `metadata`.
pub(crate) fn metadata_schema() -> Schema {
    parse::schema(&derived::metadata())
}

impl KindSchema {
    fn load(kind: Kind) -> Self {
        Self { kind, names: sources(kind).into_iter().map(|(name, _)| name).collect(), roots: OnceLock::new() }
    }

    /// The names of the versions, the one to write first.
    pub fn versions(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.names.iter().copied()
    }

    /// `apiVersion` as it is written for this kind.
    #[must_use]
    pub fn api_version(&self) -> String {
        let version = self.versions().next().unwrap_or_default();
        if self.kind.group().is_empty() { version.to_owned() } else { format!("{}/{version}", self.kind.group()) }
    }

    /// The schema as JSON, for people and editors; made anew, for hardly anybody asks twice.
    #[must_use]
    pub fn json(&self) -> Value {
        sources(self.kind).into_iter().next().map_or(Value::Null, |(_, json)| json)
    }

    /// The schema of one version.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Schema> {
        let roots = self.roots.get_or_init(|| roots(self.kind));
        roots.iter().find(|(names, _)| names.contains(&name)).map(|(_, root)| root)
    }
}

fn sources(kind: Kind) -> Vec<(&'static str, Value)> {
    if kind.group() == official::GROUP { official::versions(kind) } else { derived::versions(kind) }
}

fn roots(kind: Kind) -> Vec<(Vec<&'static str>, Schema)> {
    let mut groups: Vec<(Vec<&'static str>, Value)> = Vec::new();
    for (name, json) in sources(kind) {
        match groups.iter_mut().find(|(_, known)| *known == json) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], json)),
        }
    }
    groups.into_iter().map(|(names, json)| (names, parse::schema(&json))).collect()
}

impl Schema {
    /// Every rule below this place, with the path that leads to it.
    pub fn for_each_rule(&self, path: &str, visit: &mut dyn FnMut(&str, &Rule)) {
        self.rules.iter().for_each(|rule| visit(path, rule));
        self.properties.iter().for_each(|(name, schema)| schema.for_each_rule(&format!("{path}.{name}"), visit));
        if let Some(items) = &self.items {
            items.for_each_rule(&format!("{path}[]"), visit);
        }
        if let Additional::Each(schema) = &self.additional {
            schema.for_each_rule(&format!("{path}.*"), visit);
        }
    }
}
