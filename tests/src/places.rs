//! Where things are: the checkout, the built programs, stock Envoy, the Wasm modules.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the checkout")
}

/// The folder of the profile that this test was built with, such as `target/debug`.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(1).expect("a test lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_owned()
}

/// The real `windrose`: the one that `WINDROSE_BIN` names, else built now, so that it is never older than its sources.
///
/// # Panics
/// When it cannot be built.
pub fn windrose() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(named) = std::env::var_os("WINDROSE_BIN") {
        return named.into();
    }
    BUILT
        .get_or_init(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let status =
                Command::new(cargo).current_dir(checkout()).args(["build", "-q", "-p", "xds-server", "--bin", "windrose"]).status();
            assert!(status.is_ok_and(|status| status.success()), "`cargo build -p xds-server --bin windrose` failed");
            built().join("windrose")
        })
        .clone()
}

/// The folder of the built Wasm modules.
///
/// # Panics
/// When they are not built.
pub fn wasm_modules() -> PathBuf {
    let folder = built().with_file_name("wasm-modules");
    assert!(folder.join("jwt-auth.wasm").exists(), "no Wasm modules in {}: make wasm", folder.display());
    folder
}

/// The sample services (`cargo test -p windrose-tests` builds them).
pub fn sample_service() -> PathBuf {
    let path = built().join("sample-service");
    assert!(path.exists(), "{} is missing: cargo build -p windrose-tests --bin sample-service", path.display());
    path
}

/// Stock Envoy of the pinned version: what `ENVOY` names, else the fetched one, else fetched now.
///
/// # Panics
/// When there is none; the message says the cure.
pub fn envoy() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let script = checkout().join("envoy-config/fetch-envoy.sh");
            let output = Command::new(&script).output().expect("fetch-envoy.sh can be run");
            assert!(output.status.success(), "no Envoy:\n{}", String::from_utf8_lossy(&output.stderr));
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        })
        .clone()
}

/// The pinned Zipkin: what `ZIPKIN_JAR` names, else the fetched one, else fetched now; nothing where it cannot be had.
pub fn zipkin() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ZIPKIN_JAR") {
        return Some(named.into());
    }
    let folder = checkout().join(".windrose/zipkin");
    let output = Command::new(checkout().join("tests/setup.sh")).arg("zipkin").arg(folder).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
