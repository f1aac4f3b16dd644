//! `windrose run`: the control plane with local Envoys.

use anyhow::Context;
use windrose_vocab::ProxyKey;

use crate::envoy_binary::EnvoyBinary;
use crate::wiring::{self, FleetOrder};
use crate::{args, output};

pub(crate) fn run(options: args::Run) -> anyhow::Result<()> {
    let envoy = EnvoyBinary::find(options.envoy.as_deref())?;
    if let Some(warning) = envoy.version_warning() {
        output::tell(&format!("warning: {warning}"));
    }
    let parse =
        |text: &String| ProxyKey::parse(text).with_context(|| format!("--only {text}: write it as gateway/NS/NAME or workload/NS/NAME"));
    let only = options.only.iter().map(parse).collect::<anyhow::Result<_>>()?;
    super::serve::run_server(wiring::serve(&options.server, Some(FleetOrder { envoy: envoy.path, only })))
}
