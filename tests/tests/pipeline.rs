//! One story through every room: declared YAML → plan → resources → diagnostics, and Envoy's word on the result.
//!
//! `CASE=name` picks one case; `BLESS=1` rewrites the golden files. A case in which something is refused says so at the end of its first
//! line, `[errors: Code, Code]`: else what it is about could be set aside, and its golden files would show nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "pipeline/case.rs"]
mod case;
#[path = "pipeline/golden.rs"]
mod golden;
#[path = "pipeline/judged.rs"]
mod judged;
#[path = "pipeline/mesh.rs"]
mod mesh;
#[path = "pipeline/rendered.rs"]
mod rendered;
#[path = "pipeline/whole.rs"]
mod whole;

#[test]
fn every_case_gives_its_golden_plan_resources_and_diagnostics() {
    let bless = std::env::var_os("BLESS").is_some();
    let folders = case::folders();
    assert!(!folders.is_empty(), "there are no cases");
    let mut complaints = Vec::new();
    for folder in &folders {
        let output = case::run_case(folder);
        assert_eq!(output, case::run_case(folder), "{}: equal in, equal out", folder.display());
        let files = [("plan.txt", &output.plan), ("resources.yaml", &output.resources), ("diagnostics.txt", &output.diagnostics)];
        complaints.extend(case::unexpected(folder, &output.diagnostics));
        complaints.extend(files.iter().filter_map(|(file, actual)| golden::complaint(&folder.join(file), actual, bless)));
    }
    assert!(complaints.is_empty(), "{} golden files differ:\n{}", complaints.len(), complaints.join("\n\n"));
}
