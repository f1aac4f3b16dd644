//! What can be asked without a server, of the example that `windrose init` writes: a person's first minutes, word for word.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use windrose_tests::envoy::{REPEATED_TOO_OFTEN, REPEATED_WORDS, validate};
use windrose_tests::places;
use windrose_tests::server::windrose;

/// What the example declares: its one proxy, and its one route with what protects that.
const PROXY: &str = "gateway/shop/edge";
const ROUTE: &str = "HTTPRoute/shop/web";

/// A warning, and no error.
const WARNED_OF: &str = "apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: { name: edge, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  paths: { escapedSlashes: Keep }
";

/// A folder into which `windrose init` has written its example.
struct Example(tempfile::TempDir);

impl Example {
    fn new() -> Self {
        let example = Self(tempfile::tempdir().unwrap());
        let said = good(&windrose(&["init", &example.path()]));
        assert!(said.contains("wrote 4 files") && said.contains(&format!("windrose run {}", example.path())), "{said}");
        example
    }

    fn path(&self) -> String {
        self.0.path().join("shop").display().to_string()
    }

    /// Runs a subcommand on the folder.
    fn ask(&self, subcommand: &str, more: &[&str]) -> Output {
        windrose(&[&[subcommand, &self.path()], more].concat())
    }
}

/// What a command says that ends well.
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stdout)))
}

#[test]
fn the_example_is_without_fault_and_says_what_protects_its_route() {
    let example = Example::new();
    assert_eq!(good(&example.ask("check", &["--strict"])), "5 objects, 0 errors, 0 warnings\n");
    let shown = good(&example.ask("check", &["--coverage"]));
    let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().take(4).collect();
    assert_eq!(row, [ROUTE, "/*", "Gateway/shop/edge#http", "public"], "{shown}");
    let report = json_of(&example.ask("check", &["--coverage", "-o", "json"]));
    assert_eq!((&report["errors"], &report["warnings"], &report["diagnostics"]), (&json!(0), &json!(0), &json!([])));
    let covered = &report["coverage"][0];
    assert_eq!((&covered["route"], &covered["coverage"]), (&json!(ROUTE), &json!("public")));
    assert!(covered["by"].as_str().unwrap().contains("you@example.com"), "{covered}");
}

#[test]
fn without_its_policy_the_route_of_the_example_is_open() {
    let example = Example::new();
    std::fs::remove_file(Path::new(&example.path()).join("policies.yaml")).unwrap();
    let report = json_of(&example.ask("check", &["--coverage", "-o", "json"]));
    assert_eq!(report["coverage"][0]["coverage"], "open");
}

#[test]
fn a_warning_fails_only_who_asks_for_that_and_an_error_fails_everybody() {
    let example = Example::new();
    let write = |name: &str, text: &str| std::fs::write(Path::new(&example.path()).join(name), text).unwrap();
    write("edge.yaml", WARNED_OF);
    let counts = |output: &Output| {
        let report = json_of(output);
        (output.status.code().unwrap(), report["errors"].as_u64().unwrap(), report["warnings"].as_u64().unwrap())
    };
    assert_eq!(counts(&example.ask("check", &["-o", "json"])), (0, 0, 1));
    assert_eq!(counts(&example.ask("check", &["-o", "json", "--strict"])), (1, 0, 1));
    write("edge.yaml", &WARNED_OF.replace("escapedSlashes", "escapedSlash"));
    let output = example.ask("check", &["-o", "json"]);
    assert_eq!(counts(&output), (1, 1, 1), "and what that closes");
    let told = json_of(&output)["diagnostics"][0].to_string();
    assert!(told.contains("edge.yaml") && told.contains("escapedSlashes"), "the place and the nearest word: {told}");
}

#[test]
fn the_real_envoy_is_asked_about_the_example() {
    let example = Example::new();
    let envoy = places::envoy().display().to_string();
    let shown = good(&example.ask("check", &["--envoy", "--envoy-binary", &envoy]));
    assert!(shown.contains(&format!("{PROXY}: Envoy 1.40.0 accepts it")), "{shown}");
    let refusing = example.ask("check", &["--envoy", "--envoy-binary", "/bin/false"]);
    assert_eq!(refusing.status.code(), Some(1), "{}", String::from_utf8_lossy(&refusing.stderr));
}

/// A route beside that of the example, whose path Envoy refuses.
fn refused_route() -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: refused, namespace: shop }}
spec:
  parentRefs: [{{ name: edge }}]
  rules: [{{ matches: [{{ path: {{ type: RegularExpression, value: '{REPEATED_TOO_OFTEN}' }} }}] }}]
"
    )
}

