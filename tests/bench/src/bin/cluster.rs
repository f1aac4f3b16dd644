//! `make bench-cluster`: what a change costs in a real Kubernetes cluster in which Windrose is installed, from the API server to the
//! first answer of a real Envoy. Progress goes to stderr; any wrong answer voids the run.

use std::process::ExitCode;

use clap::Parser;
use windrose_bench::cluster::{Plan, measure};

/// Measures Windrose in the cluster that KUBECONFIG names; its addresses must be reachable from here.
#[derive(Debug, Parser)]
struct Args {
    /// Routes that are added one by one, before and during the churn.
    #[arg(long, default_value_t = 3_000)]
    routes: usize,
    /// Probes while other routes change.
    #[arg(long, default_value_t = 300)]
    probes: usize,
    /// Routes that there are for the last two parts.
    #[arg(long, default_value_t = 5_000)]
    world: usize,
    /// Services that those lead to.
    #[arg(long, default_value_t = 2_000)]
    services: usize,
    /// Endpoints of all of these Services together.
    #[arg(long, default_value_t = 20_000)]
    endpoints: usize,
    /// Seconds of one change a second.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Changes a second while there is churn.
    #[arg(long, default_value_t = 20)]
    churn: u32,
    /// Figures as JSON.
    #[arg(long)]
    json: bool,
    /// The namespace of the control plane.
    #[arg(long, default_value = "windrose-system")]
    system: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Args { routes, probes, world, services, endpoints, seconds, churn, json, system } = Args::parse();
    let plan = Plan { routes, probes, world, services, endpoints, seconds, churn, system };
    match measure(&plan).await {
        Ok(figures) if json => match serde_json::to_string_pretty(&figures) {
            Ok(text) => tell(&text),
            Err(_) => return ExitCode::FAILURE,
        },
        Ok(figures) => figures.iter().for_each(|figure| tell(&figure.to_string())),
        Err(error) => {
            windrose_bench::cluster::say(&format!("the run is void: {error:#}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn tell(text: &str) {
    println!("{text}");
}
