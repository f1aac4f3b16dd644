//! Planning and rendering once, without a server: for `check` and `render`.

mod blame;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};
use serde::Serialize;
use windrose_envoy::{Modules, Near, Rendered, Renderer, VersionKey};
use windrose_files::folder::Problem;
use windrose_files::{Finding, World};
use windrose_ir::Program;
use windrose_pki::{Authority, Directory, SystemEntropy};
use windrose_plan::{Plan, Refused, Settings};
use windrose_vocab::{Code, Diagnostic, NodeClass, ProxyKey, ResourceKind, Sensitive, SpiffeId, Text, TrustDomain};

use crate::envoy_binary::EnvoyBinary;
use crate::{ends, judges};

/// Versions are shown to people only here, so their key need not be secret.
const OPEN_KEY: [u8; 32] = [0; 32];

/// Stands for the folder that a proxy's bootstrap names, which is another one on each machine.
const SHOWN_FOLDER: &str = "/usr/share/windrose/filters";

/// How resources have the code of filters.
pub(crate) enum FilterCode {
    /// In themselves, for Envoy.
    Inline(Modules),
    /// As files of modules, for people: nobody reads 300 KB of Wasm.
    ByName,
}

/// What was read, and what planning depends on besides.
pub(crate) struct Offline {
    pub(crate) world: World,
    pub(crate) settings: Settings,
}

/// What Envoy says of one proxy's configuration.
#[derive(Debug, Serialize)]
pub(crate) struct EnvoyAnswer {
    pub(crate) proxy: String,
    pub(crate) version: String,
    /// Its words, if it refuses.
    pub(crate) refused: Option<String>,
    /// The objects for which it does, as far as that can be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<String>,
}

impl Offline {
    /// Reads `paths`, each once.
    pub(crate) fn load(paths: &[PathBuf], trust_domain: &str) -> anyhow::Result<Self> {
        files(paths)?;
        let domain = TrustDomain::parse(trust_domain).with_context(|| format!("--trust-domain {trust_domain}"))?;
        let once: Vec<PathBuf> = paths.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
        Ok(Self { world: windrose_files::load(&once), settings: judges::settings(domain) })
    }

    /// Everything that is wrong, with its place: first what reading found, then what planning found, then what Envoy refused, then
    /// what the clock says.
    pub(crate) fn findings(&self, plan: &Plan, refused: &Refused, now: SystemTime) -> Vec<Finding> {
        let planned = plan.diagnostics.iter().map(|diagnostic| (**diagnostic).clone());
        let found = planned.chain(self.refusals(refused)).chain(ends::warnings(&self.world.declared, now));
        let found = found.map(|diagnostic| self.world.source_map.find(diagnostic));
        self.world.diagnostics.iter().cloned().chain(found).collect()
    }

    /// What is told of refused objects, in the words of the status.
    fn refusals(&self, refused: &Refused) -> Vec<Diagnostic> {
        if refused.objects.is_empty() {
            return Vec::new();
        }
        let without = windrose_plan::plan(&self.world.declared, refused, &self.settings);
        let told = without.diagnostics.iter().filter(|diagnostic| diagnostic.code == Code::RefusedByEnvoy);
        told.map(|diagnostic| (**diagnostic).clone()).collect()
    }

    /// What the real Envoy says to the whole configuration of one proxy, with certificates made for the question.
    pub(crate) fn ask(&self, envoy: &EnvoyBinary, proxy: &ProxyKey, program: &Program, modules: &Modules) -> anyhow::Result<EnvoyAnswer> {
        let folder = std::env::temp_dir().join(format!("windrose-check-{}", std::process::id()));
        let asked = self.ask_in(&folder, envoy, proxy, program, modules);
        let _ = std::fs::remove_dir_all(&folder);
        asked
    }

