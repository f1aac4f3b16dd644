//! Logs to standard error: text for people on a terminal, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts the logs for the life of the process.
pub(crate) fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let levels = EnvFilter::try_new(filter).map_err(|cause| anyhow::anyhow!("--log {filter}: {cause}"))?;
    let terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(levels).with_writer(std::io::stderr).with_ansi(terminal);
    // Nobody reads them: that is no reason to fail.
    let logs = logs.log_internal_errors(false);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let started = if json { logs.json().flatten_event(true).try_init() } else { logs.with_target(false).compact().try_init() };
    started.map_err(|cause| anyhow::anyhow!("logs: {cause}"))
}
