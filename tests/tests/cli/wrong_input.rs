//! What a person or a machine gets wrong: each is said with its subject, its cause and a hint, and nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use windrose_tests::authority::TestAuthority;
use windrose_tests::places;
use windrose_tests::server::{ServerProcess, windrose};

use crate::place::{PATIENCE, Place, service};

/// Asserts that these arguments are refused with all of these words, and that no cause is told twice.
fn refused(arguments: &[&str], words: &[&str]) {
    said(&windrose(arguments), &format!("windrose {}", arguments.join(" ")), words);
}

fn said(output: &Output, what: &str, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{what} is not refused");
    words.iter().for_each(|word| assert!(text.contains(word), "{what}: {text:?} has no {word:?}"));
    assert!(text.matches("os error").count() <= 1, "{what} tells its cause twice: {text}");
}

/// Runs `windrose` as a user who may little; root may everything.
fn as_nobody(place: &Place, arguments: &[&str]) -> Output {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !root {
        return windrose(arguments);
    }
    // Where that user may run it, which the checkout of root need not be.
    let binary = place.beside("windrose");
    if !binary.exists() {
        std::fs::copy(places::windrose(), &binary).unwrap();
    }
    Command::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary).args(arguments).output().unwrap()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_folder_that_is_missing_or_empty_is_named_with_a_hint() {
    let place = Place::new(&[]);
    let (empty, missing, state) = (text(&place.declared()), text(&place.beside("nowhere")), text(&place.beside("state")));
    for command in ["check", "render", "serve"] {
        let more: &[&str] = if command == "check" { &[] } else { &["--state", &state] };
        refused(&[&[command, &missing], more].concat(), &["nowhere: No such file or directory"]);
        refused(&[&[command, &empty], more].concat(), &["declared: no .yaml, .yml or .json file in it", "windrose init"]);
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_one_fact_with_a_hint() {
    let place = Place::new(&[]);
    let config = place.beside("config");
    // Port 9 of loopback: nobody listens there.
    let yaml = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{ name: c, cluster: { server: 'http://127.0.0.1:9' } }]\n\
                contexts: [{ name: c, context: { cluster: c, user: u } }]\nusers: [{ name: u, user: {} }]\n";
    std::fs::write(&config, yaml).unwrap();
    for arguments in [&["check", "--pre"][..], &["check"]] {
        let output = Command::new(places::windrose()).env("KUBECONFIG", &config).args(arguments).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("the cluster does not answer") && shown.contains("kubectl cluster-info"), "{arguments:?}: {shown}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn what_may_not_be_read_is_named() {
    let place = Place::new(&[("a.yaml", &service("a", 80)), ("b.yaml", &service("b", 80))]);
    let folder = text(&place.declared());
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(place.beside("").as_path(), 0o755);
    mode(&place.declared().join("b.yaml"), 0o000);
    let output = as_nobody(&place, &["check", &folder]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("b.yaml`: Permission denied") && shown.contains("1 object, 1 error,"), "{shown}");
    mode(&place.declared(), 0o000);
    said(&as_nobody(&place, &["check", &folder]), "check", &["declared", "Permission denied"]);
    mode(&place.declared(), 0o755);
    let state = text(&place.beside("state"));
    said(
        &as_nobody(&place, &["serve", &folder, "--state", &state]),
        "serve",
        &["state folder", "--state names another", "Permission denied"],
    );
}

#[tokio::test]
async fn a_port_and_a_state_folder_that_another_server_has_are_named() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    let _first = place.serve().await;
    let end = async |mut second: ServerProcess| {
        let status = second.process().wait(PATIENCE).await;
        assert!(!status.success());
        second.log()
    };
    let log = end(ServerProcess::launch(&place.options())).await;
    assert!(log.contains("another windrose serves from") && log.contains("--state"), "{log}");
    let log = end(ServerProcess::launch(&place.options_with_state(&place.beside("other-state")))).await;
    assert!(log.contains("--listen") && log.contains(":18000 is in use by another process"), "{log}");
}

/// A root of its own with its key, written to files; returns the file of the certificate and that of the key.
fn authority(place: &Place, name: &str) -> (String, String) {
    let made = TestAuthority::new(name);
    let (chain, key) = (place.beside(&format!("{name}.pem")), place.beside(&format!("{name}.key")));
    std::fs::write(&chain, made.root_pem()).unwrap();
    std::fs::write(&key, made.key_pem()).unwrap();
    (text(&chain), text(&key))
}

#[test]
fn an_authority_that_does_not_fit_together_or_has_expired_is_told_by_file() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    let (folder, state) = (text(&place.declared()), text(&place.beside("state")));
    let (one, other) = (authority(&place, "one"), authority(&place, "other"));
    let serve = |roots: &str, chain: &str, key: &str, words: &[&str]| {
        refused(&["serve", &folder, "--state", &state, "--ca-roots", roots, "--ca-cert", chain, "--ca-key", key], words);
    };
    serve(&one.0, &one.0, &other.1, &["one.pem", "does not match the private key in", "other.key"]);
    serve(&one.0, &other.0, &other.1, &["other.pem", "was not issued by any certificate in", "one.pem"]);
    serve(&one.0, &one.0, &text(&place.beside("no.key")), &["cannot read", "no.key", "No such file"]);
    std::fs::write(place.beside("broken.pem"), "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n").unwrap();
    serve(&text(&place.beside("broken.pem")), &one.0, &one.1, &["broken.pem"]);
    let (old, key) = TestAuthority::expired();
    let (chain, key_file) = (place.beside("old.pem"), place.beside("old.key"));
    std::fs::write(&chain, old).unwrap();
    std::fs::write(&key_file, key).unwrap();
    serve(&text(&chain), &text(&chain), &text(&key_file), &["old.pem", "is valid from", "and it is", "now"]);
}

