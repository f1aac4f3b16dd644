//! What a running server is asked, in the other forms than the JSON that the stories read: for people and for programs, once and
//! again and again.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use windrose_tests::places;
use windrose_tests::process::Process;
use windrose_tests::server::windrose;
use windrose_tests::wait::wait_until;

use crate::place::{PATIENCE, Place, names, service, until, workload};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn status_and_proxies_say_the_same_as_table_wide_yaml_and_json() {
    let place = Place::new(&[("web.yaml", &service("web", 80)), ("other.yaml", &service("other", 80))]);
    let server = place.serve().await;
    let (table, wide) = (text(&server.ask(&["status"])), text(&server.ask(&["status", "-o", "wide"])));
    for shown in [&table, &wide] {
        let objects: Vec<_> = shown.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.contains('/')).collect();
        assert_eq!(objects[..2], ["Service/shop/other", "Service/shop/web"], "{shown}");
    }
    let (yaml, json) = (text(&server.ask(&["status", "-o", "yaml"])), text(&server.ask(&["status", "-o", "json"])));
    let json: Value = serde_json::from_str(&json).unwrap();
    let names = json["objects"].as_array().unwrap().iter().map(|object| format!("name: {}", object["name"].as_str().unwrap()));
    names.for_each(|name| assert!(yaml.contains(&name), "{name}: {yaml}"));

    assert!(text(&server.ask(&["proxies", "-o", "wide"])).contains("no proxy is connected"));
    assert_eq!(text(&server.ask(&["proxies", "-o", "yaml"])).trim(), "[]");

    place.write("web.yaml", service("web", 80).replace("port: 80", "prot: 80"));
    until(&server, "the fault", |status| !status["diagnostics"].as_array().unwrap().is_empty()).await;
    let row = |shown: &str| shown.lines().find(|line| line.contains("Service/shop/web")).unwrap_or_default().to_owned();
    let (table, wide) = (text(&server.ask(&["status"])), text(&server.ask(&["status", "-o", "wide"])));
    assert!(row(&wide).contains("web.yaml:") && !row(&table).contains("web.yaml:"), "only the wide row has a place: {wide}\n{table}");
}

#[tokio::test]
async fn a_watch_shows_each_change_once_outlives_a_restart_and_ends_with_ctrl_c() {
    let place = Place::new(&[("web.yaml", &service("web", 80))]);
    let mut server = place.serve().await;
    let mut command = Command::new(places::windrose());
    command.args(["status", "--watch", "--state"]).arg(place.beside("state"));
    let mut watch = Process::start("windrose status --watch", command, &place.beside("watch.log"));
    let shown = async |watch: &Process, what: &str, wanted: &(dyn Fn(&str) -> bool + Sync)| {
        wait_until(PATIENCE, what, async || if wanted(&watch.log()) { Ok(()) } else { Err(watch.log()) }).await;
    };
    shown(&watch, "the object", &|log| log.contains("Service/shop/web")).await;

    // A look each second: of two that see nothing new nothing is shown.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(watch.log().matches("OBJECT").count(), 1, "{}", watch.log());
    place.write("other.yaml", service("other", 80));
    shown(&watch, "the change", &|log| log.contains("Service/shop/other")).await;

    server.process().kill();
    shown(&watch, "a warning", &|log| log.contains("warning:")).await;
    let _server = place.serve().await;
    place.write("third.yaml", service("third", 80));
    shown(&watch, "the change after the restart", &|log| log.contains("Service/shop/third")).await;
    watch.signal("INT");
    assert!(watch.wait(PATIENCE).await.success());
}

