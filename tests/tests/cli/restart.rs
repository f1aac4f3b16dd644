//! What survives `kill -9` and a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use windrose_tests::process::Process;
use windrose_tests::server::{ServerProcess, windrose};
use windrose_tests::wait::wait_until;
use windrose_tests::{places, skip};

use crate::place::{PATIENCE, Place, knock, names, service, status, until, workload};

/// Waits until the memory of last good versions has this text in it.
async fn kept(place: &Place, text: &str) {
    let path = place.beside("state/last-good.log");
    wait_until(PATIENCE, "the last good version to be on the disk", async || {
        let bytes = std::fs::read(&path).unwrap_or_default();
        if String::from_utf8_lossy(&bytes).contains(text) { Ok(()) } else { Err(format!("{} bytes", bytes.len())) }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_starts_on_a_broken_file_serves_the_last_good_version() {
    let place = Place::new(&[("web.yaml", &service("web", 80)), ("other.yaml", &service("other", 80))]);
    let mut server = place.serve().await;
    kept(&place, "other.yaml").await;
    server.process().kill();

    for broken in
        [service("web", 80).replace("port: 80", "prot: 80"), service("web", 80).replace("  name: web\n", ""), "kind: Serv".to_owned()]
    {
        place.write("web.yaml", &broken);
        let mut server = place.serve().await;
        let now = until(&server, "both objects", |status| names(status, "Service") == ["other", "web"]).await;
        let said = now["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["code"] == "LastGood" && one["message"].as_str().unwrap().contains("Service/shop/web"));
        assert!(said, "{broken}: {now}");
        server.process().kill();
    }

    std::fs::remove_file(place.declared().join("web.yaml")).unwrap();
    let server = place.serve().await;
    assert_eq!(names(&status(&server), "Service"), ["other"], "what is gone is gone");
}

/// A server whose state folder lies on a disk of its own, in a mount namespace of its own.
struct SmallDisk {
    process: Process,
    root: PathBuf,
}

impl SmallDisk {
    /// Starts it, where namespaces may be made.
    fn start(place: &Place) -> Option<Self> {
        let may = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
        if !may {
            skip::because("no mount namespace can be made, so no disk can be filled");
            return None;
        }
        let disk = place.beside("disk");
        std::fs::create_dir(&disk).unwrap();
        let options = place.options_with_state(&disk.join("state"));
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=1m,mode=0700 none \"$1\" && shift && exec \"$@\"";
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&disk).arg(places::windrose()).arg("serve").arg(&options.folder);
        command.arg("--state").arg(&options.state);
        command.args(["--listen", &options.xds.to_string(), "--admin", &options.admin.to_string()]);
        let process = Process::start("windrose on a small disk", command, &place.beside("server.log"));
        let root = PathBuf::from(format!("/proc/{}/root", process.pid())).join(disk.strip_prefix("/").unwrap());
        Some(Self { process, root })
    }

    /// Leaves no byte free.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.root.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.root.join("filler")).unwrap();
    }

    fn kept(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.root.join("state/last-good.log")).unwrap_or_default()).into_owned()
    }

    fn drafts(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.join("state")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "new")).collect()
    }
}

async fn answers(place: &Place, path: &str, wanted: impl Fn(&str) -> bool) {
    wait_until(PATIENCE, path, async || {
        let reply = windrose_tests::client::Call::get(place.options().admin, path).send().await.map_err(|cause| cause.to_string())?;
        if reply.status == 200 && wanted(&reply.text()) { Ok(()) } else { Err(reply.text()) }
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_ends_nothing_and_what_could_not_be_kept_is_kept_when_there_is_room() {
    let place = Place::new(&[("web.yaml", &service("web", 80))]);
    let Some(disk) = SmallDisk::start(&place) else { return };
    answers(&place, "/readyz", |_| true).await;
    wait_until(PATIENCE, "the first version to be kept", async || disk.kept().contains("Service").then_some(()).ok_or_else(String::new))
        .await;

    disk.fill();
    // More than what may be left of the log's last page.
    place.write(
        "new.yaml",
        format!("{}# {}\n", service("new", 80), "x".repeat(9_000))
            .replace("metadata:", &format!("metadata:\n  annotations: {{ a: \"{}\" }}", "y".repeat(9_000))),
    );
    answers(&place, "/v1/status", |text| text.contains("\"new\"")).await;
    wait_until(PATIENCE, "the log to say so", async || {
        let log = disk.process.log();
        if log.contains("No space left on device") && log.contains("last-good.log") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!disk.kept().contains("\"new\""), "nothing half written");
    assert_eq!(disk.drafts(), Vec::<PathBuf>::new());

    disk.free();
    wait_until(PATIENCE, "the new version to be kept", async || disk.kept().contains("\"new\"").then_some(()).ok_or_else(String::new))
        .await;
    answers(&place, "/readyz", |_| true).await;
}

/// Writes the bootstrap of the Workload `orders`.
fn bootstrap(server: &ServerProcess, folder: &Path, more: &[&str]) -> std::process::Output {
    bootstrap_of("shop/orders", server, folder, more)
}

fn bootstrap_of(workload: &str, server: &ServerProcess, folder: &Path, more: &[&str]) -> std::process::Output {
    let (state, address) = (server.options().state.display().to_string(), server.options().xds.to_string());
    let folder = folder.display().to_string();
    windrose(&[&["bootstrap", "--workload", workload, "-O", &folder, "--server", &address, "--state", &state], more].concat())
}

#[tokio::test]
async fn a_revocation_survives_a_restart_and_spares_the_credential_that_comes_with_it() {
    let place = Place::new(&[]);
    place.write("orders.yaml", workload("orders", &place.home));
    let mut server = place.serve().await;
    let folder = place.beside("orders");
    assert!(bootstrap(&server, &folder, &["--without-modules", "--identity", "token"]).status.success());
    let xds = place.options().xds;
    let token = || std::fs::read_to_string(folder.join("credential/token")).unwrap();
    let old = token();
    // What would be of no use to whoever runs there is no renewal, and revokes nothing.
    let wrong = [
        ("shop/orders", &["--identity", "certificate"][..], "by a token"),
        ("shop/other", &["--revoke"], "the bootstrap of workload/shop/orders"),
    ];
    for (workload, more, said) in wrong {
        let refused = bootstrap_of(workload, &server, &folder, &[&["--renew"], more].concat());
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && words.contains(said), "{words}");
    }
    assert_eq!(token(), old);
    let other = place.beside("other");
    assert!(bootstrap(&server, &other, &["--without-modules", "--identity", "token"]).status.success());
    assert!(bootstrap(&server, &other, &["--without-modules", "--force"]).status.success());
    assert!(other.join("credential/node.pem").exists() && !other.join("credential/token").exists(), "it would go on being good");
    let knocks = |token: String| async move { knock(xds, &token).await };
    assert_eq!(knocks(old.clone()).await, "let in");
    let revoked = bootstrap(&server, &folder, &["--renew", "--revoke"]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let new = token();
    wait_until(PATIENCE, "the old credential to be refused", async || {
        let said = knocks(old.clone()).await;
        if said.contains("revoked") { Ok(()) } else { Err(said) }
    })
    .await;
    let listed = String::from_utf8(server.ask(&["proxies"]).stdout).unwrap();
    assert!(listed.contains("is turned away: its credential was revoked"), "{listed}");
    server.process().kill();
    let _server = place.serve().await;
    assert!(knocks(old).await.contains("revoked"));
    assert_eq!(knocks(new).await, "let in");
}
