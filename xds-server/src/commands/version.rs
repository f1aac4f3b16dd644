//! `windrose version`.

use serde_json::json;

use crate::args::Output;
use crate::envoy_binary::PINNED;
use crate::output;

pub(crate) fn run(format: Output) -> anyhow::Result<()> {
    let windrose = env!("CARGO_PKG_VERSION");
    let kubernetes = cfg!(feature = "kubernetes");
    let value = json!({ "windrose": windrose, "envoy": PINNED, "gatewayApi": "v1.7.0", "kubernetes": kubernetes });
    let without = if kubernetes { "" } else { "without the commands for Kubernetes\n" };
    output::print(format, &value, |_| format!("windrose {windrose}\nEnvoy {PINNED} (the tested one)\nGateway API v1.7.0\n{without}"))
}
