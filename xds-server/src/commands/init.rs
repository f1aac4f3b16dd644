//! `windrose init`: a commented example to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::args;
use crate::output::put;

/// The example, file by file; the tests check, render and run it as it is written.
const FILES: [(&str, &str); 4] = [
    ("gateway.yaml", include_str!("../../../envoy-config/example/gateway.yaml")),
    ("backend.yaml", include_str!("../../../envoy-config/example/backend.yaml")),
    ("route.yaml", include_str!("../../../envoy-config/example/route.yaml")),
    ("policies.yaml", include_str!("../../../envoy-config/example/policies.yaml")),
];

pub(crate) fn run(options: &args::Init) -> anyhow::Result<()> {
    let folder = &options.path;
    if folder.is_file() {
        bail!("{} is a file: name the folder that the example goes into", folder.display());
    }
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    if !options.force {
        refuse_to_overwrite(folder)?;
    }
    for (name, text) in FILES {
        write(&folder.join(name), text, options.force)?;
    }
    let shown = folder.display();
    put(&format!("wrote {} files into {shown}\n\nnext:\n  windrose check {shown}\n  windrose run {shown}\n", FILES.len()))
}

/// Nothing is written when something would be lost.
fn refuse_to_overwrite(folder: &Path) -> anyhow::Result<()> {
    let there: Vec<String> =
        FILES.iter().map(|(name, _)| folder.join(name)).filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    if !there.is_empty() {
        bail!("{} is there already (--force overwrites)", there.join(", "));
    }
    Ok(())
}

fn write(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(!force).create(force).truncate(force);
    let mut file = options.open(path).map_err(|cause| match cause.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!("{} appeared meanwhile (--force overwrites)", path.display()),
        _ => anyhow::Error::new(cause).context(path.display().to_string()),
    })?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_there_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let options = args::Init { path: folder.path().to_owned(), force: false };
        std::fs::write(folder.path().join("route.yaml"), "mine").unwrap();
        let refused = run(&options).unwrap_err().to_string();
        assert!(refused.contains("route.yaml"), "{refused}");
        assert!(!folder.path().join("gateway.yaml").exists());
        assert_eq!(std::fs::read_to_string(folder.path().join("route.yaml")).unwrap(), "mine");
    }
}