#[test]
fn what_envoy_refuses_is_an_error_of_the_object_that_it_refuses() {
    let example = Example::new();
    std::fs::write(Path::new(&example.path()).join("refused.yaml"), refused_route()).unwrap();
    let envoy = places::envoy().display().to_string();
    assert_eq!(json_of(&example.ask("check", &["-o", "json"]))["errors"], 0, "without Envoy nobody knows");
    let output = example.ask("check", &["--envoy", "--envoy-binary", &envoy, "-o", "json"]);
    let report = json_of(&output);
    assert_eq!((output.status.code(), &report["errors"]), (Some(1), &json!(1)), "{report}");
    assert_eq!(report["envoy"][0]["objects"], json!(["HTTPRoute/shop/refused"]));
    let told = report["diagnostics"].as_array().unwrap().iter().find(|one| one["code"] == "RefusedByEnvoy").unwrap().to_string();
    assert!(["HTTPRoute/shop/refused", "refused.yaml", REPEATED_WORDS].iter().all(|word| told.contains(word)), "{told}");
}

#[test]
fn a_refusal_that_no_object_explains_is_an_error_all_the_same() {
    let example = Example::new();
    let envoy = example.0.path().join("envoy");
    let script =
        "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'envoy  version: 0/1.40.0/Clean/RELEASE/BoringSSL'\necho 'not today' >&2\nexit 1\n";
    std::fs::write(&envoy, script).unwrap();
    std::fs::set_permissions(&envoy, std::fs::Permissions::from_mode(0o700)).unwrap();
    let output = example.ask("check", &["--envoy", "--envoy-binary", &envoy.display().to_string(), "-o", "json"]);
    let report = json_of(&output);
    assert_eq!((output.status.code(), &report["errors"], &report["diagnostics"]), (Some(1), &json!(1), &json!([])), "{report}");
    let told = json!({ "proxy": PROXY, "version": "1.40.0", "refused": "not today" });
    assert_eq!(report["envoy"], json!([told]), "it blames nobody");
}

#[test]
fn what_a_proxy_gets_is_printed_and_is_what_envoy_takes() {
    let example = Example::new();
    assert_eq!(good(&example.ask("render", &[])), format!("{PROXY}\n"));
    let shown = good(&example.ask("render", &["--proxy", PROXY]));
    let names: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("# ")?.split(" @ ").next()).collect();
    let filters = ["grpc-transcoder", "jwt-auth", "rate-limit"].map(|filter| format!("ECDS shop/edge/8080/{filter}"));
    let expected =
        [&["CDS Backend/shop/web".to_owned()], &filters[..], &["LDS shop/edge/8080".to_owned(), "RDS shop/edge/8080".to_owned()]];
    assert_eq!(names, expected.concat());
    for running in ["jwt-auth.wasm", "rate-limit.wasm", "FAIL_RELOAD", r#"\"requests\":20"#] {
        assert!(shown.contains(running), "{running}: what runs, not what denies while it is not there:\n{shown}");
    }
    validate(&good(&example.ask("render", &["--proxy", PROXY, "--bootstrap"]))).unwrap();
    let unknown = example.ask("render", &["--proxy", "gateway/shop/egde"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && said.contains(PROXY), "it names those that there are: {said}");

    let gateway = Path::new(&example.path()).join("gateway.yaml");
    let text = std::fs::read_to_string(&gateway).unwrap();
    std::fs::write(&gateway, text.replace("gatewayClassName: windrose", "gatewayClassName: windros")).unwrap();
    let nowhere = example.ask("render", &["--proxy", PROXY]);
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(said.contains("no GatewayClass `windros`"), "it says why there is none: {said}");
    let told = json_of(&example.ask("check", &["-o", "json"]))["diagnostics"].to_string();
    assert!(told.contains("did you mean `windrose`?"), "{told}");
}

#[test]
fn every_kind_of_the_example_has_a_schema_and_any_other_word_is_told_which_there_are() {
    let kinds = good(&windrose(&["schema"]));
    for kind in ["Gateway", "HTTPRoute", "Backend", "AuthPolicy", "RateLimitPolicy"] {
        assert!(kinds.lines().any(|line| line.split_whitespace().next() == Some(kind)), "{kind}: {kinds}");
        // Case is what nobody remembers.
        let schema: Value = serde_json::from_str(&good(&windrose(&["schema", &kind.to_lowercase()]))).unwrap();
        assert!(schema["properties"]["spec"]["properties"].is_object(), "{kind}");
    }
    let unknown = windrose(&["schema", "AuthPolice"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(!unknown.status.success() && said.contains("AuthPolicy"), "{said}");
}

/// Where the shell is there it reads the script too.
#[test]
fn completions_are_scripts_that_know_every_subcommand() {
    for (shell, syntax) in [("bash", Some("-n")), ("zsh", None), ("fish", None)] {
        let script = good(&windrose(&["completions", shell]));
        for word in ["serve", "init", "check", "render", "completions", "--coverage"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        if let Some(syntax) = syntax {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("windrose");
            std::fs::write(&file, script).unwrap();
            assert!(Command::new(shell).arg(syntax).arg(file).stdin(Stdio::null()).status().unwrap().success(), "{shell}");
        }
    }
}
