//! The Wasm modules on disk: found beside the binary, in the build folder, or where `--filters` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use windrose_envoy::Modules;
use windrose_vocab::Text;

/// The filters that a renderer may need.
pub(crate) const NAMES: [&str; 3] = ["jwt-auth", "rate-limit", "grpc-transcoder"];

/// The folder that holds all modules.
pub(crate) fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        let missing: Vec<String> =
            NAMES.iter().map(|name| file(folder, name)).filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
        if !missing.is_empty() {
            bail!("--filters {}: no {}", folder.display(), missing.join(", "));
        }
        return Ok(folder.to_owned());
    }
    let found = candidates().into_iter().find(|folder| NAMES.iter().all(|name| file(folder, name).is_file()));
    found.context("the filter modules (jwt-auth.wasm and so on) are not beside the binary: name their folder by --filters, or build them by `make wasm`")
}

/// All modules of a folder.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Modules> {
    let read = |name: &str| -> anyhow::Result<(Text, Bytes)> {
        let path = file(folder, name);
        let code = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok((Text::from(name), Bytes::from(code)))
    };
    let modules: BTreeMap<Text, Bytes> = NAMES.iter().map(|name| read(name)).collect::<anyhow::Result<_>>()?;
    Ok(Modules::new(modules))
}

/// The file of one module.
pub(crate) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}

fn candidates() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    let places = |folder: PathBuf| [folder.join("filters"), folder.clone(), folder.join("../wasm-modules")];
    beside.into_iter().flat_map(places).collect()
}
