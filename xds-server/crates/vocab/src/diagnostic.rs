//! What we tell people about what they declared: one value for the CLI, the webhook, the status and the web page.
//! It names the object and the field; only a printer that knows the source turns that into file, line and column.

use std::fmt;

use crate::{ObjectRef, Text};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The object, or the part that is named, is not in effect.
    Error,
    /// In effect, and probably not what was meant, or unsafe.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// A stable word for the kind of problem; people search for it and scripts match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The document is not YAML, or not UTF-8.
    Syntax,
    /// No kind of that name or group.
    UnknownKind,
    /// A field that the kind does not have.
    UnknownField,
    /// A required field is absent.
    MissingField,
    /// A value of another type than the field takes.
    WrongType,
    /// A value outside the field's range, length or pattern.
    OutOfRange,
    /// Two fields, or a field and a rule of the kind, contradict each other.
    Invalid,
    /// The same object is declared twice.
    Duplicate,
    /// A file that is named cannot be read.
    File,
    /// A reference to an object that is not there.
    RefNotFound,
    /// A reference across namespaces that no ReferenceGrant allows.
    RefNotPermitted,
    /// A reference to a kind that cannot be used there.
    InvalidKind,
    /// The parent does not take this route: its namespace, kind, port or section.
    NotAllowedByListeners,
    /// No listener of the parent has a hostname in common with the route.
    NoMatchingListenerHostname,
    /// No listener of the parent has that name or port.
    NoMatchingParent,
    /// Two listeners want the same port with protocols or hostnames that cannot share it, or for different proxies.
    ListenerConflict,
    /// Two objects decide the same thing; the older one wins.
    Conflicted,
    /// A certificate or key that cannot be used.
    InvalidCertificate,
    /// A policy whose target is absent or of a kind it cannot attach to.
    TargetNotFound,
    /// Correct, and not supported.
    Unsupported,
    /// Correct, and unsafe.
    Unsafe,
    /// A policy that cannot be read, and because of which nobody passes.
    Closed,
    /// A route that no policy protects and nobody signed off.
    Open,
    /// Two things of the same specificity would match the same request, or one can never match.
    Shadowed,
    /// Envoy refused what was made from the object.
    RefusedByEnvoy,
    /// The control plane fails on the object: a bug of ours.
    InternalError,
    /// What is written cannot be taken; the last good version stays in effect.
    LastGood,
}

impl Code {
    /// The word, in CamelCase as Kubernetes' condition reasons are.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "Syntax",
            Self::UnknownKind => "UnknownKind",
            Self::UnknownField => "UnknownField",
            Self::MissingField => "MissingField",
            Self::WrongType => "WrongType",
            Self::OutOfRange => "OutOfRange",
            Self::Invalid => "Invalid",
            Self::Duplicate => "Duplicate",
            Self::File => "File",
            Self::RefNotFound => "RefNotFound",
            Self::RefNotPermitted => "RefNotPermitted",
            Self::InvalidKind => "InvalidKind",
            Self::NotAllowedByListeners => "NotAllowedByListeners",
            Self::NoMatchingListenerHostname => "NoMatchingListenerHostname",
            Self::NoMatchingParent => "NoMatchingParent",
            Self::ListenerConflict => "ListenerConflict",
            Self::Conflicted => "Conflicted",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::TargetNotFound => "TargetNotFound",
            Self::Unsupported => "Unsupported",
            Self::Unsafe => "Unsafe",
            Self::Closed => "Closed",
            Self::Open => "Open",
            Self::Shadowed => "Shadowed",
            Self::RefusedByEnvoy => "RefusedByEnvoy",
            Self::InternalError => "InternalError",
            Self::LastGood => "LastGood",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A member of a mapping.
    Field(Text),
    /// A position in a sequence, from 0.
    Index(usize),
}

/// Where in an object: `spec.rules[0].matches[1].path`. The empty path is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The object itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The path that `text` spells, as [`fmt::Display`] writes it. For literals in code: what is not a field or `[n]` is kept as a field.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut segments = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (field, indices) = part.split_once('[').unwrap_or((part, ""));
            if !field.is_empty() {
                segments.push(Segment::Field(field.into()));
            }
            segments.extend(indices.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok()).map(Segment::Index));
        }
        Self(segments)
    }

    /// This path and one field more.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.into()))
    }

    /// This path and one index more.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The steps from the object down.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path without its last step; `None` for the object itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing to tell about one field of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The object, unless the document could not even be read as one.
    pub object: Option<ObjectRef>,
    /// The field.
    pub field: FieldPath,
    /// How bad.
    pub severity: Severity,
    /// What kind of problem.
    pub code: Code,
    /// What is wrong: subject first, lower case, no full stop.
    pub message: String,
    /// What would be right, if we know.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `field` of `object`.
    #[must_use]
    pub fn error(object: ObjectRef, field: FieldPath, code: Code, message: impl Into<String>) -> Self {
        Self { object: Some(object), field, severity: Severity::Error, code, message: message.into(), hint: None }
    }

    /// A warning at `field` of `object`.
    #[must_use]
    pub fn warning(object: ObjectRef, field: FieldPath, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(object, field, code, message) }
    }

    /// The same, with what would be right.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: ", self.severity, self.code)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.segments().is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn paths_print_and_parse() {
        let path = FieldPath::root().field("spec").field("rules").index(0).field("matches").index(12);
        assert_eq!(path.to_string(), "spec.rules[0].matches[12]");
        assert_eq!(FieldPath::parse("spec.rules[0].matches[12]"), path);
    }

    #[test]
    fn a_diagnostic_names_object_field_problem_and_cure() {
        let diagnostic = Diagnostic::error(
            ObjectRef::new(Kind::HTTPRoute, "shop", "orders"),
            FieldPath::parse("spec.rules[0].backendRefs[0]"),
            Code::RefNotFound,
            "no Service `oders` in namespace `shop`",
        )
        .hint("did you mean `orders`?");
        assert_eq!(
            diagnostic.to_string(),
            "error[RefNotFound]: HTTPRoute/shop/orders: spec.rules[0].backendRefs[0]: no Service `oders` in namespace `shop` (did you mean `orders`?)"
        );
    }
}
