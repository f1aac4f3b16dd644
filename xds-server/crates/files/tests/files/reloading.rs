//! Folders that change under way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use windrose_files::{Finding, Reloader, load};
use windrose_vocab::{Kind, ObjectRef, Severity};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| write(&folder, name, text));
    folder
}

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn paths(folder: &TempDir) -> Vec<PathBuf> {
    vec![folder.path().to_owned()]
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: {value}\n")
}

/// The values in effect, and how many errors there are.
fn check(reloader: &Reloader) -> (Vec<String>, usize) {
    let maps = reloader.world().declared.config_maps.values();
    let values = maps.map(|map| format!("{}={}", map.meta.object.key.name, String::from_utf8_lossy(&map.spec.data["a"]))).collect();
    (values, errors(&reloader.world().diagnostics).len())
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.diagnostic.severity == Severity::Error).collect()
}

fn names(changed: &windrose_api::declared::Changed) -> Vec<String> {
    changed.objects.iter().map(|object| object.key.name.to_string()).collect()
}

#[test]
fn an_edit_of_one_file_of_a_thousand_decodes_one() {
    let folder = tempfile::tempdir().unwrap();
    (0..1000).for_each(|index| write(&folder, &format!("{index}.yaml"), map(&format!("m{index}"), "x")));
    let mut reloader = Reloader::new(paths(&folder));
    assert_eq!((reloader.decoded(), check(&reloader).1), (1000, 0));
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert_eq!(reloader.decoded(), 1000);
    write(&folder, "500.yaml", map("m500", "y"));
    assert_eq!(names(&reloader.reload()), ["m500"]);
    assert_eq!(reloader.decoded(), 1001);
}

#[test]
fn a_bad_object_keeps_its_last_good_version_and_hides_nothing() {
    let folder = folder(&[("a.yaml", &format!("{}---\n{}", map("one", "x"), map("two", "x")))]);
    let mut reloader = Reloader::new(paths(&folder));
    let text = format!("{}---\n{}", map("one", "[1]"), map("two", "y"));
    write(&folder, "a.yaml", text);
    assert_eq!(names(&reloader.reload()), ["two"]);
    assert_eq!(check(&reloader), (vec!["one=x".into(), "two=y".into()], 1));
    write(&folder, "a.yaml", map("two", "y"));
    assert_eq!(names(&reloader.reload()), ["one"]);
    assert_eq!(check(&reloader), (vec!["two=y".into()], 0));
}

#[test]
fn a_bad_object_that_was_never_good_is_absent() {
    let folder = folder(&[("a.yaml", &format!("{}---\n{}", map("one", "[1]"), map("two", "x")))]);
    assert_eq!(check(&Reloader::new(paths(&folder))), (vec!["two=x".into()], 1));
}

#[test]
fn what_cannot_be_read_is_not_taken_for_gone() {
    let gateway =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: edge, namespace: shop }\nspec: { listeners: 7 }\n";
    let folder = folder(&[("a.yaml", &map("one", "x")), ("b.yaml", gateway)]);
    let mut reloader = Reloader::new(paths(&folder));
    let there = |reloader: &Reloader| (reloader.world().declared.set_aside.len(), reloader.world().declared.incomplete);
    assert_eq!(there(&reloader), (1, false), "it is known by name");
    write(&folder, "b.yaml", "kind: Gateway\nmetadata:\n\tname: edge\n");
    reloader.reload();
    assert_eq!(there(&reloader), (0, true), "nobody knows what it declares");
    write(&folder, "b.yaml", map("two", "x"));
    reloader.reload();
    assert_eq!(there(&reloader), (0, false));
}

#[test]
fn a_file_that_is_half_written_or_empty_keeps_its_objects_until_it_is_deleted() {
    let folder = folder(&[("a.yaml", &map("one", "x")), ("b.yaml", &map("two", "x"))]);
    let mut reloader = Reloader::new(paths(&folder));
    write(&folder, "b.yaml", map("two", "y"));
    for half in ["apiVersion: v1\nkind: ConfigMap\nmetad", "apiVersion: v1\nkind: Conf", "a: 'b", ""] {
        write(&folder, "a.yaml", half);
        reloader.reload();
        assert_eq!(check(&reloader).0, ["one=x", "two=y"], "{half:?}");
        assert!(!reloader.world().diagnostics.is_empty(), "{half:?}");
    }
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert_eq!(names(&reloader.reload()), ["one"]);
    assert_eq!(check(&reloader), (vec!["two=y".into()], 0));
}

