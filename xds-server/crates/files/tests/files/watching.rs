//! What wakes the reader, and how often.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use windrose_files::watch::Settings;
use windrose_files::{Wake, Watch};

/// Long enough that a busy machine is no failure.
const SOON: Duration = Duration::from_secs(10);

fn settings() -> Settings {
    Settings {
        quiet: Duration::from_millis(50),
        quiet_longer: Duration::from_millis(400),
        patience: Duration::from_millis(1000),
        poll: SOON,
        poll_alone: SOON,
    }
}

fn watch(path: &Path) -> Watch {
    let mut watch = Watch::new(vec![path.to_owned()], settings());
    assert_eq!(watch.problem(), None);
    drain(&mut watch);
    watch
}

/// Lets what happened before pass by.
fn drain(watch: &mut Watch) {
    watch.handle().reload();
    assert_eq!(watch.wait(), Wake::Asked);
}

/// Wakes until `path` holds `text`, so that a wake between two halves of an edit is no failure.
fn wakes_until(watch: &mut Watch, path: &Path, text: &str) -> usize {
    for wakes in 1..20 {
        assert_eq!(watch.wait(), Wake::Changed);
        if fs::read_to_string(path).is_ok_and(|found| found == text) {
            return wakes;
        }
    }
    panic!("{} never held {text}", path.display());
}

#[test]
fn every_way_of_editing_wakes_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut watch = watch(folder.path());

    fs::write(&file, "1").unwrap();
    wakes_until(&mut watch, &file, "1");

    fs::write(folder.path().join(".a.swp"), "2").unwrap();
    fs::rename(folder.path().join(".a.swp"), &file).unwrap();
    wakes_until(&mut watch, &file, "2");

    let inner = folder.path().join("new/folder/b.yaml");
    fs::create_dir_all(inner.parent().unwrap()).unwrap();
    fs::write(&inner, "3").unwrap();
    wakes_until(&mut watch, &inner, "3");
    fs::write(&inner, "4").unwrap();
    wakes_until(&mut watch, &inner, "4");

    fs::remove_file(&file).unwrap();
    assert_eq!(watch.wait(), Wake::Changed);
}

#[test]
fn a_file_that_goes_and_comes_again_was_never_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut watch = watch(folder.path());
    let path = file.clone();
    let editor = std::thread::spawn(move || {
        fs::remove_file(&path).unwrap();
        std::thread::sleep(Duration::from_millis(120));
        fs::write(&path, "1").unwrap();
    });
    assert_eq!(watch.wait(), Wake::Changed);
    assert_eq!(fs::read_to_string(&file).unwrap(), "1");
    editor.join().unwrap();
}

#[test]
fn values_that_come_in_two_files_are_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let (file, pair) = (folder.path().join("a.yaml"), ["tls.crt", "tls.key"].map(|name| folder.path().join(name)));
    fs::write(&file, "0").unwrap();
    pair.iter().for_each(|part| fs::write(part, "0").unwrap());
    let mut watch = watch(folder.path());
    watch.also(pair.iter().cloned().collect());
    assert_eq!(watch.wait(), Wake::Changed);
    let parts = pair.clone();
    let renewal = std::thread::spawn(move || {
        fs::write(&parts[0], "1").unwrap();
        std::thread::sleep(Duration::from_millis(150));
        fs::write(&parts[1], "1").unwrap();
    });
    assert_eq!(watch.wait(), Wake::Changed);
    assert_eq!(fs::read_to_string(&pair[1]).unwrap(), "1");
    renewal.join().unwrap();
}

#[test]
fn a_single_file_that_is_replaced_wakes_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut watch = watch(&file);
    for text in ["1", "2"] {
        fs::write(folder.path().join("swap"), text).unwrap();
        fs::rename(folder.path().join("swap"), &file).unwrap();
        wakes_until(&mut watch, &file, text);
    }
}

#[test]
fn a_link_to_a_folder_is_followed_to_where_it_points_by_then() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1", "2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("a.yaml"), version).unwrap();
    }
    let current = folder.path().join("current");
    symlink("1", &current).unwrap();
    let mut watch = watch(&current);
    symlink("2", folder.path().join("swap")).unwrap();
    fs::rename(folder.path().join("swap"), &current).unwrap();
    let file = current.join("a.yaml");
    wakes_until(&mut watch, &file, "2");
    drain(&mut watch);
    fs::write(folder.path().join("2/a.yaml"), "3").unwrap();
    wakes_until(&mut watch, &file, "3");
}

#[test]
fn a_thousand_files_at_once_wake_the_reader_a_few_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watch(folder.path());
    let last = folder.path().join("999.yaml");
    (0..1000).for_each(|index| fs::write(folder.path().join(format!("{index}.yaml")), "x").unwrap());
    let wakes = wakes_until(&mut watch, &last, "x");
    assert!(wakes <= 3, "{wakes} wakes");
}

#[test]
fn reading_wakes_nobody_and_time_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut watch = Watch::new(vec![folder.path().to_owned()], Settings { poll: Duration::from_millis(300), ..settings() });
    drain(&mut watch);
    (0..50).for_each(|_| drop(fs::read(&file).unwrap()));
    assert_eq!(watch.wait(), Wake::Poll);
}

#[test]
fn files_that_objects_name_are_followed_too() {
    let folder = tempfile::tempdir().unwrap();
    let beside = tempfile::tempdir().unwrap();
    let keys = beside.path().join("keys.json");
    fs::write(&keys, "0").unwrap();
    let mut watch = watch(folder.path());
    watch.also([keys.clone()].into());
    assert_eq!(watch.wait(), Wake::Changed, "looks once more, for what it may have missed");
    fs::write(&keys, "1").unwrap();
    wakes_until(&mut watch, &keys, "1");
}

#[test]
fn a_path_that_is_not_there_yet_is_found_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("later");
    let mut watch = watch(&inner);
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("a.yaml"), "1").unwrap();
    wakes_until(&mut watch, &inner.join("a.yaml"), "1");
}

#[test]
fn whoever_holds_the_handle_can_ask_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watch(folder.path());
    let handle = watch.handle();
    handle.reload();
    assert_eq!(watch.wait(), Wake::Asked);
    let begin = Instant::now();
    let thread = std::thread::spawn(move || watch.wait());
    handle.stop();
    assert_eq!(thread.join().unwrap(), Wake::Stopped);
    assert!(begin.elapsed() < SOON);
}
