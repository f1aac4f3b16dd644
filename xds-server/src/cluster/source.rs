//! The world of a cluster as the pipeline and the reports take it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_api::declared::values;
use windrose_files::Kept;
use windrose_kube::source::{Good, World};
use windrose_plan::Refused;
use windrose_vocab::{Code, Diagnostic, FieldPath, ObjectRef, ObjectVersion, Severity};

use super::Sight;
use crate::last_good::LastGood;
use crate::report::{SourceReport, describe};
use crate::source::News;

/// Hands on each world until the end.
pub(crate) async fn follow(mut worlds: watch::Receiver<Arc<World>>, news: watch::Sender<Arc<News>>, end: CancellationToken) {
    let mut former: Option<Arc<World>> = None;
    while let Some(Ok(())) = end.run_until_cancelled(worlds.changed()).await {
        let world = worlds.borrow_and_update().clone();
        // Every status that is written comes back as a world, and changes nothing of what is planned or told.
        if former.as_ref().is_some_and(|former| declares_the_same(former, &world)) {
            continue;
        }
        former = Some(world.clone());
        // What was not read whole is nobody's world.
        let declared = if world.complete { world.declared.clone() } else { Default::default() };
        news.send_replace(Arc::new(News { declared, complete: world.complete, report: Arc::new(report(&world)) }));
    }
}

/// Whether all is the same but what the cluster knows of statuses.
fn declares_the_same(former: &World, world: &World) -> bool {
    former.complete == world.complete
        && former.declared.incomplete == world.declared.incomplete
        && former.declared.changed_since(&world.declared).objects.is_empty()
        && (former.problems.ptr_eq(&world.problems) || former.problems == world.problems)
        && (&former.unread, &former.kept) == (&world.unread, &world.kept)
}

/// Tells what versions refer to that are in effect in the place of refused ones, until the end.
pub(crate) async fn hold(mut sight: Sight, in_place: watch::Sender<Arc<BTreeSet<ObjectRef>>>, end: CancellationToken) {
    while let Some(Ok(())) = end.run_until_cancelled(sight.looks.changed()).await {
        let picture = sight.reports.picture.load();
        if picture.generation > 0 {
            let now = referred_in_place(&picture.refused);
            in_place.send_if_modified(|former| {
                let differs = **former != now;
                if differs {
                    *former = Arc::new(now);
                }
                differs
            });
        }
    }
}

/// The Secrets and ConfigMaps of versions that are in effect in the place of refused ones: the newest versions may not name them.
pub(crate) fn referred_in_place(refused: &Refused) -> BTreeSet<ObjectRef> {
    refused.objects.values().filter_map(|refusal| refusal.last_good.as_ref()).flat_map(values).collect()
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
        kept: world.kept.clone(),
        read_at: Some(SystemTime::now()),
        places: None,
    }
}

#[cfg(test)]
mod tests {
    use windrose_plan::{Refusal, RefusedBy};
    use windrose_vocab::Kind;

    use super::*;
    use crate::test_world::{declared, with_certificates};

    #[test]
    fn a_status_is_no_news_and_everything_else_is() {
        let text = with_certificates(&["tls"]);
        let world = World { declared: declared(&text), complete: true, ..World::default() };
        let gateway = ObjectRef::new(Kind::Gateway, "shop", "tls");
        let with_status = World { seen: [(gateway.clone(), Arc::default())].into_iter().collect(), ..world.clone() };
        assert!(declares_the_same(&world, &with_status));
        let wrong = Diagnostic::error(gateway.clone(), FieldPath::root(), Code::UnknownField, "no such field");
        let edited = text.replace("port: 8443", "port: 8444");
        assert_ne!(text, edited);
        let others = [
            World { complete: false, ..world.clone() },
            World { declared: declared(&edited), ..world.clone() },
            World { problems: [(gateway, Arc::from([wrong]))].into_iter().collect(), ..world.clone() },
            World { unread: [(Kind::Secret, "forbidden".to_owned())].into(), ..world.clone() },
            World { kept: [Kind::AuthPolicy].into(), ..world.clone() },
        ];
        others.iter().for_each(|other| assert!(!declares_the_same(&world, other)));
    }

    #[test]
    fn what_a_version_in_the_place_of_a_refused_one_refers_to_is_held() {
        let text = with_certificates(&["tls"]);
        let good = declared(&text).get(&ObjectRef::new(Kind::Gateway, "shop", "tls")).unwrap();
        let newest = declared(&text.replace("certificateRefs: [{ name: tls }]", "certificateRefs: [{ name: other }]"));
        let version = newest.get(&good.meta().object).unwrap().meta().identity();
        let refusal = Refusal { by: RefusedBy::Envoy, reason: "no such thing".into(), last_good: Some(good) };
        let refused = Refused { objects: [(version, refusal)].into_iter().collect() };
        assert_eq!(referred_in_place(&refused), BTreeSet::from([ObjectRef::new(Kind::Secret, "shop", "tls")]));
        assert!(referred_in_place(&Refused::default()).is_empty());
    }
}