    fn ask_in(
        &self,
        folder: &Path,
        envoy: &EnvoyBinary,
        proxy: &ProxyKey,
        program: &Program,
        modules: &Modules,
    ) -> anyhow::Result<EnvoyAnswer> {
        let home = Directory::open(folder)?;
        let rendered = render(program, FilterCode::Inline(modules.clone()), None);
        let now = SystemTime::now();
        let authority = Authority::open(home, &self.settings.trust_domain, now, &SystemEntropy)?;
        let identity = SpiffeId { trust_domain: self.settings.trust_domain.clone(), namespace: "check".into(), account: "check".into() };
        let made = authority.issue(&identity, now, &SystemEntropy)?;
        let key = Sensitive::new(made.key.expose().as_bytes().to_vec());
        let svid = windrose_envoy::render_svid(&made.chain, &key, made.version);
        let trust = windrose_envoy::render_trust(authority.bundle().pem(), authority.bundle().version());
        let resources = rendered.iter().map(|resource| &**resource).chain([&svid, &trust]);
        let file = folder.join("bootstrap.pb");
        std::fs::write(&file, windrose_envoy::inline::bootstrap(resources)).with_context(|| file.display().to_string())?;
        let ran = Command::new(&envoy.path)
            .args(["--mode", "validate", "--log-level", "error", "-c"])
            .arg(&file)
            .output()
            .with_context(|| envoy.path.display().to_string())?;
        let words = String::from_utf8_lossy(&ran.stderr);
        let refused = (!ran.status.success()).then(|| last_words(&words));
        Ok(EnvoyAnswer { proxy: proxy.to_string(), version: envoy.version.clone(), refused, objects: Vec::new() })
    }
}

/// The files of `paths`, at least one; else why there are none.
pub(crate) fn files(paths: &[PathBuf]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let listing = windrose_files::folder::list(paths);
    if !listing.files.is_empty() {
        return Ok(listing.files);
    }
    let why = listing.problems.iter().map(|(path, problem)| match problem {
        Problem::Unreadable(why) | Problem::TooMuch(why) => format!("{}: {why}", path.display()),
        Problem::Empty => format!("{}: no .yaml, .yml or .json file in it (windrose init writes an example)", path.display()),
    });
    bail!("nothing to read: {}", why.collect::<Vec<_>>().join("; "))
}

/// All resources of a program, in that zone if any.
pub(crate) fn render(program: &Program, code: FilterCode, zone: Option<&str>) -> Rendered {
    let (modules, folder) = match code {
        FilterCode::Inline(modules) => (modules, None),
        FilterCode::ByName => (Modules::default(), Some(Text::from(SHOWN_FOLDER))),
    };
    let class = NodeClass { modules: folder, zone: zone.map(Text::from) };
    let renderer = Renderer::new(class, modules, VersionKey::new(OPEN_KEY));
    let rendered = renderer.full(program);
    let near = renderer.near(&Near::default(), &Program::default(), (program, rendered.of_kind(ResourceKind::Endpoints)));
    rendered.with_endpoints(&near)
}

/// Envoy's last line that says what is wrong, without its time stamp and the name of our file.
fn last_words(log: &str) -> String {
    let line = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
    let words = line.rsplit_once("] ").map_or(line, |(_, words)| words);
    words.rsplit_once("bootstrap.pb': ").map_or(words, |(_, words)| words).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_told_with_the_place_of_its_secret() {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/gateway-https/declared.yaml");
        let offline = Offline::load(&[case], "windrose.local").unwrap();
        let plan = windrose_plan::plan(&offline.world.declared, &Refused::default(), &offline.settings);
        let told = |now| {
            let found = offline.findings(&plan, &Refused::default(), now).into_iter();
            found.filter(|one| one.diagnostic.message.contains("certificate")).collect::<Vec<_>>()
        };
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        assert!(told(made).is_empty(), "they are made for a hundred years");
        let late = told(made + Duration::from_secs(101 * 365 * 86_400));
        assert!(!late.is_empty());
        for one in late {
            assert!(one.diagnostic.message.starts_with("the certificate expired "), "{one:?}");
            let place = one.place.as_ref().unwrap();
            assert!(place.file.ends_with("declared.yaml") && place.line.is_some_and(|line| line > 1), "{place:?}");
        }
    }

    #[test]
    fn of_what_envoy_logs_its_words_are_kept() {
        let log = "[2026-11-28 21:08:37.1][1][critical][main] [server.cc:1] error initializing configuration '/tmp/x/bootstrap.pb': no such thing\n\n";
        assert_eq!(last_words(log), "no such thing");
        assert_eq!(last_words(""), "it ended without a word");
    }
}
