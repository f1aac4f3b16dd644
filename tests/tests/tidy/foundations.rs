//! What stands under the tree: licences, sources and bans of every dependency, by the rules of deny.toml.

use std::path::PathBuf;
use std::process::Command;

use windrose_tests::places::checkout;
use windrose_tests::skip;

fn cargo_deny() -> Option<PathBuf> {
    let own = checkout().join(".windrose/tools/bin/cargo-deny");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&paths).map(|folder| folder.join("cargo-deny"));
    if own.exists() { Some(own) } else { found.find(|path| path.exists()) }
}

#[test]
fn licences_sources_and_bans_hold_for_every_dependency() {
    let Some(deny) = cargo_deny() else {
        return skip::because("cargo-deny is not here: `make deny` builds it");
    };
    let check = ["--log-level", "error", "check", "bans", "licenses", "sources"];
    let output = Command::new(deny).current_dir(checkout()).args(check).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