#[test]
fn without_an_envoy_it_is_said_how_to_get_one_and_another_version_is_warned_of() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    let output = Command::new(places::windrose())
        .args(["envoy", "which"])
        .current_dir(place.beside(""))
        .env("PATH", "/nowhere")
        .env_remove("ENVOY")
        .output();
    said(&output.unwrap(), "envoy which", &["no Envoy found", "windrose envoy fetch", "--envoy", "ENVOY="]);
    let fake = place.beside("envoy");
    std::fs::write(&fake, "#!/bin/sh\necho 'envoy  version: 0123/1.39.0/Clean/RELEASE/BoringSSL'\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused(&["envoy", "which", "--envoy", &text(&fake)], &["is Envoy 1.39.0", "tested with 1.40.0"]);
    refused(&["run", &text(&place.declared()), "--envoy", "/bin/true"], &["/bin/true", "does not answer --version as Envoy does"]);
    refused(&["run", &text(&place.declared()), "--envoy", "/nowhere/envoy"], &["/nowhere/envoy", "cannot be run"]);
}

#[test]
fn two_documents_of_one_name_and_bytes_that_are_no_text_are_told_with_their_places() {
    let mut twice = format!("# first\n{}---\n{}---\n", service("a", 80), service("a", 81)).into_bytes();
    twice.extend(b"kind: \xff\n");
    let place = Place::new(&[]);
    place.write("a.yaml", twice);
    let output = windrose(&["check", &text(&place.declared())]);
    let shown = String::from_utf8_lossy(&output.stdout);
    for words in ["Service/shop/a is declared twice", "a.yaml:5 counts", "a.yaml:15:", "is not UTF-8: byte 0xff", "1 object, 2 errors"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text_ = "apiVersion: v1\nkind: Service\nmetadata: &meta\n  name: a\n  namespace: shop\nspec:\n  ports:\n  - &port { name: http, port: 80 }\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: b\n  namespace: shop\n  labels: &l { x: y }\n  annotations:\n    <<: *l\nspec:\n  ports: [{ name: http, port: 80 }]\n";
    let place = Place::new(&[("a.yaml", text_)]);
    let output = windrose(&["check", &text(&place.declared())]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("2 objects, 0 errors"), "{shown}");
}

#[tokio::test]
async fn a_server_ends_in_order_when_it_is_told_to() {
    let place = Place::new(&[("a.yaml", &service("a", 80))]);
    for signal in ["TERM", "INT"] {
        let mut server = place.serve().await;
        server.process().signal(signal);
        assert!(server.process().wait(Duration::from_secs(20)).await.success());
        assert!(!place.beside("state/admin.sock").exists());
        assert!(server.log().contains("\"ended\""), "{}", server.log());
    }
}

#[test]
fn a_file_of_keys_that_cannot_be_used_is_named_where_the_policy_names_it() {
    const POLICY: &str = "apiVersion: windrose.dev/v1alpha1
kind: AuthPolicy
metadata: { name: a, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: a }]
  jwt:
  - name: a
    issuer: https://id.example
    audiences: [shop]
    jwks:
      file: keys/main.json
";
    let place = Place::new(&[("a.yaml", POLICY)]);
    let folder = text(&place.declared());
    let told = |why: &str| {
        let output = windrose(&["check", &folder]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{why}: {shown}");
        for words in ["error[File]: ", "keys/main.json`", why, "a.yaml:11:13\n", "AuthPolicy/shop/a: spec.jwt[0].jwks.file\n"] {
            assert!(shown.contains(words), "{why}: {words}: {shown}");
        }
    };
    told("No such file");
    std::fs::create_dir(place.declared().join("keys")).unwrap();
    let is = |content: &[u8], why: &str| {
        place.write("keys/main.json", content);
        told(why);
    };
    is(&vec![b' '; (1 << 20) + 1], "larger than 1 MiB");
    is(b"\xff", "is not UTF-8");
    is(b"{", "is not JSON: line 1, column 1");
    is(b"{}", "it has no list `keys`");
}
