//! What people and programs see of a finding.

use std::fs;

use windrose_files::{Finding, load, print};
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectRef};

fn findings(text: &str) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), text).unwrap();
    load(&[folder.path().to_owned()]).diagnostics
}

fn rendered(text: &str) -> String {
    let findings = findings(text);
    let lines: Vec<String> = findings.iter().map(|finding| print::render(finding, false)).collect();
    // The folder is another one each time.
    let text = lines.join("\n\n");
    text.lines()
        .map(|line| line.rsplit_once('/').filter(|_| line.contains("--> ")).map_or(line.to_owned(), |(_, file)| format!("--> {file}")))
        .collect::<Vec<_>>()
        .join("\n")
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: orders\nspec:\n";

#[test]
fn a_finding_shows_the_line_and_what_would_be_right() {
    let text = format!("# shop\n---\n{ROUTE}  parentRefs:\n  - name: edge\n  rules:\n  - backendRef:\n    - name: orders\n");
    let expected = "\
error[UnknownField]: unknown field `backendRef`
--> shop.yaml:11:5
   |
10 |   rules:
11 |   - backendRef:
   |     ^^^^^^^^^^
12 |     - name: orders
   |
   = note: HTTPRoute/default/orders: spec.rules[0].backendRef
   = help: did you mean `backendRefs`?";
    assert_eq!(rendered(&text), expected);
}

#[test]
fn a_document_that_is_no_yaml_shows_where_it_breaks() {
    let text = "a: [1,\nb: c\n";
    let expected = "\
error[Syntax]: unclosed bracket '['
--> shop.yaml:1:4
  |
1 | a: [1,
  |    ^
2 | b: c
  |";
    assert_eq!(rendered(text), expected);
}

#[test]
fn a_list_of_objects_is_shown_within_the_list() {
    let item = ROUTE.replace('\n', "\n  ");
    let text = format!("apiVersion: v1\nkind: List\nitems:\n- {item}  hostnames: [10.0.0.1]\n");
    let findings = findings(&text);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let place = findings[0].place.as_ref().unwrap();
    assert_eq!((place.line, place.column), (Some(9), 17), "{}", rendered(&text));
}

#[test]
fn the_lines_of_a_secret_are_never_shown() {
    let secret = |rest: &str| format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  password: hunter2\n{rest}");
    let cases = [
        secret("  other: [1]\n"),
        secret("strngData: {}\n"),
        secret("  broken: a: b\n"),
        secret("").replace("name: x", "nam: x"),
        secret("").replace("kind: Secret", "\"kind\" : \"Secret\"").replace("name: x", "name: x: y"),
        secret("").replace("v1", "v2"),
    ];
    for text in cases {
        let findings = findings(&text);
        assert!(!findings.is_empty(), "{text}");
        let shown = findings.iter().map(|finding| format!("{}\n{finding:?}", print::render(finding, false))).collect::<String>();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("shop.yaml:"), "{shown}");
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let findings = findings(&format!("{ROUTE}  hostnames: [10.0.0.1]\n"));
    let json = serde_json::to_value(print::Json::from(&findings[0])).unwrap();
    assert!(json["file"].as_str().unwrap().ends_with("shop.yaml"));
    assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(6), Some(15)));
    assert_eq!(
        (&json["severity"], &json["code"], &json["object"], &json["field"]),
        (&"error".into(), &"OutOfRange".into(), &"HTTPRoute/default/orders".into(), &"spec.hostnames[0]".into())
    );
    assert_eq!(json["message"], "`10.0.0.1` is an IP address, not a DNS name");
}

#[test]
fn what_planning_finds_is_placed_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), format!("{ROUTE}  parentRefs:\n  - name: edge\n")).unwrap();
    let world = load(&[folder.path().to_owned()]);
    let object = ObjectRef::new(Kind::HTTPRoute, "default", "orders");
    let line = |field: &str| {
        let diagnostic = Diagnostic::error(object.clone(), FieldPath::parse(field), Code::RefNotFound, "no Gateway `edge`");
        world.source_map.find(diagnostic).place.and_then(|place| place.line)
    };
    assert_eq!(line("spec.parentRefs[0].name"), Some(7));
    assert_eq!(line("spec.parentRefs[0].sectionName"), Some(7));
    assert_eq!(line("spec.rules[3].backendRefs"), Some(5));
    assert_eq!(world.source_map.resolve(&ObjectRef::new(Kind::Gateway, "default", "x"), &FieldPath::root()).map(|place| place.line), None);
}

#[test]
fn a_finding_without_colour_has_none_and_with_colour_has_some() {
    let findings = findings(&format!("{ROUTE}  hostnames: [10.0.0.1]\n"));
    assert!(!print::render(&findings[0], false).contains('\x1b'));
    assert!(print::render(&findings[0], true).contains('\x1b'));
}