#[test]
fn what_cannot_be_read_keeps_what_it_held() {
    let folder = folder(&[("sub/a.yaml", &map("one", "x")), ("b.yaml", &map("two", "x"))]);
    let target = folder.path().join("b.yaml");
    fs::rename(&target, folder.path().join("hidden")).unwrap();
    symlink(folder.path().join("hidden"), &target).unwrap();
    let mut reloader = Reloader::new(paths(&folder));
    fs::remove_file(folder.path().join("hidden")).unwrap();
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert_eq!(check(&reloader), (vec!["one=x".into(), "two=x".into()], 1));
    let two = ObjectRef::new(Kind::ConfigMap, "default", "two");
    assert!(reloader.world().source_map.origin(&two).is_none(), "it stands nowhere that can be read");

    fs::rename(folder.path(), folder.path().with_extension("away")).unwrap();
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert_eq!(check(&reloader).0.len(), 2);
    fs::rename(folder.path().with_extension("away"), folder.path()).unwrap();
}

#[test]
fn of_two_declarations_the_first_counts_and_both_are_named() {
    let folder = folder(&[("a.yaml", &format!("# first\n{}", map("one", "x"))), ("b.yaml", &map("one", "y"))]);
    let reloader = Reloader::new(paths(&folder));
    assert_eq!(check(&reloader), (vec!["one=x".into()], 1));
    let errors = errors(&reloader.world().diagnostics);
    let place = errors[0].place.as_ref().unwrap();
    assert_eq!((place.file.file_name().unwrap().to_str(), place.line), (Some("b.yaml"), Some(4)));
    assert!(errors[0].diagnostic.message.ends_with("a.yaml:5 counts"), "{}", errors[0].diagnostic.message);
}

#[test]
fn a_document_that_is_not_utf8_hides_no_other() {
    let folder = folder(&[]);
    let mut text = map("one", "x").into_bytes();
    text.extend(b"---\napiVersion: v1\nkind: Config\xffMap\n---\n");
    text.extend(map("two", "y").into_bytes());
    write(&folder, "a.yaml", text);
    let reloader = Reloader::new(paths(&folder));
    assert_eq!(check(&reloader), (vec!["one=x".into(), "two=y".into()], 1));
    let error = errors(&reloader.world().diagnostics)[0];
    let place = error.place.as_ref().unwrap();
    assert_eq!((place.line, place.column, error.diagnostic.message.as_str()), (Some(9), 13, "is not UTF-8: byte 0xff"));
}

#[test]
fn a_folder_that_is_missing_or_empty_is_said_clearly() {
    let folder = folder(&[("readme.txt", "x"), (".hidden.yaml", "a: 1")]);
    let told = |path: &Path| {
        load(&[path.to_owned()]).diagnostics.iter().map(|finding| finding.diagnostic.to_string()).collect::<Vec<_>>().join("\n")
    };
    assert!(told(folder.path()).starts_with("warning[File]: ") && told(folder.path()).ends_with("has no .yaml, .yml or .json file"));
    let missing = folder.path().join("nowhere");
    assert!(told(&missing).starts_with("error[File]: cannot read ") && told(&missing).contains("No such file"), "{}", told(&missing));
    assert!(!load(&[folder.path().to_owned()]).has_errors());
    assert!(load(&[missing]).has_errors());
}

#[test]
fn a_mounted_config_map_counts_once_and_is_swapped_as_a_whole() {
    let folder = folder(&[("..1/a.yaml", &map("one", "x")), ("..2/a.yaml", &map("one", "y"))]);
    let link = |version: &str| {
        let swap = folder.path().join("..swap");
        symlink(version, &swap).unwrap();
        fs::rename(swap, folder.path().join("..data")).unwrap();
    };
    link("..1");
    symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    let mut reloader = Reloader::new(paths(&folder));
    assert_eq!(check(&reloader), (vec!["one=x".into()], 0));
    link("..2");
    assert_eq!(names(&reloader.reload()), ["one"]);
    assert_eq!(check(&reloader), (vec!["one=y".into()], 0));
}

#[test]
fn a_loop_of_links_ends() {
    let folder = folder(&[("a/one.yaml", &map("one", "x"))]);
    symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    assert_eq!(check(&Reloader::new(paths(&folder))), (vec!["one=x".into()], 0));
}

