//! What planning finds wrong, in the log of whoever serves files: the place where somebody who edits them looks first. In a cluster statuses
//! and events tell it.

use std::sync::Arc;

use imbl::OrdSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_vocab::{Code, Diagnostic};

use crate::report::Reports;

/// Lines for one change; `windrose status` has them all.
const LINES_MAX: usize = 20;

/// What a plan tells.
type Told = OrdSet<Arc<Diagnostic>>;

/// Tells what is new after each publication, until the end.
pub(super) async fn follow(reports: Arc<Reports>, mut publications: watch::Receiver<()>, end: CancellationToken) {
    let mut told = None;
    while let Some(Ok(())) = end.run_until_cancelled(publications.changed()).await {
        let picture = reports.picture.load();
        if picture.generation == 0 {
            continue;
        }
        let now = picture.plan.diagnostics.clone();
        let (lines, more) = news(told.as_ref(), &now);
        let source = reports.source.load();
        for diagnostic in lines {
            let place = source.places.as_ref().and_then(|places| places(&diagnostic)).unwrap_or_default();
            tracing::warn!(place, "{diagnostic}");
        }
        if more > 0 {
            tracing::warn!(more, "more is wrong: windrose status");
        }
        told = Some(now);
    }
}

/// The first lines of what was not told before, and how many more there are. What is open from the beginning is its owner's wish more often
/// than not; what becomes so is news.
fn news(told: Option<&Told>, now: &Told) -> (Vec<Arc<Diagnostic>>, usize) {
    if told.is_some_and(|told| told.ptr_eq(now)) {
        return (Vec::new(), 0);
    }
    let is_news = |one: &&Arc<Diagnostic>| told.map_or(one.code != Code::Open, |told| !told.contains(*one));
    let mut news = now.iter().filter(is_news);
    let lines: Vec<_> = news.by_ref().take(LINES_MAX).cloned().collect();
    (lines, news.count())
}

#[cfg(test)]
mod tests {
    use windrose_vocab::{FieldPath, Kind, ObjectRef};

    use super::*;

    #[test]
    fn what_is_new_is_told_once_and_not_without_end() {
        let wrong =
            |name: &str, code| Arc::new(Diagnostic::error(ObjectRef::new(Kind::HTTPRoute, "shop", name), FieldPath::root(), code, "no"));
        let first: Told = [wrong("a", Code::RefNotFound), wrong("b", Code::Open)].into_iter().collect();
        assert_eq!(news(None, &first).0.len(), 1, "not that it is open");
        assert_eq!(news(Some(&Told::new()), &first).0.len(), 2, "it became so");
        assert_eq!(news(Some(&first), &first.clone()), (Vec::new(), 0));
        let more: Told = first.iter().cloned().chain((0..50).map(|index| wrong(&format!("c{index}"), Code::RefNotFound))).collect();
        let (lines, left) = news(Some(&first), &more);
        assert_eq!((lines.len(), left), (LINES_MAX, 50 - LINES_MAX));
    }
}
