//! Objects as a stream of YAML documents.

use serde_json::Value;

/// Each object under `---`. Keys are in the order of the alphabet, which puts `apiVersion`, `kind` and `metadata` first.
#[must_use]
pub fn documents<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    objects.into_iter().map(|object| format!("---\n{}", document(object))).collect()
}

/// One object. A value of JSON is always one of YAML.
pub(super) fn document(value: &Value) -> String {
    let text = serde_saphyr::to_string(value);
    debug_assert!(text.is_ok(), "a value of JSON can be written as YAML");
    text.unwrap_or_default()
}
