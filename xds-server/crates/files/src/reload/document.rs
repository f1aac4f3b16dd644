//! One file into its declarations.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use windrose_api::declared::{AnyObject, SetAside};
use windrose_api::{Source, decode};
use windrose_vocab::{FieldPath, ObjectRef, Severity};

use super::{FileState, about_file};
use crate::kept::Recorder;
use crate::origin::{Finding, Origin};
use crate::split::{Document, split};
use crate::tree::{self, SyntaxError};
use crate::values::Beside;

/// One object as a file declares it, good or not.
#[derive(Debug)]
pub(super) struct Declaration {
    pub(super) reference: ObjectRef,
    pub(super) object: Option<AnyObject>,
    /// The object as text, until somebody keeps it.
    pub(super) text: Option<Arc<str>>,
    pub(super) aside: SetAside,
    pub(super) origin: Arc<Origin>,
    pub(super) findings: Vec<Finding>,
}

/// What decoding one file needs beside its documents.
struct Reading<'a> {
    values: Beside<'a>,
    /// Whether good objects are wanted as text too.
    keeps: bool,
}

/// Decodes every document of a file. `content` is left for the caller to fill in.
pub(super) fn decode_file(path: &Path, content: &[u8], keeps: bool) -> FileState {
    let mut state = FileState::default();
    let reading = Reading { values: Beside::new(path), keeps };
    let file: Arc<Path> = path.into();
    for document in split(content) {
        decode_document(&file, document, &reading, &mut state);
    }
    state.values = reading.values.seen();
    state
}

fn decode_document(file: &Arc<Path>, document: Document<'_>, reading: &Reading<'_>, state: &mut FileState) {
    let text = String::from_utf8_lossy(document.bytes);
    let origin = Origin::new(Arc::clone(file), document.first_line, text.as_ref().into());
    let tree = match std::str::from_utf8(document.bytes) {
        Ok(text) => tree::parse(text),
        Err(error) => Err(not_utf8(document.bytes, error.valid_up_to())),
    };
    match tree.map(|tree| tree.to_node()) {
        Ok(Value::Null) => {}
        // It may hold shared secrets: no line of it is shown.
        Ok(node) if is_key_set(&node) => {
            let message = "is a JSON Web Key Set that nothing names; an AuthPolicy does by `jwks: { file: FILE }`".to_owned();
            state.findings.push(about_file(file, Severity::Warning, message));
            state.is_key_set = true;
        }
        Ok(node) => decode_node(node, &Arc::new(origin), reading, state),
        Err(error) => {
            state.holds_on = true;
            state.findings.push(origin.syntax(&error));
        }
    }
}

/// A `List`, as `kubectl get -o yaml` writes it, stands for its items.
fn decode_node(mut node: Value, origin: &Arc<Origin>, reading: &Reading<'_>, state: &mut FileState) {
    let is_list = node.get("kind").and_then(Value::as_str) == Some("List") && node.get("apiVersion").and_then(Value::as_str) == Some("v1");
    match node.get_mut("items").filter(|_| is_list).map(Value::take) {
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                let prefix = FieldPath::root().field("items").index(index);
                declare(item, &Arc::new(origin.within(prefix)), reading, state);
            }
        }
        Some(_) | None => declare(node, origin, reading, state),
    }
}

fn declare(node: Value, origin: &Arc<Origin>, reading: &Reading<'_>, state: &mut FileState) {
    // Without a name it may be the first half of something, even where its kind seems to be somebody else's.
    let has_name = node.pointer("/metadata/name").is_some();
    let written = reading.keeps.then(|| node.clone());
    let recorder = Recorder::new(&reading.values);
    let decoded = decode(node, Source::Files(&recorder));
    let is_error = decoded.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    state.holds_on |= decoded.reference.is_none() && (is_error || !has_name);
    let findings = decoded.diagnostics.into_iter().map(|diagnostic| origin.find(diagnostic));
    match decoded.reference {
        Some(reference) => state.declarations.push(Declaration {
            reference,
            text: written.filter(|_| decoded.object.is_some()).and_then(|node| recorder.text(node)),
            object: decoded.object,
            aside: decoded.aside,
            findings: findings.collect(),
            origin: Arc::clone(origin),
        }),
        None => state.findings.extend(findings),
    }
}

/// A JSON Web Key Set (RFC 7517, section 5). Once an object takes it as a value it is no declaration at all.
fn is_key_set(node: &Value) -> bool {
    node.get("keys").is_some_and(Value::is_array) && ["apiVersion", "kind", "metadata"].iter().all(|field| node.get(field).is_none())
}

fn not_utf8(bytes: &[u8], valid: usize) -> SyntaxError {
    let before = bytes.get(..valid).unwrap_or_default();
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |position| position + 1);
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default()).chars().count();
    let byte = bytes.get(valid).copied().unwrap_or_default();
    SyntaxError {
        message: format!("is not UTF-8: byte 0x{byte:02x}"),
        line: before.iter().filter(|b| **b == b'\n').count() + 1,
        column: column + 1,
    }
}
