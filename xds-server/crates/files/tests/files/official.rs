//! The examples of Gateway API itself: the good ones decode, the bad ones do not. And those of our own reference.

use std::path::{Path, PathBuf};

use windrose_files::folder;
use windrose_files::{Finding, load, print};
use windrose_vocab::{Kind, Severity};

fn examples(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway-api-v1.7.0").join(folder);
    folder::list(&[root]).files.into_iter().collect()
}

fn errors(findings: &[Finding]) -> Vec<String> {
    let errors = findings.iter().filter(|finding| finding.diagnostic.severity == Severity::Error);
    errors.map(|finding| print::render(finding, false)).collect()
}

#[test]
fn every_good_example_decodes() {
    let examples: Vec<_> = ["standard", "experimental"].into_iter().flat_map(examples).collect();
    assert!(examples.len() > 70, "{} examples", examples.len());
    let mut failed = Vec::new();
    for example in examples {
        let world = load(std::slice::from_ref(&example));
        failed.extend(errors(&world.diagnostics));
        if world.declared.iter().count() == 0 {
            failed.push(format!("{} declares nothing", example.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn every_example_of_the_reference_decodes_without_a_word() {
    let ours: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.group() == "windrose.dev").collect();
    let place = tempfile::tempdir().unwrap();
    for kind in ours {
        let example = windrose_api::reference::example(kind).unwrap_or_else(|| panic!("{kind} has no example"));
        let file = place.path().join(format!("{kind}.yaml"));
        std::fs::write(&file, example).unwrap();
        let world = load(&[file]);
        let told: Vec<String> = world.diagnostics.iter().map(|finding| print::render(finding, false)).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
        assert_eq!(world.declared.iter().map(|object| object.meta().object.kind).collect::<Vec<_>>(), [kind]);
    }
}

#[test]
fn every_bad_example_is_refused_for_the_reason_it_was_written_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway-api-v1.7.0");
    let mut told = String::new();
    for example in examples("invalid") {
        let world = load(std::slice::from_ref(&example));
        let name = example.strip_prefix(root.join("invalid")).unwrap().display();
        for finding in world.diagnostics.iter().filter(|finding| finding.diagnostic.severity == Severity::Error) {
            let line = finding.place.as_ref().and_then(|place| place.line).unwrap();
            told.push_str(&format!("{name}:{line}: {}\n", finding.diagnostic));
        }
    }
    let golden = root.join("invalid.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(golden).unwrap());
    assert!(examples("invalid").iter().all(|example| told.contains(&*example.file_name().unwrap().to_string_lossy())));
}
