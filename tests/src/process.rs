//! A program under test: its output goes to a file, it is ended when the value is dropped, and its last words are
//! shown when the test fails.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::wait_until;

/// Lines of the log that a failing test shows, and characters of each.
const LAST_WORDS: usize = 25;
const LINE_MAX: usize = 400;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Whether it leads a group of its own.
    group: bool,
}

impl Process {
    /// Starts `command` with standard output and error appended to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("the log can be written");
        let error = file.try_clone().expect("a file handle can be doubled");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(error).spawn();
        let child = child.unwrap_or_else(|cause| panic!("{name} does not start: {cause}"));
        Self { name: name.to_owned(), child, log: log.to_owned(), group: false }
    }

    /// The same in a group of its own, as a shell does it: what it starts belongs to that, and is killed with it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_group(name: &str, mut command: Command, log: &Path) -> Self {
        command.process_group(0);
        let mut started = Self::start(name, command, log);
        started.group = true;
        started
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it has not ended within `within`.
    pub async fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(within).await
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it has not ended within `within`.
    pub async fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait_until(within, &what, async || self.ended().ok_or_else(|| "it runs".to_owned())).await
    }

    /// Sends a signal by its name, such as `HUP` or `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "{}: SIG{name} not sent", self.name);
    }

    /// What Ctrl-C does on a terminal: SIGINT to its group.
    ///
    /// # Panics
    /// When it leads none, or has ended.
    pub fn press_ctrl_c(&self) {
        assert!(self.group && self.signal_group("INT"), "{}: SIGINT not sent to its group", self.name);
    }

    fn signal_group(&self, name: &str) -> bool {
        let sent = Command::new("kill").arg(format!("-{name}")).arg("--").arg(format!("-{}", self.pid())).stderr(Stdio::null()).status();
        sent.is_ok_and(|status| status.success())
    }

    /// All that it started, and those started, by their ids: what runs now and is not its own.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    pub fn descendants(&self) -> Vec<u32> {
        let all: Vec<(u32, u32)> =
            std::fs::read_dir("/proc").expect("there is a /proc").filter_map(|entry| parent(&entry.ok()?.path())).collect();
        let mut found = vec![self.pid()];
        let mut next = 0;
        while let Some(known) = found.get(next).copied() {
            found.extend(all.iter().filter(|(_, parent)| *parent == known).map(|(child, _)| *child));
            next += 1;
        }
        found.split_off(1)
    }

    /// Kills it at once (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        if self.group {
            self.signal_group("KILL");
        }
        // Either call fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process of `/proc` and the one that started it.
fn parent(folder: &Path) -> Option<(u32, u32)> {
    let id = folder.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // Behind the name, which may have any letter: state, then the parent.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    Some((id, parent.parse().ok()?))
}

/// Waits until a process is gone; one that nobody has waited for has no command line left.
///
/// # Panics
/// When it runs on after `within`.
pub async fn gone(pid: u32, within: Duration) {
    wait_until(within, &format!("process {pid} to end"), async || {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if words.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&words).into_owned()) }
    })
    .await;
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test harness shows it only when the test fails")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<String> = log.lines().map(|line| line.chars().take(LINE_MAX).collect()).collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            eprintln!("---- last words of {} ----\n{last}\n----", self.name);
        }
    }
}
