//! What was good stays over a restart, whatever became of the files meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;
use windrose_files::{Kept, Reloader};
use windrose_vocab::{Code, ObjectRef};

/// A server's files, and what it remembers.
struct Home {
    folder: TempDir,
    memory: BTreeMap<ObjectRef, Kept>,
}

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap(), memory: BTreeMap::new() };
        files.iter().for_each(|(name, text)| home.write(name, text));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Starts anew with what is remembered.
    fn start(&self) -> Reloader {
        Reloader::remembering(vec![self.folder.path().to_owned()], self.memory.values().cloned().collect())
    }

    /// Remembers what is new; returns the names of what that was.
    fn keep(&mut self, reloader: &mut Reloader) -> Vec<String> {
        let unkept = reloader.take_unkept();
        let names = unkept.iter().map(|(object, kept)| format!("{}{}", if kept.is_some() { "+" } else { "-" }, object.key.name)).collect();
        for (object, kept) in unkept {
            match kept {
                Some(kept) => drop(self.memory.insert(object, kept)),
                None => drop(self.memory.remove(&object)),
            }
        }
        names
    }
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: {value}\n")
}

/// The values in effect.
fn values(reloader: &Reloader) -> Vec<String> {
    let maps = reloader.world().declared.config_maps.values();
    maps.map(|map| format!("{}={}", map.meta.object.key.name, String::from_utf8_lossy(&map.spec.data["a"]))).collect()
}

/// What is said of last good versions.
fn told(reloader: &Reloader) -> Vec<&str> {
    let all = reloader.world().diagnostics.iter().map(|finding| &finding.diagnostic);
    all.filter(|one| one.code == Code::LastGood).map(|one| one.message.as_str()).collect()
}

#[test]
fn a_start_on_a_broken_file_keeps_what_was_good_and_says_so() {
    let good = map("one", "x");
    let broken = [
        good.replace("a: x", "a: [1]"),
        good.replace("  name: one\n", ""),
        good.replace("metadata:\n", "metadata\n"),
        good[..good.len() / 2].to_owned(),
        "a: 'b".to_owned(),
        String::new(),
    ];
    for text in broken.map(String::into_bytes).into_iter().chain([b"kind: \xff\n".to_vec()]) {
        let mut home = Home::new(&[("a.yaml", &good), ("b.yaml", &map("two", "x"))]);
        let mut first = home.start();
        home.keep(&mut first);
        home.write("a.yaml", &text);
        home.write("b.yaml", map("two", "y"));

        let mut second = home.start();
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(values(&second), ["one=x", "two=y"], "{shown:?}");
        assert!(told(&second).iter().any(|message| message.contains("ConfigMap/default/one")), "{shown:?}: {:?}", told(&second));
        assert_eq!(home.keep(&mut second), ["+two"], "{shown:?}");
        assert_eq!(values(&home.start()), ["one=x", "two=y"], "{shown:?}: and over the next restart");

        home.write("a.yaml", map("one", "z"));
        second.reload();
        assert_eq!((values(&second), told(&second)), (vec!["one=z".to_owned(), "two=y".to_owned()], vec![]), "{shown:?}");
    }
}

#[test]
fn what_is_gone_at_the_start_is_gone() {
    let mut home = Home::new(&[("a.yaml", &map("one", "x")), ("b.yaml", &map("two", "x")), ("c.yaml", &map("three", "x"))]);
    let mut first = home.start();
    home.keep(&mut first);
    fs::remove_file(home.path("a.yaml")).unwrap();
    home.write("b.yaml", "# nothing\n");
    let mut second = home.start();
    assert_eq!(values(&second), ["three=x"]);
    assert_eq!(home.keep(&mut second), ["-one", "-two"]);
    home.write("a.yaml", "a: 'b");
    assert_eq!(values(&home.start()), ["three=x"]);
}

#[test]
fn what_cannot_be_read_at_the_start_is_as_it_was() {
    let mut home = Home::new(&[("a.yaml", &map("one", "x")), ("b.yaml", &map("two", "x"))]);
    let mut first = home.start();
    home.keep(&mut first);
    fs::remove_file(home.path("a.yaml")).unwrap();
    symlink(home.path("nowhere"), home.path("a.yaml")).unwrap();
    let mut second = home.start();
    assert_eq!(values(&second), ["one=x", "two=x"]);
    second.reload();
    assert_eq!(values(&second), ["one=x", "two=x"]);
    fs::remove_file(home.path("a.yaml")).unwrap();
    second.reload();
    assert_eq!(values(&second), ["two=x"]);
}

#[test]
fn a_version_is_kept_with_the_files_it_took_values_from() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\nfiles:\n  a: value.txt\n";
    let mut home = Home::new(&[("a.yaml", text), ("value.txt", "x")]);
    let mut first = home.start();
    home.keep(&mut first);
    fs::remove_file(home.path("value.txt")).unwrap();
    let second = home.start();
    assert_eq!(values(&second), ["one=x"]);
    assert_eq!(second.world().declared, first.world().declared);
}

#[test]
fn only_what_changed_is_to_be_kept() {
    let mut home = Home::new(&[]);
    (0..500).for_each(|index| home.write(&format!("{index}.yaml"), map(&format!("m{index}"), "x")));
    let mut first = home.start();
    assert_eq!(home.keep(&mut first).len(), 500);
    home.write("7.yaml", map("m7", "y"));
    first.reload();
    assert_eq!(home.keep(&mut first), ["+m7"]);
    fs::rename(home.path("8.yaml"), home.path("8-moved.yaml")).unwrap();
    first.reload();
    assert_eq!(home.keep(&mut first), ["+m8"], "where it stands is remembered too");
    assert_eq!(home.keep(&mut home.start()), [""; 0]);
}

#[test]
fn a_memory_that_is_damaged_is_as_none() {
    let mut home = Home::new(&[("a.yaml", &map("one", "x"))]);
    let mut first = home.start();
    home.keep(&mut first);
    for kept in home.memory.values_mut() {
        kept.text = "{".into();
    }
    home.write("a.yaml", map("one", "[1]"));
    assert_eq!(values(&home.start()), [""; 0]);
}

#[test]
fn what_is_kept_is_not_shown() {
    let mut home = Home::new(&[("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: one\nstringData:\n  a: hush-hush\n")]);
    let mut first = home.start();
    home.keep(&mut first);
    assert!(home.memory.values().all(|kept| kept.text.contains("hush-hush")));
    assert!(!format!("{:?}", home.memory).contains("hush-hush"));
}

#[test]
fn what_moves_to_another_file_in_two_steps_is_remembered_there() {
    let mut home = Home::new(&[("a.yaml", &map("x", "first"))]);
    let mut reloader = home.start();
    assert_eq!(home.keep(&mut reloader), ["+x"]);
    home.write("b.yaml", map("x", "second"));
    reloader.reload();
    assert!(home.keep(&mut reloader).is_empty(), "the first declaration counts");
    fs::remove_file(home.path("a.yaml")).unwrap();
    reloader.reload();
    assert_eq!(home.keep(&mut reloader), ["+x"]);

    home.write("b.yaml", "half: [written");
    assert_eq!(values(&home.start()), ["x=second"]);
}
