//! A folder that changes in the ways that folders do, under the real server.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::place::{Place, names, service, status, until};

#[tokio::test]
async fn a_thousand_files_at_once_are_taken() {
    let place = Place::new(&[("first.yaml", &service("first", 80))]);
    let server = place.serve().await;
    (0..1_000).for_each(|index| place.write(&format!("{index}.yaml"), service(&format!("s{index}"), 80)));
    until(&server, "all objects", |status| names(status, "Service").len() == 1_001).await;
    (0..1_000).for_each(|index| fs::remove_file(place.declared().join(format!("{index}.yaml"))).unwrap());
    until(&server, "one object", |status| names(status, "Service") == ["first"]).await;
}

#[tokio::test]
async fn a_file_that_is_half_written_takes_nothing_away_until_it_is_whole() {
    let place = Place::new(&[("a.yaml", &format!("{}---\n{}", service("a", 80), service("b", 80)))]);
    let server = place.serve().await;
    let whole = format!("{}---\n{}---\n{}", service("a", 80), service("b", 80), service("c", 80));
    place.write("a.yaml", &whole[..service("a", 80).len() + 30]);
    let half = until(&server, "the half to be seen", |status| !status["diagnostics"].as_array().unwrap().is_empty()).await;
    assert_eq!(names(&half, "Service"), ["a", "b"]);
    place.write("a.yaml", &whole);
    let now = until(&server, "the whole", |status| names(status, "Service") == ["a", "b", "c"]).await;
    assert_eq!(now["diagnostics"].as_array().unwrap().len(), 0, "{now}");
}

#[tokio::test]
async fn an_editor_that_renames_and_a_volume_that_swaps_its_link_are_followed() {
    let place = Place::new(&[]);
    let folder = place.declared();
    for (version, port) in [("..1", 80), ("..2", 81)] {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("a.yaml"), service(&format!("v{port}"), port)).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    let server = place.serve().await;
    until(&server, "the first version", |status| names(status, "Service") == ["v80"]).await;
    symlink("..2", folder.join("..new")).unwrap();
    fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    until(&server, "the second version", |status| names(status, "Service") == ["v81"]).await;

    fs::write(folder.join(".b.yaml.swp"), service("b", 80)).unwrap();
    fs::rename(folder.join(".b.yaml.swp"), folder.join("b.yaml")).unwrap();
    until(&server, "the new file", |status| names(status, "Service") == ["b", "v81"]).await;
}

#[tokio::test]
async fn a_folder_that_goes_away_for_a_while_takes_nothing_along() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    let server = place.serve().await;
    let away = place.beside("away");
    fs::rename(place.declared(), &away).unwrap();
    let now = until(&server, "the loss to be said", |status| !status["diagnostics"].as_array().unwrap().is_empty()).await;
    assert_eq!(names(&now, "Service"), ["a"], "{now}");
    fs::rename(&away, place.declared()).unwrap();
    place.write("b.yaml", service("b", 80));
    until(&server, "both", |status| names(status, "Service") == ["a", "b"]).await;
}

/// A file that is written under another name is changed without a word from the system; looking of its own accord the server
/// finds it, later than anybody waits here.
#[tokio::test]
async fn a_hangup_reads_again_what_nobody_reported() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    let other_name = place.beside("elsewhere").join("a.yaml");
    fs::create_dir(place.beside("elsewhere")).unwrap();
    fs::hard_link(place.declared().join("a.yaml"), &other_name).unwrap();
    let mut server = place.serve().await;
    fs::write(&other_name, service("b", 80)).unwrap();
    // Longer than a burst of events may keep it waiting.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(names(&status(&server), "Service"), ["a"], "nobody reported it");
    server.process().signal("HUP");
    until(&server, "the new text", |status| names(status, "Service") == ["b"]).await;
}
