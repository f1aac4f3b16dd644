//! A feature has the same file stem in every room: what `api` calls a policy, `plan` calls it too.

use std::collections::BTreeSet;

use windrose_tests::places::checkout;

/// Stems of the files and folders of a folder of sources.
fn stems(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(checkout().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).filter(|stem| stem != "mod").collect()
}

#[test]
fn every_policy_that_can_be_declared_is_planned_under_the_same_name() {
    let mut declared = stems("xds-server/crates/api/src/policy");
    // Parameters attach to nothing: they are judged with the Gateway or class that names them (`plan/src/gateway/frame`).
    assert!(declared.remove("parameters"));
    let planned = stems("xds-server/crates/plan/src/policy");
    assert!(!declared.is_empty(), "no policies are found");
    assert_eq!(declared.difference(&planned).collect::<Vec<_>>(), Vec::<&String>::new());
}
