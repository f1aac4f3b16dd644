//! `make demo`: starts the product on the demonstration's configuration and walks a person through it, one step at a
//! time. With `--once` nobody is asked, and the first wrong answer ends it with exit code 1.

use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Parser;

mod stage;
mod steps;
mod tell;

use stage::Stage;
use tell::Teller;

/// Shows Windrose on this machine: one edge Envoy, four workloads with sidecars, no root needed.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Run through without a person, and fail at the first wrong answer.
    #[arg(long)]
    once: bool,
    /// Folder for configuration, state and logs; it is emptied first.
    #[arg(long, default_value = ".demo")]
    folder: PathBuf,
    /// The `windrose` to show.
    #[arg(long, env = "WINDROSE_BIN")]
    windrose: PathBuf,
    /// The configuration to serve.
    #[arg(long, default_value = "envoy-config/demo")]
    config: PathBuf,
}

/// Why the demonstration ended early.
type Failure = Box<dyn Error + Send + Sync>;

/// How long everything may take to start, on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let teller = Teller::new(arguments.once);
    match show(&arguments, &teller).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            teller.fail(&failure.to_string());
            std::process::ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments, teller: &Teller) -> Result<(), Failure> {
    let begun = Instant::now();
    teller.say("Starting the control plane, one edge Envoy, and four workloads with a sidecar each …");
    let mut stage = Stage::set(arguments)?;
    let mut ctrl_c = pin!(tokio::signal::ctrl_c());
    let walked = tokio::select! {
        walked = walk(arguments, teller, &mut stage, begun) => walked,
        _ = &mut ctrl_c => Ok(()),
    };
    stage.end().await;
    // On a terminal Ctrl-C ends the command that is shown as well: that is no wrong answer.
    if walked.is_err() && tokio::time::timeout(Duration::ZERO, ctrl_c).await.is_err() {
        return walked;
    }
    teller.say("Ended; nothing is left running.");
    Ok(())
}

async fn walk(arguments: &Arguments, teller: &Teller, stage: &mut Stage, begun: Instant) -> Result<(), Failure> {
    stage.first_answer(START_MAX).await?;
    teller.say(&format!("First answered request after {:.1} s. Logs: {}\n", begun.elapsed().as_secs_f32(), arguments.folder.display()));
    steps::walk(stage, teller).await?;
    if !arguments.once {
        teller.say("\nThe fleet, until Ctrl-C:");
        stage.live_table().await?;
    }
    Ok(())
}
