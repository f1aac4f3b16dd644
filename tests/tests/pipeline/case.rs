//! The cases: folders of `tests/cases`, each one story, told through every room.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use windrose_files::Finding;
use windrose_tests::places;
use windrose_vocab::{ProxyKey, Resource};

use crate::mesh::Mesh;
use crate::rendered::{all, near, planned, rendered, renderer, zones};
use crate::whole::whole;

/// What a case must give, as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CaseOutput {
    /// `plan.txt`
    pub(crate) plan: String,
    /// `resources.yaml`: every proxy, secrets by their size only.
    pub(crate) resources: String,
    /// `diagnostics.txt`: one line each, with its place.
    pub(crate) diagnostics: String,
}

/// All resources that one proxy of a case is given, its own certificate among them.
pub(crate) struct Set {
    pub(crate) case: String,
    pub(crate) proxy: ProxyKey,
    pub(crate) resources: Vec<Arc<Resource>>,
}

/// Tells one case, from its YAML to its resources. `folder` is relative, so that places look alike on every machine.
pub(crate) fn run_case(folder: &Path) -> CaseOutput {
    let world = windrose_files::load(&[folder.join("declared.yaml")]);
    let plan = planned(&world.declared);
    let found = plan.diagnostics.iter().map(|diagnostic| world.source_map.find((**diagnostic).clone()));
    let diagnostics: Vec<Finding> = world.diagnostics.iter().cloned().chain(found).collect();
    CaseOutput {
        plan: windrose_plan::print(&plan),
        resources: rendered(&plan),
        diagnostics: diagnostics.iter().map(|finding| line(folder, finding)).collect(),
    }
}

/// Every set of every case, made once, with the real filter modules.
pub(crate) fn all_sets() -> &'static [Set] {
    static SETS: OnceLock<Vec<Set>> = OnceLock::new();
    SETS.get_or_init(|| {
        let modules = places::wasm_modules();
        let mesh = Mesh::new();
        folders().iter().flat_map(|folder| sets(folder, &modules.to_string_lossy(), &mesh)).collect()
    })
}

/// The folders of all cases, sorted, relative to the package.
///
/// `CASE=name` picks one.
pub(crate) fn folders() -> Vec<PathBuf> {
    let only = std::env::var_os("CASE");
    let entries = std::fs::read_dir("cases").unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.retain(|folder| only.as_deref().is_none_or(|only| folder.file_name() == Some(only)));
    folders.sort();
    folders
}

/// What is wrong where the errors of a case are not those that its first line names.
pub(crate) fn unexpected(folder: &Path, diagnostics: &str) -> Option<String> {
    let declared = std::fs::read_to_string(folder.join("declared.yaml")).unwrap();
    let said = named(declared.lines().next().unwrap_or_default());
    let found: BTreeSet<&str> = diagnostics.split("error[").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    let line = format!("[errors: {}]", found.iter().copied().collect::<Vec<_>>().join(", "));
    let told = if found.is_empty() { "nothing is refused".to_owned() } else { format!("it would be `{line}`") };
    (said != found).then(|| format!("{}: its first line names other errors than there are ({told}):\n{diagnostics}", folder.display()))
}

/// The codes in `[errors: …]` at the end of a line.
fn named(line: &str) -> BTreeSet<&str> {
    let codes = line.trim_end().strip_suffix(']').and_then(|line| line.rsplit_once("[errors: ")).map(|(_, codes)| codes);
    codes.into_iter().flat_map(|codes| codes.split(", ")).collect()
}

#[test]
fn a_case_says_what_is_refused_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |first: &str| std::fs::write(folder.path().join("declared.yaml"), format!("{first}\nkind: A\n")).unwrap();
    let refused = "declared.yaml:2: error[RefNotFound]: a\ndeclared.yaml:2: warning[Shadowed]: b\n";
    write("# A story.");
    assert_eq!(unexpected(folder.path(), "declared.yaml:2: warning[Shadowed]: b\n"), None);
    assert!(unexpected(folder.path(), refused).unwrap().contains("[errors: RefNotFound]"));
    write("# A story. [errors: RefNotFound]");
    assert_eq!(unexpected(folder.path(), refused), None);
    assert!(unexpected(folder.path(), "").unwrap().contains("nothing is refused"));
}

fn sets(folder: &Path, modules: &str, mesh: &Mesh) -> Vec<Set> {
    let case = folder.file_name().unwrap().to_string_lossy().into_owned();
    let plan = planned(&windrose_files::load(&[folder.join("declared.yaml")]).declared);
    let renderer = renderer(modules);
    let mut sets = Vec::new();
    for (proxy, program) in &plan.programs {
        let secrets = plan.identities.get(proxy).map_or_else(Vec::new, |identity| mesh.secrets(identity));
        let mut add = |case: String, of_program: Vec<Arc<Resource>>| {
            let resources = of_program.into_iter().chain(secrets.iter().cloned()).collect();
            sets.push(Set { case, proxy: proxy.clone(), resources });
        };
        add(case.clone(), all(&renderer, program));
        for zone in zones(program) {
            let zoned = renderer.full(program).with_endpoints(&near(modules, program, &zone));
            add(format!("{case}, in zone {zone},"), zoned.iter().cloned().collect());
        }
        if let Some(whole) = whole(program) {
            add(format!("{case}, whole,"), all(&renderer, &whole));
        }
    }
    sets
}

/// `declared.yaml:3:7: error[Code]: …`
fn line(folder: &Path, finding: &Finding) -> String {
    let mut line = String::new();
    if let Some(place) = &finding.place {
        write!(line, "{}", place.file.strip_prefix(folder).unwrap_or(&place.file).display()).unwrap();
        place.line.iter().for_each(|number| write!(line, ":{number}:{}", place.column).unwrap());
        line += ": ";
    }
    writeln!(line, "{}", finding.diagnostic).unwrap();
    line
}