#[test]
fn a_file_that_an_object_names_is_followed() {
    let folder = folder(&[
        ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\nfiles:\n  a: values/a.txt\n"),
        ("b.yaml", &map("two", "x")),
        ("values/a.txt", "x"),
    ]);
    let mut reloader = Reloader::new(paths(&folder));
    assert_eq!(check(&reloader), (vec!["one=x".into(), "two=x".into()], 0));
    assert_eq!(reloader.value_files().into_iter().collect::<Vec<_>>(), [folder.path().join("values/a.txt")]);
    write(&folder, "values/a.txt", "y");
    assert_eq!(names(&reloader.reload()), ["one"]);
    assert_eq!((check(&reloader), reloader.decoded()), ((vec!["one=y".into(), "two=x".into()], 0), 3));
    fs::remove_file(folder.path().join("values/a.txt")).unwrap();
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert_eq!(check(&reloader), (vec!["one=y".into(), "two=x".into()], 1));
    let place = errors(&reloader.world().diagnostics)[0].place.as_ref().unwrap();
    assert_eq!((place.line, place.column), (Some(6), 6));
}

#[test]
fn a_policy_that_was_never_good_is_known_with_its_targets() {
    let policy = |rest: &str| {
        format!(
            "apiVersion: windrose.dev/v1alpha1\nkind: AuthPolicy\nmetadata:\n  name: p\nspec:\n  targetRefs:\n  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: edge\n{rest}"
        )
    };
    let folder = folder(&[("a.yaml", &policy("  jtw: []\n"))]);
    let mut reloader = Reloader::new(paths(&folder));
    let object = ObjectRef::new(Kind::AuthPolicy, "default", "p");
    assert_eq!(reloader.world().declared.set_aside.get(&object).map(|aside| aside.targets[0].name.clone()), Some("edge".to_owned()));

    write(&folder, "a.yaml", policy("  public:\n    reason: demo\n    approvedBy: me\n"));
    assert_eq!(names(&reloader.reload()), ["p"]);
    assert!(reloader.world().declared.set_aside.is_empty());
    write(&folder, "a.yaml", policy("  jtw: []\n"));
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert!(reloader.world().declared.set_aside.is_empty(), "its last good version is in effect");
    write(&folder, "a.yaml", "# nothing\n");
    assert_eq!(names(&reloader.reload()), ["p"]);
}

#[test]
fn ten_megabytes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let value = format!("\"{}\"", "x".repeat(5_000));
    let text: String = (0..2_000).map(|index| map(&format!("m{index}"), &value) + "---\n").collect();
    assert!(text.len() > 10_000_000);
    write(&folder, "big.yaml", text);
    let reloader = Reloader::new(paths(&folder));
    assert_eq!((check(&reloader).0.len(), check(&reloader).1), (2_000, 0));
}

#[test]
fn json_is_read_like_yaml() {
    let folder = folder(&[(
        "a.json",
        "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\n\t\"metadata\": {\"name\": \"one\"}, \"data\": {\"a\": \"x\"}\n}\n",
    )]);
    assert_eq!(check(&Reloader::new(paths(&folder))), (vec!["one=x".into()], 0));
}

#[test]
fn a_key_set_in_the_place_of_declarations_takes_none_away() {
    let folder = folder(&[("a.yaml", &map("one", "x"))]);
    let mut reloader = Reloader::new(paths(&folder));
    write(&folder, "a.yaml", r#"{"keys": []}"#);
    assert_eq!(names(&reloader.reload()), [""; 0]);
    assert_eq!(check(&reloader), (vec!["one=x".into()], 0));
    assert!(reloader.world().declared.incomplete);
}

#[test]
fn a_key_set_that_nothing_names_yet_is_called_so_and_shown_to_nobody() {
    let folder = folder(&[("keys.json", r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#), ("one.yaml", &map("one", "x"))]);
    let reloader = Reloader::new(paths(&folder));
    assert_eq!(check(&reloader), (vec!["one=x".into()], 0));
    let world = reloader.world();
    assert!(!world.declared.incomplete, "it could never be an object");
    let told = format!("{:?}", world.diagnostics);
    assert!(told.contains("keys.json") && told.contains("JSON Web Key Set") && !told.contains("c2Vj"), "{told}");
    // Beside what cannot be read it may well be named.
    write(&folder, "two.yaml", "a: [");
    let told = format!("{:?}", Reloader::new(paths(&folder)).world().diagnostics);
    assert!(told.contains("two.yaml") && !told.contains("JSON Web Key Set"), "{told}");
}
