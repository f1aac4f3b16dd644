//! The table of who may see whom, as data, against what `cargo metadata` says: a new arrow is a reviewed line here, and in the
//! map that people read (`ARCHITECTURE.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use windrose_tests::places::checkout;

/// One room: its package, the packages of ours it may depend on, and the foreign crates it must never see.
/// Direct dependencies count, with those of its build script; what only its tests need does not.
struct Room {
    package: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static str],
}

/// Every room may say the words of `vocab`.
const EVERYONE: &str = "windrose-vocab";

/// The configuration types of the filters: `envoy` renders them.
pub(super) const FILTERS: [&str; 3] = ["windrose-jwt-auth", "windrose-rate-limit", "windrose-grpc-transcoder"];

/// What waits, reads files, tells the time or speaks to the network.
const IO: &[&str] = &["tokio", "hyper", "tonic", "notify", "kube", "rustls"];

const ROOMS: &[Room] = &[
    Room { package: "windrose-vocab", ours: &[], never: &["tokio", "prost", "tonic", "envoy-types"] },
    Room { package: "windrose-api", ours: &[], never: &["tokio", "prost", "tonic", "envoy-types", "kube"] },
    Room { package: "windrose-ir", ours: &[], never: &["serde", "prost", "tokio", "envoy-types"] },
    Room {
        package: "windrose-plan",
        ours: &["windrose-api", "windrose-ir"],
        never: &["prost", "envoy-types", "tokio", "hyper", "tonic", "notify", "kube", "rustls"],
    },
    Room { package: "windrose-envoy", ours: &["windrose-ir", "windrose-filter-kit", FILTERS[0], FILTERS[1], FILTERS[2]], never: IO },
    Room { package: "windrose-state", ours: &[], never: &["prost", "envoy-types"] },
    Room { package: "windrose-xds-session", ours: &["windrose-state"], never: IO },
    Room { package: "windrose-xds-serve", ours: &["windrose-xds-session", "windrose-state"], never: &["kube"] },
    Room { package: "windrose-pki", ours: &[], never: &["tonic", "prost", "kube"] },
    Room { package: "windrose-files", ours: &["windrose-api"], never: &["tonic", "prost", "kube", "envoy-types"] },
    Room { package: "windrose-kube", ours: &["windrose-api"], never: &["tonic", "prost", "envoy-types"] },
    Room { package: "windrose-replicas", ours: &["windrose-state"], never: &["kube", "tonic", "envoy-types"] },
    Room { package: "windrose-admin", ours: &[], never: &["prost", "kube", "envoy-types"] },
    Room {
        package: "xds-server",
        ours: &[
            "windrose-admin",
            "windrose-api",
            "windrose-envoy",
            "windrose-files",
            "windrose-ir",
            "windrose-kube",
            "windrose-pki",
            "windrose-plan",
            "windrose-replicas",
            "windrose-state",
            "windrose-xds-serve",
        ],
        never: &["kube"],
    },
    Room { package: "windrose-filter-kit", ours: &[], never: &["proxy-wasm", "tokio", EVERYONE] },
    Room { package: "windrose-filter-shell", ours: &["windrose-filter-kit"], never: &["tokio", EVERYONE] },
    Room { package: FILTERS[0], ours: &["windrose-filter-kit", "windrose-filter-shell"], never: &["proxy-wasm", "tokio", EVERYONE] },
    Room { package: FILTERS[1], ours: &["windrose-filter-kit", "windrose-filter-shell"], never: &["proxy-wasm", "tokio", EVERYONE] },
    Room { package: FILTERS[2], ours: &["windrose-filter-kit", "windrose-filter-shell"], never: &["proxy-wasm", "tokio", EVERYONE] },
    // Measures the server's streams, the rooms before them, each by themselves, and a whole installation from a cluster's side.
    Room {
        package: "windrose-bench",
        ours: &["windrose-api", "windrose-envoy", "windrose-ir", "windrose-pki", "windrose-plan", "windrose-state", "windrose-xds-serve"],
        never: &[],
    },
    // Its support code and the sample services see no room; its tests see all.
    Room { package: "windrose-tests", ours: &[], never: &[EVERYONE] },
];

/// What in `cargo metadata` the table does not allow, one line each.
fn offences(metadata: &Value) -> Vec<String> {
    let rooms: BTreeMap<&str, &Room> = ROOMS.iter().map(|room| (room.package, room)).collect();
    let mut offences = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match rooms.get(name) {
            None => offences.push(format!("{name} is not in the table of rooms")),
            Some(room) => {
                offences.extend(dependencies(package).filter_map(|seen| offence(room, seen, &rooms)));
                offences.extend(unused(room, package));
            }
        }
    }
    offences
}

/// Names of what a package depends on, other than for its tests.
pub(super) fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| dependency["kind"] != "dev").map(|dependency| dependency["name"].as_str().unwrap())
}

fn offence(room: &Room, seen: &str, rooms: &BTreeMap<&str, &Room>) -> Option<String> {
    if room.never.contains(&seen) {
        return Some(format!("{} must never see {seen}", room.package));
    }
    let allowed = seen == EVERYONE || room.ours.contains(&seen) || !rooms.contains_key(seen);
    (!allowed).then(|| format!("{} may not depend on {seen}", room.package))
}

/// What a room may see and does not: the next one would take it without being asked.
fn unused(room: &Room, package: &Value) -> Vec<String> {
    let seen: BTreeSet<&str> = dependencies(package).collect();
    let idle = room.ours.iter().filter(|allowed| !seen.contains(**allowed));
    idle.map(|allowed| format!("{} may depend on {allowed} and does not", room.package)).collect()
}

pub(super) fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).current_dir(checkout()).args(["metadata", "--format-version=1", "--no-deps"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_arrow_between_rooms_is_in_the_table() {
    let metadata = metadata();
    assert_eq!(metadata["packages"].as_array().unwrap().len(), ROOMS.len(), "a room of the table has no package, or the reverse");
    assert_eq!(offences(&metadata), Vec::<String>::new());
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_found() {
    let metadata = serde_json::json!({ "packages": [
        { "name": "windrose-envoy", "dependencies": [
            { "name": "windrose-vocab", "kind": null },
            { "name": "windrose-ir", "kind": null },
            { "name": "windrose-api", "kind": null },
            { "name": "tokio", "kind": "build" },
            { "name": "windrose-plan", "kind": "dev" },
            { "name": "windrose-filter-kit", "kind": null },
            { "name": "windrose-jwt-auth", "kind": null },
            { "name": "windrose-rate-limit", "kind": null },
        ] },
        { "name": "windrose-attic", "dependencies": [] },
    ] });
    assert_eq!(
        offences(&metadata),
        [
            "windrose-envoy may not depend on windrose-api",
            "windrose-envoy must never see tokio",
            "windrose-envoy may depend on windrose-grpc-transcoder and does not",
            "windrose-attic is not in the table of rooms",
        ]
    );
}
