//! Golden files: what a case must produce, kept beside it. `BLESS=1` writes them, and a person reads the diff.

use std::collections::BTreeMap;
use std::path::Path;

/// Lines of agreement shown before a difference.
const CONTEXT: usize = 2;

/// Lines shown of each side of a difference.
const SHOWN: usize = 8;

/// Compares `actual` with the file, or writes it where `bless`; returns what differs, for a person.
pub(crate) fn complaint(file: &Path, actual: &str, bless: bool) -> Option<String> {
    let expected = std::fs::read_to_string(file).ok();
    if expected.as_deref() == Some(actual) {
        return None;
    }
    let stale = expected.as_deref().and_then(|expected| stale_version(expected, actual));
    if let Some(resource) = stale {
        return Some(format!(
            "{}: `{resource}` is rendered to something else under the same version, so proxies that have it would keep the \
             old one: raise RENDER_EPOCH (or delete the golden file, if no release ever sent it)",
            file.display()
        ));
    }
    if bless {
        std::fs::write(file, actual).unwrap();
        return None;
    }
    let Some(expected) = expected else {
        return Some(format!("{} is missing; `make bless` writes it", file.display()));
    };
    Some(format!("{}:{}", file.display(), difference(&expected, actual)))
}

/// The first resource whose text changed while its version did not.
fn stale_version<'a>(expected: &str, actual: &'a str) -> Option<&'a str> {
    let before = documents(expected);
    documents(actual).into_iter().find(|(head, body)| before.get(head).is_some_and(|old| old != body)).map(|(head, _)| head)
}

/// Documents by their comment, which names kind, name and version: two proxies that share these share the text. A file of another kind has none.
fn documents(text: &str) -> BTreeMap<&str, &str> {
    let documents = text.split("# ==== ").flat_map(|proxy| proxy.split("---\n# ").skip(1));
    documents.filter_map(|document| document.split_once('\n')).filter(|(head, _)| head.contains(" @ ")).collect()
}

/// Line number and surroundings of the first difference.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(one, other)| one == other).count();
    let from = same.saturating_sub(CONTEXT);
    let mut text = format!("{} differs (- expected, + actual)", same + 1);
    for line in &expected[from..same] {
        text += &format!("\n   {line}");
    }
    for (sign, side) in [('-', &expected), ('+', &actual)] {
        for line in side.iter().skip(same).take(SHOWN) {
            text += &format!("\n {sign} {line}");
        }
    }
    text
}

#[test]
fn the_first_difference_is_shown_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.txt");
    assert!(complaint(&file, "a\nb\n", false).unwrap().contains("is missing"));
    assert_eq!(complaint(&file, "a\nb\n", true), None);
    assert_eq!(complaint(&file, "a\nb\n", false), None);
    let said = complaint(&file, "a\nc\n", false).unwrap();
    assert!(said.ends_with(":2 differs (- expected, + actual)\n   a\n - b\n + c"), "{said}");
}

#[test]
fn a_resource_that_changes_under_its_version_cannot_be_blessed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resources.yaml");
    let golden = |body: &str, version: &str| format!("# ==== gateway/a/b ====\n---\n# CDS one @ {version}\nname: {body}\n");
    assert_eq!(complaint(&file, &golden("x", "v1"), true), None);
    assert!(complaint(&file, &golden("y", "v1"), true).unwrap().contains("RENDER_EPOCH"));
    assert_eq!(complaint(&file, &golden("y", "v2"), true), None);
}
