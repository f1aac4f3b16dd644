//! A server process, ours or the peer: started, told what to change, asked what it used, and ended with this value.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Program};
use tokio::time::{Instant, sleep, timeout};

use crate::command::Command;
use crate::limits;
use crate::shape::Shape;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    status: PathBuf,
}

impl Server {
    /// Starts `program` with the resources of `shape`; returns when it listens.
    ///
    /// # Errors
    /// When it cannot be started or says something else.
    pub async fn start(program: &Path, shape: Shape, credentials: &Path) -> anyhow::Result<Self> {
        let count = shape.resources.to_string();
        let words = ["--kind", shape.content.word(), "--resources", &count, "--pki"].map(OsStr::new);
        let mut child = Program::new(program)
            .args(words)
            .arg(credentials)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let (requests, answers) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let status = PathBuf::from(format!("/proc/{}/status", child.id().context("it ended at once")?));
        let mut answers = BufReader::new(answers).lines();
        let said = answer(&mut answers, limits::ANSWER_MAX).await?;
        let address = said.strip_prefix("listening ").with_context(|| format!("it said {said:?}"))?.parse()?;
        Ok(Self { address, child, requests, answers, status })
    }

    /// Gives a command and returns what it answered, without the first word.
    ///
    /// # Errors
    /// When it answers something else, nothing, or too late.
    pub async fn tell(&mut self, command: Command) -> anyhow::Result<String> {
        self.say(command).await?;
        self.heard(command).await
    }

    /// Gives a command and does not wait for its answer.
    ///
    /// # Errors
    /// When the server is gone.
    pub async fn say(&mut self, command: Command) -> anyhow::Result<()> {
        self.requests.write_all(format!("{command}\n").as_bytes()).await.context("the server is gone")
    }

    /// The answer to a command that was given.
    ///
    /// # Errors
    /// When it answers something else, nothing, or too late.
    pub async fn heard(&mut self, command: Command) -> anyhow::Result<String> {
        let said = answer(&mut self.answers, limits::UPDATE_MAX).await?;
        let rest = said.strip_prefix(command.answer()).with_context(|| format!("asked for {command}, it said {said:?}"))?;
        Ok(rest.trim_start().to_owned())
    }

    /// The CPU it has used so far, user and system.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn cpu(&mut self) -> anyhow::Result<Duration> {
        Ok(Duration::from_micros(self.tell(Command::Usage).await?.parse()?))
    }

    /// Waits until it does nothing any more; returns the CPU it has used by then.
    ///
    /// # Errors
    /// When it does not become quiet.
    pub async fn quiet(&mut self) -> anyhow::Result<Duration> {
        let (began, mut before) = (Instant::now(), self.cpu().await?);
        while began.elapsed() < limits::QUIET_MAX {
            sleep(limits::QUIET_LOOK).await;
            let now = self.cpu().await?;
            if now.saturating_sub(before) < limits::QUIET_CPU {
                return Ok(now);
            }
            before = now;
        }
        bail!("the server does not become quiet within {:?}", limits::QUIET_MAX)
    }

    /// The memory it occupies, in bytes (resident set; what the kernel holds for its sockets is not in it).
    ///
    /// # Errors
    /// When it is gone.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(&self.status).context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1_024)
    }

    /// Ends it and waits for its end.
    ///
    /// # Errors
    /// When it did not live until now.
    pub async fn end(mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.child.kill().await.context("ending the server")
    }
}

async fn answer(answers: &mut Lines<BufReader<ChildStdout>>, patience: Duration) -> anyhow::Result<String> {
    let line = timeout(patience, answers.next_line()).await.context("no answer from the server")?;
    line?.context("the server ended by itself")
}
