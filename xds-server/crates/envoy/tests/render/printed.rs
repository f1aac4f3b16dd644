//! What is printed: every message by its type, no secret, and no change of the rendering without a new epoch.

use crate::fixture;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use windrose_envoy::{RENDER_EPOCH, print};
use windrose_vocab::{Fingerprint, Resource, ResourceKind};

fn everything() -> Vec<Resource> {
    fixture::complete(&fixture::renderer().full(&fixture::everything()))
}

#[test]
fn every_type_that_is_rendered_is_known_to_the_printer() {
    let pool = prost_reflect::DescriptorPool::decode(&include_bytes!("../../src/descriptors.bin")[..]).unwrap();
    let text = print::documents(&everything());
    let types = text.lines().filter_map(|line| line.split_once("\"@type\": type.googleapis.com/")).map(|(_, name)| name);
    let unknown: Vec<_> = types.filter(|name| pool.get_message_by_name(name).is_none()).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn no_key_of_any_sort_is_printed() {
    let text = print::documents(&everything());
    assert!(text.contains("characters, not shown"));
    for secret in ["PRIVATE KEY", "c2VjcmV0LXNlY3JldC", "AGFzbQ"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn what_is_no_message_of_its_kind_is_not_shown() {
    let mut secret = everything().into_iter().find(|resource| resource.id.kind == ResourceKind::Secret).unwrap();
    secret.bytes = bytes::Bytes::from_static(b"\xffhunter2");
    assert!(print::yaml(&secret).contains("not shown"));
}

/// `tests/epoch.txt` holds, for each resource but secrets (whose keys are new in each run), its version and the
/// fingerprint of its text. A text that changed under an unchanged version would never reach a proxy that has the old one.
#[test]
fn a_rendering_changes_only_with_its_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/epoch.txt");
    let kept = std::fs::read_to_string(&path).expect("what was rendered before: there is nothing to compare with");
    let versions: BTreeMap<&str, &str> = kept.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let mut now = String::new();
    for resource in everything().iter().filter(|resource| resource.id.kind != ResourceKind::Secret) {
        let (id, text) = (format!("{} {}", resource.id, resource.version), Fingerprint::of("text", &print::yaml(resource)).to_string());
        let same = versions.get(&*id).is_none_or(|before| *before == text);
        assert!(same, "{} is rendered to another text than before: raise RENDER_EPOCH above {RENDER_EPOCH}", resource.id);
        writeln!(now, "{id} {text}").unwrap();
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == now, "tests/epoch.txt is not current: run with BLESS=1");
}
