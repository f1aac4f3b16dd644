//! What is remembered, and what a restart finds of it.

use windrose_vocab::Kind;

use super::*;

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, "default", name)
}

fn kept(name: &str, value: &str) -> Kept {
    kept_of(Kind::ConfigMap, "data", name, value)
}

/// An object of that kind with one value.
fn kept_of(kind: Kind, field: &str, name: &str, value: &str) -> Kept {
    let text = format!(
        r#"{{"object":{{"apiVersion":"v1","kind":"{kind}","metadata":{{"name":"{name}"}},"{field}":{{"a":"{value}"}}}},"files":{{}}}}"#
    );
    let yaml = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{ name: {name} }}\n{field}: {{ a: \"{value}\" }}\n");
    let object = ObjectRef::new(kind, "default", name);
    let version = crate::test_world::declared(&yaml).get(&object).unwrap().meta().version;
    Kept { object, version, file: Path::new("/shop/a.yaml").into(), text: text.into() }
}

fn open(folder: &Path) -> (LastGood, Remembered) {
    LastGood::open(folder, Path::new("/shop"))
}

fn note(memory: &LastGood, name: &str, value: Option<&str>) {
    memory.note(vec![(object(name), value.map(|value| kept(name, value)))]);
    memory.flush().unwrap();
}

#[test]
fn the_newest_version_of_each_object_is_remembered_and_a_gone_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, remembered) = open(folder.path());
    assert!(remembered.kept.is_empty());
    note(&memory, "one", Some("x"));
    note(&memory, "two", Some("x"));
    note(&memory, "one", Some("y"));
    note(&memory, "two", None);
    assert_eq!(open(folder.path()).1.kept, [kept("one", "y")]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.path().join(FILE)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_pair_that_goes_on_is_remembered_however_often_its_secret_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _) = open(folder.path());
    let secret = |value: &str| kept_of(Kind::Secret, "stringData", "pair", value);
    let note = |value: &str| memory.note(vec![(secret(value).object, Some(secret(value)))]);
    note("good");
    memory.flush().unwrap();
    for value in ["wrong", "still wrong", "wrong again"] {
        note(value);
        // Whoever judges it is later than the disk may be.
        memory.flush().unwrap();
        let version = secret(value).identity();
        memory.note_refused(&Refused::default(), [(&version, secret("good").version)].into_iter(), &Declared::default());
    }
    memory.flush().unwrap();
    let remembered = open(folder.path()).1;
    assert_eq!(remembered.former, [secret("good")]);
    assert_eq!(remembered.kept, [secret("wrong again")]);
    assert_eq!(remembered.unusable, [secret("wrong again").identity()].into());
    assert!(remembered.refused.objects.is_empty(), "Envoy refused nothing");
}

#[test]
fn the_version_before_the_newest_counts_only_while_the_newest_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _) = open(folder.path());
    let policy = |value: &str| {
        let object = ObjectRef::new(Kind::EdgePolicy, "shop", "edge");
        Kept { object, version: Fingerprint::of("test", value), file: Path::new("/shop/a.yaml").into(), text: "{}".into() }
    };
    for value in ["first", "second"] {
        memory.note(vec![(policy(value).object, Some(policy(value)))]);
        memory.flush().unwrap();
    }
    assert!(open(folder.path()).1.former.is_empty(), "the second one is good");
    let second = policy("second").identity();
    memory.note_refused(&Refused::default(), [(&second, policy("first").version)].into_iter(), &Declared::default());
    memory.flush().unwrap();
    assert_eq!(open(folder.path()).1.former, [policy("first")]);
}

#[test]
fn what_nobody_has_judged_yet_is_written_with_the_judgement() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _) = open(folder.path());
    note(&memory, "one", Some("x"));
    let next = kept("one", "y");
    memory.note_unjudged(vec![(next.object.clone(), Some(next.clone()))]);
    memory.flush().unwrap();
    assert_eq!(open(folder.path()).1.kept, [kept("one", "x")]);
    let declared = |value: &str| {
        crate::test_world::declared(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: one }}\ndata: {{ a: \"{value}\" }}\n"))
    };
    memory.note_refused(&Refused::default(), std::iter::empty(), &declared("x"));
    memory.flush().unwrap();
    assert_eq!(open(folder.path()).1.kept, [kept("one", "x")], "that is the version before");
    memory.note_refused(&Refused::default(), std::iter::empty(), &declared("y"));
    memory.flush().unwrap();
    assert_eq!(open(folder.path()).1.kept, [next]);
}

#[test]
fn what_runs_in_place_of_a_refused_version_is_remembered_however_often_it_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _) = open(folder.path());
    let good = kept("one", "good").decode();
    note(&memory, "one", Some("good"));
    for edit in 0..3 {
        note(&memory, "one", Some(&format!("bad-{edit}")));
        let version = kept("one", &format!("bad-{edit}")).decode().unwrap().meta().identity();
        let refusal = Refusal { by: RefusedBy::Envoy, reason: "no".into(), last_good: good.clone() };
        memory.note_refused(
            &Refused { objects: [(version.clone(), refusal)].into_iter().collect() },
            std::iter::empty(),
            &Declared::default(),
        );
        memory.flush().unwrap();
        let remembered = open(folder.path()).1;
        assert_eq!(remembered.refused.objects.get(&version).unwrap().last_good, good, "{edit}");
        assert_eq!(remembered.kept, [kept("one", &format!("bad-{edit}"))]);
    }
}

#[test]
fn another_folder_that_is_served_costs_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    note(&open(folder.path()).0, "one", Some("x"));
    let (other, remembered) = LastGood::open(folder.path(), Path::new("/elsewhere"));
    assert!(remembered.kept.is_empty());
    note(&other, "two", Some("x"));
    assert!(open(folder.path()).1.kept.is_empty());
}

#[test]
fn a_file_that_is_no_log_costs_the_memory_and_not_the_start() {
    for damage in [&b"not a log"[..], &[0xff; 4096], &[]] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), damage).unwrap();
        let (memory, remembered) = open(folder.path());
        assert!(remembered.kept.is_empty());
        note(&memory, "one", Some("x"));
        assert_eq!(open(folder.path()).1.kept.len(), 1);
    }
}

#[test]
fn what_cannot_be_written_is_written_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gone");
    let (memory, _) = open(&path);
    memory.note(vec![(object("one"), Some(kept("one", "x")))]);
    let refused = format!("{:#}", memory.flush().unwrap_err());
    assert!(refused.contains("last-good.log") && refused.contains("No such file"), "{refused}");
    memory.note(vec![(object("two"), Some(kept("two", "x")))]);
    std::fs::create_dir(&path).unwrap();
    memory.flush().unwrap();
    assert_eq!(open(&path).1.kept.len(), 2);
}

#[test]
fn the_log_grows_by_what_changed_and_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (memory, _) = open(folder.path());
    let size = || std::fs::metadata(folder.path().join(FILE)).unwrap().len();
    memory.note((0..5_000).map(|index| (object(&format!("m{index}")), Some(kept(&format!("m{index}"), "x")))).collect());
    memory.flush().unwrap();
    let whole = size();
    note(&memory, "m7", Some("y"));
    assert!(size() - whole < 1_000, "one edit of {whole} bytes wrote {}", size() - whole);
    let large = "x".repeat(100_000);
    for edit in 0..100 {
        note(&memory, "m8", Some(&format!("{edit}{large}")));
    }
    assert!(size() < 2 * (whole + 2 * 100_000) + SLACK + 200_000, "{}", size());
    assert_eq!(open(folder.path()).1.kept.len(), 5_000);
}
