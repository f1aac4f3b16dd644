//! Compiles the protos of the sample services with protox, so that no machine needs `protoc`.
//! Besides the Rust code it leaves the descriptor set, options included, for reflection and transcoding.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_files(["orders/v1/orders.proto", "inventory/v1/inventory.proto"])?;
    // Encoded by protox and not by prost: prost forgets the `google.api.http` options.
    std::fs::write(out.join("samples.pb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    // Apart from the samples: no service of theirs tells that it is a collector of traces.
    let mut traces = protox::Compiler::new(["proto"])?;
    traces.open_file("otlp/trace.proto")?;
    tonic_prost_build::configure().compile_fds(traces.file_descriptor_set())?;
    Ok(())
}
