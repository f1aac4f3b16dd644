//! `windrose render`: the exact resources of one proxy.

use anyhow::{Context, bail};
use windrose_api::declared::Declared;
use windrose_envoy::{Modules, inline, print};
use windrose_plan::{Plan, Refused};
use windrose_vocab::{Kind, ObjectRef, ProxyKey, ProxyRole, Severity};

use crate::offline::{self, Offline};
use crate::output::{put, tell};
use crate::{args, filters};

pub(crate) fn run(options: &args::Render) -> anyhow::Result<()> {
    let offline = Offline::load(std::slice::from_ref(&options.path), &options.common.trust_domain)?;
    let plan = windrose_plan::plan(&offline.world.declared, &Refused::default(), &offline.settings);
    let Some(wanted) = &options.proxy else {
        return put(&plan.programs.keys().map(|proxy| format!("{proxy}\n")).collect::<String>());
    };
    let key = ProxyKey::parse(wanted).with_context(|| format!("--proxy {wanted}: write it as gateway/NS/NAME or workload/NS/NAME"))?;
    let Some(program) = plan.programs.get(&key) else {
        bail!("{}", nothing_of(&offline.world.declared, &plan, &key));
    };
    if offline.world.has_errors() {
        tell("warning: some objects could not be read and are not rendered (windrose check says which)");
    }
    let zone = options.zone.as_deref();
    if options.bootstrap {
        let modules = filters::read(&filters::folder(options.common.filters.as_deref())?)?;
        let rendered = offline::render(program, modules, zone);
        return put(&inline::bootstrap_yaml(rendered.iter().map(|resource| &**resource)));
    }
    // Without modules: nobody reads 300 KB of Wasm, and the rest is the same.
    let rendered = offline::render(program, Modules::default(), zone);
    put(&print::documents(rendered.iter().map(|resource| &**resource)))
}

/// Why nothing can be rendered for it: what is wrong with the object that it is named after, or that there is none.
fn nothing_of(declared: &Declared, plan: &Plan, key: &ProxyKey) -> String {
    let kind = match key.role {
        ProxyRole::Gateway | ProxyRole::Fleet => Kind::Gateway,
        ProxyRole::Workload => Kind::Workload,
    };
    let object = ObjectRef { kind, key: key.object.clone() };
    let proxies = plan.programs.keys().map(|proxy| format!("\n  {proxy}")).collect::<String>();
    let there_are = if proxies.is_empty() { "there is none".to_owned() } else { format!("there are:{proxies}") };
    if declared.get(&object).is_none() {
        return format!("no proxy {key} is declared; {there_are}");
    }
    let wrong = plan.diagnostics.iter().find(|told| told.severity == Severity::Error && told.object.as_ref() == Some(&object));
    let why = wrong
        .map_or_else(|| "its GatewayClass is that of another controller".to_owned(), |told| format!("{}: {}", told.field, told.message));
    format!("{object} runs on no proxy of ours: {why} (windrose check shows the place); {there_are}")
}
