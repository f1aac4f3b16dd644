//! The subcommands, one file each, and what several of them need.

pub(crate) mod bootstrap;
mod check;
#[cfg(feature = "kubernetes")]
mod controller;
mod envoy;
mod init;
#[cfg(feature = "kubernetes")]
mod install;
mod proxies;
mod render;
mod run;
mod schema;
mod serve;
mod status;
mod token;
#[cfg(feature = "kubernetes")]
mod uninstall;
#[cfg(feature = "kubernetes")]
mod upgrade;
mod version;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, Command, EnvoyCommand, Output};
use crate::client::{Answer, Server};

/// Between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What the process ends with.
pub(crate) enum Ending {
    /// 0.
    Good,
    /// 1: the command worked, and what it looked at is wrong.
    Wrong,
}

/// Does what the command line says.
pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<Ending> {
    match cli.command {
        Command::Serve(options) => serve::run(options).map(|()| Ending::Good),
        #[cfg(feature = "kubernetes")]
        Command::Cluster(command) => in_cluster(command).map(|()| Ending::Good),
        Command::Run(options) => run::run(options).map(|()| Ending::Good),
        Command::Init(options) => init::run(&options).map(|()| Ending::Good),
        Command::Check(options) => check::run(&options),
        Command::Render(options) => render::run(&options).map(|()| Ending::Good),
        Command::Bootstrap(options) => bootstrap::run(&options).map(|()| Ending::Good),
        Command::Status(options) => block_on(status::run(options)).map(|()| Ending::Good),
        Command::Proxies(options) => block_on(proxies::run(options)).map(|()| Ending::Good),
        Command::Token(options) => token::run(&options).map(|()| Ending::Good),
        Command::Schema(options) => schema::run(&options).map(|()| Ending::Good),
        Command::Envoy(EnvoyCommand::Fetch { dir }) => envoy::fetch(&dir).map(|()| Ending::Good),
        Command::Envoy(EnvoyCommand::Which { envoy }) => envoy::which(envoy.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "windrose", &mut script);
            crate::output::put(&String::from_utf8_lossy(&script)).map(|()| Ending::Good)
        }
        Command::Version { output } => version::run(output).map(|()| Ending::Good),
    }
}

#[cfg(feature = "kubernetes")]
fn in_cluster(command: crate::args::ClusterCommand) -> anyhow::Result<()> {
    use crate::args::ClusterCommand;
    match command {
        ClusterCommand::Controller(options) => controller::run(&options),
        ClusterCommand::Install(options) => install::run(&options),
        ClusterCommand::Upgrade(options) => block_on(upgrade::run(&options)),
        ClusterCommand::Uninstall(options) => uninstall::run(&options),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Reads `90d` or a Gateway API duration such as `12h`.
pub(crate) fn parse_ttl(flag: &str, text: &str) -> anyhow::Result<Duration> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let read = days.map(|days| Duration::from_secs(u64::from(days) * 86_400)).or_else(|| windrose_vocab::quantity::parse_duration(text));
    read.with_context(|| format!("{flag} {text}: not a time such as `90d`, `12h` or `30m`"))
}

/// Runs one question on a small runtime.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?.block_on(future)
}

/// Shows the report at `path` once, or again and again until Ctrl-C: on a terminal each second, because ages grow, and
/// elsewhere when something changed. A server that goes away for a moment ends nothing.
async fn watch<T: serde::de::DeserializeOwned>(
    again: bool,
    output: Output,
    server: &Server,
    path: &str,
    mut show: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut shown = server.get::<T>(path, None).await?.context("the server says that nothing changed, and was not asked that")?;
    if !again {
        return show(&shown.report);
    }
    let screen = output.is_for_people() && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut draw = |answer: &Answer<T>, problem: Option<&anyhow::Error>| {
        if screen {
            crate::output::put("\x1b[2J\x1b[H")?;
        } else if let Some(problem) = problem {
            crate::output::tell(&format!("warning: {problem:#}"));
            return Ok(());
        }
        show(&answer.report)?;
        problem.filter(|_| screen).map_or(Ok(()), |problem| crate::output::put(&format!("\nas it was last: {problem:#}\n")))
    };
    draw(&shown, None)?;
    let mut failing = false;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
        match server.get::<T>(path, shown.revision.as_deref()).await {
            Ok(answer) => {
                let changed = answer.is_some();
                shown = answer.unwrap_or(shown);
                if changed || screen {
                    draw(&shown, None)?;
                }
                failing = false;
            }
            Err(problem) => {
                if screen || !failing {
                    draw(&shown, Some(&problem))?;
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_in_days_or_a_duration() {
        assert_eq!(parse_ttl("--ttl", "90d").unwrap(), Duration::from_secs(90 * 86_400));
        assert_eq!(parse_ttl("--ttl", "1h30m").unwrap(), Duration::from_secs(5_400));
        let refused = parse_ttl("--ttl", "soon").unwrap_err().to_string();
        assert!(refused.contains("--ttl soon"), "{refused}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") || command.has_subcommands(), "`{}` says how it is used", command.get_name());
        }
    }
}
