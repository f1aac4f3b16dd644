//! The map of the house (`ARCHITECTURE.md`) as people read it, against what `cargo metadata` says: its table of rooms has every room,
//! and of each the arrows that are there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windrose_tests::places::checkout;

use crate::rooms::{FILTERS, dependencies, metadata};

/// Where the rooms of the control plane lie; the map writes `…` for it where it says so again.
const CRATES: &str = "xds-server/crates";

/// The map's word for three rooms.
const CONFIGS: &str = "the filters' `config`";

/// What the map says of the rooms in a folder (a pattern may name several).
struct Row {
    folder: String,
    sees: String,
}

fn rows(map: &str) -> Vec<Row> {
    let table = map.split("\n## ").find(|section| section.starts_with("Rooms\n")).expect("the map has a table of rooms");
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let folder = cells[0].split('`').nth(1).unwrap().replace('…', CRATES);
    Row { folder, sees: cells.last().unwrap().to_string() }
}

/// Packages of ours by their folder in the checkout.
fn packages(metadata: &Value) -> BTreeMap<String, &Value> {
    let root = metadata["workspace_root"].as_str().unwrap();
    let folder = |package: &Value| {
        let manifest = package["manifest_path"].as_str().unwrap().strip_prefix(root).unwrap();
        manifest.trim_start_matches('/').trim_end_matches("/Cargo.toml").to_owned()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (folder(package), package)).collect()
}

/// The folders of the packages that a row is about: none where it is about no code.
fn folders<'a>(row: &Row, packages: &BTreeMap<String, &'a Value>) -> Vec<&'a Value> {
    let folder = row.folder.trim_end_matches("/src");
    let of_pattern =
        |prefix: &str| packages.iter().filter(move |(path, _)| path.starts_with(prefix)).map(|(_, package)| *package).collect();
    folder.strip_suffix('*').map_or_else(|| packages.get(folder).copied().into_iter().collect(), of_pattern)
}

/// The packages that the map's words name: a room by the last word of its folder, what is in brackets says when.
fn named<'a>(sees: &'a str, rooms: &BTreeMap<&'a str, &'a str>) -> BTreeSet<&'a str> {
    let words = sees.split(", ").map(|word| word.split(" (").next().unwrap_or_default()).filter(|word| !matches!(*word, "" | "–"));
    words.flat_map(|word| if word == CONFIGS { FILTERS.to_vec() } else { vec![*rooms.get(word).unwrap_or(&word)] }).collect()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

/// What the map says otherwise than it is, one line each.
fn offences(map: &str, metadata: &Value) -> Vec<String> {
    let (rows, packages) = (rows(map), packages(metadata));
    let all: BTreeSet<&str> = packages.values().map(|package| name(package)).collect();
    let known = rows.iter().flat_map(|row| folders(row, &packages).into_iter().map(move |package| (row, package)));
    let rooms: BTreeMap<&str, &str> = known.clone().map(|(row, package)| (row.folder.rsplit('/').next().unwrap(), name(package))).collect();
    let mut offences = Vec::new();
    for (row, package) in known.clone().filter(|(row, _)| row.sees != "all") {
        let seen: BTreeSet<&str> = dependencies(package).filter(|seen| all.contains(seen)).collect();
        let told = named(&row.sees, &rooms);
        if seen != told {
            offences.push(format!("{} depends on {seen:?}, and the map says {told:?}", name(package)));
        }
    }
    // What measures is a part of the tests' room.
    let told: BTreeSet<&str> = known.map(|(_, package)| name(package)).chain(["windrose-bench"]).collect();
    offences.extend(all.difference(&told).map(|missing| format!("{missing} is not in the map")));
    offences
}

#[test]
fn the_map_has_every_room_with_its_arrows() {
    let map = std::fs::read_to_string(checkout().join("ARCHITECTURE.md")).unwrap();
    assert_eq!(offences(&map, &metadata()), Vec::<String>::new());
}

#[test]
fn an_arrow_or_a_room_that_the_map_lacks_is_found() {
    let map = "# Map\n\n## Rooms\n\n| room | holds | may depend on (ours) |\n|---|---|---|\n| `xds-server/crates/vocab` ★ | words | – |\n\
               | `…/ir` ★ | plans | – |\n| `docs` | pages | |\n\n## Rules\n";
    let package = |name: &str, folder: &str, sees: &[&str]| {
        let dependencies: Vec<_> = sees.iter().map(|seen| serde_json::json!({ "name": seen, "kind": null })).collect();
        serde_json::json!({ "name": name, "manifest_path": format!("/root/{folder}/Cargo.toml"), "dependencies": dependencies })
    };
    let metadata = serde_json::json!({ "workspace_root": "/root", "packages": [
        package("windrose-vocab", "xds-server/crates/vocab", &["bytes"]),
        package("windrose-ir", "xds-server/crates/ir", &["windrose-vocab"]),
        package("windrose-attic", "xds-server/crates/attic", &[]),
    ] });
    let found = ["windrose-ir depends on {\"windrose-vocab\"}, and the map says {}", "windrose-attic is not in the map"];
    assert_eq!(offences(map, &metadata), found);
    let with_arrow = map.replace("plans | –", "plans | vocab");
    assert_eq!(offences(&with_arrow, &metadata), found[1..]);
}
