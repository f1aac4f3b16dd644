//! Files that are made from others and lie in the tree all the same, so that no build needs what makes them: each must be
//! what it would be now. `BLESS=1` writes them.

use std::path::Path;

use windrose_tests::places::checkout;

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
