//! Where objects stand in files, and where in the file a diagnostic points: resolved only when there is something to show.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectRef, Segment};

use crate::tree::{self, Part, Spot};

/// The document that declares an object. It keeps the text, which may be secret, and does not show it in `Debug`.
#[derive(Clone)]
pub struct Origin {
    file: Arc<Path>,
    first_line: usize,
    text: Arc<str>,
    /// Where in the document the object stands: the root, or an item of a `List`.
    prefix: FieldPath,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({}:{})", self.file.display(), self.first_line)
    }
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file, as its path was given.
    pub file: Arc<Path>,
    /// Line, from 1; absent where the whole file is meant.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: usize,
    /// The text around it, unless it may hold a secret.
    pub(crate) excerpt: Option<Excerpt>,
}

/// The text of a document and the bytes in it that are meant.
#[derive(Clone)]
pub(crate) struct Excerpt {
    pub(crate) text: Arc<str>,
    pub(crate) first_line: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Excerpt({} bytes)", self.length)
    }
}

/// A diagnostic with its place.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What there is to tell.
    pub diagnostic: Diagnostic,
    /// Where it is; absent for what no file declares.
    pub place: Option<Place>,
}

/// Which document declares which object.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    objects: BTreeMap<ObjectRef, Arc<Origin>>,
}

impl SourceMap {
    /// The place of `field` of `object`, or of the nearest field above it that is there.
    #[must_use]
    pub fn resolve(&self, object: &ObjectRef, field: &FieldPath) -> Option<Place> {
        self.objects.get(object).map(|origin| origin.place(field, Part::Value, is_quiet(Some(object.kind), field)))
    }

    /// The diagnostic with its place. For those that planning gives; those of loading have theirs already.
    #[must_use]
    pub fn find(&self, diagnostic: Diagnostic) -> Finding {
        let origin = diagnostic.object.as_ref().and_then(|object| self.objects.get(object));
        match origin {
            Some(origin) => origin.find(diagnostic),
            None => Finding { diagnostic, place: None },
        }
    }

    /// The document of `object`.
    #[must_use]
    pub fn origin(&self, object: &ObjectRef) -> Option<&Origin> {
        self.objects.get(object).map(|origin| &**origin)
    }

    pub(crate) fn insert(&mut self, object: ObjectRef, origin: Arc<Origin>) {
        self.objects.insert(object, origin);
    }
}

impl Origin {
    pub(crate) fn new(file: Arc<Path>, first_line: usize, text: Arc<str>) -> Self {
        Self { file, first_line, text, prefix: FieldPath::root() }
    }

    pub(crate) fn within(&self, prefix: FieldPath) -> Self {
        Self { prefix, ..self.clone() }
    }

    /// `file:line` of the document, for people.
    #[must_use]
    pub fn display(&self) -> String {
        match self.place(&FieldPath::parse("metadata.name"), Part::Key, true).line {
            Some(line) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// The diagnostic with its place in this document.
    pub(crate) fn find(&self, diagnostic: Diagnostic) -> Finding {
        let part = if diagnostic.code == Code::UnknownField { Part::Key } else { Part::Value };
        let quiet = is_quiet(diagnostic.object.as_ref().map(|object| object.kind), &diagnostic.field) || self.names_a_secret();
        Finding { place: Some(self.place(&diagnostic.field, part, quiet)), diagnostic }
    }

    /// What the parser refused, at its place. Which kind it is can only be guessed.
    pub(crate) fn syntax(&self, error: &tree::SyntaxError) -> Finding {
        let spot = Spot { line: error.line, column: error.column, offset: self.offset(error.line, error.column), length: 1 };
        let diagnostic = Diagnostic {
            object: None,
            field: FieldPath::root(),
            severity: windrose_vocab::Severity::Error,
            code: Code::Syntax,
            message: error.message.clone(),
            hint: None,
        };
        Finding { diagnostic, place: Some(self.at(spot, self.names_a_secret())) }
    }

    fn place(&self, field: &FieldPath, part: Part, quiet: bool) -> Place {
        let whole = field.segments().iter().fold(self.prefix.clone(), |path, segment| match segment {
            Segment::Field(name) => path.field(name),
            Segment::Index(index) => path.index(*index),
        });
        let spot = tree::parse(&self.text).map(|tree| tree.locate(&whole, part)).unwrap_or_default();
        self.at(spot, quiet)
    }

    fn at(&self, spot: Spot, quiet: bool) -> Place {
        let first_line = self.first_line;
        let excerpt = Excerpt { text: Arc::clone(&self.text), first_line, offset: spot.offset, length: spot.length };
        Place {
            file: Arc::clone(&self.file),
            line: Some(first_line + spot.line.max(1) - 1),
            column: spot.column.max(1),
            excerpt: (!quiet).then_some(excerpt),
        }
    }

    fn offset(&self, line: usize, column: usize) -> usize {
        let before: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text.get(before..).unwrap_or_default();
        before + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset)
    }

    /// Whether the text looks like a Secret, also where it cannot be parsed.
    fn names_a_secret(&self) -> bool {
        self.text.match_indices("kind").any(|(position, word)| {
            let rest = self.text.get(position + word.len()..).unwrap_or_default();
            rest.trim_start_matches(['"', '\'', ' ', '\t', ':']).starts_with("Secret")
        })
    }
}

/// Lines of a Secret, and keys that stand in an object, are never shown.
fn is_quiet(kind: Option<Kind>, field: &FieldPath) -> bool {
    let inline = matches!(field.segments().last(), Some(Segment::Field(name)) if &**name == "inline");
    kind == Some(Kind::Secret) || inline
}
