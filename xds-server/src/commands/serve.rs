//! `windrose serve`: the control plane.

use anyhow::Context;

use crate::{args, wiring};

pub(crate) fn run(options: args::Serve) -> anyhow::Result<()> {
    runtime()?.block_on(wiring::serve(&options.server, None))
}

/// The server's runtime.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("windrose").build().context("async runtime")
}