#[tokio::test]
async fn a_status_can_be_asked_for_some_objects_by_their_names() {
    let place =
        Place::new(&[("web.yaml", &service("web", 80)), ("other.yaml", &service("other", 80)), ("third.yaml", &service("third", 80))]);
    let server = place.serve().await;
    let shown = text(&server.ask(&["status", "web", "service/third"]));
    assert!(shown.contains("Service/shop/web") && shown.contains("Service/shop/third") && !shown.contains("Service/shop/other"), "{shown}");
    let json: Value = serde_json::from_str(&text(&server.ask(&["status", "shop/web", "-o", "json"]))).unwrap();
    let found: Vec<_> = json["objects"].as_array().unwrap().iter().map(|object| object["name"].as_str().unwrap()).collect();
    assert_eq!(found, ["web"]);
    assert!(!text(&server.ask(&["status", "Service/shop/web", "-o", "yaml"])).contains("name: other"));

    for more in [&[][..], &["-o", "json"], &["--watch"]] {
        let none = server.ask(&[&["status", "wbe"], more].concat());
        let said = String::from_utf8_lossy(&none.stderr);
        assert_eq!(none.status.code(), Some(1), "{more:?}: {said}");
        assert!(said.contains("no object `wbe` (did you mean `web`?)") && none.stdout.is_empty(), "{more:?}: {said}");
    }

    let mut command = Command::new(places::windrose());
    command.args(["status", "web", "--watch", "--state"]).arg(place.beside("state"));
    let mut watch = Process::start("windrose status web --watch", command, &place.beside("watch.log"));
    let waits = async |word: &str| {
        wait_until(PATIENCE, word, async || if watch.log().contains(word) { Ok(()) } else { Err(watch.log()) }).await;
    };
    waits("Service/shop/web").await;
    place.write("web.yaml", service("web", 80).replace("port: 80", "prot: 80"));
    waits("prot").await;
    assert!(!watch.log().contains("Service/shop/other"), "{}", watch.log());
    watch.signal("INT");
    assert!(watch.wait(PATIENCE).await.success());
}

#[tokio::test]
async fn who_makes_a_bootstrap_for_what_is_not_declared_is_told_and_nothing_is_overwritten() {
    let place = Place::new(&[]);
    place.write("orders.yaml", workload("orders", &place.home));
    let server = place.serve().await;
    until(&server, "the Workload", |status| names(status, "Workload") == ["orders"]).await;
    let folder = place.beside("envoy");
    let bootstrap = |role: &str, name: &str, more: &[&str]| {
        let arguments = ["bootstrap", role, name, "-O", &folder.display().to_string(), "--without-modules"];
        server.ask(&[&arguments, more].concat())
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let slip = bootstrap("--workload", "shop/oders", &[]);
    assert!(slip.status.success(), "it may be declared later: {}", told(&slip));
    assert!(told(&slip).contains("warning: no Workload `shop/oders` is declared"), "{}", told(&slip));
    assert!(told(&slip).contains("did you mean `shop/orders`?"), "{}", told(&slip));
    let (bootstrap_file, key) = (folder.join("envoy.yaml"), folder.join("credential/node.key"));
    let read = || [&bootstrap_file, &key].map(|file| std::fs::read(file).unwrap());

    let before = read();
    for more in [&[][..], &["--revoke"]] {
        let again = bootstrap("--workload", "shop/orders", more);
        assert_eq!(again.status.code(), Some(1));
        for words in ["has credential, envoy.yaml", "already", "--renew", "--force"] {
            assert!(told(&again).contains(words), "{words}: {}", told(&again));
        }
        assert_eq!((String::from_utf8_lossy(&again.stdout), read() == before), ("".into(), true), "nothing is revoked or written");
    }
    let forced = bootstrap("--workload", "shop/orders", &["--force"]);
    assert_eq!((forced.status.success(), told(&forced).as_str()), (true, ""));
    let renewed = read();
    assert!(renewed[0] != before[0] && renewed[1] != before[1]);
    assert!(bootstrap("--workload", "shop/orders", &["--renew"]).status.success());
    assert!(read()[0] == renewed[0] && read()[1] != renewed[1], "the credential alone");

    drop(server);
    let alone = place.beside("state").display().to_string();
    let output = windrose(&[
        "bootstrap",
        "--gateway",
        "shop/edge",
        "-O",
        &place.beside("other").display().to_string(),
        "--without-modules",
        "--state",
        &alone,
    ]);
    assert_eq!((output.status.success(), told(&output).as_str()), (true, ""), "nobody can know");
}
