//! The folder as a source: a thread that waits for changes, reads what changed, and leaves the newest world for whoever follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_admin::report::DiagnosticReport;
use windrose_api::Declared;
use windrose_api::declared::Changed;
use windrose_files::{Finding, Kept, Reloader, Wake, Watch, World};
use windrose_vocab::{Code, ObjectRef, Severity};

use crate::last_good::LastGood;
use crate::report::{SourceReport, describe};

/// One reading.
#[derive(Default)]
pub(crate) struct News {
    /// What is declared.
    pub(crate) declared: Declared,
    /// False before the first reading.
    pub(crate) complete: bool,
    /// What the reports need of it.
    pub(crate) report: Arc<SourceReport>,
}

impl News {
    /// The objects that differ from an earlier reading; readings in between may have been skipped.
    pub(crate) fn changed_since(&self, former: &Self) -> Changed {
        self.declared.changed_since(&former.declared)
    }

    fn of(reloader: &Reloader) -> Self {
        let world = reloader.world();
        Self { declared: world.declared.clone(), complete: true, report: Arc::new(report(world)) }
    }
}

fn report(world: &World) -> SourceReport {
    let source_map = world.source_map.clone();
    SourceReport {
        diagnostics: world.diagnostics.iter().map(|finding| describe(&finding.diagnostic, place(finding))).collect(),
        unread: unread(world),
        held: held(world),
        kept: BTreeSet::new(),
        read_at: Some(SystemTime::now()),
        places: Some(Box::new(move |diagnostic| place(&source_map.find(diagnostic.clone())))),
    }
}

/// Objects whose newest version cannot be read, each with the first thing that is wrong. Of two with one name the first
/// counts, so the second says nothing of it.
fn unread(world: &World) -> BTreeMap<ObjectRef, DiagnosticReport> {
    let errors = world.diagnostics.iter().filter(|finding| {
        let diagnostic = &finding.diagnostic;
        diagnostic.severity == Severity::Error && diagnostic.code != Code::Duplicate
    });
    let mut unread = BTreeMap::new();
    for finding in errors {
        if let Some(object) = &finding.diagnostic.object {
            unread.entry(object.clone()).or_insert_with(|| describe(&finding.diagnostic, place(finding)));
        }
    }
    unread
}

/// Objects in effect that stand in no document that can be read.
fn held(world: &World) -> BTreeSet<ObjectRef> {
    let objects = world.declared.iter().map(|object| object.meta().object.clone());
    objects.filter(|object| world.source_map.origin(object).is_none()).collect()
}

/// What is served, the same however its path is written and wherever the server is started.
pub(crate) fn name(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Without a slash at the end.
    absolute.components().collect::<PathBuf>().display().to_string()
}

/// `file:line:column` of a finding.
pub(crate) fn place(finding: &Finding) -> Option<String> {
    let place = finding.place.as_ref()?;
    let file = place.file.display();
    Some(match place.line {
        Some(line) => format!("{file}:{line}:{}", place.column),
        None => file.to_string(),
    })
}

/// Reads `path` and follows it; `remembered` is what was good before a restart. Returns the readings and a way to ask for one.
pub(crate) fn start(
    tasks: &mut JoinSet<()>,
    path: &Path,
    (memory, remembered): (Arc<LastGood>, Vec<Kept>),
    end: CancellationToken,
) -> anyhow::Result<(watch::Receiver<Arc<News>>, mpsc::Sender<()>)> {
    refuse_what_declares_nothing(path)?;
    let paths = vec![path.to_owned()];
    // Watched before it is read, so that no change falls between.
    let watcher = Watch::new(paths.clone(), windrose_files::watch::Settings::default());
    if let Some(problem) = watcher.problem() {
        tracing::warn!(problem, "changes are not reported by the system; the folder is looked at in intervals");
    }
    let mut reloader = Reloader::remembering(paths, remembered);
    tell(reloader.world());
    memory.note_unjudged(reloader.take_unkept());
    let (sender, receiver) = watch::channel(Arc::new(News::of(&reloader)));
    let (reload, mut asked) = mpsc::channel(1);
    let handle = watcher.handle();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = end.cancelled() => return handle.stop(),
                Some(()) = asked.recv() => handle.reload(),
            }
        }
    });
    tasks.spawn_blocking(move || follow(watcher, reloader, &memory, &sender));
    Ok((receiver, reload))
}

fn follow(mut watcher: Watch, mut reloader: Reloader, memory: &LastGood, news: &watch::Sender<Arc<News>>) {
    loop {
        watcher.also(reloader.value_files());
        match watcher.wait() {
            Wake::Stopped => return,
            Wake::Changed | Wake::Poll | Wake::Asked => {}
        }
        let (before, decoded) = (lines(reloader.world()), reloader.decoded());
        let changed = reloader.reload();
        let told_anew = lines(reloader.world()) != before;
        if told_anew {
            tell(reloader.world());
        }
        // A comment changes no object, and every line below it.
        if told_anew || !changed.objects.is_empty() || reloader.decoded() != decoded {
            tracing::info!(objects = changed.objects.len(), "read again");
            memory.note_unjudged(reloader.take_unkept());
            news.send_replace(Arc::new(News::of(&reloader)));
        }
    }
}

/// What is wrong, as text: places move when a file is edited, and people want to know.
fn lines(world: &World) -> Vec<(Option<String>, String)> {
    world.diagnostics.iter().map(|finding| (place(finding), finding.diagnostic.to_string())).collect()
}

/// Says in the log what is wrong, one line each.
fn tell(world: &World) {
    for finding in &world.diagnostics {
        let place = place(finding).unwrap_or_default();
        tracing::warn!(place, "{}", finding.diagnostic);
    }
}

/// A server that starts on the wrong path would withdraw everything from every proxy.
fn refuse_what_declares_nothing(path: &Path) -> anyhow::Result<()> {
    crate::offline::files(&[PathBuf::from(path)]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name() {
        let here = std::env::current_dir().unwrap().display().to_string();
        for path in ["shop", "shop/", "./shop", ".//shop/."] {
            assert_eq!(name(Path::new(path)), format!("{here}/shop"), "{path}");
        }
    }
}
