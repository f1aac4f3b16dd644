//! Why a request cannot become a message: a reason, and the path of the field it is about.

use std::borrow::Cow;

use crate::limits;

/// A request that is answered with 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Cow<'static, str>,
    /// Innermost first: each level adds its own step while the error travels up, so the good path pays nothing.
    steps: Vec<Step>,
}

/// One step of a field path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    Key(String),
}

/// The result of reading what a stranger sent; the error is boxed so that the good path moves little.
pub type Result<T> = std::result::Result<T, Box<Refusal>>;

impl Refusal {
    /// A refusal that is about no field yet.
    #[cold]
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { reason: reason.into(), steps: Vec::new() })
    }

    /// Nested deeper than the limit.
    #[cold]
    pub fn too_deep() -> Box<Self> {
        Self::new(format!("nested deeper than {} levels", limits::NESTING_MAX))
    }

    /// The same, inside a member of an object.
    #[cold]
    #[must_use]
    pub fn in_field(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.steps.push(Step::Field(shown(name)));
        self
    }

    /// The same, inside an element of an array.
    #[cold]
    #[must_use]
    pub fn in_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.steps.push(Step::Index(index));
        self
    }

    /// The same, inside an entry of a map.
    #[cold]
    #[must_use]
    pub fn in_key(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.steps.push(Step::Key(shown(key)));
        self
    }

    /// `items[2].quantity`; empty when the whole body is meant.
    #[must_use]
    pub fn field_path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev().take(limits::SHOWN_STEPS_MAX) {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) => path.extend(["[\"", key, "\"]"]),
            }
        }
        if self.steps.len() > limits::SHOWN_STEPS_MAX {
            path.push('…');
        }
        path
    }

    /// The reason without the path.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field_path() {
            path if path.is_empty() => f.write_str(&self.reason),
            path => write!(f, "{path}: {}", self.reason),
        }
    }
}

impl std::error::Error for Refusal {}

/// The beginning of what a stranger sent, short enough for an error and without control characters.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(limits::SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(limits::SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
