//! Files that are made from others and lie in the tree all the same, so that no build needs what makes them: each must be
//! what it would be now. `BLESS=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use windrose_tests::places::checkout;
use windrose_tests::server::windrose;
use windrose_vocab::Code;

/// The name of each file, and its content now. No machine needs `protoc` for it.
fn generated() -> Vec<(String, Vec<u8>)> {
    let protos = checkout().join("tests/proto");
    let mut samples = protox::Compiler::new([&protos]).unwrap();
    samples.include_imports(true);
    samples.open_files(["orders/v1/orders.proto", "inventory/v1/inventory.proto"]).unwrap();
    // Apart from the samples: no service of theirs tells that it is a collector of traces.
    let mut traces = protox::Compiler::new([&protos]).unwrap();
    traces.open_file("otlp/trace.proto").unwrap();
    let out = tempfile::tempdir().unwrap();
    for compiler in [&samples, &traces] {
        tonic_prost_build::configure().out_dir(out.path()).compile_fds(compiler.file_descriptor_set()).unwrap();
    }
    let packages = ["orders.v1", "inventory.v1", "opentelemetry.proto.collector.trace.v1"];
    let read = |package: &&str| std::fs::read(out.path().join(format!("{package}.rs"))).unwrap();
    let code = packages.iter().map(|package| (format!("tests/src/proto/{package}.rs"), read(package)));
    // Encoded by protox and not by prost: prost forgets the `google.api.http` options.
    code.chain([("envoy-config/demo/orders.pb".to_owned(), samples.encode_file_descriptor_set())]).collect()
}

#[test]
fn what_is_generated_of_the_protos_is_what_they_say_now() {
    for (name, content) in generated() {
        let file = checkout().join(&name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &content).unwrap();
        }
        assert!(is_current(&file, &content), "{name} is not current; `make bless` writes it");
    }
}

fn is_current(file: &Path, content: &[u8]) -> bool {
    std::fs::read(file).is_ok_and(|there| there == content)
}

/// Where the Helm chart lies in the tree.
const CHART: &str = "kind-cluster/helm/windrose";

/// The chart that the code makes, in a folder of its own.
fn made_chart() -> TempDir {
    let made = tempfile::tempdir().unwrap();
    printed(&["install", "--helm", made.path().to_str().unwrap()]);
    made
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.insert(path.strip_prefix(folder).unwrap().display().to_string(), text);
        }
    }
    found
}

/// What `windrose` prints with these arguments.
fn printed(arguments: &[&str]) -> String {
    let output = windrose(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_helm_chart_is_what_the_code_makes() {
    let (made, folder) = (files(made_chart().path()), checkout().join(CHART));
    if std::env::var_os("BLESS").is_some() {
        drop(std::fs::remove_dir_all(&folder));
        for (name, text) in &made {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    let there = files(&folder);
    assert_eq!(there.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "{CHART}; `make bless` writes it");
    for (name, text) in &made {
        assert!(there[name] == *text, "{CHART}/{name} is not current; `make bless` writes it");
    }
}

/// Documents of a YAML stream, sorted, without what says nothing: comments, how a text is quoted, blank ends.
fn documents(yaml: &str) -> Vec<String> {
    let said = |line: &&str| !line.trim_start().starts_with('#') && !line.trim_end().is_empty();
    let document = |text: &str| text.lines().filter(said).map(|line| line.replace(['"', '\''], "") + "\n").collect::<String>();
    let mut all: Vec<String> = yaml.split("---\n").map(document).filter(|document| !document.is_empty()).collect();
    all.sort();
    all
}

/// The one annotation that Helm needs and nobody else.
fn without_helms_own(yaml: &str) -> String {
    yaml.lines().filter(|line| line.trim() != "helm.sh/resource-policy: keep").map(|line| format!("{line}\n")).collect()
}

/// Asserts that these are the objects that `install` prints, but the namespace, which Helm makes by itself.
fn same_objects(yaml: &str) {
    let (expanded, mut installed) = (documents(&without_helms_own(yaml)), documents(&printed(&["install"])));
    installed.retain(|document| !document.contains("\nkind: Namespace\n"));
    assert_eq!(expanded.len(), installed.len());
    for (expanded, installed) in expanded.iter().zip(&installed) {
        assert_eq!(expanded, installed);
    }
}

/// The templates are objects with six values left out: put in by hand, they are what `install` prints.
#[test]
fn the_helm_chart_with_its_values_is_what_install_prints() {
    let chart = files(made_chart().path());
    let value = |name: &str| {
        let line = chart["values.yaml"].lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("values.yaml has no {name}")).to_owned()
    };
    let mut yaml = chart["templates/definitions.yaml"].clone() + &chart["templates/windrose.yaml"];
    for name in ["image", "envoyImage", "trustDomain", "replicas", "namespaceSelector"] {
        for words in [format!("{{{{ .Values.{name} | quote }}}}"), format!("{{{{ .Values.{name} }}}}")] {
            yaml = yaml.replace(&words, &value(name));
        }
    }
    yaml = yaml.replace("{{ .Release.Namespace }}", "windrose-system");
    yaml = yaml.replace("{{- if .Values.definitions }}\n", "").replace("{{- end }}\n", "").replace(r#"{{ "{{" }}"#, "{{");
    same_objects(&yaml);
}

/// The same by Helm itself, where this machine has it.
#[test]
fn helm_makes_of_the_chart_what_install_prints() {
    let named = std::env::var_os("HELM");
    let helm = named.clone().unwrap_or_else(|| "helm".into());
    let chart = made_chart();
    let command = ["template", "windrose", chart.path().to_str().unwrap(), "--namespace", "windrose-system", "--kube-version", "1.34.0"];
    let Ok(output) = Command::new(&helm).args(command).output() else {
        assert!(named.is_none(), "HELM names what cannot be run");
        eprintln!("skipped: there is no helm here (HELM= names one); the test before this one expands the chart by hand");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    same_objects(&String::from_utf8(output.stdout).unwrap());
}

/// Every reason that a status may carry, by the ways they are written in the code.
#[test]
fn every_reason_of_a_status_has_its_cure_in_the_docs() {
    let docs = std::fs::read_to_string(checkout().join("docs/kubernetes/troubleshooting.md")).unwrap();
    let mut sources = files(&checkout().join("xds-server/crates/plan/src"));
    sources.extend(files(&checkout().join("xds-server/src/cluster")));
    let mut missing = BTreeSet::new();
    for (file, text) in sources.iter().filter(|(file, _)| !file.contains("test")) {
        let literal = ["Condition::no(\"", "Runs::no(\"", "Problem::new(\"", "reason: \"", "wrong_kind(reference, \"", "missing(view, \""];
        for opening in literal.into_iter().chain([": &str = \""]) {
            for found in text.split(opening).skip(1) {
                let reason: String = found.chars().take_while(|letter| letter.is_alphanumeric()).collect();
                let is_one = reason.starts_with(char::is_uppercase) && found[reason.len()..].starts_with('"');
                if is_one && !docs.contains(&format!("`{reason}`")) {
                    missing.insert(format!("{reason} ({file})"));
                }
            }
        }
    }
    // What a cluster's object can be refused by.
    for code in [Code::RefusedByEnvoy, Code::InternalError].map(Code::as_str) {
        if !docs.contains(&format!("`{code}`")) {
            missing.insert(code.to_owned());
        }
    }
    assert_eq!(missing, BTreeSet::new());
}
