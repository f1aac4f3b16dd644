//! Says when files may have changed: soon after the last of a burst of events, now and then without any, and when asked to.
//! It blocks a thread of its caller's and reads no file; what changed is for the reader to find out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::{folder, limits};

/// Why it woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something happened in the files.
    Changed,
    /// Nothing was reported, but it is time to look.
    Poll,
    /// Somebody asked for it.
    Asked,
    /// It is over.
    Stopped,
}

/// How long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Silence that ends a burst of events.
    pub quiet: Duration,
    /// The same where a file went, which may come again, or one that values come from was written, which may have a pair.
    pub quiet_longer: Duration,
    /// The longest a burst may keep it waiting.
    pub patience: Duration,
    /// Between two looks although nothing was reported.
    pub poll: Duration,
    /// The same where changes cannot be reported.
    pub poll_alone: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet: limits::QUIET,
            quiet_longer: limits::QUIET_LONGER,
            patience: limits::PATIENCE,
            poll: limits::POLL,
            poll_alone: limits::POLL_ALONE,
        }
    }
}

/// Follows files and folders.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    also: BTreeSet<PathBuf>,
    settings: Settings,
    signals: Receiver<Signal>,
    handle: Handle,
    watcher: Option<RecommendedWatcher>,
    problem: Option<String>,
    ready: bool,
}

/// Wakes a [`Watch`] from outside, for SIGHUP and for the end.
#[derive(Clone, Debug)]
pub struct Handle {
    signals: SyncSender<Signal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Signal {
    Event,
    /// A file went, and may come again a moment later.
    Gone(PathBuf),
    /// A file that values come from was written, and may have a pair.
    Part,
    Reload,
    Stop,
}

/// Signals that wait. A full queue loses nothing: what is in it wakes the reader, who looks at everything.
const SIGNALS_MAX: usize = 64;

impl Handle {
    /// Asks for a reading, whatever the files did.
    pub fn reload(&self) {
        // Full is as good: a reading is due anyway.
        let _ = self.signals.try_send(Signal::Reload);
    }

    /// Ends the watch. Returns when it was told.
    pub fn stop(&self) {
        // An error means that nobody listens any more, which is what was asked for.
        let _ = self.signals.send(Signal::Stop);
    }
}

impl Watch {
    /// Follows `paths`. Never fails: what the system cannot report is polled.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>, settings: Settings) -> Self {
        let (sender, signals) = mpsc::sync_channel(SIGNALS_MAX);
        let handle = Handle { signals: sender };
        let mut watch = Self { paths, also: BTreeSet::new(), settings, signals, handle, watcher: None, problem: None, ready: false };
        watch.follow();
        watch
    }

    /// A handle to wake it with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Why changes cannot be reported, if they cannot; then it polls.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Follows these single files too: those that objects take values from.
    pub fn also(&mut self, files: BTreeSet<PathBuf>) {
        if self.also != files {
            self.also = files;
            self.follow();
            // What happened while nothing was followed is found by looking once more.
            self.ready = true;
        }
    }

    /// Waits until files should be read again.
    pub fn wait(&mut self) -> Wake {
        let idle = if self.watcher.is_some() { self.settings.poll } else { self.settings.poll_alone };
        let first = match std::mem::take(&mut self.ready) {
            true => Ok(Signal::Event),
            false => self.signals.recv_timeout(idle),
        };
        let first = match first {
            Ok(signal) => signal,
            Err(RecvTimeoutError::Timeout) => {
                self.follow();
                return Wake::Poll;
            }
            Err(RecvTimeoutError::Disconnected) => return Wake::Stopped,
        };
        let wake = self.settle(first);
        if wake != Wake::Stopped {
            // A link may point elsewhere by now, and a folder be a new one: what is followed must be what is read.
            self.follow();
        }
        wake
    }

