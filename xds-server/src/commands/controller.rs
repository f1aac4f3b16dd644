//! `windrose controller`: the control plane in a Kubernetes cluster.

use super::serve::run_server;
use crate::{args, wiring};

pub(crate) fn run(options: &args::Controller) -> anyhow::Result<()> {
    run_server(wiring::serve_cluster(options))
}
