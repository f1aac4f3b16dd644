//! Descriptor sets and policies: what is compiled, and whose name a mistake carries.

use windrose_grpc_transcoder::config::{Config, Policy};
use windrose_grpc_transcoder::descriptor;
use windrose_grpc_transcoder::schema::{Cardinality, Form, Kind};

use crate::kitchen::{SERVICE, SET, schema};

fn config(proto: &str) -> Config {
    let folder = std::env::temp_dir().join(format!("windrose-transcoder-{}-{:x}", std::process::id(), fingerprint(proto)));
    std::fs::create_dir_all(&folder).unwrap();
    let header = "syntax = \"proto3\"; package t; import \"google/api/annotations.proto\"; message In { string a = 1; In b = 2; repeated string c = 3; oneof o { string x = 4; string y = 5; } } ";
    std::fs::write(folder.join("t.proto"), format!("{header}{proto}")).unwrap();
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/proto");
    let mut compiler = protox::Compiler::new([folder.to_str().unwrap(), samples]).unwrap();
    compiler.include_imports(true).open_file("t.proto").unwrap();
    let set = compiler.encode_file_descriptor_set();
    std::fs::remove_dir_all(&folder).unwrap();
    policy_of(&set, "t.S")
}

fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn policy_of(set: &[u8], service: &str) -> Config {
    let policy = Policy { descriptors: "d".into(), services: vec![service.into()], ..Policy::default() };
    Config {
        descriptors: [("d".into(), Config::encode_descriptors(set))].into(),
        policies: [("p".into(), policy)].into(),
        ..Config::default()
    }
}

fn reason(config: &Config) -> String {
    config.compile().map(|_| String::new()).unwrap_err().0
}

#[test]
fn a_schema_has_what_the_methods_reach() {
    let schema = schema();
    let names: Vec<&str> = schema.methods.iter().map(|method| &*method.grpc_path).collect();
    assert_eq!(names[..2], ["/kitchen.v1.Kitchen/Cook", "/kitchen.v1.Kitchen/Serve"]);
    assert_eq!(schema.methods[0].rules.len(), 7);
    assert!(schema.methods[1].server_streaming && schema.methods[2].client_streaming);
    let everything = schema.message(schema.message_named("kitchen.v1.Everything").unwrap());
    let field = |key: &str| everything.by_key(key, 0).unwrap().1;
    assert_eq!(field("byName").cardinality, Cardinality::Map);
    assert_eq!(field("maybe").cardinality, Cardinality::Explicit);
    assert_eq!(field("maybe").oneof, None);
    assert_eq!(field("choiceText").oneof, Some(0));
    assert_eq!(field("quoted\"name").number, 73);
    assert_eq!(field("other_name").number, 73);
    let Kind::Message(at) = field("at").kind else { panic!("a message") };
    assert_eq!(schema.message(at).form, Form::Timestamp);
    assert!(schema.message_named("google.rpc.ErrorInfo").is_some());
    assert!(schema.message_named("google.protobuf.FileDescriptorProto").is_none());
}

#[test]
fn mistakes_name_their_place() {
    let http = |rule: &str| format!("service S {{ rpc M(In) returns (In) {{ option (google.api.http) = {{ {rule} }}; }} }}");
    for (rule, expected) in [
        ("get: \"v1\"", "policy p: method t.S.M: GET v1: a template begins with \"/\""),
        ("get: \"/v1/{nope}\"", "variable nope is no field of t.In"),
        ("get: \"/v1/{b}\"", "variable b is not a single value"),
        ("get: \"/v1/{c}\"", "variable c is not a single value"),
        ("get: \"/v1/{a}/{a}\"", "variable a sets a field that another variable sets"),
        ("post: \"/v1\" body: \"nope\"", "body nope is no field of t.In"),
        ("post: \"/v1/{a}\" body: \"a\"", "body a cannot be given beside the variables"),
        ("post: \"/v1/{x}\" body: \"y\"", "body y cannot be given beside the variables"),
        ("get: \"/v1\" response_body: \"nope\"", "response_body nope is no field of t.In"),
        ("get: \"/v1\" additional_bindings { get: \"/v1\" }", "t.S.M is bound to the same requests already"),
        ("body: \"*\"", "t.proto: method t.S.M: the google.api.http annotation names no method and path"),
    ] {
        let reason = reason(&config(&http(rule)));
        assert!(reason.contains(expected), "{rule}: {reason}");
    }
    let streaming = "service S { rpc M(stream In) returns (In) { option (google.api.http) = { post: \"/v1/{a}\" body: \"*\" }; } }";
    assert!(reason(&config(streaming)).contains("a client-streaming method needs body \"*\" and no variables"));
    assert!(reason(&config("service S { rpc M(In) returns (In); }")).contains("none of its methods has a google.api.http annotation"));
}

#[test]
fn policies_name_what_they_lack() {
    assert_eq!(
        reason(&policy_of(&SET, "kitchen.v1.Bath")),
        "descriptors d: service kitchen.v1.Bath is not in the descriptor set; it has kitchen.v1.Kitchen"
    );
    let mut config = policy_of(&SET, SERVICE);
    config.policies.get_mut("p").unwrap().request_bytes_max = Some(0);
    assert_eq!(reason(&config), "policy p: request_bytes_max is 0, it must be from 1 to 67108864");
    config.policies.get_mut("p").unwrap().descriptors = "x".into();
    assert_eq!(reason(&config), "policy p: there are no descriptors named x");
    config.descriptors.insert("d".into(), "*".into());
    assert!(reason(&config).contains("descriptors d: not base64"));
    assert!(reason(&policy_of(b"\x0a\x05abc", SERVICE)).contains("is not a google.protobuf.FileDescriptorSet"));
    assert!(Config::parse(b"{\"policy\":{}}").unwrap_err().0.contains("policy: unknown member"));
}

#[test]
fn a_set_without_its_imports_says_so() {
    let mut compiler = protox::Compiler::new([
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/proto"),
    ])
    .unwrap();
    compiler.include_imports(false).open_file("kitchen.proto").unwrap();
    let error = descriptor::load(&compiler.encode_file_descriptor_set(), &[SERVICE], &[]).unwrap_err();
    assert!(error.0.contains("is not in the descriptor set (was it written with --include_imports?)"), "{error}");
}

#[test]
fn a_configuration_is_read_back() {
    let config = policy_of(&SET, SERVICE);
    assert_eq!(Config::parse(config.to_json().as_bytes()).unwrap(), config);
    assert_eq!(config.compile().unwrap()["p"].bindings.len(), 10);
    assert_eq!(descriptor::service_names(&SET).unwrap(), [SERVICE]);
}

#[test]
fn auto_mapping_binds_methods_without_annotation() {
    let mut config = config("service S { rpc M(In) returns (In); }");
    config.policies.get_mut("p").unwrap().auto_mapping = true;
    let compiled = config.compile().unwrap();
    assert!(compiled["p"].router.matched("POST", "/t.S/M").unwrap().is_some());
}
