//! The world of a cluster as the pipeline and the reports take it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_kube::source::World;
use windrose_vocab::{Code, Diagnostic, FieldPath, Severity};

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
