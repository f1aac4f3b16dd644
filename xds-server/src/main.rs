//! The `windrose` binary: arguments, logs, and the exit code. 0 good, 1 wrong input or a failure, 2 wrong usage.

// Without Kubernetes nobody asks for some of what is known.
#![cfg_attr(not(feature = "kubernetes"), allow(dead_code))]

mod accepted_journal;
mod args;
mod carried;
mod client;
#[cfg(feature = "kubernetes")]
mod cluster;
mod commands;
mod ends;
mod envoy_binary;
mod filters;
mod fleet;
mod identities;
mod journal;
mod judges;
mod last_good;
mod logs;
mod metrics;
mod offline;
mod orphans;
mod output;
mod pipeline;
mod progress;
mod refusals;
mod report;
mod revocations;
mod source;
mod state_folder;
mod svids;
#[cfg(test)]
mod test_world;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use commands::Ending;

/// In the image, which has no libc of its own: musl's allocator has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    if let Err(error) = logs::start(&cli.log, cli.log_format) {
        output::tell(&format!("error: {error:#}"));
        return ExitCode::from(2);
    }
    match commands::dispatch(cli) {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Wrong) => ExitCode::from(1),
        Err(error) => {
            output::tell(&format!("error: {error:#}"));
            ExitCode::from(1)
        }
    }
}
