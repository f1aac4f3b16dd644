//! What a decoder found wrong with one object: every problem at once, each at its field, and never a secret among the words.

use std::fmt;

use serde_json::Value;
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectRef, Severity};

use crate::limits;

/// A field's path as it is walked; it becomes a [`FieldPath`] only when there is something to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    pub(crate) fn to_field_path(self) -> FieldPath {
        let parent = self.parent.map(|parent| parent.to_field_path()).unwrap_or_default();
        match self.step {
            Step::Root => parent,
            Step::Field(name) => parent.field(name),
            Step::Index(index) => parent.index(index),
        }
    }
}

/// The diagnostics of one object.
#[derive(Debug)]
pub(crate) struct Report {
    object: ObjectRef,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    hidden: usize,
}

impl Report {
    pub(crate) fn new(object: ObjectRef) -> Self {
        Self { object, diagnostics: Vec::new(), errors: 0, hidden: 0 }
    }

    pub(crate) fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Errors so far, those that are not told included.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn error(&mut self, at: &Path<'_>, code: Code, message: impl Into<String>) {
        self.tell(at, Severity::Error, code, message.into(), None);
    }

    pub(crate) fn error_with_hint(&mut self, at: &Path<'_>, code: Code, message: impl Into<String>, hint: impl Into<String>) {
        self.tell(at, Severity::Error, code, message.into(), Some(hint.into()));
    }

    pub(crate) fn tell(&mut self, at: &Path<'_>, severity: Severity, code: Code, message: String, hint: Option<String>) {
        self.errors += usize::from(severity == Severity::Error);
        if self.diagnostics.len() >= limits::DIAGNOSTICS_MAX {
            self.hidden += 1;
            return;
        }
        let object = Some(self.object.clone());
        self.diagnostics.push(Diagnostic { object, field: at.to_field_path(), severity, code, message, hint });
    }

    /// A value as it may be shown: never one of a Secret, never a long one.
    pub(crate) fn shown(&self, value: &Value) -> Shown {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        let quiet = self.object.kind == Kind::Secret || text.is_empty() || text.chars().count() > limits::VALUE_SHOWN_MAX;
        Shown((!quiet).then(|| text.escape_debug().to_string()))
    }

    /// Takes over what another report of the same object told.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.errors += other.errors;
        self.hidden += other.hidden;
        self.diagnostics.extend(other.diagnostics);
    }

    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if self.hidden > 0 {
            let message = format!("{} more problems are not shown", self.hidden);
            self.diagnostics.push(Diagnostic::error(self.object, FieldPath::root(), Code::Invalid, message));
        }
        self.diagnostics
    }
}

/// A value within a message: `` `70000` ``, or "the value" where it must not be said.
#[derive(Debug)]
pub(crate) struct Shown(Option<String>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, "`{text}`"),
            None => f.write_str("the value"),
        }
    }
}
