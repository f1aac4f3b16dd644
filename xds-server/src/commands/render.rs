//! `windrose render`: the exact resources of one proxy.

use anyhow::{Context, bail};
use windrose_api::declared::Declared;
use windrose_envoy::{inline, print};
use windrose_plan::{ConditionType, Plan, Refused};
use windrose_vocab::{Kind, ObjectRef, ProxyKey, ProxyRole, Severity};

use crate::offline::{self, FilterCode, Offline};
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
        let rendered = offline::render(program, FilterCode::Inline(modules), zone);
        return put(&inline::bootstrap_yaml(rendered.iter().map(|resource| &**resource)));
    }
    let rendered = offline::render(program, FilterCode::ByName, zone);
    put(&print::documents(rendered.iter().map(|resource| &**resource)))
}

/// Why nothing can be rendered for it: what is wrong with the object that it is named after, or that there is none.
fn nothing_of(declared: &Declared, plan: &Plan, key: &ProxyKey) -> String {
    let proxies = plan.programs.keys().map(|proxy| format!("\n  {proxy}")).collect::<String>();
    let there_are = if proxies.is_empty() { "there is none".to_owned() } else { format!("there are:{proxies}") };
    let kind = match key.role {
        ProxyRole::Gateway => Some(Kind::Gateway),
        ProxyRole::Workload => Some(Kind::Workload),
        ProxyRole::Fleet => None,
    };
    let object = kind.map(|kind| ObjectRef { kind, key: key.object.clone() });
    let is_known = |object: &ObjectRef| declared.get(object).is_some() || declared.set_aside.contains_key(object);
    let Some(object) = object.filter(is_known) else { return format!("no proxy {key} is declared; {there_are}") };
    let error = plan.diagnostics.iter().find(|told| told.severity == Severity::Error && told.object.as_ref() == Some(&object));
    let error = error.map(|told| format!(": {}: {}", told.field, told.message));
    let verdict =
        || plan.verdicts_of(&object).find_map(|(_, verdict)| verdict.conditions.get(ConditionType::Accepted).filter(|one| !one.status));
    let why = error.or_else(|| verdict().map(|one| format!(": {}", one.message))).unwrap_or_default();
    format!("{object} runs on no proxy of ours{why} (windrose check says more); {there_are}")
}
