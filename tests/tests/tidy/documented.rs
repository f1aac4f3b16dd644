//! What the documentation shows as YAML can be read as it stands.

use std::path::Path;

use windrose_tests::places::checkout;
use windrose_vocab::{Code, Severity};

/// The documents of a page that name a kind; pieces of one do not.
fn shown(page: &str) -> impl Iterator<Item = &str> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block));
    blocks.filter(|block| block.lines().any(|line| line.starts_with("kind:")))
}

/// What is wrong with one by itself.
fn mistakes(block: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shown.yaml");
    std::fs::write(&file, block).unwrap();
    let found = windrose_files::load(&[file]).diagnostics;
    let told = found.into_iter().map(|finding| finding.diagnostic);
    // Files that it names are the reader's.
    told.filter(|one| one.severity == Severity::Error && one.code != Code::File)
        .map(|one| format!("{}: {}", one.field, one.message))
        .collect()
}

fn pages(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            pages(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            found.push(entry);
        }
    }
}

#[test]
fn every_object_that_the_documentation_shows_can_be_read() {
    let (mut found, mut count, mut wrong) = (vec![checkout().join("README.md")], 0, Vec::new());
    pages(&checkout().join("docs"), &mut found);
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in shown(&text) {
            count += 1;
            wrong.extend(mistakes(block).into_iter().map(|why| format!("{}: {why}\n{block}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count > 10, "only {count} objects were found");
    assert!(!mistakes("apiVersion: v1\nkind: HTTPRoute\nmetadata: { name: a }\nspec: { parentRef: [] }").is_empty());
}
