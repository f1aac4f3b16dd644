//! What a test may leave out on a machine that lacks something, and may not where everything must run.

use std::path::PathBuf;

/// Says what is skipped and why; where `CI` is set that is a failure.
///
/// # Panics
/// When `CI` is set and not empty.
#[expect(clippy::print_stderr, reason = "a skip that nobody sees is a lie")]
pub fn because(reason: &str) {
    let strict = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!strict, "CI skips nothing: {reason}");
    eprintln!("SKIPPED: {reason}");
}

/// The `java` of this machine, for the tests that need a real Zipkin.
pub fn java() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder| folder.join("java")).find(|path| path.is_file())
}
