//! The rules of xDS that the server keeps, 1 to 51, each held by a test whose name begins with its number.

use std::collections::BTreeSet;
use std::path::Path;

use windrose_tests::places::checkout;

/// Rules that are kept for clients we do not serve yet: gRPC's own, which takes no message over 4 MB.
const LATER: [u32; 1] = [41];

const RULES: std::ops::RangeInclusive<u32> = 1..=51;

/// The numbers of `fn rule_05b_…`, in all sources below a folder.
fn tested(folder: &Path, found: &mut BTreeSet<u32>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            tested(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.extend(numbers(&std::fs::read_to_string(&entry).unwrap()));
        }
    }
}

fn numbers(source: &str) -> impl Iterator<Item = u32> {
    source.split("fn rule_").skip(1).filter_map(|rest| rest.get(..2)?.parse().ok())
}

#[test]
fn every_rule_has_a_test_of_its_number() {
    let mut found = BTreeSet::new();
    for folder in ["xds-server", "tests/tests"] {
        tested(&checkout().join(folder), &mut found);
    }
    let untested: Vec<_> = RULES.filter(|rule| !found.contains(rule) && !LATER.contains(rule)).collect();
    assert_eq!(untested, Vec::<u32>::new());
    assert!(found.iter().all(|rule| RULES.contains(rule)), "{found:?}");
}

#[test]
fn a_number_is_read_from_the_name_of_a_test() {
    // In two pieces, so that this file tests no rule.
    let source = ["async fn ru", "le_05b_x() {} fn ru", "le_name() {} let rule_07 = 1;"].concat();
    assert_eq!(numbers(&source).collect::<Vec<_>>(), [5]);
}