    /// Takes in a burst of events until it is over.
    fn settle(&self, first: Signal) -> Wake {
        let end = Instant::now() + self.settings.patience;
        let (mut wake, mut signal, mut gone, mut parts) = (Wake::Changed, first, BTreeSet::new(), false);
        loop {
            match signal {
                Signal::Event => {}
                Signal::Gone(path) => _ = gone.insert(path),
                Signal::Part => parts = true,
                Signal::Reload => wake = Wake::Asked,
                Signal::Stop => return Wake::Stopped,
            }
            let quiet = if parts { self.settings.quiet_longer } else { self.settings.quiet };
            let mut next = self.signals.recv_timeout(left(end).min(quiet));
            if matches!(next, Err(RecvTimeoutError::Timeout)) && !parts && gone.iter().any(|path| !path.exists()) {
                next = self.signals.recv_timeout(left(end).min(self.settings.quiet_longer.saturating_sub(quiet)));
            }
            match next {
                Ok(next) if !left(end).is_zero() => signal = next,
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Wake::Stopped,
                Ok(_) | Err(RecvTimeoutError::Timeout) => return wake,
            }
        }
    }

    /// Follows everything anew, before the files are read, so that nothing falls between.
    fn follow(&mut self) {
        self.watcher = None;
        self.problem = None;
        match self.watcher() {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    fn watcher(&self) -> notify::Result<RecommendedWatcher> {
        let signals = self.handle.signals.clone();
        let followed = Followed::new(&self.paths, &self.also);
        let on_event = move |event: notify::Result<Event>| {
            let signal = match event {
                Ok(event) if !is_change(&event) || !followed.concerns(&event) => return,
                Ok(event) if followed.is_value(&event) => Signal::Part,
                Ok(event) => gone(event).map_or(Signal::Event, Signal::Gone),
                Err(_) => Signal::Event,
            };
            let _ = signals.try_send(signal);
        };
        let mut watcher = notify::recommended_watcher(on_event)?;
        for path in &self.paths {
            if path.is_dir() {
                watcher.watch(path, RecursiveMode::Recursive)?;
            }
        }
        for parent in self.parents() {
            watcher.watch(&parent, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }

    /// The folders that hold what is followed: there a file is renamed into place, and a link to a folder is swapped.
    fn parents(&self) -> BTreeSet<PathBuf> {
        let parents = self.paths.iter().chain(&self.also).filter_map(|path| match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".").to_owned()),
            parent => parent.map(Path::to_owned),
        });
        parents.filter(|parent| parent.is_dir() && !self.paths.iter().any(|path| path.is_dir() && parent.starts_with(path))).collect()
    }
}

/// What an event must be about. A parent is followed for one name in it, and may be as busy as `/tmp`.
struct Followed {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    values: BTreeSet<PathBuf>,
}

impl Followed {
    fn new(paths: &[PathBuf], also: &BTreeSet<PathBuf>) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let (folders, files): (Vec<_>, Vec<_>) = paths.iter().partition(|path| !path.is_file());
        let values: BTreeSet<PathBuf> = also.iter().map(absolute).collect();
        let files = files.into_iter().map(absolute).chain(values.iter().cloned()).collect();
        Self { folders: folders.into_iter().map(absolute).collect(), files, values }
    }

    fn concerns(&self, event: &Event) -> bool {
        event.paths.is_empty()
            || event.paths.iter().any(|path| self.folders.iter().any(|folder| touches(path, folder)) || self.is_file(path))
    }

    /// Whether it is about a file that values come from.
    fn is_value(&self, event: &Event) -> bool {
        event.paths.iter().any(|path| self.values.contains(path))
    }

    /// The file itself, or the link by which a mounted volume swaps it.
    fn is_file(&self, path: &Path) -> bool {
        let swaps = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        self.files.iter().any(|file| file == path || file.starts_with(path) || (swaps && file.parent() == path.parent()))
    }
}

fn touches(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder) || folder.starts_with(path)
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

/// The file that an event takes away, if it is one that is read: what editors write beside it goes with every edit.
fn gone(event: Event) -> Option<PathBuf> {
    let away = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
    event.paths.into_iter().next().filter(|path| away && folder::is_declaration(path) && !folder::is_hidden(path))
}

/// Reading a file is an event too, and ours.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
