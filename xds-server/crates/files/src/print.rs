//! A finding for people, as rustc shows its own, and as JSON for programs.

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Header, Renderer, Snippet};
use serde::Serialize;
use windrose_vocab::{Diagnostic, Severity};

use crate::limits;
use crate::origin::{Excerpt, Finding, Place};

/// The finding as text of several lines, with the line it is about unless that may be secret.
#[must_use]
pub fn render(finding: &Finding, colour: bool) -> String {
    let diagnostic = &finding.diagnostic;
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let window = finding.place.as_ref().and_then(|place| place.excerpt.as_ref().map(|excerpt| (place, window(excerpt))));
    let mut group = match (&window, &finding.place) {
        (Some((place, window)), _) => Group::with_title(title).element(
            Snippet::source(window.text.as_str())
                .line_start(window.first_line)
                .fold(false)
                .path(place.file.display().to_string())
                .annotation(AnnotationKind::Primary.span(window.start..window.end)),
        ),
        (None, Some(place)) => Group::with_title(title).element(header(place)),
        (None, None) => Group::with_title(title),
    };
    if let Some(subject) = subject(diagnostic) {
        group = group.element(Level::NOTE.message(subject));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

fn header(place: &Place) -> Header<'static> {
    let header = Header::path(place.file.display().to_string());
    match place.line {
        Some(line) => header.line(line).char_column(place.column),
        None => header,
    }
}

fn subject(diagnostic: &Diagnostic) -> Option<String> {
    let field = diagnostic.field.to_string();
    match (&diagnostic.object, field.is_empty()) {
        (Some(object), true) => Some(object.to_string()),
        (Some(object), false) => Some(format!("{object}: {field}")),
        (None, false) => Some(field),
        (None, true) => None,
    }
}

/// The lines to show, cut out of the document, and the bytes in them that are meant.
struct Window {
    text: String,
    first_line: usize,
    start: usize,
    end: usize,
}

fn window(excerpt: &Excerpt) -> Window {
    let offset = excerpt.offset.min(excerpt.text.len());
    let (before, after) = (excerpt.text.get(..offset).unwrap_or_default(), excerpt.text.get(offset..).unwrap_or_default());
    let start = before.rmatch_indices('\n').nth(limits::CONTEXT_LINES).map_or(0, |(position, _)| position + 1);
    let end = after.match_indices('\n').nth(limits::CONTEXT_LINES).map_or(excerpt.text.len(), |(position, _)| offset + position);
    // Only the rest of the first line is marked: a mapping that goes on for pages is shown by where it begins.
    let line_end = after.find(['\n', '\r']).unwrap_or(after.len());
    let length = if excerpt.length == 0 { 1.min(line_end) } else { excerpt.length.min(line_end) };
    let length = (length..=line_end).find(|length| after.is_char_boundary(*length)).unwrap_or(line_end);
    Window {
        text: excerpt.text.get(start..end).unwrap_or_default().to_owned(),
        first_line: excerpt.first_line + excerpt.text.get(..start).unwrap_or_default().matches('\n').count(),
        start: offset - start,
        end: offset - start + length,
    }
}

/// The finding as `-o json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields of a diagnostic and of its place")]
pub struct Json {
    pub severity: String,
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl From<&Finding> for Json {
    fn from(finding: &Finding) -> Self {
        let diagnostic = &finding.diagnostic;
        let line = finding.place.as_ref().and_then(|place| place.line);
        Self {
            severity: diagnostic.severity.to_string(),
            code: diagnostic.code.as_str(),
            object: diagnostic.object.as_ref().map(ToString::to_string),
            field: diagnostic.field.to_string(),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
            file: finding.place.as_ref().map(|place| place.file.display().to_string()),
            line,
            column: finding.place.as_ref().filter(|_| line.is_some()).map(|place| place.column),
        }
    }
}
