//! `windrose serve`: the control plane.

use std::time::Duration;

use anyhow::Context;

use crate::{args, wiring};

pub(crate) fn run(options: args::Serve) -> anyhow::Result<()> {
    run_server(wiring::serve(&options.server, None))
}

/// Threads that still block after everything has ended are left behind: nothing keeps the process alive but the server.
const BLOCKED_MAX: Duration = Duration::from_secs(2);

/// Runs the server to its end.
pub(super) fn run_server(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("windrose").build().context("async runtime")?;
    let ended = runtime.block_on(server);
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}
