//! `windrose render`: the exact resources of one proxy.

use anyhow::{Context, bail};
use windrose_envoy::{Modules, inline, print};
use windrose_plan::Refused;
use windrose_vocab::ProxyKey;

use crate::offline::{self, Offline};
use crate::output::{put, tell};
use crate::{args, filters};

pub(crate) fn run(options: &args::Render) -> anyhow::Result<()> {
    let offline = Offline::load(std::slice::from_ref(&options.path), &options.common.trust_domain)?;
    let plan = windrose_plan::plan(&offline.world.declared, &Refused::default(), &offline.settings);
    let proxies = || plan.programs.keys().map(|proxy| format!("{proxy}\n")).collect::<String>();
    let Some(wanted) = &options.proxy else { return put(&proxies()) };
    let key = ProxyKey::parse(wanted).with_context(|| format!("--proxy {wanted}: write it as gateway/NS/NAME or workload/NS/NAME"))?;
    let Some(program) = plan.programs.get(&key) else {
        bail!("no proxy {key} is declared; there are:\n{}", proxies());
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
