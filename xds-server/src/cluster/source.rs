//! The world of a cluster as the pipeline and the reports take it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_files::Kept;
use windrose_kube::source::{Good, World};
use windrose_vocab::{Code, Diagnostic, FieldPath, ObjectVersion, Severity};

use crate::last_good::LastGood;
use crate::report::{SourceReport, describe};
use crate::source::News;

/// Hands on each world until the end.
pub(crate) async fn follow(mut worlds: watch::Receiver<Arc<World>>, news: watch::Sender<Arc<News>>, end: CancellationToken) {
    while let Some(Ok(())) = end.run_until_cancelled(worlds.changed()).await {
        let world = worlds.borrow_and_update().clone();
        // What was not read whole is nobody's world.
        let declared = if world.complete { world.declared.clone() } else { Default::default() };
        news.send_replace(Arc::new(News { declared, complete: world.complete, report: Arc::new(report(&world)) }));
    }
}

/// Takes note of good versions, by which what Envoy refuses is replaced.
pub(crate) fn keep(last_good: Arc<LastGood>) -> impl Fn(Vec<Good>) {
    let from: Arc<Path> = Path::new("kubernetes").into();
    move |good| {
        let kept = |good: Good| match good.version {
            Some((version, content)) => {
                let version = ObjectVersion { object: good.object.clone(), version };
                Kept::of(version, from.clone(), content).map(|kept| (good.object, Some(kept)))
            }
            None => Some((good.object, None)),
        };
        last_good.note(good.into_iter().filter_map(kept).collect());
    }
}

fn report(world: &World) -> SourceReport {
    let told = || world.problems.iter().flat_map(|(object, told)| told.iter().map(move |diagnostic| (object, diagnostic)));
    let errors = told().filter(|(_, diagnostic)| diagnostic.severity == Severity::Error);
    let kinds = world.unread.iter().map(|(kind, why)| Diagnostic {
        object: None,
        field: FieldPath::root(),
        severity: Severity::Warning,
        code: Code::File,
        message: format!("{kind}: {why}"),
        hint: None,
    });
    SourceReport {
        diagnostics: told().map(|(_, diagnostic)| diagnostic.clone()).chain(kinds).map(|diagnostic| describe(&diagnostic, None)).collect(),
        // The first error of each object speaks.
        unread: errors
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|(object, diagnostic)| (object.clone(), describe(diagnostic, None)))
            .collect(),
        held: BTreeSet::new(),
        read_at: Some(SystemTime::now()),
        places: None,
    }
}
